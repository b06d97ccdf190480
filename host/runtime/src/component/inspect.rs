//! Reads a component's outline without running it: its hooks, its imports, and so the grants it
//! needs.
//!
//! The code is not validated here, and types of imports are not compared; compiling and linking
//! do that. The bytes may be anything, so for components from outside this runs in the compiler's
//! child process.

use serde::{Deserialize, Serialize};
use wasmparser::{Encoding, Parser, Payload, Validator, WasmFeatures};

use crate::component::names::{Name, is_further, is_spoken, of_contract, of_wasi};
use crate::component::parts::{Counter, Parts};

pub use crate::component::grants::Grant;
pub(crate) use crate::component::names::{PACKAGE, VERSION};

/// What a logic exports.
const LOGIC: [&str; 2] = ["facts", "search"];

/// What every guest may import without asking; `types` holds no function.
const FREE: [&str; 3] = ["budget", "log", "types"];

/// What only the logic may import, of the contract.
const LOGIC_ONLY: [&str; 2] = ["index-write", "storage-write"];

/// A further interface that only the logic may import, `wit/retrieval`.
const RETRIEVAL: (&str, &str) = ("kenning:retrieval", "retrieval");

/// Further interfaces that every guest may import without asking: `wit/context`, `wit/settings` and
/// `wit/system`.
const FREE_FURTHER: [(&str, &str); 3] = [
    ("kenning:context", "context"),
    ("kenning:settings", "settings"),
    ("kenning:system", "system"),
];

const PAGE_BYTES: u64 = 64 * 1024;

macro_rules! hooks {
    ($($module:ident: $hook:ident $package:literal, $name:literal, $world:literal,
       $bindings:ident, $pre:ident,
       $interface:ident.$call:ident($($argument:ident: $type:ty),+) fuel by $input:ident
       -> $output:ty, $on_failure:ident;)+) => {
        /// Where an extension changes what happens.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Hook {
            $(#[doc = concat!("The interface `", $name, "`.")] $hook,)+
        }

        impl Hook {
            /// All hooks, in the order of the table.
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$hook),+];

            /// The name of the interface that an extension with this hook exports.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$hook => $name,)+
                }
            }

            /// The package of that interface.
            fn package(self) -> &'static str {
                match self {
                    $(Self::$hook => $package,)+
                }
            }

            /// What happens to a call when this hook fails, unless the operator decides otherwise.
            pub fn on_failure(self) -> OnFailure {
                match self {
                    $(Self::$hook => OnFailure::$on_failure,)+
                }
            }
        }
    };
}

kenning_bindings::for_each_hook!(hooks);

impl Hook {
    /// Whether `export` is the interface that an extension with this hook exports, in a version
    /// that this host speaks.
    fn is_had_by(self, export: &str) -> bool {
        match self.package() {
            PACKAGE => of_contract(export) == Some(self.name()),
            package => is_further(export, (package, self.name())),
        }
    }

    /// What an extension exports to have it.
    pub(crate) fn interface(self) -> String {
        format!("{}/{}@0.1.0", self.package(), self.name())
    }
}

/// What happens to a call when one of its hooks fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// The call fails.
    Close,
    /// The call goes on without the hook.
    LeaveOut,
}

/// A component's outline. Lists are sorted and hold nothing twice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inspection {
    /// The hooks it exports, in a version that this host speaks.
    pub hooks: Vec<Hook>,
    /// Whether it exports all that a logic must.
    pub is_logic: bool,
    /// Everything it imports, by its full name.
    pub imports: Vec<String>,
    /// Everything it exports, by its full name.
    pub exports: Vec<String>,
    /// What an operator must grant before it can be an extension.
    pub grants_needed: Vec<Grant>,
    /// The imports that only the logic may have.
    pub logic_only_imports: Vec<String>,
    /// The imports that this host offers nobody.
    pub unknown_imports: Vec<String>,
    /// The versions of the contract that it names; one, unless it was put together
    /// from parts.
    pub wit_versions: Vec<String>,
    /// What its memories hold at the start of a call.
    pub memory_bytes: u64,
    /// What one instance takes from the instance pool.
    pub parts: Parts,
}

