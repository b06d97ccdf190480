//! Writes a backup into a folder.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::block::hex;
use crate::manifest::{Base, MANIFEST, Part, is_part};
use crate::reader::FileBlocks;
use crate::{BackupError, Block, Blocks, Contents, Manifest, Record, Since};

/// A part is complete once it has this many bytes.
const PART_BYTES: u64 = 64 << 20;

/// The manifest, until it is whole.
const PARTIAL: &str = "manifest.json.partial";

/// A folder that a backup is written into.
pub struct Folder {
    dir: PathBuf,
    base: Option<Base>,
    contents: Contents,
    parts: Vec<Part>,
    current: Option<Current>,
}

/// The part that is being written.
struct Current {
    path: PathBuf,
    file: File,
    bytes: u64,
    hasher: Sha256,
}

/// How a folder was found.
pub enum Opened {
    /// It is new, or empty.
    New(Folder),
    /// It has the beginning of a backup.
    Begun(Folder),
}

impl Folder {
    /// Opens a folder for a backup, which continues `base` if there is one. Makes it if it does not
    /// exist; drops the end of an earlier attempt that is not whole.
    ///
    /// # Errors
    /// If it has something else in it, or a complete backup.
    pub fn open(dir: &Path, base: Option<(&Path, &Manifest)>) -> Result<Opened, BackupError> {
        let since = base.map(|(_, manifest)| manifest.copied.clone()).unwrap_or_default();
        let base = base.map(|(folder, manifest)| Base {
            folder: folder.display().to_string(),
            sha256: manifest.sha256(),
        });
        private_directory(dir).map_err(BackupError::file(dir))?;
        // Left by an attempt that was interrupted at its very end.
        let _ = fs::remove_file(dir.join(PARTIAL));
        let mut names = Vec::new();
        for entry in fs::read_dir(dir).map_err(BackupError::file(dir))? {
            names.push(entry.map_err(BackupError::file(dir))?.file_name());
        }
        if names.iter().any(|name| name == MANIFEST) {
            return Err(BackupError::Other(format!(
                "{} holds a complete backup; name another folder",
                dir.display()
            )));
        }
        if !names.iter().all(|name| is_part(name)) {
            return Err(BackupError::Other(format!(
                "{} is neither empty nor the beginning of a backup; name another folder",
                dir.display()
            )));
        }
        let contents = Contents::after(since);
        let mut folder =
            Self { dir: dir.to_owned(), base, contents, parts: Vec::new(), current: None };
        match folder.find_parts(names.len())? {
            0 => Ok(Opened::New(folder)),
            _ => Ok(Opened::Begun(folder)),
        }
    }

    /// Reads what is there already; returns how many parts that is.
    fn find_parts(&mut self, count: usize) -> Result<usize, BackupError> {
        let mut blocks = Blocks::default();
        for number in 1..=count {
            let name = part_name(number);
            let path = self.dir.join(&name);
            let mut file = FileBlocks::open(&path, blocks)?;
            let (mut bytes, mut hasher) = (0, Sha256::new());
            let found = loop {
                match file.next_block() {
                    Ok(Some(block)) => {
                        self.note(&block)?;
                        bytes += block.bytes.len() as u64;
                        hasher.update(&block.bytes);
                    }
                    Ok(None) => break Ok(()),
                    Err(error) => break Err(error),
                }
            };
            match found {
                Err(error) if number < count => return Err(error),
                // What an attempt left that was interrupted.
                Err(_) => cut(&path, bytes).map_err(BackupError::file(&path))?,
                Ok(()) => {}
            }
            blocks = file.into_blocks();
            if bytes > 0 {
                self.parts.push(Part { file: name, bytes, sha256: hex(&hasher.finalize()) });
            }
        }
        if let (Some(begin), base) = (&self.contents.begin, &self.base)
            && begin.base != base.as_ref().map(|base| base.sha256.clone())
        {
            return Err(BackupError::Other(format!(
                "the backup that was begun in {} continues another one than this: name the same \
                 --since, or another folder",
                self.dir.display()
            )));
        }
        Ok(self.parts.len())
    }

    /// What to ask the server for.
    pub fn since(&self) -> &Since {
        &self.contents.since
    }

    /// The backup that this one continues.
    pub fn base(&self) -> Option<&Base> {
        self.base.as_ref()
    }

    /// What is in it.
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// Adds a block as it came.
    ///
    /// # Errors
    /// If it cannot be written, or the server says in it that it could not go on.
    pub fn append(&mut self, block: &Block) -> Result<(), BackupError> {
        self.note(block)?;
        if block.number == 1 || self.current.as_ref().is_some_and(|part| part.bytes > PART_BYTES) {
            self.end_part()?;
        }
        let mut current = match self.current.take() {
            Some(current) => current,
            None => self.begin_part()?,
        };
        current.file.write_all(&block.bytes).map_err(BackupError::file(&current.path))?;
        current.bytes += block.bytes.len() as u64;
        current.hasher.update(&block.bytes);
        self.current = Some(current);
        Ok(())
    }

