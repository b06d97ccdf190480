//! The examples as components: they have the hooks and need the grants that their
//! READMEs say, in whatever language they are written, and nothing else.

mod effects;

use std::fs;

use anyhow::{Context, Result};
use kenning_runtime::inspect::{
    Grant::{self, Http, Index, State, Storage},
    Hook::{self, OnChange, OnQuery, OnRead, OnStore, Rerank},
    inspect,
};
use kenning_tests::component;

/// What an example in Rust weighs at most; none holds more than its own code needs.
const RUST_BYTES: usize = 300 * 1024;
const JAVASCRIPT_BYTES: usize = 2 * 1024 * 1024;
const PYTHON_BYTES: usize = 24 * 1024 * 1024;

/// What an extension's memories may hold when a call begins, so that there is room for a
/// fact's text.
const MEMORY_BYTES: u64 = 24 * 1024 * 1024;

const EXAMPLES: [(&str, &[Hook], &[Grant], usize); 10] = [
    ("boost-by-option", &[Rerank], &[], RUST_BYTES),
    ("budgeted-summaries", &[OnRead, OnChange], &[State], RUST_BYTES),
    ("chunk", &[OnStore], &[], RUST_BYTES),
    ("dedupe", &[OnStore], &[Index, Storage], RUST_BYTES),
    ("recency-boost", &[Rerank], &[], RUST_BYTES),
    ("redact-pii", &[OnStore], &[], RUST_BYTES),
    ("row-access", &[OnQuery, OnRead], &[], RUST_BYTES),
    ("synonyms", &[OnQuery], &[], JAVASCRIPT_BYTES),
    ("tag-rules", &[OnStore], &[], PYTHON_BYTES),
    ("translate-query", &[OnQuery], &[Http], RUST_BYTES),
];

#[test]
fn an_example_asks_for_what_it_uses_and_has_the_hooks_it_says() -> Result<()> {
    for (name, hooks, grants, bytes) in EXAMPLES {
        let component = fs::read(component(name)?)?;
        let seen = inspect(&component).with_context(|| name)?;
        assert_eq!((&seen.hooks[..], &seen.grants_needed[..]), (hooks, grants), "{name}");
        assert!(!seen.is_logic && seen.logic_only_imports.is_empty(), "{name}: {seen:?}");
        assert!(seen.unknown_imports.is_empty(), "{name}: {seen:?}");
        assert_eq!(seen.wit_versions, ["0.1.0"], "{name}");
        assert!(component.len() <= bytes, "{name} has {} bytes", component.len());
        assert!(seen.memory_bytes <= MEMORY_BYTES, "{name}: {} bytes", seen.memory_bytes);
    }
    Ok(())
}

#[test]
fn the_logic_is_a_logic_and_no_extension() -> Result<()> {
    let seen = inspect(&fs::read(component("logic")?)?)?;
    assert!(seen.is_logic && seen.hooks.is_empty() && seen.unknown_imports.is_empty());
    Ok(())
}

/// Every example has a README that names its hooks and its grants as `kenning check` does.
#[test]
fn an_examples_readme_says_which_grants_it_needs() -> Result<()> {
    for (name, hooks, grants, _) in EXAMPLES {
        let path = format!("{}/../guest/examples/{name}/README.md", env!("CARGO_MANIFEST_DIR"));
        let readme = fs::read_to_string(&path).with_context(|| path)?;
        let names = |names: Vec<&str>| match names.is_empty() {
            true => "none".to_string(),
            false => names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
        };
        let hooks = names(hooks.iter().map(|hook| hook.name()).collect());
        let grants = names(grants.iter().map(|grant| grant.name()).collect());
        let said = format!("Hooks: {hooks}. Grants: {grants}.");
        assert!(readme.contains(&said), "{name}: {said}");
    }
    Ok(())
}
