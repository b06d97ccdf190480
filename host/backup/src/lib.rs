//! The format of backups: what a server sends, what is in a backup's folder, and how both are
//! checked.
//!
//! A backup is a sequence of [`Record`]s, each a line of JSON. Lines are grouped into [`Block`]s
//! with a digest, which is how they travel and how they are stored. A [`Folder`] holds them in part
//! files, and a [`Manifest`] once it is complete. What a folder holds is known from its records
//! alone ([`Contents`]), so a backup that was interrupted goes on where it was.
//!
//! Of two records of one fact, the later one holds: a tenant that changes while it is copied is
//! brought up to date by further records, and so is a backup by a later one.
//!
//! ```
//! use kenning_backup::{BlockWriter, Blocks, Record};
//!
//! let mut writer = BlockWriter::default();
//! writer.push(&Record::Gone { id: "tea".into() });
//! let sent = writer.take().expect("there is a record");
//!
//! let mut blocks = Blocks::default();
//! blocks.push(&sent);
//! let block = blocks.next_block()?.expect("it is whole");
//! let records: Vec<Record> = block.records().collect::<Result<_, _>>()?;
//! assert_eq!(records, [Record::Gone { id: "tea".into() }]);
//! # Ok::<(), kenning_backup::BackupError>(())
//! ```

#![deny(missing_docs)]

mod block;
mod contents;
mod error;
mod folder;
mod manifest;
mod position;
mod reader;
mod record;

pub use block::{Block, BlockWriter, Blocks};
pub use contents::Contents;
pub use error::BackupError;
pub use folder::{Folder, Opened};
pub use manifest::{Base, Manifest, TORN};
pub use position::{Position, Since};
pub use reader::{Reader, Verified, read_file, verify};
pub use record::{Begin, Blob, Record, VectorRecord, WholeBecause};

/// The version of the format that this version writes. It grows when a reader of an earlier one
/// would lose something.
///
/// | format | since |
/// |---|---|
/// | 1 | facts and documents |
/// | 2 | what extensions keep ([`Record::StateBegin`], [`Record::State`]) |
pub const FORMAT: u32 = 2;