    fn note(&mut self, block: &Block) -> Result<(), BackupError> {
        for record in block.records() {
            match record? {
                Record::Failed { message } => {
                    return Err(BackupError::Incomplete(format!("the server says: {message}")));
                }
                record => self.contents.note(&record),
            }
        }
        Ok(())
    }

    fn begin_part(&self) -> Result<Current, BackupError> {
        let path = self.dir.join(part_name(self.parts.len() + 1));
        let file = private_file(&path).map_err(BackupError::file(&path))?;
        Ok(Current { path, file, bytes: 0, hasher: Sha256::new() })
    }

    fn end_part(&mut self) -> Result<(), BackupError> {
        let Some(current) = self.current.take() else { return Ok(()) };
        current.file.sync_all().map_err(BackupError::file(&current.path))?;
        let file = part_name(self.parts.len() + 1);
        let sha256 = hex(&current.hasher.finalize());
        self.parts.push(Part { file, bytes: current.bytes, sha256 });
        Ok(())
    }

    /// Writes the manifest.
    ///
    /// # Errors
    /// If records are missing, or it cannot be written.
    pub fn complete(mut self) -> Result<Manifest, BackupError> {
        self.end_part()?;
        let (Some(begin), true) = (self.contents.begin.take(), self.contents.is_complete) else {
            return Err(BackupError::Incomplete("the server's last record is missing".into()));
        };
        let contents = self.contents;
        let manifest = Manifest {
            format: crate::FORMAT,
            version: begin.version,
            at: begin.at,
            storage: begin.storage,
            base: self.base,
            copied: contents.since,
            facts: contents.facts,
            gone: contents.gone,
            documents: contents.documents,
            state: contents.state,
            left_out: contents.left_out,
            parts: self.parts,
        };
        write_manifest(&self.dir, &manifest).map_err(BackupError::file(&self.dir))?;
        Ok(manifest)
    }
}

fn write_manifest(dir: &Path, manifest: &Manifest) -> io::Result<()> {
    let partial = dir.join(PARTIAL);
    let mut file = private_file(&partial)?;
    file.write_all(&manifest.to_file())?;
    file.sync_all()?;
    fs::rename(&partial, dir.join(MANIFEST))?;
    File::open(dir)?.sync_all()
}

fn part_name(number: usize) -> String {
    format!("part-{number:05}.jsonl")
}

/// Keeps the first `bytes` of a part; of a part without any, nothing.
fn cut(path: &Path, bytes: u64) -> io::Result<()> {
    match bytes {
        0 => fs::remove_file(path),
        _ => OpenOptions::new().write(true).open(path)?.set_len(bytes),
    }
}

fn private_directory(dir: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(dir)
}

