//! Facts: reading, listing, writing and deleting them.

use std::time::Instant;

use async_trait::async_trait;

use crate::{FactId, FactQuota, RegistryRevision, StorageError, TenantId};

/// The fields of one fact as names and values, in no particular order. The term is Redis's.
pub type Hash = Vec<(String, String)>;

/// The number of a change to a tenant's facts.
///
/// Each write or deletion that happens gets a strictly larger revision, assigned in the same atomic
/// step. Revisions of different tenants are not comparable.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

/// When a write may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// Only if the fact does not exist.
    Absent,
    /// Only if the fact exists.
    Present,
}

/// A write of one fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The fact to write.
    pub id: FactId,
    /// The fields to set; other fields of the fact keep their values. If a name occurs twice, the
    /// later value wins. A write without fields never happens, because a fact has at least one.
    pub fields: Hash,
    /// When the write may happen.
    pub condition: Condition,
    /// Fields that must have these values, or the write does not happen. For whoever writes what
    /// they made of an earlier read, so that no change in between is lost. Usually empty.
    pub expected: Hash,
    /// The sort key of a new fact in [`FactStorage::page`]; larger is newer. Microseconds since
    /// 1970 in UTC, capped at 2^53 - 1. Ignored if the fact exists.
    pub order: u64,
}

/// One page of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdPage {
    /// Ids of facts, newest first.
    pub ids: Vec<FactId>,
    /// Where the next page starts; `None` on the last page. Opaque, and safe in a URL.
    pub cursor: Option<String>,
}

/// A tenant's facts. Each fact is a hash of text fields.
///
/// **Isolation.** Every operation names its tenant and reaches no other tenant's facts.
///
/// **Ordering.** Of two writes to one tenant, the one with the larger [`Revision`] happened later.
/// Reads and writes are ordered as described at [`Storage`](crate::Storage).
///
/// **Atomicity.** A write sets the fact's fields, its position in the listing, its revision, its
/// pending mark (see [`VectorStorage`](crate::VectorStorage)), its tenant's registration and the
/// tenant's usage in one step.
///
/// **Timeouts.** Only writes and deletions can end with an unknown outcome. Repeat them: a
/// condition that no longer holds shows that the first attempt succeeded.
///
/// **Registry.** The operations whose names end in `_as_of` are given the number of the tenant's
/// registry that the caller goes by (see [`RegistryStorage`](crate::RegistryStorage)). They fail
/// with `StaleRegistry` if another is in force, in the same atomic step and before anything is read
/// or changed. With `None` nothing is compared.
///
/// **Sizes.** At most 100 ids or writes in one call.
#[async_trait]
pub trait FactStorage: Send + Sync {
    /// Reads the hashes of `ids`, in their order and in one round trip; `None` for a fact that does
    /// not exist. The hashes may be from different moments.
    ///
    /// The result is cut after the last hash with which all names and values take at most
    /// `max_bytes` bytes. It may therefore be shorter than `ids`, but is empty only if `ids` is.
    ///
    /// # Errors
    /// `TooLarge` for more than 100 ids, or if the first hash alone exceeds `max_bytes`.
    async fn read(
        &self,
        tenant: &TenantId,
        ids: &[FactId],
        max_bytes: usize,
        deadline: Instant,
    ) -> Result<Vec<Option<Hash>>, StorageError>;

    /// Lists ids from the newest, or from where `cursor` points: at most `limit` of them (clamped
    /// to 1..=1,000), by order and then by id, both descending.
    ///
    /// A fact that exists from the first page to the last is listed exactly once, whatever happens
    /// to other facts meanwhile, including the one at which a page ended. A listed fact may be
    /// deleted before it is read.
    ///
    /// # Errors
    /// `InvalidCursor` if `cursor` was not returned by this method.
    async fn page(
        &self,
        tenant: &TenantId,
        cursor: Option<&str>,
        limit: usize,
        deadline: Instant,
    ) -> Result<IdPage, StorageError>;

    /// Performs `writes` without a quota; see [`write_within`](Self::write_within).
    ///
    /// # Errors
    /// As `write_within`, except for `QuotaExceeded`.
    async fn write(
        &self,
        tenant: &TenantId,
        writes: &[Write],
        deadline: Instant,
    ) -> Result<Vec<Option<Revision>>, StorageError> {
        self.write_within(tenant, writes, FactQuota::default(), deadline).await
    }

