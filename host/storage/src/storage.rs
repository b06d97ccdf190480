//! What every backend promises.

use std::time::Instant;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::{DocumentName, FactId, StorageError, TenantId};

/// The fields of one fact, names and values, in no particular order.
pub type Hash = Vec<(String, String)>;

/// Counts a tenant's changes: strictly larger at each write or delete that happened, and assigned
/// with it in one step. Two tenants' revisions are not comparable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

/// When a write may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// Only if there is no such fact.
    Absent,
    /// Only if there is one.
    Present,
}

/// One fact's write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Which fact.
    pub id: FactId,
    /// Set these fields and leave others as they are. Of two with one name the later counts.
    /// A write without fields never happens: a fact has at least one.
    pub fields: Hash,
    /// When it may happen.
    pub condition: Condition,
    /// The fact's place in `page`: larger is newer. Microseconds since 1970 in UTC; what is above
    /// 2^53 - 1 counts as that. Ignored when the fact is there already.
    pub order: u64,
}

/// How much a tenant's facts may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Room {
    /// The most facts; `None` for any number.
    pub facts: Option<u64>,
    /// The most bytes, as in [`Usage`].
    pub bytes: Option<u64>,
}

/// How much a tenant's facts are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// How many there are.
    pub facts: u64,
    /// The bytes of their fields' names and values. Vectors and what storage keeps beside them are
    /// not counted.
    pub bytes: u64,
}

/// Ids and where to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdPage {
    /// Newest first.
    pub ids: Vec<FactId>,
    /// Opaque and safe in a URL; `None` after the last page.
    pub cursor: Option<String>,
}

/// A vector on its way to storage.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredVector {
    /// Whose it is.
    pub id: FactId,
    /// The fact's revision when its text was read.
    pub revision: Revision,
    /// What it is and of what.
    pub vector: Vector,
}

/// A fact's vector.
#[derive(Debug, Clone, PartialEq)]
pub struct Vector {
    /// The space it lives in. Vectors of different profiles are never compared.
    pub profile: String,
    /// SHA-256 of the text that it embeds, so that a reader can tell a vector of an older text.
    pub digest: [u8; 32],
    /// Its numbers.
    pub values: Vec<f32>,
}

/// One document of the control plane: what operators decided, apart from every tenant's facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Grows with each write of the document and is never used again, not even by a later
    /// document of the same name.
    pub version: u64,
    /// What was written.
    pub bytes: Vec<u8>,
}

/// How keys are laid out in Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Every key under its tenant.
    Tenant,
    /// The tenant `default`'s facts at `fact:ID`, shared with other programs; all else as in
    /// `Tenant`.
    Flat,
}

/// What a storage is, for an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// `embedded` or `redis`.
    pub backend: &'static str,
    /// How keys are laid out; `None` where there is no choice.
    pub layout: Option<Layout>,
    /// A directory, or `host:port/db`. Without credentials.
    pub address: String,
}

/// How far the look for other programs' facts has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Adoption {
    /// Looks over the whole database that ended. Readiness is `passes > 0`.
    pub passes: u64,
    /// Facts taken in since the storage was opened. When it grows, `pending` of `default` has
    /// something new.
    pub adopted: u64,
    /// Facts found deleted by another program and let go of. When it grows, an index of
    /// `default` may hold ids that are no more.
    pub removed: u64,
}

/// Where facts live. Each fact is a hash of text fields, in the words of Redis.
///
/// **Tenants.** Every operation names its tenant and reaches nothing of another.
///
/// **Time.** Every operation ends by its `deadline` or by the storage's own bound (2 s), whichever
/// is earlier, with `Timeout` if it was not done. A timed-out read did nothing. A timed-out write
/// says whether it may have happened (`wrote`); if so, it may still happen after the answer, once,
/// and repeating it is safe: a condition that no longer holds shows that it did. Failures are
/// never remembered: the next operation tries anew.
///
/// **Order.** A read sees every write that was acknowledged before it began. Of two writes to one
/// tenant, the one with the larger revision happened later.
///
/// **Atomicity.** Each write, delete or vector by itself: its hash, its place, its revision, its
/// pending mark and its tenant's registration come about together or not at all, also across a
/// crash and for concurrent readers and writers. Several in one call are not one.
///
/// **Durability.** Embedded: what was acknowledged is on disk (fsync). Redis: it is what the
/// server was told by `appendfsync`; with `always` it is on disk.
///
/// **Sizes.** At most 100 ids, writes or vectors in one call and 64 MiB in one document, else
/// `TooLarge`.
///
/// **Documents** belong to no tenant. They are durable like facts and seen by every host on the
/// same storage. Reading or writing a document's bytes may take five times the storage's own
/// bound.
#[async_trait]
pub trait Storage: Send + Sync {
    /// Reads hashes of `ids`, in their order and in one round trip; `None` where there is no such
    /// fact. They need not all be of one moment.
    ///
    /// The answer is cut at the end of the last hash with which names and values take at most
    /// `max_bytes`: it may be shorter than `ids`, and is never empty if `ids` is not. If the first
    /// hash alone is larger, that is `TooLarge`.
    async fn read(
        &self,
        tenant: &TenantId,
        ids: &[FactId],
        max_bytes: usize,
        deadline: Instant,
    ) -> Result<Vec<Option<Hash>>, StorageError>;

    /// Ids after `cursor` or from the newest, at most `limit` (taken as at least 1 and at most
    /// 1,000), by order and then by id, both descending.
    ///
    /// A fact that stays from the first page to the last is listed exactly once, whatever happens
    /// to others, also to the one where a page ended. A listed id may be gone by the time it is
    /// read. A cursor that `page` did not make is `InvalidCursor`.
    async fn page(
        &self,
        tenant: &TenantId,
        cursor: Option<&str>,
        limit: usize,
        deadline: Instant,
    ) -> Result<IdPage, StorageError>;

