//! Checks of what the settings name: files, directories, addresses. Nothing is left behind.

use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use kenning_client::sanitize;
use kenning_embedder::EmbedderChoice;
use kenning_runtime::compiler;
use kenning_runtime::inspect::inspect;
use kenning_tenants::Tokens;
use rustix::fs::{Access, access};

use super::{Config, Settings};
use crate::tls::Tls;

/// Checks everything that a start needs and that can be checked without one, for
/// `kenning serve --check-config`. Must be called within a tokio runtime.
///
/// # Errors
/// Names the setting that is wrong.
pub async fn check(config: &Config) -> anyhow::Result<()> {
    config.check_directories()?;
    usable_directory(&config.data_dir)
        .with_context(|| format!("--data-dir {}", config.data_dir.display()))?;
    kenning_storage::check(&config.storage, config.layout.into(), &config.storage_tls).await?;
    if let Some(files) = &config.tls {
        Tls::open(files.clone())?;
    }
    if let Some(settings) = config.tokens.clone().filter(|tokens| !tokens.jwks.is_remote()) {
        let keys = Tokens::new(settings).map_err(anyhow::Error::msg)?;
        keys.load().await.map_err(anyhow::Error::msg).context("--jwt-jwks")?;
    }
    if config.embedder == EmbedderChoice::Local {
        kenning_model::locate(config.model_dir.as_deref())?;
    }
    if let Some(path) = &config.logic {
        check_logic(path, config).with_context(|| format!("--logic {}", path.display()))?;
    }
    Ok(())
}

impl Config {
    /// Refuses directories that the settings name and that must exist already.
    ///
    /// # Errors
    /// Names the setting and the directory.
    pub fn check_directories(&self) -> anyhow::Result<()> {
        if let Some(directory) = &self.model_dir {
            ensure!(
                directory.is_dir(),
                "--model-dir {}: there is no such directory",
                directory.display()
            );
        }
        Ok(())
    }
}

/// What would be served, for people. No secret is in it.
impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = match &self.admin_keys {
            None => "none: open to this machine".to_owned(),
            Some(keys) if keys.count() == 1 => "required".to_owned(),
            Some(keys) => format!("required, with {} admin keys", keys.count()),
        };
        let jwt = self.tokens.as_ref().map(|tokens| format!("{}, {}", tokens.issuer, tokens.jwks));
        let otlp = self.otlp.as_ref().map(|otlp| without_password(otlp.endpoint.as_str()));
        let embedder = match &self.embedder {
            EmbedderChoice::Local => "local",
            EmbedderChoice::Hash => "hash",
            EmbedderChoice::Remote { .. } => "remote",
        };
        let tls = self.tls.as_ref().map(|files| files.certificate.display().to_string());
        let tls = tls.unwrap_or_else(|| "none: plain HTTP".to_owned());
        let rows = [
            ("listen", self.listen.to_string()),
            ("tls", tls),
            ("storage", without_password(&self.storage)),
            ("data-dir", self.data_dir.display().to_string()),
            ("embedder", embedder.to_owned()),
            ("log", self.log.clone()),
            ("keys", keys),
            ("jwt", jwt.unwrap_or_else(|| "none".to_owned())),
            ("otlp", otlp.unwrap_or_else(|| "none".to_owned())),
        ];
        rows.iter().try_for_each(|(name, value)| writeln!(f, "{name:9} {}", sanitize(value)))
    }
}

/// An address without the user and password before its `@`, and without what follows a `?`, where
/// there may be others.
pub(super) fn without_password(address: &str) -> String {
    let address = address.split('?').next().unwrap_or_default();
    match (address.split_once("://"), address.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{host}"),
        _ => address.to_owned(),
    }
}

pub(crate) fn check_logic(path: &Path, config: &Config) -> anyhow::Result<()> {
    let bytes = compiler::read(path, &config.limits)?;
    ensure!(inspect(&bytes)?.is_logic, "this component is no logic");
    Ok(())
}

/// The directory must be writable. One that does not exist is made and removed again: a path may
/// be too long, or in a file system that takes no directories, though its parent seems writable.
pub(crate) fn usable_directory(directory: &Path) -> anyhow::Result<()> {
    let absolute = std::path::absolute(directory)?;
    let is_missing = |path: &&Path| fs::symlink_metadata(path).is_err();
    let missing: Vec<&Path> = absolute.ancestors().take_while(is_missing).collect();
    let existing = absolute.ancestors().nth(missing.len());
    let existing = existing.context("no part of this path exists")?;
    ensure!(existing.is_dir(), "{} is not a directory", existing.display());
    access(existing, Access::WRITE_OK | Access::EXEC_OK)
        .with_context(|| format!("cannot write to {}", existing.display()))?;
    let mut made = Vec::new();
    let result =
        missing.iter().rev().try_for_each(|path| fs::create_dir(path).map(|()| made.push(path)));
    for path in made.into_iter().rev() {
        fs::remove_dir(path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    result.with_context(|| format!("cannot create {}", absolute.display()))
}

/// Refuses empty values of the file, which would be read as values.
pub(super) fn no_empty_values(path: &Path, text: &str) -> anyhow::Result<()> {
    // What is no TOML is reported by who reads it.
    for (name, value) in text.parse::<toml::Table>().unwrap_or_default() {
        if value.as_str().is_some_and(|value| value.trim().is_empty()) {
            bail!("in {}: {name} is empty; give it a value or leave it out", path.display());
        }
    }
    Ok(())
}

/// A warning if the file at `path` holds a secret and other users can read it.
pub(super) fn exposed(path: &Path, file: &Settings) -> Option<String> {
    let has_password = |address: &String| address.contains('@') || address.contains("pass");
    let holds_secret = file.admin_key.is_some()
        || file.storage.as_ref().is_some_and(has_password)
        || file.embedder.as_ref().is_some_and(has_password)
        || file.otlp.endpoint.as_ref().is_some_and(has_password);
    let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o777;
    (holds_secret && mode & 0o077 != 0).then(|| {
        format!(
            "{} holds a secret and other users can read it (mode {mode:03o}): chmod 600 {0}",
            path.display()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_usable_only_if_it_can_be_made() {
        let parent = tempfile::tempdir().unwrap();
        let wanted = parent.path().join("a/b/c");
        usable_directory(&wanted).unwrap();
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0, "nothing is left");
        let too_long = parent.path().join("a").join("n".repeat(300));
        usable_directory(&too_long).unwrap_err();
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0, "nothing is left");
        // Even root, whom the parent's mode does not stop, can make no directory here.
        usable_directory(Path::new("/proc/kenning")).unwrap_err();
        std::os::unix::fs::symlink("nowhere", parent.path().join("link")).unwrap();
        usable_directory(&parent.path().join("link")).unwrap_err();
    }
}
