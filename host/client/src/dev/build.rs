//! Runs `make` and reads the component that it produces.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use crate::Error;

/// Builds a project and returns its component. The output of `make` goes to standard error.
///
/// # Errors
/// [`Error::Usage`] if the build fails or does not produce exactly one component,
/// [`Error::Input`] if `make` cannot be started or the component cannot be read.
pub(super) async fn build(root: &Path) -> Result<Vec<u8>, Error> {
    let built = Command::new("make")
        .current_dir(root)
        // Options of an outer `make` must not apply.
        .env_remove("MAKEFLAGS")
        .env_remove("MAKELEVEL")
        .stdin(Stdio::null())
        // Standard output is for the output of this command.
        .stdout(std::io::stderr())
        .kill_on_drop(true)
        .status()
        .await
        .map_err(|cause| Error::Input { what: "the output of `make`".into(), cause })?;
    if !built.success() {
        return Err(Error::Usage(format!("the build failed: `make` exited with {built}")));
    }
    let component = component(root)?;
    fs::read(&component)
        .map_err(|cause| Error::Input { what: component.display().to_string(), cause })
}

/// The only component in the project's directory.
fn component(root: &Path) -> Result<PathBuf, Error> {
    let unreadable = |cause| Error::Input { what: root.display().to_string(), cause };
    let mut found = Vec::new();
    for entry in fs::read_dir(root).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == "wasm") {
            found.push(path);
        }
    }
    match found.len() {
        1 => Ok(found.remove(0)),
        count => Err(Error::Usage(format!(
            "`make` must produce exactly one .wasm file in {}, but there are {count}",
            root.display()
        ))),
    }
}