fn private_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.write(true).create_new(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Begin, Blob, BlockWriter, FORMAT, Position, Reader, verify};

    fn begin(base: Option<&str>) -> Record {
        Record::Begin(Begin {
            format: FORMAT,
            version: "0.1.0".into(),
            at: "2026-11-30T00:00:00Z".into(),
            storage: "embedded".into(),
            facts: 3,
            tenant: None,
            base: base.map(str::to_owned),
        })
    }

    fn fact(id: &str) -> Record {
        let fields = [("content".to_owned(), id.to_owned())].into();
        Record::Fact { id: id.into(), order: 1, pending: false, fields, vector: None }
    }

    fn position(revision: u64, cursor: Option<&str>) -> Position {
        Position { revision, cursor: cursor.map(str::to_owned), ..Position::default() }
    }

    fn tenant(whole: bool) -> Record {
        Record::Tenant { name: "acme".into(), whole, because: None }
    }

    fn end() -> [Record; 3] {
        [
            Record::TenantEnd(position(3, None)),
            Record::DocumentsEnd { revision: 1, names: Vec::new() },
            Record::End { tenants: vec!["acme".into()] },
        ]
    }

    /// What a server sends: one block for each record.
    fn blocks(records: &[Record]) -> Vec<Block> {
        let (mut writer, mut blocks) = (BlockWriter::default(), Blocks::default());
        for record in records {
            writer.push(record);
            blocks.push(&writer.take().unwrap());
        }
        std::iter::from_fn(|| blocks.next_block().unwrap()).collect()
    }

    fn open(dir: &Path) -> Folder {
        match Folder::open(dir, None).unwrap() {
            Opened::New(folder) | Opened::Begun(folder) => folder,
        }
    }

    #[test]
    fn a_backup_that_was_interrupted_goes_on_and_is_read_as_one() {
        let dir = tempfile::tempdir().unwrap();
        let first = [begin(None), tenant(true), fact("a"), Record::Mark(position(2, Some("c")))];
        let mut folder = open(dir.path());
        blocks(&first).iter().for_each(|block| folder.append(block).unwrap());
        folder.append(&blocks(&[begin(None), fact("lost")])[0]).unwrap();
        drop(folder);
        let torn = dir.path().join(part_name(2));
        OpenOptions::new().append(true).open(&torn).unwrap().write_all(b"{\"block\":2,").unwrap();
        assert!(verify(dir.path()).err().unwrap().to_string().contains("goes on"));

        let mut folder = open(dir.path());
        assert_eq!(folder.since().tenants["acme"], position(2, Some("c")));
        let kept = Record::State {
            space: "budget".into(),
            key: Blob(vec![7]),
            value: Blob(Vec::new()),
            expires: Some(1),
        };
        let begun = [begin(None), tenant(false), fact("b"), Record::StateBegin, kept];
        let rest = [&begun[..], &end()].concat();
        blocks(&rest).iter().for_each(|block| folder.append(block).unwrap());
        let manifest = folder.complete().unwrap();
        assert_eq!((manifest.facts, manifest.state, manifest.parts.len()), (2, 1, 3));
        assert!(verify(dir.path()).unwrap().damage.is_empty());
        let records = Reader::open(&[dir.path().to_owned()]).unwrap().0;
        let records = records.collect::<Result<Vec<_>, _>>().unwrap();
        assert_eq!(records, [&first[..], &[begin(None)], &rest[..]].concat());
        assert!(Folder::open(dir.path(), None).err().unwrap().to_string().contains("complete"));
    }

    #[test]
    fn one_flipped_byte_anywhere_is_found_and_its_file_named() {
        let dir = tempfile::tempdir().unwrap();
        let mut folder = open(dir.path());
        let records = [&[begin(None), tenant(true), fact("a")][..], &end()].concat();
        blocks(&records).iter().for_each(|block| folder.append(block).unwrap());
        folder.complete().unwrap();
        for name in [MANIFEST, "part-00001.jsonl"] {
            let path = dir.path().join(name);
            let whole = fs::read(&path).unwrap();
            for at in 0..whole.len() {
                let mut flipped = whole.clone();
                flipped[at] ^= 0x20;
                fs::write(&path, &flipped).unwrap();
                let found = match verify(dir.path()) {
                    Ok(verified) => verified.damage.join("\n"),
                    Err(error) => error.to_string(),
                };
                let is_newer = found.contains("newer Kenning");
                assert!(found.contains(name) || is_newer, "byte {at} of {name}: {found}");
            }
            fs::write(&path, &whole).unwrap();
        }
        assert!(verify(dir.path()).unwrap().damage.is_empty());
    }

    #[test]
    fn a_backup_that_continues_another_is_read_after_it_only() {
        let (whole, more) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut folder = open(whole.path());
        let records = [&[begin(None), tenant(true), fact("a")][..], &end()].concat();
        blocks(&records).iter().for_each(|block| folder.append(block).unwrap());
        let manifest = folder.complete().unwrap();
        let opened = Folder::open(more.path(), Some((whole.path(), &manifest))).unwrap();
        let Opened::New(mut folder) = opened else { panic!("it is new") };
        assert_eq!(folder.since(), &manifest.copied);
        let base = manifest.sha256();
        let records = [&[begin(Some(&base)), tenant(false), fact("b")][..], &end()].concat();
        blocks(&records).iter().for_each(|block| folder.append(block).unwrap());
        folder.complete().unwrap();
        let (whole, more) = (whole.path().to_owned(), more.path().to_owned());
        for wrong in [vec![more.clone()], vec![more.clone(), whole.clone()]] {
            assert!(Reader::open(&wrong).err().unwrap().to_string().contains("name"));
        }
        assert_eq!(Reader::open(&[whole, more]).unwrap().0.count(), 12);
    }

    #[test]
    fn a_backup_of_the_first_format_is_read() {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures");
        let verified = verify(&fixtures.join("backup-1")).unwrap();
        assert_eq!(verified.damage, Vec::<String>::new());
        let contents = verified.contents;
        assert_eq!((verified.manifest.format, contents.facts, contents.state), (1, 2, 0));
    }

    #[test]
    fn a_data_directory_is_recognised() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("facts.redb"), b"").unwrap();
        let message = Manifest::read(dir.path()).unwrap_err().to_string();
        assert!(message.contains("`kenning backup`"), "{message}");
        assert!(Folder::open(dir.path(), None).is_err());
    }
}
