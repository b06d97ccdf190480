//! Whether a component fits where it is to go.

use super::report::Report;
use kenning_core::error::Error;
use kenning_runtime::inspect::Inspection;
use kenning_runtime::{Grant, GuestError};

/// An extension's name, in bytes.
const NAME_BYTES: usize = 63;

/// Names stand in paths, headers and logs.
pub(super) fn name(name: &str) -> Result<(), Error> {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let good = (1..=NAME_BYTES).contains(&name.len())
        && name.bytes().all(letter)
        && !name.starts_with('-');
    match good {
        true => Ok(()),
        false => Err(Error::invalid(
            "/name",
            format!(
                "an extension's name is 1 to {NAME_BYTES} lower-case ASCII letters, digits and \
                 '-', and begins with a letter or a digit"
            ),
        )),
    }
}

/// The digest that bytes have must be the one that was `said`.
pub(super) fn digest(is: &str, said: &str) -> Result<(), Error> {
    match said == is {
        true => Ok(()),
        false => {
            let message = format!("these bytes have the digest {is}, not {said}; send them again");
            Err(Error::invalid("/digest", message))
        }
    }
}

pub(super) fn fits_logic(outline: &Inspection, report: &mut Report) -> Result<(), Error> {
    offered(outline, report)?;
    if !outline.is_logic {
        let message = format!(
            "it is no logic: a logic exports kenning:knowledge/facts@0.1.0 and \
             kenning:knowledge/search@0.1.0, and this component exports {}",
            list(&outline.exports)
        );
        return Err(refuse("exports", message, report));
    }
    report.passed("exports", "it has all that a logic must have");
    Ok(())
}

pub(super) fn fits_extension(
    outline: &Inspection,
    grants: &[Grant],
    report: &mut Report,
) -> Result<(), Error> {
    offered(outline, report)?;
    if let Some(import) = outline.logic_only_imports.first() {
        let message = format!("it imports {import}, which only a logic may");
        return Err(refuse("imports", message, report));
    }
    let missing: Vec<&str> = outline
        .grants_needed
        .iter()
        .filter(|needed| !grants.contains(needed))
        .map(|grant| grant.name())
        .collect();
    if !missing.is_empty() {
        let missing = missing.join(",");
        let message = format!(
            "it imports {missing} and was not granted it; grant it by name: `--grant {missing}` on \
             the command line, `?grant={missing}` over HTTP"
        );
        return Err(refuse("grants", message, report));
    }
    if outline.hooks.is_empty() {
        let message = format!(
            "it has no hook: an extension exports on-store, on-query, on-read or rerank of \
             kenning:knowledge@0.1.0, and this component exports {}",
            list(&outline.exports)
        );
        return Err(refuse("exports", message, report));
    }
    let hooks: Vec<&str> = outline.hooks.iter().map(|hook| hook.name()).collect();
    report.passed("exports", format!("its hooks: {}", hooks.join(", ")));
    let granted: Vec<&str> = grants.iter().map(|grant| grant.name()).collect();
    report.passed("grants", format!("granted: {}", list(&granted)));
    Ok(())
}

fn offered(outline: &Inspection, report: &mut Report) -> Result<(), Error> {
    if !outline.unknown_imports.is_empty() {
        let mut message =
            format!("it imports what this host does not offer: {}", list(&outline.unknown_imports));
        if outline.wit_versions.iter().any(|version| !version.starts_with("0.1.")) {
            message += &format!(
                "; it was built for kenning:knowledge@{}, and this host speaks 0.1",
                outline.wit_versions.join(", ")
            );
        }
        return Err(refuse("imports", message, report));
    }
    report.passed("imports", "all that it imports is offered");
    Ok(())
}

pub(super) fn linked<T>(linked: Result<T, String>, report: &mut Report) -> Result<T, Error> {
    match linked {
        Ok(linked) => {
            report.passed("linked", "imports and exports are of the right types");
            Ok(linked)
        }
        Err(error) => Err(refuse("linked", format!("it does not fit this host: {error}"), report)),
    }
}

pub(super) fn started(started: Result<(), GuestError>, report: &mut Report) -> Result<(), Error> {
    match started {
        Ok(()) => {
            report.passed("started", "it starts within its limits");
            Ok(())
        }
        Err(error) => Err(refuse("started", format!("it cannot start: {:?}", error.cause), report)),
    }
}

fn refuse(check: &'static str, message: String, report: &mut Report) -> Error {
    report.objects(check, message.clone());
    report.refusal(message)
}

fn list<T: AsRef<str>>(names: &[T]) -> String {
    match names {
        [] => "nothing".into(),
        names => names.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", "),
    }
}
