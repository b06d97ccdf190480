//! Reads backups: folders, and files with one tenant.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::block::hex;
use crate::manifest::Part;
use crate::{BackupError, Block, Blocks, Contents, Manifest, Record};

/// How much is read at once.
const STEP: usize = 256 << 10;

/// The blocks of one file.
pub(crate) struct FileBlocks {
    path: PathBuf,
    file: File,
    blocks: Blocks,
    read: u64,
    hasher: Sha256,
    is_begun: bool,
}

impl FileBlocks {
    pub(crate) fn open(path: &Path, blocks: Blocks) -> Result<Self, BackupError> {
        let file = File::open(path).map_err(BackupError::file(path))?;
        let (path, hasher) = (path.to_owned(), Sha256::new());
        Ok(Self { path, file, blocks, read: 0, hasher, is_begun: false })
    }

    fn name(&self) -> String {
        let name = self.path.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    /// The next block; `None` at the end.
    pub(crate) fn next_block(&mut self) -> Result<Option<Block>, BackupError> {
        let mut step = vec![0; STEP];
        loop {
            if let Some(block) = self.blocks.next_block().map_err(|error| error.at(&self.name()))? {
                return Ok(Some(block));
            }
            let read = self.file.read(&mut step).map_err(BackupError::file(&self.path))?;
            if read == 0 {
                return match self.blocks.left() {
                    0 => Ok(None),
                    _ => {
                        Err(BackupError::Incomplete("it ends within a block".into())
                            .at(&self.name()))
                    }
                };
            }
            self.read += read as u64;
            self.hasher.update(&step[..read]);
            self.blocks.push(&step[..read]);
            if !std::mem::replace(&mut self.is_begun, true) {
                self.blocks.begin_part();
            }
        }
    }

    /// What is needed to read the next part.
    pub(crate) fn into_blocks(self) -> Blocks {
        self.blocks
    }

    /// Compares what was read with what the manifest says, and gives back what is needed to read
    /// the next part.
    fn check(self, part: &Part) -> Result<Blocks, BackupError> {
        let is_same = self.read == part.bytes && hex(&self.hasher.finalize()) == part.sha256;
        match is_same {
            true => Ok(self.blocks),
            false => Err(BackupError::Damaged(format!("{} is not what was written", part.file))),
        }
    }
}

/// The records of a backup, or of one and those that continue it.
pub struct Reader {
    parts: std::vec::IntoIter<(PathBuf, Part)>,
    current: Option<(FileBlocks, Part)>,
    blocks: Blocks,
    records: std::vec::IntoIter<Record>,
}

impl Reader {
    /// Reads `folders`: a whole backup, and then those that continue it, in their order.
    ///
    /// # Errors
    /// If one of them is no complete backup, or does not continue the one before it.
    pub fn open(folders: &[PathBuf]) -> Result<(Self, Vec<Manifest>), BackupError> {
        let (mut parts, mut manifests) = (Vec::new(), Vec::<Manifest>::new());
        for folder in folders {
            let manifest = Manifest::read(folder)?;
            let before = manifests.last().map(Manifest::sha256);
            let wanted = manifest.base.as_ref();
            if before.as_ref() != wanted.map(|base| &base.sha256) {
                return Err(BackupError::Other(match wanted {
                    Some(base) => format!(
                        "{} continues the backup that was in {}; name that one right before it",
                        folder.display(),
                        base.folder
                    ),
                    None => format!(
                        "{} is a whole backup and continues no other; name it first",
                        folder.display()
                    ),
                }));
            }
            parts.extend(manifest.parts.iter().map(|part| (folder.join(&part.file), part.clone())));
            manifests.push(manifest);
        }
        let reader = Self {
            parts: parts.into_iter(),
            current: None,
            blocks: Blocks::default(),
            records: Vec::new().into_iter(),
        };
        Ok((reader, manifests))
    }

    fn next_record(&mut self) -> Result<Option<Record>, BackupError> {
        loop {
            if let Some(record) = self.records.next() {
                return Ok(Some(record));
            }
            if let Some((file, _)) = &mut self.current
                && let Some(block) = file.next_block()?
            {
                self.records = block.records().collect::<Result<Vec<_>, _>>()?.into_iter();
                continue;
            }
            if let Some((file, part)) = self.current.take() {
                self.blocks = file.check(&part)?;
            }
            let Some((path, part)) = self.parts.next() else { return Ok(None) };
            let blocks = std::mem::take(&mut self.blocks);
            self.current = Some((FileBlocks::open(&path, blocks)?, part));
        }
    }
}

impl Iterator for Reader {
    type Item = Result<Record, BackupError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_record().transpose()
    }
}

/// What verifying a backup found.
pub struct Verified {
    /// Its manifest.
    pub manifest: Manifest,
    /// What it holds.
    pub contents: Contents,
    /// What is damaged, one sentence each.
    pub damage: Vec<String>,
}

/// Reads all of a backup.
///
/// # Errors
/// If the folder is no complete backup, or its manifest cannot be read.
pub fn verify(folder: &Path) -> Result<Verified, BackupError> {
    let manifest = Manifest::read(folder)?;
    let (mut contents, mut damage, mut blocks) =
        (Contents::default(), Vec::new(), Blocks::default());
    for part in &manifest.parts {
        let read = verify_part(&folder.join(&part.file), part, blocks, &mut contents);
        blocks = read.unwrap_or_else(|error| {
            damage.push(error.to_string());
            Blocks::default()
        });
    }
    if damage.is_empty() && !contents.is_complete {
        damage.push("its last record is missing".into());
    }
    Ok(Verified { manifest, contents, damage })
}

fn verify_part(
    path: &Path,
    part: &Part,
    blocks: Blocks,
    contents: &mut Contents,
) -> Result<Blocks, BackupError> {
    let mut file = FileBlocks::open(path, blocks)?;
    while let Some(block) = file.next_block()? {
        for record in block.records() {
            contents.note(&record.map_err(|error| error.at(&part.file))?);
        }
    }
    file.check(part)
}

/// Reads all of a file with what one server sent, and says what is in it.
///
/// # Errors
/// If it is not what was sent, or not all of it.
pub fn read_file(path: &Path) -> Result<Contents, BackupError> {
    let mut contents = Contents::default();
    let mut file = FileBlocks::open(path, Blocks::default())?;
    while let Some(block) = file.next_block()? {
        for record in block.records() {
            contents.note(&record?);
        }
    }
    match contents.is_complete && contents.begin.is_some() {
        true => Ok(contents),
        false => Err(BackupError::Incomplete("its last record is missing".into())),
    }
}
