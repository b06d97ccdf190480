//! The open file.
//!
//! After an I/O error (a full disk, say) redb refuses every further transaction until the file is
//! opened again. [`Handle`] does that by itself, so that a disk with room again is enough.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use redb::{Database, DatabaseError, ReadTransaction, ReadableDatabase};

use super::tables::Tables;
use crate::{OpenError, StorageError};

/// What stops a transaction.
#[derive(Debug)]
pub(super) enum Fault {
    /// The file; the whole transaction is void.
    File(redb::Error),
    /// One request; others in the same transaction are not concerned.
    Request(StorageError),
}

impl From<StorageError> for Fault {
    fn from(error: StorageError) -> Self {
        Self::Request(error)
    }
}

macro_rules! fault_from {
    ($($error:ty),*) => {
        $(impl From<$error> for Fault {
            fn from(error: $error) -> Self {
                Self::File(error.into())
            }
        })*
    };
}

fault_from!(redb::StorageError, redb::TableError, redb::TransactionError);

impl From<Fault> for StorageError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Request(error) => error,
            Fault::File(redb::Error::Corrupted(what)) => Self::Corrupt(what),
            Fault::File(error) => Self::Unavailable(error.to_string()),
        }
    }
}

/// Opens the file of a [`Handle`], again and again.
type Opener = Box<dyn Fn() -> Result<Database, DatabaseError> + Send + Sync>;

pub(super) struct Handle {
    opener: Opener,
    /// `None` while it is closed. Written only to open again and to close; both wait for the
    /// readers, which are short.
    database: RwLock<Option<Database>>,
}

impl Handle {
    /// Opens or creates `dir/facts.redb`.
    pub(super) fn open(dir: &Path) -> Result<Self, OpenError> {
        let failed = |reason: String| OpenError::File { path: dir.to_path_buf(), reason };
        fs::create_dir_all(dir).map_err(|error| failed(error.to_string()))?;
        let file = dir.join("facts.redb");
        let path = file.clone();
        let handle = Self::with(Box::new(move || Database::create(&path)))
            .map_err(|fault| open_error(file, fault))?;
        // A file is durable only once the directory that names it is.
        File::open(dir)
            .and_then(|dir| dir.sync_all())
            .map_err(|error| failed(error.to_string()))?;
        Ok(handle)
    }

    fn with(opener: Opener) -> Result<Self, redb::Error> {
        let database = prepare(&opener)?;
        Ok(Self { opener, database: RwLock::new(Some(database)) })
    }

    /// Runs `read` on a snapshot.
    pub(super) fn read<T>(
        &self,
        read: impl FnOnce(&ReadTransaction) -> Result<T, Fault>,
    ) -> Result<T, StorageError> {
        let guard = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let database = guard.as_ref().ok_or_else(closed)?;
        let tx = database.begin_read().map_err(Fault::from)?;
        Ok(read(&tx)?)
    }

