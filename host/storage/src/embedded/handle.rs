//! The open database file.
//!
//! After an I/O error such as a full disk, redb refuses every further transaction until the file is
//! reopened. [`Handle`] reopens it, so service resumes as soon as the disk has space again.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use redb::{Database, DatabaseError, ReadTransaction, ReadableDatabase};

use super::tables::Tables;
use crate::{OpenError, StorageError};

/// Why a transaction, or one request in it, failed.
#[derive(Debug)]
pub(super) enum TransactionError {
    /// The file cannot be used; the whole transaction is rolled back.
    File(redb::Error),
    /// One request was refused; the others in the same transaction are not affected.
    Request(StorageError),
}

impl From<StorageError> for TransactionError {
    fn from(error: StorageError) -> Self {
        Self::Request(error)
    }
}

macro_rules! transaction_error_from {
    ($($error:ty),*) => {
        $(impl From<$error> for TransactionError {
            fn from(error: $error) -> Self {
                Self::File(error.into())
            }
        })*
    };
}

transaction_error_from!(redb::StorageError, redb::TableError, redb::TransactionError);

impl From<TransactionError> for StorageError {
    fn from(error: TransactionError) -> Self {
        match error {
            TransactionError::Request(error) => error,
            TransactionError::File(redb::Error::Corrupted(what)) => Self::Corrupt(what),
            TransactionError::File(error) => Self::Unavailable(error.to_string()),
        }
    }
}

/// Opens the database, at the start and after each I/O error.
type Opener = Box<dyn Fn() -> Result<Database, DatabaseError> + Send + Sync>;

/// The database, reopened when it has failed.
pub(super) struct Handle {
    opener: Opener,
    /// `None` while closed. Only reopening and closing take the write lock; both wait for readers,
    /// which are short.
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
            .map_err(|error| open_error(file, error))?;
        // A new file is durable only once its directory entry is.
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
        read: impl FnOnce(&ReadTransaction) -> Result<T, TransactionError>,
    ) -> Result<T, StorageError> {
        let guard = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let database = guard.as_ref().ok_or_else(closed)?;
        let tx = database.begin_read().map_err(TransactionError::from)?;
        Ok(read(&tx)?)
    }

    /// Runs `change` in one durable transaction. If that fails, nothing was changed, unless the
    /// error is `Timeout` with `outcome_unknown`. Reopens the file if it has failed.
    pub(super) fn write<T>(
        &self,
        change: impl FnOnce(&mut Tables<'_>) -> Result<T, TransactionError>,
    ) -> Result<T, StorageError> {
        self.transact(change).map_err(|(error, broken)| {
            if broken {
                tracing::error!(%error, "a transaction on facts.redb failed; reopening the file");
                self.reopen();
            }
            error
        })
    }

    /// Runs `change`. An error also says whether the file has to be reopened.
    fn transact<T>(
        &self,
        change: impl FnOnce(&mut Tables<'_>) -> Result<T, TransactionError>,
    ) -> Result<T, (StorageError, bool)> {
        let guard = self.database.read().unwrap_or_else(PoisonError::into_inner);
        // Either closed for good, or the last attempt to reopen failed and this is the next one.
        let database = guard.as_ref().ok_or_else(|| (closed(), true))?;
        let failed = |error: TransactionError| {
            let broken = matches!(error, TransactionError::File(_));
            (StorageError::from(error), broken)
        };
        let tx = database.begin_write().map_err(|error| failed(error.into()))?;
        let answer = {
            let mut tables = Tables::open(&tx).map_err(|error| failed(error.into()))?;
            change(&mut tables).map_err(failed)?
        };
        match tx.commit() {
            Ok(()) => Ok(answer),
            Err(error) => {
                tracing::error!(%error, "a commit to facts.redb failed");
                Err((StorageError::Timeout { outcome_unknown: true }, true))
            }
        }
    }

    fn reopen(&self) {
        let mut guard = self.database.write().unwrap_or_else(PoisonError::into_inner);
        // The old database holds the lock on the file, so it is dropped first.
        *guard = None;
        match prepare(&self.opener) {
            Ok(database) => *guard = Some(database),
            Err(error) => tracing::error!(%error, "facts.redb could not be reopened"),
        }
    }

    /// Closes the file. Called by the writer alone, when it ends.
    pub(super) fn close(&self) {
        *self.database.write().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

fn closed() -> StorageError {
    StorageError::Unavailable("facts.redb is closed".into())
}

/// Opens the database and creates its tables, so that readers find them.
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

    /// A disk that can become full, and outlives the databases on it.
    #[derive(Debug, Clone)]
    struct Disk {
        bytes: Arc<InMemoryBackend>,
        is_full: Arc<AtomicBool>,
    }

    impl Disk {
        fn check_space(&self) -> io::Result<()> {
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
            self.check_space().and_then(|()| self.bytes.set_len(len))
        }

        fn sync_data(&self) -> io::Result<()> {
            self.check_space().and_then(|()| self.bytes.sync_data())
        }

        fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            self.check_space().and_then(|()| self.bytes.write(offset, data))
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
    fn service_resumes_once_a_full_disk_has_space() {
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
                StorageError::Unavailable(_) | StorageError::Timeout { outcome_unknown: true }
            );
            assert!(is_known, "{error}");
        }

        disk.is_full.store(false, Relaxed);
        // The file may have been closed while the disk was full; then this write reopens it.
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
            Err::<(), _>(TransactionError::Request(StorageError::InvalidCursor))
        });
        assert_eq!(refused, Err(StorageError::InvalidCursor));
        assert_eq!(registered(&handle), Ok(vec![]));
        register(&handle, "b").unwrap();
        assert_eq!(registered(&handle), Ok(vec!["b".to_owned()]));
    }
}
