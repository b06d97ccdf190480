//! Prints the server's statistics.
//!
//! Prints any names and values, so that fields of a newer server appear too.

use reqwest::Method;
use serde_json::{Map, Value};

use crate::table;
use crate::text::{escape_field, sanitize, thousands};
use crate::{Error, OutputFormat, Server, StatsArgs, Terminal};

pub(super) async fn stats(
    server: &Server,
    args: &StatsArgs,
    terminal: &mut Terminal,
) -> Result<(), Error> {
    let response = server.call(server.request(Method::GET, &["v1", "stats"])?).await?;
    let stats: Map<String, Value> = response.parse()?;
    match terminal.format() {
        OutputFormat::Json => terminal.print_document(&response.body),
        OutputFormat::Plain => {
            let mut rows = Vec::new();
            flatten("", &stats, &mut rows);
            rows.iter().try_for_each(|(name, value)| {
                terminal.print_line(&format!(
                    "{}\t{}",
                    escape_field(name),
                    escape_field(&plain(value))
                ))
            })
        }
        OutputFormat::Human { width, .. } => {
            let mut rows = Vec::new();
            for (name, value) in &stats {
                match args.all {
                    true => add_rows(name, value, &mut rows),
                    false => add_row(name, value, &mut rows),
                }
            }
            let rows = rows.iter().map(|(name, value)| (sanitize_name(name), sanitize(value)));
            table(rows, Some(width)).lines().try_for_each(|line| terminal.print_line(line))
        }
    }
}

/// Joins nested names: `embedding.dimensions`.
fn flatten<'a>(prefix: &str, object: &'a Map<String, Value>, rows: &mut Vec<(String, &'a Value)>) {
    for (name, value) in object {
        let name = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match value {
            Value::Object(inner) => flatten(&name, inner, rows),
            other => rows.push((name, other)),
        }
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The same on one screen: limits are counted only, of quotas those that are set are shown, and
/// what is nothing is left out.
fn add_row(name: &str, value: &Value, rows: &mut Vec<(String, String)>) {
    match value {
        Value::Null => {}
        Value::Object(limits) if name == "limits" => {
            let hint = format!("{}, shown with --all", limits.len());
            rows.push((name.to_owned(), hint));
        }
        Value::Object(quotas) if name == "quotas" => {
            let is_set = |quota: &Value| quota.get("value").is_some_and(|value| !value.is_null());
            let set: Map<String, Value> =
                quotas.clone().into_iter().filter(|(_, quota)| is_set(quota)).collect();
            match set.is_empty() {
                true => rows.push((name.to_owned(), "none".to_owned())),
                false => add_rows(name, &Value::Object(set), rows),
            }
        }
        other => add_rows(name, other, rows),
    }
}

/// One row for a value or an object; for `limits` and `quotas`, one row for each member.
fn add_rows(name: &str, value: &Value, rows: &mut Vec<(String, String)>) {
    match value {
        Value::Object(limits) if ["limits", "quotas"].contains(&name) => {
            rows.push((name.to_owned(), String::new()));
            rows.extend(limits.iter().map(|(name, limit)| (format!("  {name}"), usage(limit))));
        }
        Value::Object(group) => {
            let parts: Vec<String> =
                group.iter().map(|(name, value)| format!("{name} {}", grouped(value))).collect();
            rows.push((name.to_owned(), parts.join(", ")));
        }
        other => rows.push((name.to_owned(), grouped(other))),
    }
}

/// A limit or quota with its usage, such as `1,204 of 100,000 facts`.
fn usage(limit: &Value) -> String {
    let Some(value) = limit.get("value") else {
        return grouped(limit);
    };
    let used = limit.get("used").filter(|used| !used.is_null());
    let used = used.map_or(String::new(), |used| format!("{} of ", grouped(used)));
    let unit = limit.get("unit").and_then(Value::as_str).unwrap_or_default();
    match value {
        Value::Null => format!("{}, no limit", used.replace(" of ", &format!(" {unit}"))),
        value => format!("{used}{} {unit}", grouped(value)),
    }
}

fn grouped(value: &Value) -> String {
    value.as_u64().map_or_else(|| plain(value), thousands)
}

/// Sanitizes the name, but keeps its indentation.
fn sanitize_name(name: &str) -> String {
    let text = name.trim_start();
    format!("{}{}", &name[..name.len() - text.len()], sanitize(text))
}
