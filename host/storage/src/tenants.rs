//! Tenants: which there are, how much they use, and deleting one.

use std::time::Instant;

use async_trait::async_trait;

use crate::{StorageError, TenantId};

/// The most that a tenant's facts may take up. The default is unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FactQuota {
    /// The most facts; `None` for unlimited.
    pub facts: Option<u64>,
    /// The most bytes, counted as in [`Usage`]; `None` for unlimited.
    pub bytes: Option<u64>,
}

/// How much a tenant's facts take up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// The number of facts.
    pub facts: u64,
    /// The bytes of their fields' names and values. Vectors and the backend's own bookkeeping are
    /// not counted.
    pub bytes: u64,
}

/// The tenants that have, or once had, facts.
///
/// **Ordering.** A tenant is registered by the same step that writes its first fact.
///
/// **Atomicity.** Usage is updated in the same step as each write or deletion. Deleting a tenant
/// takes several steps; each is atomic and can be repeated.
///
/// **Timeouts.** Deletion is idempotent: after an unknown outcome, call it again.
#[async_trait]
pub trait TenantStorage: Send + Sync {
    /// Every tenant that ever had a fact, by name.
    ///
    /// # Errors
    /// Those of every operation.
    async fn tenants(&self, deadline: Instant) -> Result<Vec<TenantId>, StorageError>;

    /// How much a tenant's facts take up.
    ///
    /// In the flat layout the bytes of `default` are an estimate: the size of a fact that another
    /// program deleted is unknown, so the average is subtracted.
    ///
    /// # Errors
    /// Those of every operation.
    async fn usage(&self, tenant: &TenantId, deadline: Instant) -> Result<Usage, StorageError>;

    /// The number of a tenant's facts.
    ///
    /// # Errors
    /// Those of every operation.
    async fn count(&self, tenant: &TenantId, deadline: Instant) -> Result<u64, StorageError>;

    /// Deletes a bounded number of a tenant's facts with their positions in the listing, pending
    /// marks and vectors. Returns `true` while there is more to delete.
    ///
    /// The last step also deletes the tenant's revisions and its registration, so that a later
    /// tenant of that name starts afresh. Facts written meanwhile may remain: stop the tenant's
    /// callers first. In the flat layout the facts also disappear for the programs that share them.
    ///
    /// # Errors
    /// Those of every operation.
    async fn delete_tenant(
        &self,
        tenant: &TenantId,
        deadline: Instant,
    ) -> Result<bool, StorageError>;
}
