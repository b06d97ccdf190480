//! `kenning check`: prints the report on a component as a table or as JSON.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use kenning_client::sanitize;
use kenning_runtime::Grant;
use kenning_runtime::compat::{ComponentKind, Report, check};

use crate::cli::output;
use crate::config::{Config, Settings};

/// Prefix of the imports that the runtimes of languages need. They require no grant.
const WASI: &str = "wasi:";

pub(super) fn run(file: &Path, config: Option<&Path>, json: bool) -> anyhow::Result<ExitCode> {
    let limits = Config::load(Settings::default(), config)?.limits;
    let length = fs::metadata(file).with_context(|| format!("cannot read {}", file.display()))?;
    let (allowed, used) = (limits.component_bytes as u64, length.len());
    anyhow::ensure!(
        used <= allowed,
        "component_bytes is limited to {allowed}, but {} has {used}",
        file.display()
    );
    let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let report = crate::cli::runtime()?.block_on(check(&bytes, &limits, program))?;
    match json {
        true => output::print_json(&(serde_json::to_string_pretty(&report)? + "\n"))?,
        false => output::print(&table(&report))?,
    }
    Ok(if report.accepted { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn table(report: &Report) -> String {
    let inspection = &report.inspection;
    let kind = match report.kind {
        ComponentKind::Logic => "logic",
        ComponentKind::Extension => "extension",
        ComponentKind::Unknown => "neither a logic nor an extension",
    };
    let hooks: Vec<&str> = inspection.hooks.iter().map(|hook| hook.name()).collect();
    let grants: Vec<&str> = inspection.grants_needed.iter().map(|grant| grant.name()).collect();
    let (wasi, others): (Vec<&str>, Vec<&str>) =
        inspection.imports.iter().map(String::as_str).partition(|name| name.starts_with(WASI));
    let needs_grants = report.kind == ComponentKind::Extension && !grants.is_empty();
    let mut rows = vec![
        ("kind", kind.to_string()),
        ("digest", report.digest.clone()),
        ("size", format!("{} bytes", report.bytes)),
        ("contract", joined(&inspection.wit_versions)),
        ("hooks", joined(&hooks)),
        ("grants needed", joined(&grants)),
        ("granted by", flag(&inspection.grants_needed)),
        ("exports", joined(&inspection.exports)),
        ("imports", joined(&others)),
        ("WASI imports", joined(&wasi)),
        ("initial memory", format!("{} bytes", inspection.memory_bytes)),
        ("memories", inspection.parts.memories.to_string()),
        ("tables", inspection.parts.tables.to_string()),
        ("core instances", inspection.parts.core_instances.to_string()),
    ];
    rows.retain(|(name, _)| *name != "hooks" || report.kind != ComponentKind::Logic);
    rows.retain(|(name, _)| *name != "granted by" || needs_grants);
    // Names of imports and exports are the component author's.
    let rows = rows.into_iter().map(|(name, value)| (name, sanitize(&value)));
    format!("{}{}\n{}", kenning_client::table(rows, None), advice(report), verdict(report))
}

/// What an operator adds to an installation.
fn flag(needed: &[Grant]) -> String {
    format!("--grant {}", needed.iter().map(|grant| grant.flag()).collect::<Vec<_>>().join(","))
}

/// How not to need a grant that runtimes of languages ask for.
fn advice(report: &Report) -> &'static str {
    match report.inspection.grants_needed.contains(&Grant::Http) {
        true => {
            "\nHOST is a host that it sends requests to. A component of JavaScript that sends \
                 none does not\nneed this grant if it is built with `componentize-js --disable \
                 http`.\n"
        }
        false => "",
    }
}

fn joined<T: AsRef<str>>(names: &[T]) -> String {
    match names.is_empty() {
        true => "none".into(),
        false => names.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", "),
    }
}

fn verdict(report: &Report) -> String {
    if report.accepted {
        let good = anstyle::AnsiColor::Green.on_default();
        return format!("{good}this host accepts the component{good:#}\n");
    }
    let bad = anstyle::AnsiColor::Red.on_default();
    let reasons = report.problems.iter().map(|problem| format!("  {}\n", sanitize(problem)));
    format!("{bad}this host rejects the component:{bad:#}\n{}", reasons.collect::<String>())
}
