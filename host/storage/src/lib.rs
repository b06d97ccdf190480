//! Where facts live.
//!
//! In reading order: [`Storage`] says what a backend promises, [`open`] picks one by its address,
//! `embedded` keeps facts in one file of this machine and `redis` in a Redis server. One
//! conformance suite (`tests/conformance`) runs over all of them: what it asserts is the contract,
//! and what differs between backends is said in the prose of [`Storage`].
//!
//! Every operation on facts names its tenant; documents are the operators'. Each ends by its
//! deadline. Nothing here caches: a read sees
//! every write that was acknowledged before it began.

mod cursor;
mod embedded;
mod error;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod limits;
mod name;
mod open;
mod redis;
mod storage;
#[cfg(feature = "testing")]
pub mod testing;
mod vector_bytes;

pub use error::{OpenError, StorageError};
pub use limits::StorageLimits;
pub use name::{DocumentName, FactId, InvalidName, TenantId};
pub use open::open;
pub use storage::{
    Adoption, Condition, Description, Document, Hash, IdPage, Layout, Revision, Room, Storage,
    StoredVector, Usage, Vector, Write,
};
