//! What the server says of itself and of the tenant.
//!
//! Shown as names and values, whatever they are: a newer server's figures appear without a newer
//! command line.

use reqwest::Method;
use serde_json::{Map, Value};
use textwrap::core::display_width;

use crate::terminal::Paint;
use crate::text::{clean, cut, field, thousands};
use crate::{Error, Form, Server, Terminal};

pub(super) async fn stats(server: &Server, terminal: &mut Terminal) -> Result<(), Error> {
    let answer = server.call(server.request(Method::GET, &["v1", "stats"])?).await?;
    let told: Map<String, Value> = answer.parse()?;
    match terminal.form() {
        Form::Json => terminal.put_document(&answer.body),
        Form::Plain => {
            let mut rows = Vec::new();
            flatten("", &told, &mut rows);
            rows.iter().try_for_each(|(name, value)| {
                terminal.say(&format!("{}\t{}", field(name), field(&plain(value))))
            })
        }
        Form::Human { width, colour } => {
            let mut rows = Vec::new();
            told.iter().for_each(|(name, value)| summarise(name, value, &mut rows));
            table(&rows, width, Paint { colour }, terminal)
        }
    }
}

/// Nested names become one: `embedding.dimensions`.
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

/// One row for a value or a group of them; for `limits` and `quotas`, one row for each.
fn summarise(name: &str, value: &Value, rows: &mut Vec<(String, String)>) {
    match value {
        Value::Object(limits) if ["limits", "quotas"].contains(&name) => {
            rows.push((name.to_owned(), String::new()));
            rows.extend(limits.iter().map(|(name, limit)| (format!("  {name}"), in_use(limit))));
        }
        Value::Object(group) => {
            let parts: Vec<String> =
                group.iter().map(|(name, value)| format!("{name} {}", grouped(value))).collect();
            rows.push((name.to_owned(), parts.join(", ")));
        }
        other => rows.push((name.to_owned(), grouped(other))),
    }
}

/// A limit as `1,204 of 100,000 facts`.
fn in_use(limit: &Value) -> String {
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

fn table(
    rows: &[(String, String)],
    width: usize,
    paint: Paint,
    terminal: &mut Terminal,
) -> Result<(), Error> {
    let names = rows.iter().map(|(name, _)| display_width(name)).max().unwrap_or_default();
    let room = width.saturating_sub(names + 2).max(20);
    rows.iter().try_for_each(|(name, value)| {
        let padding = " ".repeat(names - display_width(name) + 2);
        let name = paint.dim(&visible(name));
        terminal.say(format!("{name}{padding}{}", cut(&clean(value), room)).trim_end())
    })
}

/// The name without harm, and with its indentation.
fn visible(name: &str) -> String {
    let text = name.trim_start();
    format!("{}{}", &name[..name.len() - text.len()], clean(text))
}
