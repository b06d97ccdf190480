//! What a server says of a candidate: its checks, and what became of it.

use serde::Deserialize;

use super::warn_of_hosts;
use crate::terminal::Paint;
use crate::text::{escape_field, sanitize};
use crate::{Error, JsonResponse, OutputFormat, Terminal};

#[derive(Deserialize)]
struct Report {
    generation: u64,
    digest: String,
    promoted: bool,
    #[serde(default)]
    unchanged: bool,
    checks: Vec<Check>,
    took_ms: f64,
}

#[derive(Deserialize)]
struct Check {
    check: String,
    passed: bool,
    detail: String,
}

impl Report {
    /// What became of the candidate: for scripts, and for people.
    fn outcome(&self) -> (&'static str, &'static str) {
        match (self.promoted, self.unchanged, self.failed().is_empty()) {
            (true, ..) => ("promoted", "Promoted"),
            (_, true, _) => ("unchanged", "Unchanged, live already:"),
            (.., true) => ("staged", "Staged, not promoted:"),
            (.., false) => ("refused", "Refused:"),
        }
    }

    /// The checks that failed, each with its reason.
    fn failed(&self) -> Vec<String> {
        let failed = self.checks.iter().filter(|check| !check.passed);
        failed.map(|check| format!("{}: {}", check.check, check.detail)).collect()
    }
}

/// Prints the report. A candidate that would not be promoted is a failure of the command.
pub(super) fn print_report(response: &JsonResponse, terminal: &mut Terminal) -> Result<(), Error> {
    let report: Report = response.parse()?;
    warn_of_hosts(response, terminal);
    match terminal.format() {
        OutputFormat::Json => terminal.print_document(&response.body)?,
        OutputFormat::Plain => {
            let (state, number, digest) = (report.outcome().0, report.generation, &report.digest);
            terminal.print_line(&format!("{state}\t{number}\t{}", escape_field(digest)))?;
        }
        OutputFormat::Human { colour, .. } => print_checks(&report, Paint { colour }, terminal)?,
    }
    let failed = report.failed();
    match report.promoted || failed.is_empty() {
        true => Ok(()),
        false => Err(Error::Refused(failed.join("; "))),
    }
}

fn print_checks(report: &Report, paint: Paint, terminal: &mut Terminal) -> Result<(), Error> {
    for Check { check, passed, detail } in &report.checks {
        let mark = if *passed { "ok  " } else { "FAIL" };
        terminal.print_line(&format!(
            "{mark} {:<10} {}",
            sanitize(check),
            paint.dim(&sanitize(detail))
        ))?;
    }
    let outcome = report.outcome().1;
    let generation = paint.strong(&format!("generation {}", report.generation));
    terminal.print_line(&format!("{outcome} {generation} in {:.0} ms", report.took_ms))
}
