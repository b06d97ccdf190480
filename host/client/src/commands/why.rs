//! Shows what is known of a failed request.

use reqwest::Method;
use serde_json::Value;

use crate::text::{sanitize, thousands};
use crate::{Error, OutputFormat, Server, Terminal, WhyArgs, table};

/// A line of the output.
type Row = (&'static str, String);

pub(super) async fn why(
    server: &Server,
    args: &WhyArgs,
    terminal: &mut Terminal,
) -> Result<(), Error> {
    let path = ["v1", "admin", "requests", &args.id];
    let response = server.call(server.request(Method::GET, &path)?).await?;
    let known: Value = response.parse()?;
    let width = match terminal.format() {
        OutputFormat::Json => return terminal.print_document(&response.body),
        OutputFormat::Plain => None,
        OutputFormat::Human { width, .. } => Some(width),
    };
    let rows = rows(&known).into_iter().map(|(name, value)| (name, sanitize(&value)));
    table(rows, width).lines().try_for_each(|line| terminal.print_line(line))
}

/// What is known, as names and values.
fn rows(known: &Value) -> Vec<Row> {
    let mut rows = vec![
        ("time", text(&known["time"])),
        ("host", text(&known["host"])),
        ("request", format!("{} {}", text(&known["method"]), text(&known["route"]))),
        ("answer", format!("{} {}", known["status"], text(&known["code"]))),
        ("blame", text(&known["blame"])),
    ];
    if known["message"].is_string() {
        rows.push(("message", text(&known["message"])));
    }
    for (name, value) in known["details"].as_object().into_iter().flatten() {
        rows.push(("", format!("{name}: {}", text(value))));
    }
    rows.push(("took", format!("{} ms", known["took_ms"])));
    if known["trace_id"].is_string() {
        rows.push(("trace", text(&known["trace_id"])));
    }
    if known["call"].is_object() {
        rows.extend(call_rows(&known["call"]));
    }
    rows
}

fn call_rows(call: &Value) -> Vec<Row> {
    let waited = match call["admitted_after_ms"].as_f64() {
        Some(waited) => format!("{waited} ms for a permit"),
        None => "never admitted".to_owned(),
    };
    let allowed = format!("{} ms", call["allowed_ms"]);
    let mut rows =
        vec![("tenant", text(&call["tenant"])), ("allowed", allowed), ("waited", waited)];
    rows.extend(call["guests"].as_array().into_iter().flatten().flat_map(guest_rows));
    if call["running"].is_object() {
        rows.push(("running", guest_name(&call["running"])));
        rows.push(("", format!("for {} ms", call["running"]["for_ms"])));
    }
    rows
}

fn guest_rows(guest: &Value) -> Vec<Row> {
    let number = |name: &str| thousands(guest[name].as_u64().unwrap_or_default());
    let mut rows = vec![
        ("guest", guest_name(guest)),
        ("", format!("{} ms, and {} ms in imports", guest["guest_ms"], guest["host_ms"])),
        ("", format!("fuel {} of {}", number("fuel_used"), number("fuel_limit"))),
        ("", format!("{} bytes of memory", number("memory_bytes"))),
        ("", format!("{} calls to imports", number("host_calls"))),
    ];
    if let Some(failed) = guest["failed"].as_str() {
        rows.push(("", failed.to_owned()));
    }
    let stack = guest["stack"].as_array().into_iter().flatten();
    rows.extend(stack.map(|frame| ("", format!("at {}", text(frame)))));
    rows
}

fn guest_name(guest: &Value) -> String {
    let (component, operation) = (text(&guest["component"]), text(&guest["operation"]));
    format!("{component} generation {}: {operation}", guest["generation"])
}

/// A text without its quotes; any other value as JSON.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_known_is_shown_with_the_guests_and_where_they_failed() {
        let known = json!({
            "time": "2026-11-28T10:00:00.000Z", "host": "a-1", "method": "POST",
            "route": "/v1/facts", "status": 502, "code": "guest_trapped", "blame": "guest",
            "message": "the extension x trapped", "took_ms": 1.5,
            "details": { "component": "x" },
            "call": {
                "tenant": "acme", "allowed_ms": 5000, "admitted_after_ms": 0.1,
                "guests": [{
                    "component": "x", "generation": 3, "operation": "on-store", "guest_ms": 0.5,
                    "host_ms": 0.0, "fuel_used": 12_345, "fuel_limit": 500_000, "host_calls": 2,
                    "memory_bytes": 65_536, "failed": "trapped: unreachable",
                    "stack": ["src/lib.rs:63:9"],
                }],
            },
        });
        let shown = table(rows(&known), None);
        for part in [
            "502 guest_trapped",
            "component: x",
            "x generation 3: on-store",
            "fuel 12,345 of 500,000",
            "at src/lib.rs:63:9",
        ] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
    }
}