    /// Performs `writes` in their order and in one round trip; `None` where a condition did not
    /// hold.
    ///
    /// Each write that happens marks its fact as pending with the new revision and registers the
    /// tenant. A new fact also gets its position in the listing, and any vector left over from an
    /// earlier fact with the same id is dropped.
    ///
    /// A write that would take the tenant beyond `quota` does not happen. The check and the write
    /// are one step, so concurrent writers cannot exceed the quota together.
    ///
    /// # Errors
    /// `TooLarge` for more than 100 writes; `QuotaExceeded` if the quota leaves no room. If one of
    /// several writes fails after others have happened, the error is `Timeout` with
    /// `outcome_unknown`.
    async fn write_within(
        &self,
        tenant: &TenantId,
        writes: &[Write],
        quota: FactQuota,
        deadline: Instant,
    ) -> Result<Vec<Option<Revision>>, StorageError>;

    /// Deletes a fact with its position in the listing, its pending mark and its vector. Returns
    /// the revision of the deletion; `None` if the fact did not exist.
    ///
    /// # Errors
    /// Those of every operation.
    async fn delete(
        &self,
        tenant: &TenantId,
        id: &FactId,
        deadline: Instant,
    ) -> Result<Option<Revision>, StorageError>;

    /// [`Self::read`] for a caller who goes by `registry`.
    ///
    /// # Errors
    /// As `read`, and `StaleRegistry`.
    async fn read_as_of(
        &self,
        tenant: &TenantId,
        _registry: Option<RegistryRevision>,
        ids: &[FactId],
        max_bytes: usize,
        deadline: Instant,
    ) -> Result<Vec<Option<Hash>>, StorageError> {
        self.read(tenant, ids, max_bytes, deadline).await
    }

    /// [`Self::page`] for a caller who goes by `registry`.
    ///
    /// # Errors
    /// As `page`, and `StaleRegistry`.
    async fn page_as_of(
        &self,
        tenant: &TenantId,
        _registry: Option<RegistryRevision>,
        cursor: Option<&str>,
        limit: usize,
        deadline: Instant,
    ) -> Result<IdPage, StorageError> {
        self.page(tenant, cursor, limit, deadline).await
    }

    /// [`Self::write_within`] for a caller who goes by `registry`. If it changes between two of
    /// several writes, those before it have happened, and the error is `Uncertain`.
    ///
    /// # Errors
    /// As `write_within`, and `StaleRegistry`.
    async fn write_as_of(
        &self,
        tenant: &TenantId,
        _registry: Option<RegistryRevision>,
        writes: &[Write],
        quota: FactQuota,
        deadline: Instant,
    ) -> Result<Vec<Option<Revision>>, StorageError> {
        self.write_within(tenant, writes, quota, deadline).await
    }

    /// [`Self::delete`] for a caller who goes by `registry`.
    ///
    /// # Errors
    /// As `delete`, and `StaleRegistry`.
    async fn delete_as_of(
        &self,
        tenant: &TenantId,
        _registry: Option<RegistryRevision>,
        id: &FactId,
        deadline: Instant,
    ) -> Result<Option<Revision>, StorageError> {
        self.delete(tenant, id, deadline).await
    }

    /// Whether a fact has a position in the listing, whether or not it can be read.
    ///
    /// # Errors
    /// Those of every operation.
    async fn is_listed(
        &self,
        tenant: &TenantId,
        id: &FactId,
        deadline: Instant,
    ) -> Result<bool, StorageError>;

    /// Removes from the listing those of `ids` that storage has lost: Redis evicted them, or
    /// another program deleted them. Returns each removed one with the revision of its removal.
    ///
    /// # Errors
    /// `TooLarge` for more than 100 ids.
    async fn remove_lost(
        &self,
        _tenant: &TenantId,
        _ids: &[FactId],
        _deadline: Instant,
    ) -> Result<Vec<(FactId, Revision)>, StorageError> {
        Ok(Vec::new())
    }

    /// Does the same for all of a tenant's facts if storage may have lost some since the last time,
    /// until `deadline`. Returns those that were removed so far; the rest is left to the next call.
    ///
    /// # Errors
    /// Those of every operation.
    async fn remove_all_lost(
        &self,
        _tenant: &TenantId,
        _deadline: Instant,
    ) -> Result<Vec<(FactId, Revision)>, StorageError> {
        Ok(Vec::new())
    }

    /// A number that changes whenever storage loses facts by itself.
    ///
    /// # Errors
    /// Those of every operation.
    async fn losses(&self, _deadline: Instant) -> Result<u64, StorageError> {
        Ok(0)
    }
}
