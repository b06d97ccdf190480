//! `make`, and the component that it leaves.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use crate::Error;

/// Builds a project and gives its component. What `make` and the compiler say goes where
/// this process's own words go.
pub(super) async fn build(root: &Path) -> Result<Vec<u8>, Error> {
    let built = Command::new("make")
        .current_dir(root)
        // A `make` around this one has nothing to say in it.
        .env_remove("MAKEFLAGS")
        .env_remove("MAKELEVEL")
        .stdin(Stdio::null())
        // Standard output is for what this command says.
        .stdout(std::io::stderr())
        .kill_on_drop(true)
        .status()
        .await
        .map_err(|cause| Error::Input { what: "what `make` builds".into(), cause })?;
    if !built.success() {
        return Err(Error::Usage(format!("the build failed: `make` ended with {built}")));
    }
    let component = component(root)?;
    fs::read(&component)
        .map_err(|cause| Error::Input { what: component.display().to_string(), cause })
}

/// The one component in the project's folder.
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
            "`make` must leave one .wasm in {}, and there are {count}",
            root.display()
        ))),
    }
}
