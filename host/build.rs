//! Finds the logic's component, which is built before the host and built into it.

use std::env;
use std::path::PathBuf;

const VARIABLE: &str = "KENNING_LOGIC_COMPONENT";

fn main() {
    let built = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo sets this"))
        .join("../target/components/logic.wasm");
    let component = env::var_os(VARIABLE).map_or(built, PathBuf::from);
    println!("cargo:rerun-if-env-changed={VARIABLE}");
    println!("cargo:rerun-if-changed={}", component.display());
    let component = component.canonicalize().unwrap_or_else(|_| {
        panic!("{} is not there: run `make components` first", component.display())
    });
    println!("cargo:rustc-env={VARIABLE}={}", component.display());
}
