//! Verifies that a component fits its target and its grants.

use super::report::Report;
use kenning_core::error::Error;
use kenning_runtime::inspect::Inspection;
use kenning_runtime::{Grant, Granted, GuestError};

/// How to be rid of an import that runtimes of languages bring along.
const HTTP_UNUSED: &str = "; a component of JavaScript that sends no requests leaves the import \
                           out if it is built with `componentize-js --disable http`";

/// Most bytes of an extension's name.
const NAME_BYTES: usize = 63;

/// Names appear in paths, headers and logs, so only a few characters are allowed.
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

/// The digest of the bytes must be the expected one.
pub(super) fn digest(actual: &str, expected: &str) -> Result<(), Error> {
    match expected == actual {
        true => Ok(()),
        false => {
            let message =
                format!("these bytes have the digest {actual}, not {expected}; send them again");
            Err(Error::invalid("/digest", message))
        }
    }
}

/// The component must export what a logic must have, and import only what this host offers.
pub(super) fn fits_logic(inspection: &Inspection, report: &mut Report) -> Result<(), Error> {
    only_known_imports(inspection, report)?;
    imports_fit(report);
    if !inspection.is_logic {
        let message = format!(
            "it is no logic: a logic exports kenning:knowledge/facts@0.1.0 and \
             kenning:knowledge/search@0.1.0, and this component exports {}",
            list(&inspection.exports)
        );
        return Err(refuse("exports", message, report));
    }
    report.pass("exports", "all exports of a logic are there");
    Ok(())
}

/// The component must export a hook, and import only what this host offers and what it is granted.
pub(super) fn fits_extension(
    inspection: &Inspection,
    grants: &[Granted],
    report: &mut Report,
) -> Result<(), Error> {
    only_known_imports(inspection, report)?;
    if let Some(import) = inspection.logic_only_imports.first() {
        let message = format!("it imports {import}, which only a logic may import");
        return Err(refuse("imports", message, report));
    }
    imports_fit(report);
    let is_granted = |needed: &Grant| grants.iter().any(|granted| granted.grant() == *needed);
    let missing: Vec<Grant> =
        inspection.grants_needed.iter().copied().filter(|needed| !is_granted(needed)).collect();
    if !missing.is_empty() {
        let names = missing.iter().map(|grant| grant.name()).collect::<Vec<_>>().join(",");
        let flags = missing.iter().map(|grant| grant.flag()).collect::<Vec<_>>().join(",");
        let mut message = format!(
            "it imports {names} and was not granted it; grant it by name: `--grant {flags}` on the \
             command line, `?grant={flags}` over HTTP"
        );
        if missing.contains(&Grant::Http) {
            message += HTTP_UNUSED;
        }
        return Err(refuse("grants", message, report));
    }
    if inspection.hooks.is_empty() {
        let message = format!(
            "it has no hook: an extension exports on-store, on-query, on-read or rerank of \
             kenning:knowledge@0.1.0, and this component exports {}",
            list(&inspection.exports)
        );
        return Err(refuse("exports", message, report));
    }
    let hooks: Vec<&str> = inspection.hooks.iter().map(|hook| hook.name()).collect();
    report.pass("exports", format!("its hooks: {}", hooks.join(", ")));
    let granted: Vec<&str> = grants.iter().map(|grant| grant.name()).collect();
    report.pass("grants", format!("granted: {}", list(&granted)));
    Ok(())
}

fn only_known_imports(inspection: &Inspection, report: &mut Report) -> Result<(), Error> {
    if !inspection.unknown_imports.is_empty() {
        let mut message = format!(
            "it imports what this host does not offer: {}",
            list(&inspection.unknown_imports)
        );
        if inspection.wit_versions.iter().any(|version| !version.starts_with("0.1.")) {
            message += &format!(
                "; it was built for kenning:knowledge@{}, and this host speaks 0.1",
                inspection.wit_versions.join(", ")
            );
        }
        return Err(refuse("imports", message, report));
    }
    Ok(())
}

/// Once for all that is checked of the imports, so that they never pass and fail.
fn imports_fit(report: &mut Report) {
    report.pass("imports", "all imports are available");
}

/// The component must link.
pub(super) fn linked<T>(linked: Result<T, String>, report: &mut Report) -> Result<T, Error> {
    match linked {
        Ok(linked) => {
            report.pass("linked", "imports and exports have the right types");
            Ok(linked)
        }
        Err(error) => Err(refuse("linked", format!("it does not fit this host: {error}"), report)),
    }
}

/// The component must start.
pub(super) fn started(started: Result<(), GuestError>, report: &mut Report) -> Result<(), Error> {
    match started {
        Ok(()) => {
            report.pass("started", "it starts within its limits");
            Ok(())
        }
        Err(error) => Err(refuse("started", format!("it cannot start: {:?}", error.cause), report)),
    }
}

/// The error that names the check that the candidate failed.
pub(super) fn refuse(check: &'static str, message: String, report: &mut Report) -> Error {
    report.fail(check, message.clone());
    report.refusal(format!("it fails the check `{check}`: {message}"))
}

fn list<T: AsRef<str>>(names: &[T]) -> String {
    match names {
        [] => "nothing".into(),
        names => names.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_are_reported_once() {
        let import = "kenning:knowledge/storage-write@0.1.0".to_owned();
        let logic_only = Inspection { logic_only_imports: vec![import], ..Inspection::default() };
        for inspection in [logic_only, Inspection::default()] {
            let mut report = Report::new();
            // The other one has no hook.
            fits_extension(&inspection, &[], &mut report).unwrap_err();
            let report = report.to_json();
            let checks = report["checks"].as_array().unwrap();
            let imports = checks.iter().filter(|check| check["check"] == "imports");
            let passed: Vec<_> = imports.map(|check| check["passed"] == true).collect();
            assert_eq!(passed, [inspection.logic_only_imports.is_empty()], "{report}");
        }
    }
}
