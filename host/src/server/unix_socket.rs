//! `--listen unix:PATH`: a socket in the file system, which only this user may connect to.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use tokio::net::UnixListener;

/// Read and written by this user only.
const PRIVATE: u32 = 0o600;

/// A socket's file, removed when this is dropped, unless another one is there by then.
pub(crate) struct SocketFile {
    path: PathBuf,
    identity: Identity,
}

/// Device, inode, and when it was made: a number of an inode is used again.
type Identity = (u64, u64, i64, i64);

/// Listens on `path`. A socket that is there already is replaced if nobody answers on it.
///
/// # Errors
/// When something else is there, somebody answers, or the socket cannot be made.
pub(crate) fn bind(path: &Path) -> anyhow::Result<(UnixListener, SocketFile)> {
    remove_abandoned(path)?;
    let named = || format!("cannot listen on unix:{}", path.display());
    let listener = UnixListener::bind(path).with_context(named)?;
    std::fs::set_permissions(path, Permissions::from_mode(PRIVATE)).with_context(named)?;
    let identity = identity(path).with_context(named)?;
    Ok((listener, SocketFile { path: path.to_owned(), identity }))
}

fn remove_abandoned(path: &Path) -> anyhow::Result<()> {
    let name = path.display();
    let found = match std::fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("cannot look at {name}")),
    };
    ensure!(found.file_type().is_socket(), "{name} is there, and is no socket; it is not replaced");
    match UnixStream::connect(path) {
        Ok(_) => bail!("another process listens on unix:{name}"),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).with_context(|| format!("cannot replace {name}"))
        }
        Err(error) => Err(error).with_context(|| format!("cannot tell who listens on unix:{name}")),
    }
}

fn identity(path: &Path) -> io::Result<Identity> {
    let found = std::fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino(), found.mtime(), found.mtime_nsec()))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|found| found == self.identity) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_is_private_and_gone_afterwards() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("kb.sock");
        let (listener, file) = bind(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, PRIVATE);
        assert!(bind(&path).err().unwrap().to_string().contains("another process"));
        // As after a kill: nobody answers any more, though the file is there.
        drop(listener);
        std::mem::forget(file);
        let (listener, second) = bind(&path).unwrap();
        drop(listener);
        // The number of its inode stays taken.
        std::fs::rename(&path, home.path().join("moved")).unwrap();
        let (_listener, replaced) = bind(&path).unwrap();
        drop(second);
        assert!(path.exists(), "it is another one's by now");
        drop(replaced);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn what_is_no_socket_is_not_replaced() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("notes.txt");
        std::fs::write(&path, "keep me").unwrap();
        assert!(bind(&path).err().unwrap().to_string().contains("is no socket"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "keep me");
        assert!(bind(&home.path().join("nowhere/kb.sock")).is_err());
    }
}
