//! Logs on standard error and metrics for `/metrics`. Neither contains the text of a fact or a
//! query, and no metric has a tenant as a label.

use std::io::{self, IsTerminal, Write};

use anyhow::Context;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;

/// Buckets in seconds: from 10 µs, which a guest call takes, to the limit of a search.
const SECONDS: &[f64] = &[
    0.000_01, 0.000_02, 0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05,
    0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0,
];

/// Starts writing logs; `filter` is a directive such as `info,kenning=debug`.
///
/// # Errors
/// When the filter cannot be parsed.
pub fn start_logs(filter: &str, format: LogFormat) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(filter)
        .with_context(|| format!("--log {filter:?} is not a filter such as \"info\""))?;
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| OneLineEach(std::io::stderr()))
        .with_ansi(std::io::stderr().is_terminal());
    match format {
        LogFormat::Text => logs.init(),
        LogFormat::Json => logs.json().init(),
    }
    Ok(())
}

/// Writes each event as one line. Text of guests, callers or backends may contain line breaks, and
/// must not be able to forge an event.
struct OneLineEach<W>(W);

impl<W: Write> Write for OneLineEach<W> {
    /// `event` is complete: the subscriber writes each event with one call.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = event.strip_suffix(b"\n").unwrap_or(event);
        let mut line: Vec<u8> = text
            .iter()
            .map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte })
            .collect();
        line.extend(&event[text.len()..]);
        self.0.write_all(&line)?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Installs the metrics recorder.
///
/// # Errors
/// When a recorder is installed already.
pub fn start_metrics() -> anyhow::Result<PrometheusHandle> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), SECONDS)?
        .install_recorder()?;
    Ok(handle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_whatever_its_text() {
        let mut written = OneLineEach(Vec::new());
        written.write_all(b"told: one\r\n2001-02-03 ERROR forged\n").unwrap();
        written.write_all(b"next\n").unwrap();
        assert_eq!(written.0, b"told: one  2001-02-03 ERROR forged\nnext\n");
    }
}
