//! Looks for what is wrong with an installation, before a server starts or beside a running one.
//! Nothing is changed.
//!
//! | file | looks at |
//! |---|---|
//! | `files` | the data directory, the model, the logic, the cache, the certificate |
//! | `backend` | the storage, the embedder, and the keys of tokens |
//! | `system` | what the system allows this process |
//! | `running` | the server, if one runs, and its port |

mod backend;
mod files;
mod running;
mod system;

use std::fmt;
use std::path::Path;

use crate::config::{Config, Settings};

/// How good or bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// As it should be.
    Ok,
    /// It works, and may not go on to.
    Warn,
    /// It does not work, or facts may be lost.
    Problem,
}

impl State {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Problem => "problem",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug)]
pub struct Finding {
    /// What was looked at.
    pub check: &'static str,
    /// How it is.
    pub state: State,
    /// What was seen.
    pub message: String,
    /// What to do about it; empty if nothing is to be done.
    pub advice: String,
}

impl Finding {
    /// Something that is as it should be.
    pub fn ok(check: &'static str, message: impl Into<String>) -> Self {
        Self { check, state: State::Ok, message: message.into(), advice: String::new() }
    }

    /// Something that works, and may not go on to.
    pub fn warn(
        check: &'static str,
        message: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        let (message, advice) = (message.into(), advice.into());
        Self { check, state: State::Warn, message, advice }
    }

    /// Something that does not work.
    pub fn problem(
        check: &'static str,
        message: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        let (message, advice) = (message.into(), advice.into());
        Self { check, state: State::Problem, message, advice }
    }
}

/// One line.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { check, state, message, advice } = self;
        write!(f, "{:8} {check:12} {}", state.word(), one_line(message))?;
        match advice.is_empty() {
            true => writeln!(f),
            false => writeln!(f, "; {}", one_line(advice)),
        }
    }
}

fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

/// The worst state of any finding.
pub fn worst(findings: &[Finding]) -> State {
    findings.iter().map(|finding| finding.state).max().unwrap_or(State::Ok)
}

/// Looks at an installation with these settings. Must be called within a tokio runtime.
pub async fn examine(flags: Settings, file: Option<&Path>) -> Vec<Finding> {
    let mut findings = Vec::new();
    match Config::load(flags, file) {
        Ok(config) => {
            let from = file.map_or("flags and environment".into(), |file| {
                format!("flags, environment and {}", file.display())
            });
            findings.push(Finding::ok("config", format!("the settings from {from} are valid")));
            let warnings = config.warnings.iter();
            findings.extend(warnings.map(|warning| Finding::warn("config", warning, "")));
            examine_config(&config, &mut findings).await;
        }
        Err(error) => {
            let message = format!("{error:#}");
            findings.push(Finding::problem("config", message, "correct the setting"));
        }
    }
    findings
}

async fn examine_config(config: &Config, findings: &mut Vec<Finding>) {
    let running = running::find(config).await;
    files::data_directory(config, findings);
    backend::storage(config, running.is_there(), findings).await;
    files::model(config, findings).await;
    backend::embedder(config, findings).await;
    backend::tokens(config, findings).await;
    files::logic(config, findings);
    files::cache(config, findings);
    files::certificate(config, findings);
    running::port(config, &running, findings).await;
    system::clock(findings);
    system::limits(config, findings);
    running.report(findings);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_one_line_with_what_to_do() {
        let finding = Finding::problem("storage", "it is\n  gone", "bring it back");
        assert_eq!(finding.to_string(), "problem  storage      it is gone; bring it back\n");
        assert_eq!(Finding::ok("model", "found").to_string(), "ok       model        found\n");
    }

    #[test]
    fn the_worst_finding_counts() {
        let (ok, warn) = (Finding::ok("a", ""), Finding::warn("b", "", ""));
        assert_eq!(worst(&[]), State::Ok);
        assert_eq!(worst(&[ok.clone(), warn.clone()]), State::Warn);
        assert_eq!(worst(&[Finding::problem("c", "", ""), warn, ok]), State::Problem);
    }

    #[tokio::test]
    async fn settings_that_are_wrong_are_the_only_problem_that_can_be_told() {
        let flags = Settings { embedder: Some("magic".into()), ..Settings::default() };
        let findings = examine(flags, None).await;
        assert_eq!(findings.len(), 1);
        assert_eq!((findings[0].check, findings[0].state), ("config", State::Problem));
    }
}
