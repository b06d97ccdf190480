//! Keeps compiled components in a folder, so that each is compiled once.
//!
//! Machine code runs outside of every sandbox. So nothing is loaded that did not come from this
//! server's own compiler: each file carries a MAC (HMAC-SHA-256), whose key is beside the folder,
//! not in it. A file is read into memory as a whole, verified there, and loaded from there; what
//! happens to the file meanwhile changes nothing. A file that is damaged, that belongs to another
//! user, or that another user could change is treated as if it were missing: the component is
//! compiled again. Whoever runs as the same user can read the key, and is not kept out by it.
//!
//! A file's name is the component's digest and a fingerprint of the engine and its settings. The
//! MAC covers the name, so that no file can pass for another.
//!
//! ```text
//! magic (8) | MAC of the rest (32) | length (4), name | length (4), outline | machine code
//! ```

use std::fs::{self, DirEntry, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use ring::hmac;
use rustix::fs::OFlags;
use tempfile::NamedTempFile;

use crate::component::inspect::Inspection;

/// The folder of compiled components, in the data directory.
const FOLDER: &str = "components";

/// The key of their MACs, beside the folder.
const KEY_FILE: &str = "components.key";

const KEY_BYTES: usize = 32;

/// The format of a file. A file in another one is compiled again.
const MAGIC: [u8; 8] = *b"kncode\x00\x01";
const MAC_BYTES: usize = 32;
const HEAD: usize = MAGIC.len() + MAC_BYTES;

const EXTENSION: &str = "cwasm";

/// How names of temporary files begin.
const TEMPORARY: &str = ".tmp";

/// Outlines of the compiled components of Kenning 0.1, whose format has no MAC.
const OUTLINE_OF_0_1: &str = "json";

/// Machine code that this server's own compiler made: just now, or before, which the MAC proves.
pub(crate) struct Compiled {
    /// The whole file.
    bytes: Vec<u8>,
    outline: Range<usize>,
}

impl Compiled {
    /// The machine code.
    pub(crate) fn code(&self) -> &[u8] {
        &self.bytes[self.outline.end..]
    }

    /// The component's outline.
    pub(crate) fn outline(&self) -> Option<Inspection> {
        serde_json::from_slice(&self.bytes[self.outline.clone()]).ok()
    }

    /// What was compiled in this process.
    #[cfg(feature = "fuzzing")]
    pub(crate) fn in_this_process(outline: &Inspection, code: &[u8]) -> Self {
        let mut bytes = CodeCache::begin("");
        let written = write_output(outline, code, &mut bytes);
        written.and_then(|()| Self::parse(bytes, "").map_err(io::Error::other)).expect("in memory")
    }

    /// Finds the parts of a file's bytes.
    fn parse(bytes: Vec<u8>, name: &str) -> Result<Self, &'static str> {
        let named = part(&bytes, HEAD).ok_or("it is incomplete")?;
        if &bytes[named.clone()] != name.as_bytes() {
            return Err("it was written under another name");
        }
        let outline = part(&bytes, named.end).ok_or("it is incomplete")?;
        Ok(Self { bytes, outline })
    }
}

/// The part at `at`, after its length.
fn part(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    let length = bytes.get(at..at.checked_add(4)?)?;
    let length = u32::from_le_bytes(length.try_into().ok()?) as usize;
    let range = at + 4..(at + 4).checked_add(length)?;
    bytes.get(range.clone()).map(|_| range)
}

/// What the compiler's child prints: the outline with its length, and then the machine code.
pub(crate) fn write_output(
    outline: &Inspection,
    code: &[u8],
    to: &mut impl Write,
) -> io::Result<()> {
    let outline = serde_json::to_vec(outline)?;
    to.write_all(&(outline.len() as u32).to_le_bytes())?;
    to.write_all(&outline)?;
    to.write_all(code)?;
    to.flush()
}

/// The folder, its key, and how large it may become.
pub(crate) struct CodeCache {
    folder: PathBuf,
    key: hmac::Key,
    /// The most bytes of all files.
    most: u64,
    /// The most bytes of one file: no component's code has more.
    most_of_one: u64,
}

