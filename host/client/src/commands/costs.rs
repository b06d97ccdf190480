//! Shows what an extension costs.

use std::collections::BTreeMap;

use reqwest::Method;
use serde::Deserialize;

use crate::text::{escape_field, thousands};
use crate::{Error, OutputFormat, Server, Terminal};

#[derive(Deserialize)]
struct Costs {
    hooks: Vec<Cost>,
    /// `None` from an older server, too.
    state: Option<StateUsage>,
}

#[derive(Deserialize)]
struct StateUsage {
    keys: u64,
    bytes: u64,
}

#[derive(Deserialize)]
struct Cost {
    hook: String,
    calls: u64,
    errors: BTreeMap<String, u64>,
    fuel: u64,
    bytes: u64,
    memory_bytes: u64,
    p50_ms: f64,
    p99_ms: f64,
}

/// Shows the costs that are at `path`.
pub(super) async fn costs(
    server: &Server,
    path: &[&str],
    terminal: &mut Terminal,
) -> Result<(), Error> {
    let response = server.call(server.request(Method::GET, path)?).await?;
    if terminal.format() == OutputFormat::Json {
        return terminal.print_document(&response.body);
    }
    let Costs { hooks, state } = response.parse()?;
    if hooks.is_empty() {
        terminal.warn("none of its hooks was called since the server started");
    }
    hooks.iter().try_for_each(|cost| terminal.print_line(&line(cost)))?;
    let Some(StateUsage { keys, bytes }) = state else { return Ok(()) };
    let (keys, bytes) = (thousands(keys), thousands(bytes));
    terminal.print_line(&format!("state\tkeys {keys}\tkept {bytes} bytes"))
}

/// One hook on one line, its fields separated by tabs.
fn line(cost: &Cost) -> String {
    let errors: Vec<String> =
        cost.errors.iter().map(|(kind, count)| format!("{} {count}", escape_field(kind))).collect();
    let errors = if errors.is_empty() { "none".to_owned() } else { errors.join(", ") };
    let mean = cost.fuel / cost.calls.max(1);
    [
        escape_field(&cost.hook).into_owned(),
        format!("calls {}", thousands(cost.calls)),
        format!("errors {errors}"),
        format!("fuel {} a call", thousands(mean)),
        format!("p50 {} ms", cost.p50_ms),
        format!("p99 {} ms", cost.p99_ms),
        format!("given {} bytes", thousands(cost.bytes)),
        format!("memory {} bytes", thousands(cost.memory_bytes)),
    ]
    .join("\t")
}
