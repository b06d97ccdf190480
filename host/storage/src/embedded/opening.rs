//! Opens the file, however it was left: closed, by a crash, by an earlier version, or torn.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use kenning_backup::TORN;
use redb::{Builder, Database, DatabaseError};

use super::migration::{self, CURRENT, Format};
use super::{overlay, quiet};
use crate::OpenError;

/// The name of the database's file.
pub(super) const FILE: &str = "facts.redb";

/// Where redb says how it left a file, behind its nine magic bytes; and the bit that is set while
/// the file is open.
const FLAGS_OFFSET: usize = 9;
const IS_OPEN: u8 = 2;

/// Opens the database, at the start and after each I/O error.
pub(super) type Opener = Box<dyn Fn() -> Result<Database, DatabaseError> + Send + Sync>;

/// What opens or creates the database in `path`.
pub(super) fn opener(path: PathBuf) -> Opener {
    Box::new(move || builder(&path).create(&path))
}

/// Reads all of a file that was not closed before it is used. After a crash redb does that by
/// itself, but not before the first change; and a copy of a file that was open may have been torn
/// by changes that its beginning knows nothing of.
fn builder(path: &Path) -> Builder {
    let mut builder = Database::builder();
    builder.set_check_integrity_on_open(is_open(path));
    builder
}

/// Whether a file is open, or was not closed.
fn is_open(path: &Path) -> bool {
    let mut header = [0; FLAGS_OFFSET + 1];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut header));
    read.is_ok() && header[FLAGS_OFFSET] & IS_OPEN != 0
}

/// Refuses a file without a byte in it, which no database is: to start with it would be to start
/// without the facts that were there.
///
/// # Errors
/// Says what to do.
pub(super) fn check(dir: &Path) -> Result<(), OpenError> {
    let path = dir.join(FILE);
    match is_empty(&path) {
        true => Err(OpenError::File {
            path,
            reason: "the file is empty (0 bytes), which a database never is; put a copy in its \
                     place, or delete it to start without any facts"
                .into(),
        }),
        false => Ok(()),
    }
}

pub(super) fn is_empty(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() == 0)
}

/// Why a file could not be made ready.
#[derive(Debug, thiserror::Error)]
pub(super) enum PrepareError {
    #[error(transparent)]
    File(#[from] redb::Error),
    #[error(
        "facts.redb has format {0}, which a newer Kenning wrote; this one knows formats up to \
         {CURRENT}; use the newer Kenning"
    )]
    Newer(u64),
    #[error("it cannot be read")]
    Panicked,
}

impl From<DatabaseError> for PrepareError {
    fn from(error: DatabaseError) -> Self {
        Self::File(error.into())
    }
}

/// Opens the database, migrates it, and creates its tables, so that readers find them. A file that
/// is as it should be is not written.
pub(super) fn prepare(opener: &Opener) -> Result<Database, PrepareError> {
    let database = opener()?;
    match migration::format(&database)? {
        Format::Version(CURRENT) => {}
        Format::Version(version) => return Err(PrepareError::Newer(version)),
        Format::First => migration::migrate(&database)?,
        Format::Empty => migration::initialize(&database)?,
    }
    migration::renew_streams(&database)?;
    Ok(database)
}

/// Checksums cannot tell what was altered before they were made, but redb's own can, if the file is
/// read as a whole.
pub(super) fn warn_of_old_damage(file: &Path) {
    // This open repairs a file that was not closed properly, once and for all.
    let format = builder(file).open(file).map(|database| migration::format(&database));
    if !matches!(format, Ok(Ok(Format::First))) {
        return;
    }
    let Ok(mut database) = overlay::open(file) else { return };
    let intact = quiet::catch(|| database.check_integrity());
    if !matches!(intact, Ok(Ok(true))) {
        tracing::error!(
            "facts.redb was damaged before its records had checksums: some facts may not be what \
             was stored; compare them with a backup"
        );
    }
}

pub(super) fn open_error(path: PathBuf, error: PrepareError) -> OpenError {
    match error {
        PrepareError::File(
            redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch,
        ) => OpenError::InUse(path),
        PrepareError::Newer(_) => OpenError::Refused(error.to_string()),
        error if is_torn(&error) => {
            let reason = format!(
                "{error}; the file is damaged: {TORN}, and put one back with `kenning restore`"
            );
            OpenError::File { path, reason }
        }
        error => OpenError::File { path, reason: error.to_string() },
    }
}

fn is_torn(error: &PrepareError) -> bool {
    match error {
        PrepareError::File(error) => is_damage(error),
        PrepareError::Panicked => true,
        PrepareError::Newer(_) => false,
    }
}

/// Whether a file cannot be read because of what is in it, such as a copy that was cut off.
pub(super) fn is_damage(error: &redb::Error) -> bool {
    match error {
        redb::Error::Corrupted(_) => true,
        redb::Error::Io(error) => {
            matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof)
        }
        _ => false,
    }
}
