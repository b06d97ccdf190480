//! A database file that is opened without being changed: writes stay in memory.
//!
//! Opening a database that was not closed properly repairs it, which writes. Whoever only wants to
//! read, or to see whether a file is intact, opens it through this.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::OpenOptions;
use std::io;
use std::ops::Bound;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use redb::backends::FileBackend;
use redb::{BackendError, Database, DatabaseError, StorageBackend};

/// The unit in which changes are kept.
const BLOCK: u64 = 4096;

/// The file, with changes in memory.
#[derive(Debug)]
struct Overlay {
    file: FileBackend,
    /// The length of the file itself.
    file_len: u64,
    changes: Mutex<Changes>,
}

#[derive(Debug)]
struct Changes {
    len: u64,
    /// Changed blocks by their number.
    blocks: BTreeMap<u64, Box<[u8]>>,
}

/// Opens the database in `path` without changing the file. It holds the file's lock.
pub(super) fn open(path: &Path) -> Result<Database, DatabaseError> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let file = FileBackend::new(file)?;
    let file_len = file.len()?;
    let changes = Mutex::new(Changes { len: file_len, blocks: BTreeMap::new() });
    Database::builder().create_with_backend(Overlay { file, file_len, changes })
}

impl Overlay {
    fn changes(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads from the file; what lies beyond its end is zero.
    fn read_file(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let there = self.file_len.saturating_sub(offset).min(out.len() as u64);
        let (there, beyond) = out.split_at_mut(there as usize);
        beyond.fill(0);
        if there.is_empty() { Ok(()) } else { self.file.read(offset, there) }
    }
}

/// The parts of `len` bytes at `offset` that lie in one block each: the block, where the part
/// begins in it, and its range in the whole.
fn parts(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = offset + done as u64;
        let within = (at % BLOCK) as usize;
        let size = (BLOCK as usize - within).min(len - done);
        let part = (at / BLOCK, within, done..done + size);
        done += size;
        (size > 0).then_some(part)
    })
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self.changes().len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let changes = self.changes();
        if offset + out.len() as u64 > changes.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for (block, within, range) in parts(offset, out.len()) {
            let part = &mut out[range];
            match changes.blocks.get(&block) {
                Some(changed) => part.copy_from_slice(&changed[within..within + part.len()]),
                None => self.read_file(block * BLOCK + within as u64, part)?,
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut changes = self.changes();
        changes.blocks.split_off(&len.div_ceil(BLOCK));
        changes.len = len;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut changes = self.changes();
        for (block, within, range) in parts(offset, data.len()) {
            let whole = match changes.blocks.entry(block) {
                Entry::Occupied(whole) => whole.into_mut(),
                Entry::Vacant(none) => {
                    let mut whole = vec![0; BLOCK as usize].into_boxed_slice();
                    self.read_file(block * BLOCK, &mut whole)?;
                    none.insert(whole)
                }
            };
            whole[within..within + range.len()].copy_from_slice(&data[range]);
        }
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.query_lock_range(start, end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_the_file_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f.redb");
        let table = redb::TableDefinition::<u64, &[u8]>::new("t");
        let database = Database::create(&path).unwrap();
        let tx = database.begin_write().unwrap();
        tx.open_table(table).unwrap().insert(1, &[7; 20_000][..]).unwrap();
        tx.commit().unwrap();
        drop(database);
        let before = std::fs::read(&path).unwrap();

        let database = open(&path).unwrap();
        let tx = database.begin_write().unwrap();
        tx.open_table(table).unwrap().insert(2, &[8; 50_000][..]).unwrap();
        tx.commit().unwrap();
        let tx = redb::ReadableDatabase::begin_read(&database).unwrap();
        let rows = tx.open_table(table).unwrap();
        assert_eq!(rows.get(1).unwrap().unwrap().value(), [7; 20_000]);
        assert_eq!(rows.get(2).unwrap().unwrap().value(), [8; 50_000]);
        drop((rows, tx, database));
        assert!(std::fs::read(&path).unwrap() == before);
    }
}
