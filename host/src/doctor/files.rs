//! The data directory, the model, the logic, the cache, the certificate.

use std::fs::{self, Metadata};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::SystemTime;

use kenning_embedder::EmbedderChoice;
use rustix::fs::statvfs;
use rustix::process::geteuid;

use super::Finding;
use crate::config::{Config, check_logic, usable_directory};
use crate::tls::Tls;

const MIB: u64 = 1024 * 1024;

/// Free space below which the disk is soon full, and below which it is as good as full.
const LITTLE: u64 = 1024 * MIB;
const NONE: u64 = 64 * MIB;

/// Whether others than the owner may read or enter what has this mode.
fn is_open(found: &Metadata) -> bool {
    found.permissions().mode() & 0o077 != 0
}

pub(super) fn data_directory(config: &Config, findings: &mut Vec<Finding>) {
    const CHECK: &str = "data-dir";
    let directory = &config.data_dir;
    let name = directory.display();
    if let Err(error) = usable_directory(directory) {
        let advice = "name another with --data-dir, or let this user write there";
        findings.push(Finding::problem(CHECK, format!("{name}: {error:#}"), advice));
        return;
    }
    match fs::metadata(directory) {
        Err(_) => findings.push(Finding::ok(CHECK, format!("{name} will be made"))),
        Ok(found) if found.uid() != geteuid().as_raw() => {
            let (owner, user) = (found.uid(), geteuid().as_raw());
            let message = format!("{name} belongs to user {owner}, and this is user {user}");
            findings.push(Finding::warn(CHECK, message, "examine it as the user who serves"));
        }
        Ok(found) if is_open(&found) => {
            let mode = found.permissions().mode() & 0o777;
            let message = format!("other users can look into {name} (mode {mode:03o})");
            findings.push(Finding::warn(CHECK, message, format!("chmod 700 {name}")));
        }
        Ok(_) => findings.push(Finding::ok(CHECK, format!("{name} is private and writable"))),
    }
    space(directory, findings);
}

fn space(directory: &Path, findings: &mut Vec<Finding>) {
    const CHECK: &str = "space";
    let existing = directory.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    let Ok(disk) = statvfs(existing) else {
        findings.push(Finding::warn(CHECK, "the disk does not say how much is free", ""));
        return;
    };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let message = format!("{} MiB are free for {}", free / MIB, directory.display());
    let advice = "make room: when the disk is full, writes are refused";
    findings.push(match free {
        NONE.. if free >= LITTLE => Finding::ok(CHECK, message),
        NONE.. => Finding::warn(CHECK, message, advice),
        _ => Finding::problem(CHECK, message, advice),
    });
    if disk.f_files > 0 && disk.f_favail == 0 {
        let message = format!("no file can be made for {}", directory.display());
        findings.push(Finding::problem(CHECK, message, "delete files: the inodes are used up"));
    }
}

/// Hashes the model's files, which takes a few tenths of a second.
pub(super) async fn model(config: &Config, findings: &mut Vec<Finding>) {
    const CHECK: &str = "model";
    if config.embedder != EmbedderChoice::Local {
        return;
    }
    let directory = config.model_dir.clone();
    let verified =
        tokio::task::spawn_blocking(move || kenning_model::verify(directory.as_deref())).await;
    findings.push(match verified {
        Ok(Ok(found)) => Finding::ok(CHECK, format!("verified in {}", found.display())),
        Ok(Err(error)) => Finding::problem(CHECK, error.to_string(), "run kenning model pull"),
        Err(_) => Finding::problem(CHECK, "the files could not be read to the end", ""),
    });
}

