//! Whether the disk has room for more, once it was found to be full.
//!
//! A write that finds the disk full makes redb unusable until the file is opened again, which reads
//! all of it. So after one such write, others are refused at once, until it is likely that there is
//! room: the disk has more space than it had then, or facts were deleted. Deleting needs a little
//! space too, so some is kept in reserve, as a file that is removed when the disk is full.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{fs, io};

use crate::StorageError;

/// The bytes by which the disk's free space has to grow.
const ENOUGH: u64 = 1 << 20;

/// How long writes are refused at most by a bound that cannot be asked for, such as a quota.
const RETRY: Duration = Duration::from_secs(5);

/// The file that keeps space in reserve.
const RESERVE: &str = "facts.reserve";

/// The most bytes of it, the share of the free space that it takes at most, and the fewest bytes
/// with which something can be deleted.
const RESERVE_BYTES: u64 = 1 << 20;
const RESERVE_SHARE: u64 = 8;
const LEAST_RESERVE_BYTES: u64 = 128 << 10;

/// What is known of the disk's room.
pub(super) struct Room {
    /// A directory on the disk; `None` if there is none to ask.
    dir: Option<PathBuf>,
    full: Mutex<Option<Full>>,
}

/// A write has found the disk full.
struct Full {
    reason: String,
    /// The free space afterwards, in bytes; `None` if it does not say when there is room.
    free: Option<u64>,
    since: Instant,
    /// Something was deleted since.
    deleted: bool,
}

impl Room {
    pub(super) fn new(dir: Option<PathBuf>) -> Self {
        let room = Self { dir, full: Mutex::default() };
        room.reserve();
        room
    }

    /// Keeps some space in reserve, if there is enough.
    fn reserve(&self) {
        let Some(path) = self.reserve_path() else { return };
        let Some(bytes) = self.free().and_then(reserved) else { return };
        if fs::metadata(&path).is_ok_and(|file| file.len() >= bytes) {
            return;
        }
        if let Err(error) = fs::write(&path, vec![0; bytes as usize]) {
            tracing::warn!(%error, "no space on the disk could be kept in reserve");
        }
    }

    fn reserve_path(&self) -> Option<PathBuf> {
        self.dir.as_ref().map(|dir| dir.join(RESERVE))
    }

    /// Gives up the reserve, so that facts can be deleted.
    fn release(&self) {
        if let Some(path) = self.reserve_path() {
            // If it is not there, it has been given up already.
            let _ = fs::remove_file(path);
        }
    }

    /// Why a write would be refused now.
    pub(super) fn refusal(&self) -> Option<StorageError> {
        let full = self.full();
        let full = full.as_ref()?;
        let is_over = full.free.is_none() && full.since.elapsed() >= RETRY;
        let may_try = full.deleted || is_over || self.has_more(full);
        (!may_try).then(|| StorageError::Full(full.reason.clone()))
    }

    /// Why storage is thought to be full. Unlike [`Self::refusal`], it holds until a write succeeds
    /// or the disk has more space.
    pub(super) fn shortage(&self) -> Option<StorageError> {
        let full = self.full();
        let full = full.as_ref()?;
        (!self.has_more(full)).then(|| StorageError::Full(full.reason.clone()))
    }

    /// A write has succeeded. One that only deletes shows that something may be tried.
    pub(super) fn succeeded(&self, has_grown: bool) {
        let was_full = match &mut *self.full() {
            Some(full) if !has_grown => {
                full.deleted = true;
                false
            }
            full => full.take().is_some(),
        };
        if was_full {
            self.reserve();
        }
    }

    /// A write has failed with `error`.
    pub(super) fn failed(&self, error: &StorageError) {
        if let StorageError::Full(reason) = error.cause() {
            self.release();
            let free = self.free().filter(|_| reason == NO_SPACE);
            let (reason, since) = (reason.clone(), Instant::now());
            *self.full() = Some(Full { reason, free, since, deleted: false });
        }
    }

    fn has_more(&self, full: &Full) -> bool {
        let enough = full.free.map(|free| free.saturating_add(ENOUGH));
        enough.is_some_and(|enough| self.free().is_some_and(|free| free >= enough))
    }

    /// The disk's free space for this process, in bytes.
    fn free(&self) -> Option<u64> {
        let disk = rustix::fs::statvfs(self.dir.as_ref()?).ok()?;
        Some(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    fn full(&self) -> MutexGuard<'_, Option<Full>> {
        self.full.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bytes to keep in reserve on a disk with so many free bytes.
fn reserved(free: u64) -> Option<u64> {
    let bytes = (free / RESERVE_SHARE).min(RESERVE_BYTES);
    (bytes >= LEAST_RESERVE_BYTES).then_some(bytes)
}

/// Why writes fail when the disk is full.
const NO_SPACE: &str = "the disk of facts.redb has no space left";

/// The error of a failed access to the file.
pub(super) fn io_error(error: &io::Error) -> StorageError {
    match error.kind() {
        io::ErrorKind::StorageFull => StorageError::Full(NO_SPACE.into()),
        io::ErrorKind::QuotaExceeded => {
            StorageError::Full("the disk quota of facts.redb is used up".into())
        }
        io::ErrorKind::FileTooLarge => StorageError::Full(
            "facts.redb has reached the largest size that a file may have here (ulimit -f)".into(),
        ),
        _ => StorageError::Unavailable(format!("facts.redb cannot be used: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_disk_keeps_a_part_of_its_space_in_reserve() {
        assert_eq!(reserved(1 << 40), Some(1 << 20));
        assert_eq!(reserved(4 << 20), Some(512 << 10));
        assert_eq!(reserved(512 << 10), None);
    }
}
