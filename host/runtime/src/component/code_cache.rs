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
        Self::open_in(data_dir, FOLDER, most, most_of_one)
    }

    /// The same for another folder, whose files have names of their own form: one key signs the
    /// files of all folders.
    pub(crate) fn open_in(
        data_dir: &Path,
        folder: &str,
        most: u64,
        most_of_one: u64,
    ) -> io::Result<Self> {
        let folder = data_dir.join(folder);
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
        let (file, compiled) = self.peek(name)?;
        touch(&file);
        Some(compiled)
    }

    /// The same, without counting as a use until the file is touched.
    pub(crate) fn peek(&self, name: &str) -> Option<(File, Compiled)> {
        let path = self.path(name);
        let verified = read_private(&path, self.most_of_one).and_then(|(file, bytes)| {
            let compiled = self.verify(bytes, name).map_err(Doubt::because)?;
            Ok((file, compiled))
        });
        match verified {
            Ok(found) => Some(found),
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

    /// The names of all files, that of the one that was used last first.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut files: Vec<_> = self.files().filter_map(|entry| compiled_file(&entry)).collect();
        files.sort();
        let stems = files.iter().rev().filter_map(|(_, _, path)| path.file_stem()?.to_str());
        stems.map(str::to_owned).collect()
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

/// The file was used now. The next to be deleted is the one that was not used for longest.
pub(crate) fn touch(file: &File) {
    let _ = file.set_modified(SystemTime::now());
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
mod tests;
