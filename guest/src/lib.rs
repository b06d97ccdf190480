//! The fact-and-search logic: what a fact is, how it is written, how search ranks.
//!
//! Plain Rust, so that tests, benchmarks and fuzzing run natively in milliseconds.
//! Only `component` names the contract in `wit/`; everything the logic cannot do
//! by itself it asks of its [ports](ports::Ports).
//!
//! A map, in reading order:
//!
//! - [`fact`]: a fact, a draft, a change, and how a fact lies in a hash, with its
//!   [`metadata`] and [`timestamp`];
//! - [`ports`]: what the logic needs from outside, and [`budget`]: how it notices
//!   that little is left;
//! - `storing`, `reading`, `listing`, `updating`, `deleting`: one file for each verb,
//!   and `indexing`, which stores and updates share;
//! - [`search`] and [`fusion`]: asking both halves of the index and making one order;
//! - [`limits`]: every number, and [`error`]: every way to fail;
//! - `testing`: the ports in memory, for tests and benchmarks;
//! - `component`: the adapter to WebAssembly.

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

/// The verbs over one tenant's ports.
///
/// It keeps nothing between calls: all state is behind the ports.
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
    /// The logic over `ports`, which belong to one tenant.
    pub fn new(ports: P) -> Self {
        Self { ports }
    }

    /// The ports it was made with.
    pub fn ports(&self) -> &P {
        &self.ports
    }
}
