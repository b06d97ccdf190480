//! Logs on standard error, metrics for `/metrics`, and metrics and spans for a collector. None
//! contains the text of a fact or a query, and no metric has a tenant as a label unless the
//! operator wants it.

mod by_tenant;
mod families;
mod log_writer;
mod otlp;
mod process;

use std::io::IsTerminal;
use std::time::SystemTime;

use anyhow::Context;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;
pub use by_tenant::{ByTenant, TenantSeries};
use log_writer::LogLines;
pub use otlp::Exporter;
pub use process::measure as measure_process;

/// Buckets in seconds: from 10 µs, which a guest call takes, to the limit of a search.
const SECONDS: [f64; 19] = [
    0.000_01, 0.000_02, 0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05,
    0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0,
];

/// Starts writing logs; `filter` is a directive such as `info,kenning=debug`. The log of requests
/// is written, if it is wanted, whatever the filter.
///
/// # Errors
/// When the filter cannot be parsed.
pub fn start_logs(filter: &str, format: LogFormat, access_log: bool) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(filter)
        .with_context(|| format!("--log {filter:?} is not a filter such as \"info\""))?;
    // It logs whole messages, with facts in them; what goes wrong in one is logged by `http`.
    let filter = filter.add_directive("rmcp=off".parse()?);
    let filter = match access_log {
        true => filter.add_directive("access=info".parse()?),
        false => filter,
    };
    let is_styled = format == LogFormat::Text && std::io::stderr().is_terminal();
    let lines = LogLines::new(is_styled);
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(move || lines.to(std::io::stderr()))
        // The subscriber would report its failures with a macro that panics if that fails too.
        .log_internal_errors(false)
        .with_ansi(is_styled);
    match format {
        LogFormat::Text => logs.init(),
        LogFormat::Json => logs.json().init(),
    }
    Ok(())
}

/// What this process counts.
#[derive(Clone)]
pub struct Metrics {
    /// Renders it.
    pub handle: PrometheusHandle,
    /// When it began to.
    pub since: SystemTime,
}

/// Installs the metrics recorder.
///
/// # Errors
/// When a recorder is installed already.
pub fn start_metrics() -> anyhow::Result<Metrics> {
    let since = SystemTime::now();
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)?
        .install_recorder()?;
    families::describe();
    process::begin();
    Ok(Metrics { handle, since })
}
