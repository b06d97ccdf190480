//! Generates the bindings of the SDK, as `wit_bindgen::generate!` would, into files. A project then
//! need not compile the generator, which takes most of the SDK's compile time.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use wit_bindgen_core::wit_parser::{Resolve, UnresolvedPackageGroup};
use wit_bindgen_core::{Files, WorldGenerator};
use wit_bindgen_rust::{Opts, WithOption};

/// Files of the SDK's adapter that are not a hook's bindings.
const OTHERS: [&str; 9] =
    ["context", "convert", "http", "imports", "options", "schema", "settings", "state", "world"];

/// Modules of the SDK's adapter for an interface of a further package: its folder in `wit/`, and
/// the world that imports or exports it.
const FURTHER: [(&str, &str, &str); 5] = [
    ("context", "context", "asked"),
    ("options", "options", "options-described"),
    ("settings", "settings", "configured"),
    ("schema", "settings", "described"),
    ("state", "state", "stateful"),
];

const TYPES: (&str, &str) =
    ("kenning:knowledge/types@0.1.0", "crate::component::world::kenning::knowledge::types");

fn main() {
    let contract = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit");
    let output = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets this"));
    println!("cargo:rerun-if-changed={}", contract.display());
    let options = Opts { generate_unused_types: true, format: true, ..Opts::default() };
    write(&output, "world", generated(&contract, None, "extension", options));
    let mut modules = vec!["world".to_string()];
    for (module, folder, world) in FURTHER {
        let package = UnresolvedPackageGroup::parse_dir(contract.join(folder));
        let package = package.expect("a further package is valid WIT");
        let options = match folder {
            "context" | "state" => on_types(),
            _ => Opts { pub_export_macro: true, format: true, ..Opts::default() },
        };
        write(&output, module, generated(&contract, Some(package), world, options));
        modules.push(module.to_string());
    }
    for module in hooks() {
        let hook = module.replace('_', "-");
        let world = format!("{hook}-only");
        let events = EVENTS.contains(&&*module);
        let package = if events { "events" } else { "knowledge" };
        let text = format!(
            "package kenning:hooks;\nworld {world} {{ export kenning:{package}/{hook}@0.1.0; }}\n"
        );
        let package = UnresolvedPackageGroup::parse("hooks.wit", &text);
        let package = package.expect("the world is valid WIT");
        let options = Opts { pub_export_macro: true, ..on_types() };
        let events = events.then(|| UnresolvedPackageGroup::parse_dir(contract.join("events")));
        let events = events.map(|events| events.expect("a further package is valid WIT"));
        let groups = events.into_iter().chain([package]);
        write(&output, &module, generated(&contract, groups, &world, options));
        modules.push(module);
    }
    let row = |module: &String| {
        let text = format!("include_str!(concat!(env!(\"OUT_DIR\"), \"/{module}.rs\"))");
        format!("(\"src/component/{module}.rs\", {text}),")
    };
    let rows: String = modules.iter().map(row).collect();
    write(&output, "generated", format!("&[{rows}]").into_bytes());
}

/// The modules of the hooks' bindings in the SDK: one file each.
fn hooks() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guest/sdk/src/component");
    println!("cargo:rerun-if-changed={}", folder.display());
    let files = fs::read_dir(folder).expect("the SDK is in this repository");
    let names = files.map(|file| file.expect("the folder can be read").path());
    let names = names.filter_map(|path| Some(path.file_stem()?.to_str()?.to_string()));
    let mut hooks: Vec<String> = names.filter(|name| !OTHERS.contains(&&**name)).collect();
    hooks.sort();
    hooks
}

/// The modules of the hooks whose interfaces are in the package `kenning:events`.
const EVENTS: [&str; 2] = ["on_change", "on_delete"];

/// For bindings that have their types from `world`.
fn on_types() -> Opts {
    let (interface, path) = TYPES;
    let with = vec![(interface.into(), WithOption::Path(path.into()))];
    Opts { with, format: true, ..Opts::default() }
}

fn generated(
    contract: &Path,
    further: impl IntoIterator<Item = UnresolvedPackageGroup>,
    world: &str,
    options: Opts,
) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let (mut package, _) = resolve.push_dir(contract).expect("the contract is valid WIT");
    for group in further {
        package = resolve.push_group(group).expect("the world matches the contract");
    }
    let world = resolve.select_world(&[package], Some(world)).expect("the world exists");
    let mut files = Files::default();
    options.build().generate(&mut resolve, world, &mut files).expect("bindings can be generated");
    let (_, source) = files.iter().next().expect("one file is generated");
    source.to_vec()
}

fn write(output: &Path, module: &str, source: Vec<u8>) {
    let path = output.join(module).with_extension("rs");
    fs::write(&path, source).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
