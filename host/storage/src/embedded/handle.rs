//! The open database file.
//!
//! After an I/O error such as a full disk, redb refuses every further transaction until the file is
//! reopened. [`Handle`] reopens it, and finds out whether the change that failed has happened: each
//! change counts the commits in the file.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable};

use super::appends::Appends;
use super::opening::{
    FILE, Opener, PrepareError, check, is_empty, open_error, opener, prepare, warn_of_old_damage,
};
use super::quiet;
use super::room::{Room, io_error};
use super::tables::{COMMITS, META, STREAMED, Tables, table};
use crate::{OpenError, StorageError, private};

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
            TransactionError::File(error) => file_error(error),
        }
    }
}

fn file_error(error: redb::Error) -> StorageError {
    match error {
        redb::Error::Corrupted(what) => StorageError::Corrupt(what),
        redb::Error::Io(error) => io_error(&error),
        error => StorageError::Unavailable(error.to_string()),
    }
}

/// The database, reopened when it has failed.
pub(super) struct Handle {
    opener: Opener,
    room: Room,
    appends: Appends,
    /// `None` while closed. Only reopening and closing take the write lock; both wait for readers,
    /// which are short.
    database: RwLock<Option<Database>>,
}

/// A change that failed.
struct Failure {
    error: StorageError,
    /// The file has to be reopened.
    is_broken: bool,
    /// The number of the commit, if it was tried.
    commit: Option<u64>,
}

impl Failure {
    fn new(error: impl Into<TransactionError>) -> Self {
        let error: TransactionError = error.into();
        let is_broken = matches!(error, TransactionError::File(_));
        Self { error: error.into(), is_broken, commit: None }
    }
}

impl Handle {
    /// Opens or creates `dir/facts.redb`, and migrates it if it has an older format.
    pub(super) fn open(dir: &Path, appends: Appends) -> Result<Self, OpenError> {
        let failed = |reason: String| OpenError::File { path: dir.to_path_buf(), reason };
        private::directory(dir).map_err(|error| failed(error.to_string()))?;
        check(dir)?;
        let file = dir.join(FILE);
        let is_new = private::create_file(&file).map_err(|error| failed(error.to_string()))?;
        private::file(&file).map_err(|error| failed(error.to_string()))?;
        // redb may panic where the file is damaged.
        let opened = quiet::catch(|| {
            if !is_new {
                warn_of_old_damage(&file);
            }
            Self::with(opener(file.clone()), Some(dir.into()), appends)
        });
        let opened = opened.unwrap_or(Err(PrepareError::Panicked));
        if opened.is_err() && is_new && is_empty(&file) {
            // Otherwise the next start would refuse what this one left.
            let _ = fs::remove_file(&file);
        }
        let handle = opened.map_err(|error| open_error(file, error))?;
        // A new file is durable only once its directory entry is.
        private::sync_directory(dir).map_err(|error| failed(error.to_string()))?;
        Ok(handle)
    }

    fn with(opener: Opener, dir: Option<PathBuf>, appends: Appends) -> Result<Self, PrepareError> {
        let database = RwLock::new(Some(prepare(&opener)?));
        Ok(Self { opener, room: Room::new(dir), appends, database })
    }

