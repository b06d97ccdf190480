//! Locates the model for tests and benchmarks.

use std::env;
use std::path::PathBuf;

const CACHED: &str = "kenning/models/all-MiniLM-L6-v2/53aa51172d14";

/// `$KENNING_MODEL_DIR`, or else the cache directory into which `make model` downloads the model.
pub(crate) fn model_directory() -> PathBuf {
    let directory = match env::var_os("KENNING_MODEL_DIR") {
        Some(directory) => PathBuf::from(directory),
        None => cache().join(CACHED),
    };
    assert!(
        directory.join("model.safetensors").is_file(),
        "no model in {}: run `make model`",
        directory.display()
    );
    directory
}

fn cache() -> PathBuf {
    let home = || PathBuf::from(env::var_os("HOME").expect("HOME is set")).join(".cache");
    env::var_os("XDG_CACHE_HOME").map_or_else(home, PathBuf::from)
}
