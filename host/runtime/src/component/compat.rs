//! Checks whether this host accepts a component, for `kenning check`, and lists every reason if it
//! does not.
//!
//! Works offline, without a server, storage or a tenant. The component is compiled in a child
//! process and linked, exactly as a server does it, and then dropped.

use std::path::PathBuf;

use anyhow::Context;
use bytes::Bytes;
use kenning_core::limits::{DEFAULT_TENANT, Limits};
use kenning_storage::TenantId;
use serde::Serialize;

use crate::component::compile_permits::{Demand, Urgency};
use crate::component::compiler::{Compiler, digest};
use crate::component::engine::Engines;
use crate::component::grants::Granted;
use crate::component::inspect::{Inspection, inspect};
use crate::component::loader::Loader;

/// Which kind of guest a component is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ComponentKind {
    /// It exports everything that a logic must.
    Logic,
    /// It exports at least one hook.
    Extension,
    /// Neither.
    Unknown,
}

/// What is known about a component, and whether this host accepts it.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Whether there are no `problems`.
    pub accepted: bool,
    /// Which kind of guest it is.
    pub kind: ComponentKind,
    /// `sha256:` and the digest of its bytes, in hexadecimal.
    pub digest: String,
    /// Its size in bytes.
    pub bytes: usize,
    /// Its outline.
    #[serde(flatten)]
    pub inspection: Inspection,
    /// Why it would be refused; each says what to do about it.
    pub problems: Vec<String>,
}

/// Checks the component in `bytes` for a host under `limits`. `program` is the path of this binary,
/// which is run to compile the component.
///
/// # Errors
/// If the check itself cannot be done. A component that is not accepted is no error.
pub async fn check(bytes: &[u8], limits: &Limits, program: PathBuf) -> anyhow::Result<Report> {
    let (inspection, mut problems) = match inspect(bytes) {
        Ok(inspection) => {
            let problems = outline_problems(&inspection, limits);
            (inspection, problems)
        }
        Err(error) => (Inspection::default(), vec![error.to_string()]),
    };
    // Problems that the outline shows have clear messages of our own. The messages of the compiler
    // and the linker are for what only they can find.
    if problems.is_empty()
        && let Some(problem) = runtime_problem(bytes, limits, program).await?
    {
        problems.push(problem);
    }
    Ok(Report {
        accepted: problems.is_empty(),
        kind: kind(&inspection),
        digest: digest(bytes),
        bytes: bytes.len(),
        inspection,
        problems,
    })
}

fn kind(inspection: &Inspection) -> ComponentKind {
    match (inspection.is_logic, inspection.hooks.is_empty()) {
        (true, _) => ComponentKind::Logic,
        (false, false) => ComponentKind::Extension,
        (false, true) => ComponentKind::Unknown,
    }
}

fn outline_problems(seen: &Inspection, limits: &Limits) -> Vec<String> {
    let mut problems = Vec::new();
    match (seen.is_logic, seen.hooks.is_empty()) {
        (true, false) => problems
            .push("it is a logic and has hooks; a component is one or the other".to_string()),
        (false, true) => problems.push(format!(
            "it has no hook of kenning:knowledge@0.1.0 and is no logic; it exports {}",
            listed(&seen.exports)
        )),
        _ => {}
    }
    for import in &seen.unknown_imports {
        problems.push(format!("it imports {import}, which this host does not offer"));
    }
    if !seen.is_logic {
        for import in &seen.logic_only_imports {
            problems.push(format!("it imports {import}, which only a logic may"));
        }
    }
    let (limit, allowed) = match seen.is_logic {
        true => ("guest_memory_bytes", limits.guest_memory_bytes),
        false => ("extension_memory_bytes", limits.extension_memory_bytes),
    };
    if seen.memory_bytes > allowed as u64 {
        problems.push(format!(
            "its memories begin with {} bytes, and {limit} allows {allowed}",
            seen.memory_bytes
        ));
    }
    problems.extend(seen.parts.problem(limits));
    problems
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "nothing".into() } else { names.join(", ") }
}

async fn runtime_problem(
    bytes: &[u8],
    limits: &Limits,
    program: PathBuf,
) -> anyhow::Result<Option<String>> {
    let engines = Engines::new(limits).map_err(|error| anyhow::anyhow!("{error:#}"))?;
    let directory = tempfile::tempdir().context("cannot make a directory for the compiler")?;
    let compiler = Compiler::new(program, directory.path(), limits.clone())
        .context("cannot use a directory for the compiler")?;
    let tenant = TenantId::parse(DEFAULT_TENANT)?;
    let demand = Demand { tenant, urgency: Urgency::First };
    let loader = Loader::new(compiler, engines.first().clone(), limits);
    let loaded = match loader.load(demand, Bytes::copy_from_slice(bytes)).await {
        Ok(loaded) => loaded,
        Err(error) => return Ok(Some(error.to_string())),
    };
    let linked = match loaded.inspection.is_logic {
        true => loaded.logic().map(drop),
        false => {
            let needed = loaded.inspection.grants_needed.iter();
            let granted: Vec<Granted> = needed.map(|grant| (*grant).into()).collect();
            loaded.extension(&granted).map(drop)
        }
    };
    Ok(linked.err().map(|error| format!("it does not fit this host: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::inspect::Hook;
    use crate::component::parts::Parts;

    fn extension() -> Inspection {
        Inspection { hooks: vec![Hook::OnRead], ..Inspection::default() }
    }

    #[track_caller]
    fn assert_problem(seen: Inspection, because: &str) {
        let problems = outline_problems(&seen, &Limits::default());
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].contains(because), "{problems:?}");
    }

    #[test]
    fn a_valid_outline_has_no_problem() {
        let logic_only_imports = vec!["kenning:knowledge/index-write@0.1.0".to_string()];
        let logic = Inspection { is_logic: true, logic_only_imports, ..Inspection::default() };
        for seen in [extension(), logic] {
            assert!(outline_problems(&seen, &Limits::default()).is_empty());
        }
    }

    #[test]
    fn each_problem_of_an_outline_is_named() {
        assert_problem(Inspection::default(), "it exports nothing");
        let exports = vec!["kenning:knowledge/on-read@0.2.0".to_string()];
        assert_problem(Inspection { exports, ..Inspection::default() }, "on-read@0.2.0");
        assert_problem(Inspection { is_logic: true, ..extension() }, "one or the other");
        let import = vec!["wasi:keyvalue/store@0.2.0".to_string()];
        let seen = Inspection { unknown_imports: import.clone(), ..extension() };
        assert_problem(seen, "wasi:keyvalue/store@0.2.0, which this host does not offer");
        let seen = Inspection { logic_only_imports: import, ..extension() };
        assert_problem(seen, "which only a logic may");
        let seen = Inspection { memory_bytes: u64::MAX, ..extension() };
        assert_problem(seen, "extension_memory_bytes allows 33554432");
        let parts = Parts { memories: 5, ..Parts::default() };
        assert_problem(Inspection { parts, ..extension() }, "guest_memories allows 4");
    }
}