    /// What is known of the disk's room.
    pub(super) fn room(&self) -> &Room {
        &self.room
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

    /// The same, without waiting: `None` if the file is being reopened, or the read fails.
    pub(super) fn read_at_once<T>(
        &self,
        read: impl FnOnce(&ReadTransaction) -> Result<T, TransactionError>,
    ) -> Option<T> {
        let guard = self.database.try_read().ok()?;
        let database = guard.as_ref()?;
        // redb may panic where the file is damaged.
        let read = || database.begin_read().ok().and_then(|tx| read(&tx).ok());
        catch_unwind(AssertUnwindSafe(read)).ok().flatten()
    }

    /// A snapshot that outlives this call. The file cannot be opened again before it is dropped.
    pub(super) fn snapshot(&self) -> Result<ReadTransaction, StorageError> {
        let guard = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let database = guard.as_ref().ok_or_else(closed)?;
        Ok(database.begin_read().map_err(TransactionError::from)?)
    }

    /// Fails while the file is closed, for good or to be opened again.
    pub(super) fn check_open(&self) -> Result<(), StorageError> {
        let guard = self.database.read().unwrap_or_else(PoisonError::into_inner);
        guard.as_ref().map(drop).ok_or_else(closed)
    }

    /// Runs `change` in one durable transaction. If that fails, nothing was changed, unless the
    /// outcome of the error is unknown. Reopens the file if it has failed. `grows` says whether the
    /// change does more than delete.
    pub(super) fn write<T>(
        &self,
        grows: bool,
        change: impl FnOnce(&mut Tables<'_>) -> Result<T, TransactionError>,
    ) -> Result<T, StorageError> {
        let done = catch_unwind(AssertUnwindSafe(|| self.transact(change)));
        match done.unwrap_or_else(|_| Err(panicked())) {
            Ok(answer) => {
                self.room.succeeded(grows);
                Ok(answer)
            }
            Err(failure) => Err(self.recover(failure)),
        }
    }

    fn recover(&self, failure: Failure) -> StorageError {
        let Failure { error, is_broken, commit } = failure;
        if !is_broken {
            return error;
        }
        tracing::error!(%error, "a change of facts.redb failed; reopening the file");
        self.reopen();
        self.room.failed(&error);
        match commit {
            None => error,
            Some(commit) => match self.read(|tx| Ok(commits(&table(tx, META)?)?)) {
                Ok(last) if last < commit => error,
                Ok(_) | Err(_) => StorageError::Uncertain(Box::new(error)),
            },
        }
    }

    fn transact<T>(
        &self,
        change: impl FnOnce(&mut Tables<'_>) -> Result<T, TransactionError>,
    ) -> Result<T, Failure> {
        let guard = self.database.read().unwrap_or_else(PoisonError::into_inner);
        // Either closed for good, or the last attempt to reopen failed and this is the next one.
        let database = guard.as_ref().ok_or_else(|| Failure {
            error: closed(),
            is_broken: true,
            commit: None,
        })?;
        let tx = database.begin_write().map_err(Failure::new)?;
        let (answer, commit) = {
            let tables = Tables::open(&tx, self.appends.now());
            let mut tables = tables.map_err(Failure::new)?;
            let answer = change(&mut tables).map_err(Failure::new)?;
            (answer, count_commit(&mut tables).map_err(Failure::new)?)
        };
        match tx.commit() {
            Ok(()) => Ok(answer),
            Err(error) => Err(Failure {
                error: file_error(error.into()),
                is_broken: true,
                commit: Some(commit),
            }),
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

fn panicked() -> Failure {
    let what = "a change of facts.redb panicked; see `kenning verify`";
    Failure { error: StorageError::Corrupt(what.into()), is_broken: true, commit: None }
}

fn commits(meta: &impl ReadableTable<&'static str, u64>) -> Result<u64, redb::StorageError> {
    Ok(meta.get(COMMITS)?.map_or(0, |commits| commits.value()))
}

/// Counts the commit of the transaction, and returns its number.
fn count_commit(tables: &mut Tables<'_>) -> Result<u64, redb::StorageError> {
    let commit = commits(&tables.meta)? + 1;
    tables.meta.insert(COMMITS, commit)?;
    tables.meta.insert(STREAMED, commit)?;
    Ok(commit)
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    use redb::backends::InMemoryBackend;
    use redb::{ReadableTable, StorageBackend};

    use super::super::tables::{Counters, TENANTS, table};
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
        handle.write(true, |tables| {
            tables.put_counters(tenant, Counters { revision: 1, facts: 1, bytes: 1 })?;
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
    fn a_full_disk_is_said_and_service_resumes_once_it_has_space() {
        let disk = Disk { bytes: Arc::default(), is_full: Arc::default() };
        let backend = disk.clone();
        let opener = move || Database::builder().create_with_backend(backend.clone());
        let handle = Handle::with(Box::new(opener), None, Appends::default()).unwrap();
        register(&handle, "a").unwrap();

        disk.is_full.store(true, Relaxed);
        let error = register(&handle, "b").unwrap_err();
        assert!(matches!(error.cause(), StorageError::Full(_)), "{error}");
        assert!(matches!(handle.room().refusal(), Some(StorageError::Full(_))));
        assert!(handle.room().shortage().is_some());

        disk.is_full.store(false, Relaxed);
        // The file may have been closed while the disk was full; then this write reopens it.
        let again = register(&handle, "c").or_else(|_| register(&handle, "c"));
        assert_eq!(again, Ok(()));
        assert!(handle.room().shortage().is_none());
        let tenants = registered(&handle).unwrap();
        assert!(tenants.contains(&"a".to_owned()) && tenants.contains(&"c".to_owned()));
    }

    #[test]
    fn a_change_that_panics_costs_only_itself() {
        let dir = tempfile::tempdir().unwrap();
        let handle = Handle::open(dir.path(), Appends::default()).unwrap();
        let panicked = handle.write(true, |_| -> Result<(), TransactionError> { panic!("as bid") });
        assert!(matches!(panicked, Err(StorageError::Corrupt(_))), "{panicked:?}");
        assert_eq!(register(&handle, "a"), Ok(()));
        assert_eq!(registered(&handle), Ok(vec!["a".to_owned()]));
    }

    #[test]
    fn a_request_that_fails_changes_nothing_and_keeps_the_file_open() {
        let dir = tempfile::tempdir().unwrap();
        let handle = Handle::open(dir.path(), Appends::default()).unwrap();
        let refused = handle.write(true, |tables| {
            tables.put_counters("a", Counters::default())?;
            Err::<(), _>(TransactionError::Request(StorageError::InvalidCursor))
        });
        assert_eq!(refused, Err(StorageError::InvalidCursor));
        assert_eq!(registered(&handle), Ok(vec![]));
        register(&handle, "b").unwrap();
        assert_eq!(registered(&handle), Ok(vec!["b".to_owned()]));
    }

    #[test]
    fn a_newer_format_is_refused_and_both_versions_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let handle = Handle::open(dir.path(), Appends::default()).unwrap();
        let newer = |tables: &mut Tables<'_>| {
            tables.meta.insert(super::super::tables::FORMAT, 9)?;
            Ok(())
        };
        handle.write(true, newer).unwrap();
        handle.close();
        let refused = Handle::open(dir.path(), Appends::default()).err().unwrap().to_string();
        assert!(refused.contains("format 9") && refused.contains("up to 2"), "{refused}");
    }
}
