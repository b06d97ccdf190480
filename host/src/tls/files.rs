//! The files of a certificate.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Where the certificate and its key are, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, and those that lead from it to one that callers trust.
    pub certificate: PathBuf,
    /// The private key of the certificate.
    pub key: PathBuf,
}

/// By what it is seen that a file has changed: its device, inode, size and time of change.
type State = Option<(u64, u64, u64, i64, i64)>;

/// The state of both files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint(State, State);

impl TlsFiles {
    pub(super) fn fingerprint(&self) -> Fingerprint {
        Fingerprint(state(&self.certificate), state(&self.key))
    }

    /// A warning if others can read the key.
    pub(crate) fn exposed(&self) -> Option<String> {
        let mode = fs::metadata(&self.key).ok()?.permissions().mode() & 0o777;
        // A group may be made for those who may read keys, as Debian's `ssl-cert` is.
        (mode & 0o007 != 0).then(|| {
            format!(
                "{} holds a private key and every user of this machine can use it (mode \
                 {mode:03o}): chmod 600 {0}",
                self.key.display()
            )
        })
    }
}

fn state(path: &Path) -> State {
    // Through links, as they are followed when the file is read.
    let found = fs::metadata(path).ok()?;
    Some((found.dev(), found.ino(), found.len(), found.mtime(), found.mtime_nsec()))
}
