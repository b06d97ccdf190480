//! `kenning doctor`: prints what is right and wrong with this installation.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::output;
use crate::config::Settings;
use crate::doctor::{Finding, State, examine, worst};

pub(super) const HELP: &str = "\
Takes the settings of `kenning serve`, from the same flags, environment and file, and changes
nothing. One line for each finding: ok, warn or problem; the exit code is 1 if there is a problem.
A remote embedder is asked to embed one word.";

/// What to examine: an installation with these settings.
#[derive(Args)]
pub(super) struct Doctor {
    #[command(flatten)]
    settings: Box<Settings>,
    /// A configuration file; its keys have the names of the flags
    #[arg(long, env = "KENNING_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Examines the installation, prints what was found, and says by the exit code whether anything is
/// a problem.
///
/// # Errors
/// When nothing can be printed.
pub(super) async fn run(doctor: Doctor, warnings: &[String]) -> anyhow::Result<ExitCode> {
    let Doctor { settings, config, json } = doctor;
    let mut findings = examine(*settings, config.as_deref()).await;
    // The command line has said them already; who reads JSON sees them only here.
    findings.extend(warnings.iter().map(|text| Finding::warn("environment", text, "")));
    let state = worst(&findings);
    match json {
        true => output::print_json(&as_json(state, &findings))?,
        false => output::print(&findings.iter().map(Finding::to_string).collect::<String>())?,
    }
    Ok(if state == State::Problem { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn as_json(state: State, findings: &[Finding]) -> String {
    let checks: Vec<_> = findings
        .iter()
        .map(|finding| {
            json!({
                "check": finding.check,
                "status": finding.state.word(),
                "message": finding.message,
                "advice": (!finding.advice.is_empty()).then_some(&finding.advice),
            })
        })
        .collect();
    format!("{}\n", json!({ "status": state.word(), "checks": checks }))
}
