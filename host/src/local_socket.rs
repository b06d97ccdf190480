//! The socket in a data directory, over which processes of the same user reach the server that has
//! the directory open.
//!
//! Whoever holds the lock may open what is in the directory and listens on the socket. Both end
//! with the process, however it ends: the system returns the lock, and a socket that nobody listens
//! on refuses connections. So whoever is refused may try to take the lock.

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use kenning_storage::private;
use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use rustix::io::Errno;
use tokio::net::UnixListener;

const SOCKET: &str = "kenning.sock";
const LOCK: &str = "kenning.lock";

/// The longest path that a socket's address holds, on Linux.
const LONGEST_PATH: usize = 107;

/// Read and written by this user only.
const PRIVATE: u32 = 0o600;

/// The way to the socket of a data directory.
#[derive(Debug)]
pub struct SocketPath {
    path: PathBuf,
    /// Open while the way leads through it.
    _directory: Option<OwnedFd>,
}

/// The right to open what is in a data directory, until it is dropped.
pub struct Claim {
    socket: SocketPath,
    _lock: File,
}

impl SocketPath {
    /// The way to the socket in `data_dir`, which exists. If its path is too long for a socket's
    /// address, it leads through a descriptor of the directory.
    ///
    /// # Errors
    /// When the directory cannot be opened.
    pub fn new(data_dir: &Path) -> io::Result<Self> {
        let path = data_dir.join(SOCKET);
        if path.as_os_str().as_bytes().len() <= LONGEST_PATH {
            return Ok(Self { path, _directory: None });
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = open(data_dir, flags, Mode::empty())?;
        let path = PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", directory.as_raw_fd()));
        Ok(Self { path, _directory: Some(directory) })
    }

    /// The path to connect to, as long as this exists.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Claim {
    /// Takes the lock of `data_dir`, which is made if there is none; `None` if another process
    /// has it.
    ///
    /// # Errors
    /// When the directory or the file of the lock cannot be used.
    pub fn take(data_dir: &Path) -> io::Result<Option<Self>> {
        private::directory(data_dir)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(PRIVATE)
            .open(data_dir.join(LOCK))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self { socket: SocketPath::new(data_dir)?, _lock: lock })),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Listens on the socket. What a process before left there is removed: it has ended, or this
    /// one would not hold the lock.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn listen(&self) -> io::Result<UnixListener> {
        match std::fs::remove_file(self.socket.path()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(self.socket.path())?;
        std::fs::set_permissions(self.socket.path(), Permissions::from_mode(PRIVATE))?;
        Ok(listener)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.socket.path());
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileTypeExt;

    use tokio::net::UnixStream;

    use super::*;

    fn temporary() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[tokio::test]
    async fn one_process_at_a_time_has_the_claim() {
        let home = temporary();
        let first = Claim::take(home.path()).unwrap().unwrap();
        assert!(Claim::take(home.path()).unwrap().is_none());
        let listener = first.listen().unwrap();
        let socket = SocketPath::new(home.path()).unwrap();
        assert!(UnixStream::connect(socket.path()).await.is_ok());
        drop((listener, first));
        assert!(UnixStream::connect(socket.path()).await.is_err());
        assert!(Claim::take(home.path()).unwrap().is_some());
    }

    #[tokio::test]
    async fn a_socket_that_was_left_is_replaced_and_private() {
        let home = temporary();
        let claim = Claim::take(home.path()).unwrap().unwrap();
        drop(claim.listen().unwrap());
        let _listener = claim.listen().unwrap();
        let left = std::fs::metadata(home.path().join(SOCKET)).unwrap();
        assert!(left.file_type().is_socket());
        assert_eq!(left.permissions().mode() & 0o777, PRIVATE);
    }

    #[tokio::test]
    async fn a_path_that_is_too_long_for_an_address_is_reached_all_the_same() {
        let home = temporary();
        let deep = home.path().join("d".repeat(100)).join("e".repeat(100));
        std::fs::create_dir_all(&deep).unwrap();
        let claim = Claim::take(&deep).unwrap().unwrap();
        let _listener = claim.listen().unwrap();
        let socket = SocketPath::new(&deep).unwrap();
        assert!(UnixStream::connect(socket.path()).await.is_ok());
    }
}
