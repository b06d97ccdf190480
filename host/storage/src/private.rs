//! Files and directories that only the server's user may use, whatever the umask.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

const DIRECTORY: u32 = 0o700;
const FILE: u32 = 0o600;
/// Group and others.
const OTHERS: u32 = 0o077;
/// A directory that many users share, such as `/tmp`.
const STICKY: u32 = 0o1000;

/// Creates a directory, with its parents, that only this user may use. One that exists and that
/// others may use is repaired, with a warning.
///
/// # Errors
/// If it cannot be created or is not a directory.
pub fn directory(path: &Path) -> io::Result<()> {
    // Parents that are created are as any other directory of the user.
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    match DirBuilder::new().mode(DIRECTORY).create(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    if !fs::metadata(path)?.is_dir() {
        return Err(ErrorKind::NotADirectory.into());
    }
    tighten(path, DIRECTORY)
}

/// Creates an empty file that only this user may use, if there is none, and says whether it did.
///
/// # Errors
/// If it cannot be created.
pub fn create_file(path: &Path) -> io::Result<bool> {
    match OpenOptions::new().write(true).create_new(true).mode(FILE).open(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// Repairs a file that others may use, with a warning.
///
/// # Errors
/// If it does not exist.
pub fn file(path: &Path) -> io::Result<()> {
    tighten(path, FILE)
}

/// Repairs the files directly in `directory`; links are left alone.
///
/// # Errors
/// If the directory cannot be read.
pub fn files_in(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            // One that has been deleted meanwhile needs no repair.
            let _ = file(&entry.path());
        }
    }
    Ok(())
}

/// Makes entries of a directory that were added or renamed durable.
///
/// # Errors
/// If the system cannot.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn tighten(path: &Path, mode: u32) -> io::Result<()> {
    let found = fs::metadata(path)?.permissions().mode() & 0o7777;
    if found & OTHERS == 0 {
        return Ok(());
    }
    let shown = path.display();
    let before = format!("{:04o}", found);
    if found & STICKY != 0 {
        let told = "others may use this directory; give Kenning one of its own";
        tracing::warn!(path = %shown, mode = before, "{told}");
        return Ok(());
    }
    match fs::set_permissions(path, Permissions::from_mode(mode)) {
        Ok(()) => {
            tracing::warn!(path = %shown, before, "others could use this; it is private now");
        }
        // The owner is another user, as with some volumes of containers.
        Err(error) => {
            let owner = fs::metadata(path)?.uid();
            tracing::warn!(path = %shown, mode = before, owner, %error, "others may use this");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn what_others_could_use_is_private_afterwards() {
        let home = tempfile::tempdir().unwrap();
        let data = home.path().join("some/data");
        directory(&data).unwrap();
        assert_eq!(mode(&data), 0o700);
        fs::set_permissions(&data, Permissions::from_mode(0o755)).unwrap();
        directory(&data).unwrap();
        assert_eq!(mode(&data), 0o700);

        let facts = data.join("facts");
        fs::write(&facts, "").unwrap();
        fs::set_permissions(&facts, Permissions::from_mode(0o664)).unwrap();
        files_in(&data).unwrap();
        assert_eq!(mode(&facts), 0o600);

        assert!(create_file(&data.join("new")).unwrap());
        assert!(!create_file(&data.join("new")).unwrap());
        assert_eq!(mode(&data.join("new")), 0o600);
    }

    #[test]
    fn a_directory_that_many_share_is_left_as_it_is() {
        let home = tempfile::tempdir().unwrap();
        let shared = home.path().join("shared");
        fs::create_dir(&shared).unwrap();
        fs::set_permissions(&shared, Permissions::from_mode(0o1777)).unwrap();
        directory(&shared).unwrap();
        assert_eq!(mode(&shared), 0o1777);
    }

    #[test]
    fn a_file_is_no_directory() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("file"), "").unwrap();
        let error = directory(&home.path().join("file")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotADirectory);
    }
}
