//! What `--log` may say.
//!
//! The subscriber's own parser takes any word for the name of a module, so a misspelt level would
//! turn the log off without a word.

use anyhow::bail;
use tracing_subscriber::EnvFilter;

use crate::nearest::nearest;

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// The first part of the names that our own events have.
const TARGETS: [&str; 12] = [
    "kenning",
    "guest",
    "kenning_client",
    "kenning_core",
    "kenning_embedder",
    "kenning_index",
    "kenning_minilm",
    "kenning_model",
    "kenning_runtime",
    "kenning_scaffold",
    "kenning_storage",
    "kenning_tenants",
];

/// Checks a filter such as `info,kenning=debug`.
///
/// # Errors
/// Names the part that is no directive, and what it may have been meant to be.
pub(super) fn check(filter: &str) -> anyhow::Result<()> {
    for directive in filter.split(',') {
        check_directive(directive.trim())
            .map_err(|why| anyhow::anyhow!("--log {filter:?}: {why}"))?;
    }
    EnvFilter::try_new(filter)
        .map_err(|error| anyhow::anyhow!("--log {filter:?} is not a filter: {error}"))?;
    Ok(())
}

fn check_directive(directive: &str) -> anyhow::Result<()> {
    if directive.is_empty() {
        bail!("there is nothing before or after a comma; a filter is like info,kenning=debug");
    }
    // A span or field, as in `[request{id=7}]=debug`, is left to the parser.
    if directive.contains(['[', '{']) {
        return Ok(());
    }
    match directive.split_once('=') {
        Some((target, level)) => {
            check_target(target)?;
            check_level(level)
        }
        None if directive.contains("::") => check_target(directive),
        None => check_level(directive),
    }
}

fn check_level(word: &str) -> anyhow::Result<()> {
    if LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word)) || is_numbered(word) {
        return Ok(());
    }
    let suggestion = nearest(word, LEVELS).map(|level| format!("; did you mean {level}?"));
    bail!(
        "{word:?} is no level: {}; a module needs one too, as in kenning=debug{}",
        LEVELS.join(", "),
        suggestion.unwrap_or_default()
    )
}

/// Levels by number, from 0 for `off`.
fn is_numbered(word: &str) -> bool {
    word.len() == 1 && word.bytes().all(|digit| (b'0'..=b'5').contains(&digit))
}

/// Modules of other crates may be named; a name that is nearly one of ours is a mistake.
fn check_target(target: &str) -> anyhow::Result<()> {
    let first = target.split("::").next().unwrap_or_default();
    if TARGETS.contains(&first) {
        return Ok(());
    }
    match nearest(first, TARGETS) {
        Some(ours) => bail!("there is no module {first:?}; did you mean {ours}?"),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_modules_are_filters() {
        for filter in [
            "info",
            "WARN",
            "off",
            "3",
            "warn,guest=info",
            "info,kenning=debug",
            "kenning_storage::redis=trace,error",
            "kenning::kb",
            "hyper=debug",
            "[request]=debug",
        ] {
            assert!(check(filter).is_ok(), "{filter}: {:?}", check(filter));
        }
    }

    #[test]
    fn a_word_that_is_no_level_is_refused_with_the_nearest() {
        for (filter, said) in [
            ("wran", "did you mean warn?"),
            ("verbose", "off, error, warn"),
            ("", "nothing before or after a comma"),
            ("info,", "nothing before or after a comma"),
            ("info,kenning=wran", "did you mean warn?"),
            ("kening=debug", "did you mean kenning?"),
            ("guset=debug", "did you mean guest?"),
            ("kenning", "is no level"),
            ("6", "is no level"),
            ("[request=debug", "is not a filter"),
        ] {
            let error = check(filter).map_err(|error| error.to_string());
            assert!(error.as_ref().is_err_and(|error| error.contains(said)), "{filter}: {error:?}");
        }
    }
}
