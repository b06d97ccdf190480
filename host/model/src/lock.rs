//! One pull at a time into one directory, across processes.
//!
//! An advisory lock on a file beside the target. The file stays behind, since removing it while
//! another process waits for it would let two of them in; the lock goes with its holder.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;
use std::time::Duration;

use crate::error::{ModelError, io_error};
use crate::progress::{Event, Progress};

/// Held until dropped.
pub(crate) struct PullLock {
    _file: File,
}

/// Waits for the lock, telling so once. The caller bounds the wait.
///
/// # Errors
/// [`ModelError::Io`] where the file cannot be made or the file system knows no locks.
pub(crate) async fn acquire(
    path: &Path,
    poll: Duration,
    progress: &dyn Progress,
) -> Result<PullLock, ModelError> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).read(true).write(true);
    let file = options.open(path).map_err(io_error("open", path))?;
    let mut told = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(PullLock { _file: file }),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(io_error("lock", path)(error)),
        }
        if !told {
            progress.report(Event::Waiting { lock: path });
            told = true;
        }
        tokio::time::sleep(poll).await;
    }
}