impl CodeCache {
    /// The cache in `data_dir`. Files of interrupted writes are deleted.
    ///
    /// # Errors
    /// If the folder cannot be created or made private to this user, or has no key and none can
    /// be made.
    pub(crate) fn open(data_dir: &Path, most: u64, most_of_one: u64) -> io::Result<Self> {
        let folder = data_dir.join(FOLDER);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        // What is behind a link may be somebody else's too.
        if !folder.is_symlink() {
            fs::set_permissions(&folder, Permissions::from_mode(0o700))?;
        }
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key(&data_dir.join(KEY_FILE))?);
        let cache = Self { folder, key, most, most_of_one };
        cache.sweep();
        cache.trim();
        Ok(cache)
    }

    /// The compiled component of this name. `None` if there is none, or if anything about its file
    /// is in doubt.
    pub(crate) fn read(&self, name: &str) -> Option<Compiled> {
        let path = self.path(name);
        let verified = read_private(&path, self.most_of_one).and_then(|(file, bytes)| {
            let compiled = self.verify(bytes, name).map_err(Doubt::because)?;
            // The next to be deleted is the one that was not used for longest.
            let _ = file.set_modified(SystemTime::now());
            Ok(compiled)
        });
        match verified {
            Ok(compiled) => Some(compiled),
            Err(Doubt::Missing) => None,
            Err(Doubt::Of(reason)) => {
                let file = path.display();
                tracing::warn!(%file, reason, "compiled code not used; compiling it again");
                None
            }
        }
    }

    fn verify(&self, bytes: Vec<u8>, name: &str) -> Result<Compiled, &'static str> {
        let head = bytes.get(..HEAD).ok_or("it is incomplete")?;
        let mac = head.strip_prefix(&MAGIC).ok_or("it has another format")?;
        hmac::verify(&self.key, &bytes[HEAD..], mac)
            .map_err(|_| "it is damaged, or was not written by this server")?;
        Compiled::parse(bytes, name)
    }

    /// The beginning of a file, which the compiler's output is to follow.
    pub(crate) fn begin(name: &str) -> Vec<u8> {
        let mut bytes = [&MAGIC[..], &[0; MAC_BYTES]].concat();
        bytes.extend_from_slice(&(name.len() as u32).to_le_bytes());
        bytes.extend_from_slice(name.as_bytes());
        bytes
    }

    /// What [`Self::begin`] began, once our own compiler's output follows. `None` if the output is
    /// incomplete.
    pub(crate) fn seal(&self, mut bytes: Vec<u8>, name: &str) -> Option<Compiled> {
        let mac = hmac::sign(&self.key, bytes.get(HEAD..)?);
        bytes[MAGIC.len()..HEAD].copy_from_slice(mac.as_ref());
        Compiled::parse(bytes, name).ok()
    }

    /// Keeps a compiled component, and deletes others if there are too many.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(crate) fn write(&self, name: &str, compiled: &Compiled) -> io::Result<()> {
        if compiled.bytes.len() as u64 > self.most {
            return Ok(());
        }
        // A temporary file first, so that another server on this folder finds it complete. Not
        // synced: after a crash of the machine, an incomplete file is compiled again.
        let mut file = NamedTempFile::with_prefix_in(TEMPORARY, &self.folder)?;
        file.write_all(&compiled.bytes)?;
        file.persist(self.path(name))?;
        self.trim();
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name).with_extension(EXTENSION)
    }

    /// Deletes files of interrupted writes, and those that only Kenning 0.1 reads.
    fn sweep(&self) {
        for entry in self.files() {
            let name = entry.file_name();
            let is_temporary = name.to_string_lossy().starts_with(TEMPORARY);
            if is_temporary || has_extension(&entry.path(), OUTLINE_OF_0_1) {
                delete(&entry.path());
            }
        }
    }

    /// Deletes the files that were not used for longest, until the others are few enough.
    fn trim(&self) {
        let mut files: Vec<_> = self.files().filter_map(|entry| compiled_file(&entry)).collect();
        files.sort();
        let mut total: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, bytes, path) in files {
            if total <= self.most {
                return;
            }
            delete(&path);
            total -= bytes;
        }
    }

    fn files(&self) -> impl Iterator<Item = DirEntry> {
        let is_file = |entry: &DirEntry| entry.file_type().is_ok_and(|kind| kind.is_file());
        fs::read_dir(&self.folder).into_iter().flatten().flatten().filter(is_file)
    }
}

/// When a compiled component was last used, its size, and its path.
fn compiled_file(entry: &DirEntry) -> Option<(SystemTime, u64, PathBuf)> {
    let (path, metadata) = (entry.path(), entry.metadata().ok()?);
    let found = has_extension(&path, EXTENSION);
    found.then(|| Some((metadata.modified().ok()?, metadata.len(), path)))?
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|its| its == extension)
}