pub(super) fn logic(config: &Config, findings: &mut Vec<Finding>) {
    const CHECK: &str = "logic";
    let Some(path) = &config.logic else {
        findings.push(match crate::serve::has_logic() {
            true => Finding::ok(CHECK, "built in"),
            false => Finding::problem(
                CHECK,
                "this binary was built without the logic",
                "run make logic and build again, or name a component with --logic",
            ),
        });
        return;
    };
    let name = path.display();
    findings.push(match check_logic(path, config) {
        Ok(()) => Finding::ok(CHECK, format!("{name} is a logic")),
        Err(error) => {
            let advice = format!("see kenning check {name}");
            Finding::problem(CHECK, format!("--logic {name}: {error:#}"), advice)
        }
    });
}

/// The compiled components, and the key that vouches for them.
pub(super) fn cache(config: &Config, findings: &mut Vec<Finding>) {
    const CHECK: &str = "cache";
    let folder = config.data_dir.join("components");
    let key = config.data_dir.join("components.key");
    let Ok(entries) = fs::read_dir(&folder) else {
        findings.push(Finding::ok(CHECK, "no compiled components yet"));
        return;
    };
    let sizes = entries.flatten().filter_map(|entry| Some(entry.metadata().ok()?.len()));
    let (count, bytes) = sizes.fold((0, 0), |(count, bytes), size| (count + 1, bytes + size));
    let message = format!("{count} compiled components, {} MiB", bytes / MIB);
    findings.push(match fs::metadata(&key) {
        Ok(found) if is_open(&found) => Finding::warn(
            CHECK,
            format!("other users can read {}, so nothing is taken from the cache", key.display()),
            format!("chmod 600 {}", key.display()),
        ),
        _ => Finding::ok(CHECK, message),
    });
}

pub(super) fn certificate(config: &Config, findings: &mut Vec<Finding>) {
    const CHECK: &str = "tls";
    let Some(files) = &config.tls else { return };
    let name = files.certificate.display();
    let tls = match Tls::open(files.clone()) {
        Ok(tls) => tls,
        Err(error) => {
            findings.push(Finding::problem(CHECK, format!("{error:#}"), "correct the files"));
            return;
        }
    };
    let validity = tls.validity();
    let now = SystemTime::now();
    let message = |warning: String| format!("the certificate in {name} {warning}");
    findings.push(match validity.warning(now) {
        Some(warning) if validity.is_valid(now) => Finding::warn(
            CHECK,
            message(warning),
            "renew it; the files are read again by themselves",
        ),
        Some(warning) => Finding::problem(CHECK, message(warning), "renew it"),
        None => Finding::ok(CHECK, format!("{name} is valid until {}", validity.expires())),
    });
    if let Some(warning) = files.exposed() {
        findings.push(Finding::warn(CHECK, warning, ""));
    }
}

#[cfg(test)]
mod tests {
    use super::super::{State, worst};
    use super::*;
    use crate::config::Settings;

    fn config(data_dir: &Path) -> Config {
        let flags = Settings {
            data_dir: Some(data_dir.to_owned()),
            embedder: Some("hash".into()),
            ..Settings::default()
        };
        Config::load(flags, None).unwrap()
    }

    fn found(check: impl Fn(&Config, &mut Vec<Finding>), config: &Config) -> Vec<Finding> {
        let mut findings = Vec::new();
        check(config, &mut findings);
        findings
    }

    #[test]
    fn a_data_directory_that_others_can_read_is_warned_of() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("data");
        assert_ne!(worst(&found(data_directory, &config(&directory))), State::Problem);
        fs::create_dir(&directory).unwrap();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
        let warned = found(data_directory, &config(&directory));
        assert!(warned[0].advice.starts_with("chmod 700"), "{warned:?}");
        let file = home.path().join("file");
        fs::write(&file, "x").unwrap();
        assert_eq!(worst(&found(data_directory, &config(&file))), State::Problem);
    }

    #[test]
    fn a_key_that_others_can_read_is_warned_of() {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("components")).unwrap();
        let key = home.path().join("components.key");
        fs::write(&key, [7; 32]).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(worst(&found(cache, &config(home.path()))), State::Warn);
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(worst(&found(cache, &config(home.path()))), State::Ok);
    }
}
