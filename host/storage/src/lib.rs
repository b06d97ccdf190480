//! Storage for facts, their vectors and the documents of the control plane.
//!
//! [`open`] picks a backend by its address and returns it as an `Arc<dyn`[`Storage`]`>`:
//! `embedded:DIR` keeps everything in one file on this machine, `redis://…` in a Redis server that
//! several hosts may share. [`Storage`] states what every backend promises about deadlines,
//! ordering, atomicity and durability. Its operations stand in one trait per concern:
//!
//! - [`FactStorage`] reads, lists, writes and deletes a tenant's facts;
//! - [`VectorStorage`] holds their vectors and lists the facts that still need one;
//! - [`ChangeStorage`] tells hosts what other hosts changed, and who makes vectors;
//! - [`DocumentStorage`] holds what operators decided: versioned documents outside any tenant;
//! - [`RegistryStorage`] numbers what is in force for a tenant, and knows which hosts follow;
//! - [`QuotaStorage`] counts what all hosts use of a tenant's quotas on what is done;
//! - [`StateStorage`] holds what extensions keep from one call to the next;
//! - [`TenantStorage`] lists tenants, measures what they use and deletes them;
//! - [`CopyStorage`] copies everything for backups, which a [`Restorer`] puts back;
//! - [`Lifecycle`] describes, checks and closes the backend.
//!
//! Names are validated where they enter ([`TenantId`], [`FactId`], [`DocumentName`]), and every
//! bound is in [`StorageLimits`]. One conformance suite (`tests/conformance`) runs against every
//! backend and asserts what the traits promise.
//!
//! # Example
//!
//! ```
//! use std::time::{Duration, Instant};
//!
//! use kenning_storage::{Condition, FactId, Layout, StorageLimits, TenantId, Write, open};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let dir = tempfile::tempdir()?;
//! let url = format!("embedded:{}", dir.path().display());
//! let storage = open(&url, Layout::Tenant, StorageLimits::default()).await?;
//!
//! let tenant = TenantId::parse("acme")?;
//! let deadline = Instant::now() + Duration::from_secs(1);
//! let write = Write {
//!     id: FactId::parse("greeting")?,
//!     fields: vec![("content".into(), "hello".into())],
//!     condition: Condition::Absent,
//!     expected: Vec::new(),
//!     order: 1_700_000_000_000_000,
//! };
//! let revisions = storage.write(&tenant, &[write], deadline).await?;
//! assert!(revisions[0].is_some(), "there was no such fact");
//!
//! let page = storage.page(&tenant, None, 10, deadline).await?;
//! let facts = storage.read(&tenant, &page.ids, 1 << 20, deadline).await?;
//! assert_eq!(facts, [Some(vec![("content".to_owned(), "hello".to_owned())])]);
//!
//! storage.close().await;
//! # Ok(())
//! # }
//! ```

#![deny(missing_docs)]

mod changes;
mod copies;
mod cursor;
mod documents;
mod embedded;
mod error;
mod facts;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod inspect;
mod lifecycle;
mod limits;
mod name;
mod open;
pub mod private;
mod quotas;
mod redis;
mod registry;
mod report;
mod restorer;
mod state;
mod storage;
mod tenants;
#[cfg(feature = "testing")]
pub mod testing;
mod tls_files;
mod vector_bytes;
mod vectors;
mod verify;

pub use changes::{Change, ChangeKind, ChangeStorage, Changes};
pub use copies::{CopyStorage, Wanted};
pub use documents::{Document, DocumentStorage};
pub use error::{OpenError, StorageError};
pub use facts::{Condition, FactStorage, Hash, IdPage, Revision, Write};
pub use inspect::{InspectError, Inspection, RedisInspection, inspect};
pub use lifecycle::{Adoption, Backend, Description, Layout, Lifecycle};
pub use limits::StorageLimits;
pub use name::{DocumentName, FactId, InvalidName, SpaceName, TenantId};
pub use open::{answers, check, open};
pub use quotas::{Draw, Drawn, Draws, QuotaStorage, Rate};
pub use registry::{HostLease, LivingHost, RegistryRevision, RegistryStorage};
pub use report::{HALF_RESTORED, RESTORING, Report};
pub use restorer::{RestoreError, Restored, Restorer};
pub use state::{
    Expected, StateChange, StateChanged, StateEntry, StatePage, StateQuota, StateSpace,
    StateStorage, StateUsage, TOLD_BY, TOLD_UP_TO,
};
pub use storage::Storage;
pub use tenants::{FactQuota, TenantStorage, Usage};
pub use tls_files::TlsFiles;
pub use vectors::{StoredVector, Vector, VectorStorage};
pub use verify::verify;