impl Inspection {
    /// A version of the contract that it names and this host does not speak.
    pub fn foreign_version(&self) -> Option<&str> {
        self.wit_versions.iter().map(String::as_str).find(|version| !is_spoken(version))
    }
}

/// Why bytes have no outline.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InspectError {
    /// There are no bytes.
    #[error("the file is empty")]
    Empty,
    /// The magic number is missing.
    #[error("this is not WebAssembly: a component begins with the bytes 00 61 73 6d")]
    NotWebAssembly,
    /// A module without the component format around it.
    #[error(
        "this is a core module, not a component; build it for wasm32-wasip2, or wrap it with \
         `wasm-tools component new`"
    )]
    CoreModule,
    /// The parser's reason.
    #[error("this component is damaged: {0}")]
    Malformed(String),
}

/// The outline of the component in `bytes`.
///
/// # Errors
/// When the bytes are not a well-formed component.
pub fn inspect(bytes: &[u8]) -> Result<Inspection, InspectError> {
    if bytes.is_empty() {
        return Err(InspectError::Empty);
    }
    if !bytes.starts_with(b"\0asm") {
        return Err(InspectError::NotWebAssembly);
    }
    if Parser::is_core_wasm(bytes) {
        return Err(InspectError::CoreModule);
    }
    outline(bytes).map_err(|error| InspectError::Malformed(error.to_string()))
}

fn outline(bytes: &[u8]) -> wasmparser::Result<Inspection> {
    // What is well formed and yet beyond this host is refused when it is compiled.
    let mut validator = Validator::new_with_features(WasmFeatures::all());
    let mut nesting: Vec<Encoding> = Vec::new();
    let mut seen = Inspection::default();
    let mut counter = Counter::default();
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload?;
        // A function is answered with its validation still to be done, which is left.
        validator.payload(&payload)?;
        if let Some(parts) = counter.read(&payload)? {
            seen.parts = parts;
        }
        match payload {
            Payload::Version { encoding, .. } => nesting.push(encoding),
            Payload::End(_) => drop(nesting.pop()),
            Payload::ComponentImportSection(section) if nesting.len() == 1 => {
                for import in section {
                    seen.imports.push(import?.name.name.to_string());
                }
            }
            Payload::ComponentExportSection(section) if nesting.len() == 1 => {
                for export in section {
                    seen.exports.push(export?.name.name.to_string());
                }
            }
            Payload::MemorySection(section) => {
                for memory in section {
                    let initial = memory?.initial.saturating_mul(PAGE_BYTES);
                    seen.memory_bytes = seen.memory_bytes.saturating_add(initial);
                }
            }
            _ => {}
        }
    }
    Ok(judged(seen))
}

/// What follows from the names of imports and exports.
fn judged(mut seen: Inspection) -> Inspection {
    sort(&mut seen.imports);
    sort(&mut seen.exports);
    let exports: Vec<&str> = seen.exports.iter().filter_map(|name| of_contract(name)).collect();
    let has = |hook: &Hook| seen.exports.iter().any(|export| hook.is_had_by(export));
    seen.hooks = Hook::ALL.into_iter().filter(has).collect();
    seen.is_logic = LOGIC.iter().all(|name| exports.contains(name));
    for import in &seen.imports {
        if let Some(grant) = Grant::ALL.into_iter().find(|grant| grant.opens(import)) {
            seen.grants_needed.push(grant);
            continue;
        }
        match of_contract(import) {
            Some(name) if FREE.contains(&name) => {}
            Some(name) if LOGIC_ONLY.contains(&name) => {
                seen.logic_only_imports.push(import.clone());
            }
            Some(_) => seen.unknown_imports.push(import.clone()),
            None if of_wasi(import) => {}
            None if FREE_FURTHER.into_iter().any(|free| is_further(import, free)) => {}
            None if is_further(import, RETRIEVAL) => seen.logic_only_imports.push(import.clone()),
            None => seen.unknown_imports.push(import.clone()),
        }
    }
    sort(&mut seen.grants_needed);
    let names = seen.imports.iter().chain(&seen.exports).filter_map(|name| Name::parse(name));
    let versions = names.filter(|name| name.package == PACKAGE).map(|name| name.version.into());
    seen.wit_versions = versions.collect();
    sort(&mut seen.wit_versions);
    seen
}

