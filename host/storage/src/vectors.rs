//! Vectors of facts, and the facts that still need one.

use std::time::Instant;

use async_trait::async_trait;

use crate::{FactId, Revision, StorageError, TenantId};

/// The embeddings of a fact's text, one for each of its windows.
#[derive(Debug, Clone, PartialEq)]
pub struct Vector {
    /// The embedding profile. Vectors of different profiles are never compared.
    pub profile: String,
    /// Identifies the embedded text, so that a reader can recognise a vector of an outdated text.
    pub digest: [u8; 32],
    /// The components of all embeddings, one after another: each has as many as the profile has
    /// dimensions.
    pub values: Vec<f32>,
}

/// A vector to be stored.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredVector {
    /// The fact it belongs to.
    pub id: FactId,
    /// The fact's revision when its text was read.
    pub revision: Revision,
    /// The vector.
    pub vector: Vector,
}

/// The vectors of a tenant's facts, and the queue of facts that wait for one.
///
/// Every write to a fact marks it *pending* with the revision of the write. A vector of that
/// revision clears the mark.
///
/// **Ordering.** A vector of an older revision never replaces one of a newer. Pending facts are
/// listed by revision, so a reader that remembers the last one sees every later change.
///
/// **Atomicity.** A vector is stored and its pending mark cleared in one step. A vector of a fact
/// that was deleted meanwhile is discarded.
///
/// **Timeouts.** Storing and marking are idempotent: after an unknown outcome, repeat them.
///
/// **Sizes.** At most 100 ids or vectors in one call.
#[async_trait]
pub trait VectorStorage: Send + Sync {
    /// Stores each vector whose fact still exists, in one round trip, and clears the fact's pending
    /// mark if it still has the vector's revision.
    ///
    /// # Errors
    /// `TooLarge` for more than 100 vectors.
    async fn put_vectors(
        &self,
        tenant: &TenantId,
        vectors: &[StoredVector],
        deadline: Instant,
    ) -> Result<(), StorageError>;

    /// Reads the vectors of `ids`, in their order; `None` where there is none.
    ///
    /// # Errors
    /// `TooLarge` for more than 100 ids.
    async fn read_vectors(
        &self,
        tenant: &TenantId,
        ids: &[FactId],
        deadline: Instant,
    ) -> Result<Vec<Option<Vector>>, StorageError>;

    /// Marks those of `ids` that exist as pending, each with a new revision, as a write would. Used
    /// when stored vectors have become unusable.
    ///
    /// # Errors
    /// `TooLarge` for more than 100 ids.
    async fn mark_pending(
        &self,
        tenant: &TenantId,
        ids: &[FactId],
        deadline: Instant,
    ) -> Result<(), StorageError>;

    /// Lists pending facts with a revision larger than `after`, in ascending order, at most `limit`
    /// of them (clamped to 1..=1,000). An empty result means there are no more.
    ///
    /// # Errors
    /// Those of every operation.
    async fn pending(
        &self,
        tenant: &TenantId,
        after: Option<Revision>,
        limit: usize,
        deadline: Instant,
    ) -> Result<Vec<(FactId, Revision)>, StorageError>;
}
