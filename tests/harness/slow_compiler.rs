//! A compiler that waits until it is told to go on.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use tempfile::TempDir;

use crate::{kenning, until};

/// A program for a server, which is the real one until `hold`. The server compiles with the program
/// of its own path; from then on, that is a script of which the first run waits for `release`.
pub struct SlowCompiler {
    directory: TempDir,
}

impl SlowCompiler {
    pub fn new() -> Result<Self> {
        let real = kenning()?;
        let beside = real.parent().unwrap_or(Path::new("."));
        // A hard link, so on the same file system: the server must not find the file behind it.
        let this = Self { directory: tempfile::tempdir_in(beside)? };
        fs::hard_link(&real, this.program())?;
        let (first, go) = (this.path("first"), this.path("go"));
        let script = format!(
            "#!/bin/sh\nif mkdir {first:?} 2>/dev/null; then\n\
             while [ ! -e {go:?} ]; do /bin/sleep 0.02; done\nfi\nexec {real:?} \"$@\"\n"
        );
        fs::write(this.path("script"), script)?;
        fs::set_permissions(this.path("script"), fs::Permissions::from_mode(0o755))?;
        Ok(this)
    }

    /// What a server is to be started with.
    pub fn program(&self) -> PathBuf {
        self.path("kenning")
    }

    /// The next compilation waits, and those after it do not.
    pub fn hold(&self) -> Result<()> {
        Ok(fs::rename(self.path("script"), self.program())?)
    }

    /// Waits until a compilation waits.
    pub async fn held(&self) -> Result<()> {
        until("a compilation begins", async || Ok(self.path("first").exists().then_some(()))).await
    }

    pub fn release(&self) -> Result<()> {
        Ok(fs::write(self.path("go"), "")?)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}