fn sort<T: Ord>(items: &mut Vec<T>) {
    items.sort_unstable();
    items.dedup();
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTRACT: &str = "kenning:knowledge";

    /// A component that imports and exports empty interfaces of these names.
    fn component(imports: &[&str], exports: &[&str]) -> Vec<u8> {
        let import = |name: &&str| format!("(import \"{name}\" (instance))");
        let export = |name: &&str| format!("(export \"{name}\" (instance $empty))");
        let imports: String = imports.iter().map(import).collect();
        let exports: String = exports.iter().map(export).collect();
        let module = "(core module (memory 3) (func (drop (i32.const 1))))";
        let text = format!("(component {imports} {module} (instance $empty) {exports})");
        wat::parse_str(text).unwrap()
    }

    fn inspected(imports: &[&str], exports: &[&str]) -> Inspection {
        inspect(&component(imports, exports)).unwrap()
    }

    #[test]
    fn an_extension_shows_its_hooks_and_the_grants_it_needs() {
        let imports =
            ["log", "types", "index", "embedding"].map(|name| format!("{CONTRACT}/{name}@0.1.0"));
        let imports: Vec<&str> = imports.iter().map(String::as_str).collect();
        let exports = ["kenning:knowledge/rerank@0.1.0", "kenning:knowledge/on-store@0.1.7"];
        let seen = inspected(&imports, &exports);
        assert_eq!(seen.hooks, [Hook::OnStore, Hook::Rerank]);
        assert_eq!(seen.grants_needed, [Grant::Embedding, Grant::Index]);
        assert_eq!(seen.wit_versions, ["0.1.0", "0.1.7"]);
        assert_eq!((seen.imports.len(), seen.exports.len(), seen.is_logic), (4, 2, false));
        assert!(seen.unknown_imports.is_empty() && seen.logic_only_imports.is_empty());
        assert_eq!(seen.memory_bytes, 3 * PAGE_BYTES);
    }

    #[test]
    fn a_logic_exports_both_of_its_interfaces() {
        let (facts, search) = ("kenning:knowledge/facts@0.1.0", "kenning:knowledge/search@0.1.0");
        let writing = "kenning:knowledge/storage-write@0.1.0";
        let retrieving = "kenning:retrieval/retrieval@0.1.0";
        let logic = inspected(&[retrieving, writing], &[facts, search]);
        assert!(logic.is_logic && logic.hooks.is_empty());
        assert_eq!(logic.logic_only_imports, [writing, retrieving]);
        assert!(logic.unknown_imports.is_empty() && logic.foreign_version().is_none());
        let later = "kenning:retrieval/retrieval@0.2.0";
        assert_eq!(inspected(&[later], &[facts, search]).unknown_imports, [later]);
        assert!(!inspected(&[], &[facts]).is_logic);
    }

    #[test]
    fn the_context_of_a_call_and_settings_need_no_grant() {
        let free = ["kenning:context/context@0.1.3", "kenning:settings/settings@0.1.0"];
        let seen = inspected(&free, &["kenning:knowledge/on-read@0.1.0"]);
        assert!(seen.grants_needed.is_empty() && seen.unknown_imports.is_empty());
        assert!(seen.logic_only_imports.is_empty());
    }

    #[test]
    fn state_needs_its_grant_and_hooks_may_be_of_the_package_of_events() {
        let exports = ["kenning:events/on-change@0.1.0", "kenning:events/on-delete@0.1.3"];
        let seen = inspected(&["kenning:state/state@0.1.0"], &exports);
        assert_eq!(seen.grants_needed, [Grant::State]);
        assert_eq!(seen.hooks, [Hook::OnDelete, Hook::OnChange]);
        assert!(seen.unknown_imports.is_empty() && seen.logic_only_imports.is_empty());
        let others = ["kenning:knowledge/on-delete@0.1.0", "kenning:events/on-store@0.1.0"];
        let seen = inspected(&["kenning:knowledge/state@0.1.0"], &others);
        assert_eq!(seen.unknown_imports, ["kenning:knowledge/state@0.1.0"]);
        assert!(seen.grants_needed.is_empty() && seen.hooks.is_empty());
    }

    #[test]
    fn requests_over_http_need_one_grant_whatever_they_import() {
        let imports = ["wasi:http/outgoing-handler@0.2.0", "wasi:http/types@0.2.12"];
        let seen = inspected(&imports, &["kenning:knowledge/on-query@0.1.0"]);
        assert_eq!(seen.grants_needed, [Grant::Http]);
        assert!(seen.unknown_imports.is_empty());
    }

    #[test]
    fn what_is_not_offered_is_an_unknown_import() {
        let unknown = [
            "kenning:context/context@0.2.0",
            "kenning:context/contexts@0.1.0",
            "kenning:knowledge/log@0.2.0",
            "kenning:knowledge/secrets@0.1.0",
            "kenning:knowledges/log@0.1.0",
            "wasi:cli/environment@0.3.0",
            "wasi:http/incoming-handler@0.2.0",
            "wasi:http/types@0.3.0",
            "wasi:keyvalue/store@0.2.0",
        ];
        let offered = ["wasi:cli/environment@0.2.6", "wasi:io/streams@0.2.0"];
        let seen = inspected(&[&unknown[..], &offered].concat(), &[]);
        assert_eq!(seen.unknown_imports, unknown);
        assert_eq!(seen.imports.len(), unknown.len() + offered.len());
    }

    #[test]
    fn a_hook_of_another_version_is_no_hook() {
        for name in ["kenning:knowledge/on-store@0.2.0", "kenning:knowledge/on-store@1.1.0"] {
            let seen = inspected(&[], &[name]);
            assert!(seen.hooks.is_empty(), "{name}");
            assert_eq!(seen.exports, [name]);
        }
    }

    #[test]
    fn a_version_that_this_host_does_not_speak_is_named() {
        let ours = format!("{PACKAGE}/facts@{VERSION}");
        assert_eq!(inspected(&[], &[&ours]).foreign_version(), None);
        for version in ["0.0.9", "0.2.0", "1.0.0"] {
            let name = format!("{PACKAGE}/log@{version}");
            assert_eq!(inspected(&[&name], &[&ours]).foreign_version(), Some(version));
        }
        let contract = include_str!("../../../../wit/world.wit");
        assert!(contract.contains(&format!("package {PACKAGE}@{VERSION};")));
    }

    #[test]
    fn what_a_component_holds_inside_is_not_its_own() {
        let inner = "(component (import \"kenning:knowledge/storage@0.1.0\" (instance)))";
        let seen = inspect(&wat::parse_str(format!("(component {inner})")).unwrap()).unwrap();
        assert_eq!(seen, Inspection::default());
    }

    #[test]
    fn what_is_no_component_is_named() {
        assert_eq!(inspect(b""), Err(InspectError::Empty));
        assert_eq!(inspect(b"#!/bin/sh"), Err(InspectError::NotWebAssembly));
        let module = wat::parse_str("(module (memory 1))").unwrap();
        assert_eq!(inspect(&module), Err(InspectError::CoreModule));
        let whole = component(&["kenning:knowledge/log@0.1.0"], &[]);
        for damaged in
            [&whole[..whole.len() - 1], &whole[..9], b"\0asm", &[&whole[..], b"x"].concat()]
        {
            assert!(matches!(inspect(damaged), Err(InspectError::Malformed(_))), "{damaged:?}");
        }
    }

    #[test]
    fn no_damage_makes_it_panic() {
        let whole =
            component(&["kenning:knowledge/log@0.1.0"], &["kenning:knowledge/rerank@0.1.0"]);
        for at in 8..whole.len() {
            for value in 0..=u8::MAX {
                let mut damaged = whole.clone();
                damaged[at] = value;
                let _ = inspect(&damaged);
            }
        }
    }
}
