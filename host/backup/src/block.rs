//! Blocks: records with a digest of their bytes.
//!
//! A block is a line of JSON that says its number, its length and its digest, and then as many
//! bytes: records, a line each. The digest is of the number and of the bytes, so that a block in
//! another's place is found.

use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{BackupError, Record};

/// A block is complete once it has this many bytes.
const BLOCK_BYTES: usize = 1 << 20;

/// The most bytes of a block: far more than the largest record has.
const MOST_BYTES: usize = 64 << 20;

/// The most bytes of the line before a block.
const HEAD_BYTES: usize = 256;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    block: u64,
    bytes: usize,
    sha256: String,
}

impl Head {
    fn of(block: u64, body: &[u8]) -> Self {
        let digest = Sha256::new().chain_update(block.to_le_bytes()).chain_update(body).finalize();
        Self { block, bytes: body.len(), sha256: hex(&digest) }
    }

    /// The line, with its end.
    fn line(&self) -> String {
        let Self { block, bytes, sha256 } = self;
        format!("{{\"block\":{block},\"bytes\":{bytes},\"sha256\":\"{sha256}\"}}\n")
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Makes blocks of records.
#[derive(Default)]
pub struct BlockWriter {
    blocks: u64,
    body: Vec<u8>,
}

impl BlockWriter {
    /// Adds a record. Returns whether the block is large enough to be taken.
    pub fn push(&mut self, record: &Record) -> bool {
        serde_json::to_writer(&mut self.body, record).expect("a record is JSON, in memory");
        self.body.push(b'\n');
        self.body.len() >= BLOCK_BYTES
    }

    /// The block of what was added since the last one; `None` if that is nothing.
    pub fn take(&mut self) -> Option<Bytes> {
        if self.body.is_empty() {
            return None;
        }
        self.blocks += 1;
        let body = std::mem::take(&mut self.body);
        let mut block = Head::of(self.blocks, &body).line().into_bytes();
        block.extend_from_slice(&body);
        Some(block.into())
    }
}

/// A block that has its digest.
#[derive(Clone, Debug)]
pub struct Block {
    /// Its number, from 1.
    pub number: u64,
    /// All of it, as it was written.
    pub bytes: Bytes,
    body: Bytes,
}

impl Block {
    /// Its records.
    pub fn records(&self) -> impl Iterator<Item = Result<Record, BackupError>> {
        let lines = self.body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let number = self.number;
        lines.map(move |line| {
            Record::parse(line).map_err(|error| error.at(&format!("block {number}")))
        })
    }
}

/// Finds blocks in bytes as they come.
#[derive(Default)]
pub struct Blocks {
    buffer: BytesMut,
    last: u64,
    head: Option<Head>,
}

impl Blocks {
    /// Adds bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Adds bytes of another file or answer, whose blocks may begin with 1 again.
    pub fn begin_part(&mut self) {
        if self.buffer.starts_with(b"{\"block\":1,") {
            self.last = 0;
        }
    }

    /// How many bytes belong to no block yet.
    pub fn left(&self) -> usize {
        let head = self.head.as_ref().map_or(0, |head| head.line().len());
        head + self.buffer.len()
    }

    /// The next block; `None` until there are more bytes.
    ///
    /// # Errors
    /// [`BackupError::Damaged`] if the bytes are no block, or not the next one.
    pub fn next_block(&mut self) -> Result<Option<Block>, BackupError> {
        let head = match self.head.take() {
            Some(head) => head,
            None => match self.next_head()? {
                Some(head) => head,
                None => return Ok(None),
            },
        };
        if self.buffer.len() < head.bytes {
            self.head = Some(head);
            return Ok(None);
        }
        let body = self.buffer.split_to(head.bytes).freeze();
        let found = Head::of(head.block, &body);
        if found.sha256 != head.sha256 {
            let number = head.block;
            return Err(BackupError::Damaged(format!(
                "block {number} is not what was written: its digest is another"
            )));
        }
        self.last = head.block;
        let mut bytes = BytesMut::from(head.line().as_bytes());
        bytes.extend_from_slice(&body);
        Ok(Some(Block { number: head.block, bytes: bytes.freeze(), body }))
    }

    fn next_head(&mut self) -> Result<Option<Head>, BackupError> {
        let next = self.last + 1;
        let damaged =
            |what: &str| BackupError::Damaged(format!("{what} where block {next} should begin"));
        let searched = &self.buffer[..self.buffer.len().min(HEAD_BYTES)];
        let Some(end) = searched.iter().position(|byte| *byte == b'\n') else {
            return match self.buffer.len() {
                0..HEAD_BYTES => Ok(None),
                _ => Err(damaged("there is something else")),
            };
        };
        let line = self.buffer.split_to(end + 1);
        let head: Head =
            serde_json::from_slice(&line).map_err(|_| damaged("there is something else"))?;
        if head.line().as_bytes() != &line[..] || head.bytes > MOST_BYTES {
            return Err(damaged("there is something else"));
        }
        if head.block != next {
            return Err(damaged(&format!("there is block {}", head.block)));
        }
        Ok(Some(head))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gone(id: usize) -> Record {
        Record::Gone { id: format!("fact-{id}") }
    }

    /// Three blocks.
    fn written() -> Vec<u8> {
        let mut writer = BlockWriter::default();
        let block = |n: usize| {
            writer.push(&gone(n));
            writer.push(&gone(n + 1));
            writer.take().unwrap()
        };
        [0, 2, 4].map(block).concat()
    }

    fn read(bytes: &[u8], step: usize) -> Result<Vec<Record>, BackupError> {
        let (mut blocks, mut records) = (Blocks::default(), Vec::new());
        for chunk in bytes.chunks(step) {
            blocks.push(chunk);
            while let Some(block) = blocks.next_block()? {
                records.extend(block.records().collect::<Result<Vec<_>, _>>()?);
            }
        }
        match blocks.left() {
            0 => Ok(records),
            _ => Err(BackupError::Incomplete("it ends early".into())),
        }
    }

    #[test]
    fn blocks_are_read_as_they_were_written_however_they_come() {
        let bytes = written();
        for step in [1, 7, 100, bytes.len()] {
            assert_eq!(read(&bytes, step).unwrap(), (0..6).map(gone).collect::<Vec<_>>());
        }
    }

    #[test]
    fn every_flipped_bit_and_every_early_end_is_found() {
        let bytes = written();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut bytes = bytes.clone();
                bytes[at] ^= 1 << bit;
                assert!(read(&bytes, bytes.len()).is_err(), "bit {bit} of byte {at}");
            }
        }
        let ends: Vec<usize> =
            (1..bytes.len()).filter(|end| read(&bytes[..*end], 64).is_ok()).collect();
        assert_eq!(ends.len(), 2, "only where a block ends: {ends:?}");
    }

    #[test]
    fn a_block_in_anothers_place_is_found() {
        let mut writer = BlockWriter::default();
        let blocks: Vec<Bytes> = (0..3)
            .map(|n| {
                writer.push(&gone(n));
                writer.take().unwrap()
            })
            .collect();
        let swapped = [blocks[0].clone(), blocks[2].clone(), blocks[1].clone()].concat();
        assert!(read(&swapped, 64).unwrap_err().to_string().contains("block 2 should begin"));
    }
}