    /// `write_within` any room.
    async fn write(
        &self,
        tenant: &TenantId,
        writes: &[Write],
        deadline: Instant,
    ) -> Result<Vec<Option<Revision>>, StorageError> {
        self.write_within(tenant, writes, Room::default(), deadline).await
    }

    /// Performs `writes` in their order and in one round trip; `None` where a condition did not
    /// hold. Each write that happened is marked pending with its revision, registers its tenant
    /// and, with `Absent`, takes its place and drops any vector of an earlier fact of that id.
    ///
    /// A write that adds a fact or bytes beyond `room` does not happen, and is `Full`; looking and
    /// writing are one step, so writers at once do not get past it together.
    ///
    /// If one of several fails and others happened, the error is `Timeout` with `wrote`.
    async fn write_within(
        &self,
        tenant: &TenantId,
        writes: &[Write],
        room: Room,
        deadline: Instant,
    ) -> Result<Vec<Option<Revision>>, StorageError>;

    /// Removes a fact with its place, pending mark and vector; `None` if it was not there.
    async fn delete(
        &self,
        tenant: &TenantId,
        id: &FactId,
        deadline: Instant,
    ) -> Result<Option<Revision>, StorageError>;

    /// Stores each vector whose fact still exists, in one round trip, and clears the fact's
    /// pending mark if that is still of the vector's revision. A vector of an older revision never
    /// replaces one of a newer.
    async fn put_vectors(
        &self,
        tenant: &TenantId,
        vectors: &[StoredVector],
        deadline: Instant,
    ) -> Result<(), StorageError>;

    /// Reads the vectors of `ids`, in their order; `None` where there is none.
    async fn read_vectors(
        &self,
        tenant: &TenantId,
        ids: &[FactId],
        deadline: Instant,
    ) -> Result<Vec<Option<Vector>>, StorageError>;

    /// Marks the facts among `ids` that exist as waiting for a vector, each with a new revision, as
    /// a write would. For vectors that can no longer be used.
    async fn mark_pending(
        &self,
        tenant: &TenantId,
        ids: &[FactId],
        deadline: Instant,
    ) -> Result<(), StorageError>;

    /// Facts that wait for a vector, by revision, ascending, those after `after`, at most `limit`
    /// (taken as at least 1 and at most 1,000). An empty answer means there are no more.
    async fn pending(
        &self,
        tenant: &TenantId,
        after: Option<Revision>,
        limit: usize,
        deadline: Instant,
    ) -> Result<Vec<(FactId, Revision)>, StorageError>;

    /// Every tenant that ever had a fact, by name.
    async fn tenants(&self, deadline: Instant) -> Result<Vec<TenantId>, StorageError>;

    /// How many facts a tenant has, and how much they are. Bytes are counted with each write and
    /// delete, in the same step. In the flat layout they are an estimate for `default`: of a fact
    /// that another program deletes, the average is taken off.
    async fn usage(&self, tenant: &TenantId, deadline: Instant) -> Result<Usage, StorageError>;

    /// How many facts a tenant has.
    async fn count(&self, tenant: &TenantId, deadline: Instant) -> Result<u64, StorageError>;

    /// Deletes a tenant's facts with their places, pending marks and vectors, a bounded number in
    /// each call; `true` while there is more to delete. With the last of them go its revisions and
    /// its registration, so a tenant of that name begins anew. What is written meanwhile may stay:
    /// stop the tenant's callers first. In the flat layout the facts are also gone for the programs
    /// that share them.
    async fn delete_tenant(
        &self,
        tenant: &TenantId,
        deadline: Instant,
    ) -> Result<bool, StorageError>;

    /// Reads a document; `None` where there is none. More than `max_bytes` is `TooLarge`.
    async fn read_document(
        &self,
        name: &DocumentName,
        max_bytes: usize,
        deadline: Instant,
    ) -> Result<Option<Document>, StorageError>;

    /// Writes a document if its version is still `expected`, with `None` if there is none; gives
    /// the new version, or `None` where it was not.
    async fn write_document(
        &self,
        name: &DocumentName,
        bytes: &[u8],
        expected: Option<u64>,
        deadline: Instant,
    ) -> Result<Option<u64>, StorageError>;

    /// Deletes a document if its version is still `expected`; `false` where it was not.
    async fn delete_document(
        &self,
        name: &DocumentName,
        expected: u64,
        deadline: Instant,
    ) -> Result<bool, StorageError>;

    /// The documents whose names begin with `prefix`, by name, with their versions.
    async fn list_documents(
        &self,
        prefix: &str,
        deadline: Instant,
    ) -> Result<Vec<(DocumentName, u64)>, StorageError>;

    /// Grows with every document that any host writes or deletes, and is 0 before the first: by
    /// asking only this a host notices what others changed.
    async fn documents_revision(&self, deadline: Instant) -> Result<u64, StorageError>;

    /// Whether the backend answers.
    async fn ping(&self, deadline: Instant) -> Result<(), StorageError>;

    /// What this is, for an operator.
    fn describe(&self) -> Description;

    /// How taking in other programs' facts goes on; `None` where there are none to take in.
    fn adoption(&self) -> Option<watch::Receiver<Adoption>> {
        None
    }

    /// Ends what runs in the background and, once the writes that were accepted are done, lets go
    /// of files. Later operations are `Unavailable`. A second close does nothing.
    async fn close(&self);
}