    /// Runs `change` in one durable transaction. If that fails, nothing was changed, unless the
    /// error is `Timeout` with `wrote`.
    pub(super) fn write<T>(
        &self,
        change: impl FnOnce(&mut Tables<'_>) -> Result<T, Fault>,
    ) -> Result<T, StorageError> {
        self.transact(change).map_err(|(error, broken)| {
            if broken {
                tracing::error!(%error, "a transaction on facts.redb failed; opening it again");
                self.reopen();
            }
            error
        })
    }

    /// As `write`; also says whether the file has to be opened again.
    fn transact<T>(
        &self,
        change: impl FnOnce(&mut Tables<'_>) -> Result<T, Fault>,
    ) -> Result<T, (StorageError, bool)> {
        let guard = self.database.read().unwrap_or_else(PoisonError::into_inner);
        // Closed for good, or a reopening that failed: then this is the time for the next attempt.
        let database = guard.as_ref().ok_or_else(|| (closed(), true))?;
        let before = |fault: Fault| {
            let broken = matches!(fault, Fault::File(_));
            (StorageError::from(fault), broken)
        };
        let tx = database.begin_write().map_err(|error| before(error.into()))?;
        let answer = {
            let mut tables = Tables::open(&tx).map_err(|error| before(error.into()))?;
            change(&mut tables).map_err(before)?
        };
        match tx.commit() {
            Ok(()) => Ok(answer),
            Err(error) => {
                tracing::error!(%error, "a commit to facts.redb failed");
                Err((StorageError::Timeout { wrote: true }, true))
            }
        }
    }

    fn reopen(&self) {
        let mut guard = self.database.write().unwrap_or_else(PoisonError::into_inner);
        // The old one holds the file's lock.
        *guard = None;
        match prepare(&self.opener) {
            Ok(database) => *guard = Some(database),
            Err(error) => tracing::error!(%error, "facts.redb could not be opened again"),
        }
    }

    /// Lets go of the file. Only the writer calls it, as the last thing it does.
    pub(super) fn close(&self) {
        *self.database.write().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

fn closed() -> StorageError {
    StorageError::Unavailable("the file of facts is closed".into())
}

/// Opens the database and makes its tables, so that readers need not.
fn prepare(opener: &Opener) -> Result<Database, redb::Error> {
    let database = opener()?;
    let tx = database.begin_write()?;
    drop(Tables::open(&tx)?);
    tx.commit()?;
    Ok(database)
}

fn open_error(path: PathBuf, error: redb::Error) -> OpenError {
    match error {
        redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => {
            OpenError::InUse(path)
        }
        error => OpenError::File { path, reason: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    use redb::backends::InMemoryBackend;
    use redb::{ReadableTable, StorageBackend};

    use super::super::tables::{TENANTS, table};
    use super::*;

    /// A disk that can be full, and outlives the databases on it.
    #[derive(Debug, Clone)]
    struct Disk {
        bytes: Arc<InMemoryBackend>,
        is_full: Arc<AtomicBool>,
    }

    impl Disk {
        fn room(&self) -> io::Result<()> {
            if self.is_full.load(Relaxed) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            Ok(())
        }
    }

    impl StorageBackend for Disk {
        fn len(&self) -> io::Result<u64> {
            self.bytes.len()
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            self.bytes.read(offset, out)
        }

        fn set_len(&self, len: u64) -> io::Result<()> {
            self.room().and_then(|()| self.bytes.set_len(len))
        }

        fn sync_data(&self) -> io::Result<()> {
            self.room().and_then(|()| self.bytes.sync_data())
        }

        fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            self.room().and_then(|()| self.bytes.write(offset, data))
        }
    }

    fn register(handle: &Handle, tenant: &str) -> Result<(), StorageError> {
        handle.write(|tables| {
            tables.tenants.insert(tenant, (1, 1))?;
            Ok(())
        })
    }

    fn registered(handle: &Handle) -> Result<Vec<String>, StorageError> {
        handle.read(|tx| {
            let tenants = table(tx, TENANTS)?;
            tenants.iter()?.map(|row| Ok(row?.0.value().to_owned())).collect()
        })
    }

    #[test]
    fn a_full_disk_is_served_again_once_it_has_room() {
        let disk = Disk { bytes: Arc::default(), is_full: Arc::default() };
        let backend = disk.clone();
        let opener = move || Database::builder().create_with_backend(backend.clone());
        let handle = Handle::with(Box::new(opener)).unwrap();
        register(&handle, "a").unwrap();

        disk.is_full.store(true, Relaxed);
        for _ in 0..3 {
            let error = register(&handle, "b").unwrap_err();
            let is_known = matches!(
                error,
                StorageError::Unavailable(_) | StorageError::Timeout { wrote: true }
            );
            assert!(is_known, "{error}");
        }

        disk.is_full.store(false, Relaxed);
        // The file may be closed since the disk was full; then this write is what opens it again.
        let again = register(&handle, "c").or_else(|_| register(&handle, "c"));
        assert_eq!(again, Ok(()));
        let tenants = registered(&handle).unwrap();
        assert!(tenants.contains(&"a".to_owned()) && tenants.contains(&"c".to_owned()));
    }

    #[test]
    fn a_request_that_fails_changes_nothing_and_keeps_the_file_open() {
        let dir = tempfile::tempdir().unwrap();
        let handle = Handle::open(dir.path()).unwrap();
        let refused = handle.write(|tables| {
            tables.tenants.insert("a", (1, 1))?;
            Err::<(), _>(Fault::Request(StorageError::InvalidCursor))
        });
        assert_eq!(refused, Err(StorageError::InvalidCursor));
        assert_eq!(registered(&handle), Ok(vec![]));
        register(&handle, "b").unwrap();
        assert_eq!(registered(&handle), Ok(vec!["b".to_owned()]));
    }
}