fn delete(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        tracing::debug!(path = %path.display(), %error, "not deleted");
    }
}

/// Why a file's content cannot be used.
enum Doubt {
    Missing,
    Of(String),
}

impl Doubt {
    fn because(reason: impl std::fmt::Display) -> Self {
        Self::Of(reason.to_string())
    }
}

impl From<io::Error> for Doubt {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing,
            _ => Self::because(error),
        }
    }
}

/// Reads a file that only this user can read or change.
fn read_private(path: &Path, most: u64) -> Result<(File, Vec<u8>), Doubt> {
    // A link could lead to a file that others may change; opening a pipe would wait for its writer.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
    let mut file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(Doubt::because("it is not a file"));
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(Doubt::because("it belongs to another user"));
    }
    if metadata.mode() & 0o077 != 0 {
        return Err(Doubt::because("other users may read or change it"));
    }
    if metadata.len() > most {
        return Err(Doubt::because("it is too large"));
    }
    let mut bytes = Vec::with_capacity(metadata.len() as usize);
    (&mut file).take(most).read_to_end(&mut bytes)?;
    Ok((file, bytes))
}

/// The key in the file at `path`. If there is none, or another user could know it, a new one is
/// made, and what the old one signed is compiled again.
fn key(path: &Path) -> io::Result<[u8; KEY_BYTES]> {
    let read = read_private(path, KEY_BYTES as u64).and_then(|(_, bytes)| {
        let length = bytes.len();
        bytes.try_into().map_err(|_| Doubt::Of(format!("it has {length} bytes, not {KEY_BYTES}")))
    });
    match read {
        Ok(key) => return Ok(key),
        Err(Doubt::Missing) => {}
        Err(Doubt::Of(reason)) => {
            let file = path.display();
            tracing::warn!(%file, reason, "key not used; components are compiled again");
        }
    }
    let mut key = [0; KEY_BYTES];
    getrandom::fill(&mut key).map_err(|error| io::Error::other(error.to_string()))?;
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut file = NamedTempFile::with_prefix_in(TEMPORARY, directory)?;
    file.write_all(&key)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "0123-4567";
    const CODE: &[u8] = b"machine code";

    struct Fixture {
        directory: tempfile::TempDir,
        cache: CodeCache,
    }

    fn open(directory: &Path, most: u64) -> CodeCache {
        CodeCache::open(directory, most, 1 << 20).unwrap()
    }

    impl Fixture {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let cache = open(directory.path(), 1 << 20);
            Self { directory, cache }
        }

        fn file(&self, name: &str) -> PathBuf {
            self.cache.path(name)
        }

        fn write(&self, name: &str, code: &[u8]) {
            let compiled = compiled(&self.cache, name, code);
            self.cache.write(name, &compiled).unwrap();
        }

        fn is_missed(&self) -> bool {
            self.cache.read(NAME).is_none()
        }
    }

    fn compiled(cache: &CodeCache, name: &str, code: &[u8]) -> Compiled {
        let mut bytes = CodeCache::begin(name);
        write_output(&Inspection::default(), code, &mut bytes).unwrap();
        cache.seal(bytes, name).unwrap()
    }

    #[test]
    fn what_was_written_is_read_back_also_after_a_restart() {
        let fixture = Fixture::new();
        fixture.write(NAME, CODE);
        for cache in [&fixture.cache, &open(fixture.directory.path(), 1 << 20)] {
            let compiled = cache.read(NAME).unwrap();
            assert_eq!(compiled.code(), CODE);
            assert_eq!(compiled.outline(), Some(Inspection::default()));
        }
        assert!(fixture.cache.read("other").is_none());
    }

    #[test]
    fn a_file_with_any_byte_flipped_is_missed() {
        let fixture = Fixture::new();
        fixture.write(NAME, CODE);
        let whole = fs::read(fixture.file(NAME)).unwrap();
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            fs::write(fixture.file(NAME), flipped).unwrap();
            assert!(fixture.is_missed(), "byte {at}");
        }
    }

    #[test]
    fn a_truncated_or_extended_file_is_missed() {
        let fixture = Fixture::new();
        fixture.write(NAME, CODE);
        let whole = fs::read(fixture.file(NAME)).unwrap();
        for length in 0..whole.len() {
            fs::write(fixture.file(NAME), &whole[..length]).unwrap();
            assert!(fixture.is_missed(), "{length} bytes");
        }
        fs::write(fixture.file(NAME), [&whole[..], b"x"].concat()).unwrap();
        assert!(fixture.is_missed());
    }

    #[test]
    fn a_file_under_another_name_or_of_another_key_is_missed() {
        let fixture = Fixture::new();
        fixture.write("other", CODE);
        fs::rename(fixture.file("other"), fixture.file(NAME)).unwrap();
        assert!(fixture.is_missed());
        fixture.write(NAME, CODE);
        fs::remove_file(fixture.directory.path().join(KEY_FILE)).unwrap();
        assert!(open(fixture.directory.path(), 1 << 20).read(NAME).is_none());
    }

    #[test]
    fn a_file_that_others_may_change_is_missed() {
        let fixture = Fixture::new();
        for mode in [0o644, 0o660, 0o606] {
            fixture.write(NAME, CODE);
            fs::set_permissions(fixture.file(NAME), Permissions::from_mode(mode)).unwrap();
            assert!(fixture.is_missed(), "{mode:o}");
        }
    }

    #[test]
    fn what_is_no_file_of_this_user_is_missed() {
        let fixture = Fixture::new();
        fixture.write("other", CODE);
        std::os::unix::fs::symlink(fixture.file("other"), fixture.file(NAME)).unwrap();
        assert!(fixture.is_missed(), "a link");
        fs::remove_file(fixture.file(NAME)).unwrap();
        fs::create_dir(fixture.file(NAME)).unwrap();
        assert!(fixture.is_missed(), "a directory");
        fs::remove_dir(fixture.file(NAME)).unwrap();
        fixture.write(NAME, CODE);
        // Only root may give a file away.
        if std::os::unix::fs::chown(fixture.file(NAME), Some(65_534), None).is_ok() {
            assert!(fixture.is_missed(), "another user's");
        }
    }

    #[test]
    fn a_folder_behind_a_link_keeps_its_mode() {
        let (data_dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::set_permissions(elsewhere.path(), Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), data_dir.path().join(FOLDER)).unwrap();
        open(data_dir.path(), 1);
        assert_eq!(fs::metadata(elsewhere.path()).unwrap().mode() & 0o777, 0o755);
    }

    #[test]
    fn a_key_that_others_could_read_or_that_is_damaged_is_replaced() {
        let fixture = Fixture::new();
        let key = fixture.directory.path().join(KEY_FILE);
        assert_eq!(fs::metadata(&key).unwrap().mode() & 0o777, 0o600);
        assert!(!key.starts_with(&fixture.cache.folder), "the key is beside the folder");
        let before = fs::read(&key).unwrap();
        fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
        open(fixture.directory.path(), 1);
        let after = fs::read(&key).unwrap();
        assert_ne!(before, after);
        assert_eq!(fs::metadata(&key).unwrap().mode() & 0o777, 0o600);
        fs::write(&key, b"short").unwrap();
        open(fixture.directory.path(), 1);
        assert_eq!(fs::read(&key).unwrap().len(), KEY_BYTES);
    }

    #[test]
    fn the_files_that_were_not_used_for_longest_go_first() {
        let fixture = Fixture::new();
        let long_ago = SystemTime::now() - std::time::Duration::from_secs(3_600);
        for name in ["a", "b", "c"] {
            fixture.write(name, CODE);
            File::open(fixture.file(name)).unwrap().set_modified(long_ago).unwrap();
        }
        assert!(fixture.cache.read("a").is_some(), "used now");
        let of_one = fs::metadata(fixture.file("a")).unwrap().len();
        let cache = open(fixture.directory.path(), 2 * of_one);
        cache.write("d", &compiled(&cache, "d", CODE)).unwrap();
        let kept = ["a", "b", "c", "d"].map(|name| cache.read(name).is_some());
        assert_eq!(kept, [true, false, false, true]);
        // What is larger than the whole cache is not kept.
        cache.write("e", &compiled(&cache, "e", &[0; 1_000])).unwrap();
        assert!(cache.read("e").is_none() && cache.read("d").is_some());
    }

    #[test]
    fn files_of_interrupted_writes_are_deleted_at_a_start() {
        let fixture = Fixture::new();
        fixture.write(NAME, CODE);
        let temporary = fixture.cache.folder.join(".tmpAbCdEf");
        let outline = fixture.file(NAME).with_extension(OUTLINE_OF_0_1);
        for path in [&temporary, &outline] {
            fs::write(path, b"{}").unwrap();
        }
        let cache = open(fixture.directory.path(), 1 << 20);
        assert!(!temporary.exists() && !outline.exists());
        assert!(cache.read(NAME).is_some());
    }
}
