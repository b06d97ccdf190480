//! The fact-and-search logic: what a fact is, how facts are stored, and how search ranks
//! them.
//!
//! This crate is plain Rust, so tests and benchmarks run natively in milliseconds. Only
//! `component` names the contract in `wit/`. Everything the logic cannot do by itself,
//! such as reading storage or embedding a text, it asks of its [ports](ports::Ports).
//!
//! The modules, in reading order:
//!
//! - [`fact`]: facts, drafts and changes, and how a fact is laid out in a hash, with its
//!   [`metadata`] and [`timestamp`];
//! - [`ports`]: what the logic needs from outside, and [`budget`]: how it notices that a
//!   call is running out of resources;
//! - `storing`, `reading`, `listing`, `updating`, `deleting`: one file per operation, and
//!   `indexing`, which storing and updating share;
//! - [`search`] and [`fusion`]: asking both retrievers and merging their results;
//! - [`limits`]: every constant, and [`error`]: every way to fail;
//! - `testing`: in-memory ports for tests and benchmarks;
//! - `component`: the adapter to WebAssembly.
//!
//! ```
//! use kenning_logic::{Logic, fact::Draft, search::Query, testing::Memory};
//! let logic = Logic::new(Memory::default());
//! logic.store(vec![Draft::new("Redis is a database"), Draft::new("Bread needs flour")])?;
//! let answer = logic.search(&Query::new("which database?", 1))?;
//! assert_eq!(answer.hits[0].fact.text, "Redis is a database");
//! # Ok::<(), kenning_logic::Error>(())
//! ```

#![deny(missing_docs)]

#[cfg(target_family = "wasm")]
#[path = "../sdk/src/arena.rs"]
mod arena;
pub mod budget;
#[cfg(target_family = "wasm")]
mod component;
mod containing;
mod deleting;
pub mod error;
pub mod fact;
pub mod fusion;
mod indexing;
pub mod limits;
mod listing;
pub mod metadata;
pub mod ports;
mod reading;
pub mod search;
mod storing;
#[cfg(not(target_family = "wasm"))]
pub mod testing;
#[cfg(test)]
mod tests;
pub mod timestamp;
mod updating;

pub use error::{Error, Result};

/// All operations on one tenant's facts.
///
/// It keeps no state between calls: all state is behind the ports.
///
/// ```
/// use kenning_logic::{Logic, fact::Draft};
/// let logic = Logic::new(kenning_logic::testing::Memory::default());
/// let stored = logic.store(vec![Draft::new("Redis is a database")])?;
/// assert!(stored[0].as_ref().is_ok_and(|stored| stored.indexed));
/// # Ok::<(), kenning_logic::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Logic<P> {
    ports: P,
}

impl<P: ports::Ports> Logic<P> {
    /// Creates the logic over `ports`, which belong to one tenant.
    pub fn new(ports: P) -> Self {
        Self { ports }
    }

    /// The ports it was created with.
    pub fn ports(&self) -> &P {
        &self.ports
    }
}
