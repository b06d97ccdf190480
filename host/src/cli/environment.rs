//! What holds for every command's environment and flags: an empty variable counts as unset, an
//! empty flag is an error, and a variable that is nearly one of ours is a mistake.

use std::ffi::OsString;

use anyhow::bail;
use clap::builder::Resettable;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};
use kenning_client::{SECRETS, secret};

use crate::config::limit_variables;
use crate::nearest::nearest;

const PREFIX: &str = "KENNING_";

/// What `kenning serve --help` says of variables that no flag has.
pub(super) const HELP: &str = "\
Secrets of the environment may be in files: KENNING_ADMIN_KEY_FILE names the file that holds what
KENNING_ADMIN_KEY would, and so do KENNING_STORAGE_FILE, KENNING_EMBEDDING_KEY_FILE and
KENNING_OTLP_HEADERS_FILE. KENNING_OTLP_HEADERS has the headers for --otlp-endpoint, NAME=VALUE and
separated by commas.

Every limit under [limits] in the configuration file has a variable: that of search_ms is
KENNING_LIMITS_SEARCH_MS.";

/// The secrets of the commands that talk to a server.
const KEYS: [&str; 2] = ["KENNING_ADMIN_KEY", "KENNING_KEY"];

/// The command with the variables forgotten that are set to nothing, as a shell or a container does
/// with a variable of its own that is not set.
pub(super) fn without_empty_variables(command: Command) -> Command {
    let is_empty = |arg: &Arg| {
        let value = arg.get_env().and_then(std::env::var_os);
        value.is_some_and(|value| value.is_empty())
    };
    let forget = |arg: Arg| if is_empty(&arg) { arg.env(Resettable::Reset) } else { arg };
    command.mut_args(forget).mut_subcommands(without_empty_variables)
}

/// Refuses flags without a value, such as `--log ""`, which a script with an unset variable passes.
///
/// # Errors
/// Names the flag.
pub(super) fn refuse_empty_flags(command: &Command, matches: &ArgMatches) -> anyhow::Result<()> {
    for arg in command.get_arguments().filter(|arg| arg.get_long().is_some()) {
        let id = arg.get_id().as_str();
        let typed = matches.try_get_raw(id).ok().flatten().into_iter().flatten();
        let is_typed = matches.try_contains_id(id).unwrap_or(false)
            && matches.value_source(id) == Some(ValueSource::CommandLine);
        if is_typed && typed.into_iter().any(|value| value.is_empty()) {
            bail!("--{} has an empty value; leave the flag out", arg.get_long().unwrap_or(id));
        }
    }
    Ok(())
}

/// Refuses keys in files that cannot be read, so that no command goes on without one that it was
/// given.
///
/// # Errors
/// Names the variable, and the file.
pub(super) fn refuse_unreadable_keys() -> anyhow::Result<()> {
    KEYS.iter().try_for_each(|name| secret(name).map(drop))?;
    Ok(())
}

/// What is wrong with the environment, one sentence for each variable.
pub(super) fn warnings(command: &Command) -> Vec<String> {
    let mut known: Vec<String> = SECRETS.map(str::to_owned).to_vec();
    known.extend(SECRETS.iter().map(|name| format!("{name}_FILE")));
    known.extend(limit_variables());
    add_variables(command, &mut known);
    let names = std::env::vars_os().filter_map(|(name, _)| OsString::into_string(name).ok());
    let mut warnings: Vec<String> = names.filter_map(|name| warning(&name, &known)).collect();
    warnings.sort();
    warnings
}

fn add_variables(command: &Command, known: &mut Vec<String>) {
    let names = command.get_arguments().filter_map(Arg::get_env);
    known.extend(names.map(|name| name.to_string_lossy().into_owned()));
    command.get_subcommands().for_each(|command| add_variables(command, known));
}

fn warning(name: &str, known: &[String]) -> Option<String> {
    if known.iter().any(|known| known == name) {
        return None;
    }
    match nearest(name, known.iter().map(String::as_str)) {
        Some(meant) => {
            Some(format!("the environment variable {name} has no effect; did you mean {meant}?"))
        }
        None if name.starts_with(PREFIX) => {
            Some(format!("the environment variable {name} has no effect: no setting has that name"))
        }
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(name: &str) -> Option<String> {
        warning(name, &["KENNING_STORAGE".to_owned(), "KENNING_LOG".to_owned()])
    }

    #[test]
    fn a_misspelt_variable_is_named_with_the_one_that_was_meant() {
        for name in ["KENNING_STORGE", "KENNING_STROAGE", "KENING_STORAGE", "kenning_storage"] {
            assert!(said(name).unwrap().contains("did you mean KENNING_STORAGE?"), "{name}");
        }
        assert!(said("KENNING_COLOUR").unwrap().contains("no setting has that name"));
        for name in ["KENNING_STORAGE", "HOME", "PATH", "KEN", "LOG"] {
            assert_eq!(said(name), None);
        }
    }

    #[test]
    fn an_empty_flag_is_refused_and_an_absent_one_is_not() {
        let command = Command::new("serve").arg(Arg::new("log").long("log"));
        let refused = |arguments: &[&str]| {
            let matches = command.clone().try_get_matches_from(arguments).unwrap();
            refuse_empty_flags(&command, &matches).map_err(|error| error.to_string())
        };
        assert!(refused(&["serve", "--log", ""]).unwrap_err().contains("--log"));
        assert_eq!(refused(&["serve", "--log", "info"]), Ok(()));
        assert_eq!(refused(&["serve"]), Ok(()));
    }
}
