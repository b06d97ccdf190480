//! `[secrets]` in `kenning.toml`: where the secret of an extension is. The file names the places
//! only, so that it can be kept with other files.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use kenning_runtime::{SECRET_BYTES, Secret, Secrets};
use kenning_storage::TenantId;

/// Reads the secrets from their places. `"TENANT/EXTENSION/NAME"` names one, and its place is
/// `env:VARIABLE` or `file:PATH`; a newline at the end is not part of a secret.
///
/// # Errors
/// When a name or a place is wrong, or a secret is missing or too short. No error repeats a secret.
pub(super) fn read(places: &BTreeMap<String, String>) -> anyhow::Result<Secrets> {
    let mut secrets = Secrets::default();
    for (name, place) in places {
        let (tenant, extension, secret) = parts(name)?;
        let text = text(place).with_context(|| format!("[secrets]: {name:?}"))?;
        let line = text.strip_suffix('\n').unwrap_or(&text);
        let line = line.strip_suffix('\r').unwrap_or(line);
        let text = Secret::new(line.to_owned()).with_context(|| {
            format!("[secrets]: {name:?} at {place} has fewer than {SECRET_BYTES} bytes")
        })?;
        secrets.add(tenant, extension, secret, text);
    }
    Ok(secrets)
}

fn parts(name: &str) -> anyhow::Result<(TenantId, &str, &str)> {
    let parts: Vec<&str> = name.split('/').collect();
    match parts[..] {
        [tenant, extension, secret] if !extension.is_empty() && !secret.is_empty() => {
            let tenant = TenantId::parse(tenant).with_context(|| format!("[secrets]: {name:?}"))?;
            Ok((tenant, extension, secret))
        }
        _ => bail!("[secrets]: {name:?} must be \"TENANT/EXTENSION/NAME\""),
    }
}

fn text(place: &str) -> anyhow::Result<String> {
    match place.split_once(':') {
        Some(("env", variable)) => match std::env::var(variable) {
            Ok(text) => Ok(text),
            Err(std::env::VarError::NotPresent) => bail!("the variable {variable} is not set"),
            Err(_) => bail!("the variable {variable} is not UTF-8"),
        },
        Some(("file", path)) => {
            std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))
        }
        _ => bail!("its place must be env:VARIABLE or file:PATH"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(name: &str, place: &str) -> String {
        let places = BTreeMap::from([(name.to_owned(), place.to_owned())]);
        format!("{:#}", read(&places).unwrap_err())
    }

    #[test]
    fn a_wrong_name_place_or_secret_is_named_and_no_secret_is_shown() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("short");
        std::fs::write(&file, "hush\n").unwrap();
        let place = format!("file:{}", file.display());
        assert!(error("acme/one", "env:X").contains("TENANT/EXTENSION/NAME"));
        assert!(error("a b/one/key", "env:X").contains("\"a b/one/key\""));
        assert!(error("acme/one/key", "env:NO_SUCH_VARIABLE").contains("is not set"));
        assert!(error("acme/one/key", "file:/no/such/file").contains("/no/such/file"));
        assert!(error("acme/one/key", "hunter22-hunter22").contains("env:VARIABLE or file:PATH"));
        let short = error("acme/one/key", &place);
        assert!(short.contains("fewer than 8 bytes") && !short.contains("hush"), "{short}");
        std::fs::write(&file, "long enough\n").unwrap();
        read(&BTreeMap::from([("acme/one/key".to_owned(), place)])).unwrap();
    }
}
