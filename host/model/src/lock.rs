//! At most one pull at a time per directory, across processes.
//!
//! An advisory lock on a file in the target directory. The file is never removed: removing it while
//! another process waits would let two processes hold the lock. The lock itself ends with its
//! process.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;
use std::time::Duration;

use crate::error::{ModelError, io_error};
use crate::progress::{Event, Progress};

/// Held until dropped.
pub(crate) struct PullLock {
    _file: File,
}

/// Waits for the lock and reports once that it waits. The caller bounds the wait.
///
/// # Errors
/// [`ModelError::Io`] if the file cannot be created or the file system does not support locks.
pub(crate) async fn acquire(
    path: &Path,
    poll: Duration,
    progress: &dyn Progress,
) -> Result<PullLock, ModelError> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).read(true).write(true);
    let file = options.open(path).map_err(io_error("open", path))?;
    let mut reported = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(PullLock { _file: file }),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(io_error("lock", path)(error)),
        }
        if !reported {
            progress.report(Event::Waiting { lock: path });
            reported = true;
        }
        tokio::time::sleep(poll).await;
    }
}
