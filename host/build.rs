//! Finds the logic's component, so that `serve.rs` can include it in the binary.
//!
//! `make logic` builds it. Where it is missing, an empty file takes its place: the host still
//! compiles, and `kenning serve` says what to do.

use std::env;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

const VARIABLE: &str = "KENNING_LOGIC_COMPONENT";

fn main() {
    println!("cargo:rerun-if-env-changed={VARIABLE}");
    let component = env::var_os(VARIABLE).map_or_else(built_or_empty, |path| named(path.as_ref()));
    println!("cargo:rustc-env={VARIABLE}={}", component.display());
}

/// The component that the variable names. It must exist: whoever sets the variable wants that one.
fn named(path: &Path) -> PathBuf {
    println!("cargo:rerun-if-changed={}", path.display());
    path.canonicalize().unwrap_or_else(|error| panic!("{VARIABLE}={}: {error}", path.display()))
}

fn built_or_empty() -> PathBuf {
    let folder = from_cargo("CARGO_MANIFEST_DIR").join("../target/components");
    let component = folder.join("logic.wasm");
    match component.canonicalize() {
        Ok(component) => {
            println!("cargo:rerun-if-changed={}", component.display());
            component
        }
        Err(_) => empty(&folder),
    }
}

/// Watches the folder rather than the file: Cargo takes a missing file for a changed one and would
/// compile the host again each time.
fn empty(folder: &Path) -> PathBuf {
    if exists_or_made(folder).is_ok() {
        println!("cargo:rerun-if-changed={}", folder.display());
    }
    let empty = from_cargo("OUT_DIR").join("no-logic.wasm");
    fs::write(&empty, b"").expect("Cargo makes OUT_DIR writable");
    empty
}

/// A folder made here gets an old date: Cargo takes what is younger than this run for changed.
fn exists_or_made(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(folder)?;
    File::open(folder)?.set_modified(UNIX_EPOCH)
}

fn from_cargo(variable: &str) -> PathBuf {
    env::var_os(variable).map(PathBuf::from).expect("Cargo sets this variable")
}
