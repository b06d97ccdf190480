//! What the writer is sent.

use std::sync::{Arc, OnceLock};

use super::codec;
use crate::{
    DocumentName, FactId, FactQuota, Revision, SpaceName, StateChange, StateChanged, StateQuota,
    StoredVector, TenantId, Write,
};

/// A change for the writer to perform.
pub(super) enum Request {
    Write(TenantId, Vec<Write>, FactQuota),
    Delete(TenantId, FactId),
    PutVectors(TenantId, Vec<StoredVector>),
    MarkPending(TenantId, Vec<FactId>),
    /// One step of deleting a tenant. Its answer has one entry per deleted fact.
    DeleteTenant(TenantId),
    Document(DocumentName, DocumentChange),
    /// Raises a tenant's revision and empties its stream.
    RaiseRevision(TenantId, Revision),
    State(StateRequest),
    /// One step of deleting an extension's state. Its answer has one entry per deleted key.
    DeleteState(TenantId, SpaceName),
}

/// A change of one key of an extension's state.
pub(super) struct StateRequest {
    pub(super) tenant: TenantId,
    pub(super) name: SpaceName,
    pub(super) key: Vec<u8>,
    pub(super) change: StateChange,
    pub(super) quota: StateQuota,
    /// Where the writer says what became of the change.
    pub(super) outcome: Arc<OnceLock<StateChanged>>,
}

/// A change of one document, performed if the document has the expected version.
pub(super) enum DocumentChange {
    Write { bytes: Vec<u8>, expected: Option<u64> },
    Delete { expected: u64 },
}

impl DocumentChange {
    pub(super) fn expected(&self) -> Option<u64> {
        match self {
            Self::Write { expected, .. } => *expected,
            Self::Delete { expected } => Some(*expected),
        }
    }
}

impl Request {
    /// The tenant whose facts or vectors it changes.
    pub(super) fn tenant(&self) -> Option<&TenantId> {
        match self {
            Self::Write(tenant, ..)
            | Self::Delete(tenant, _)
            | Self::PutVectors(tenant, _)
            | Self::MarkPending(tenant, _)
            | Self::DeleteTenant(tenant)
            | Self::RaiseRevision(tenant, _) => Some(tenant),
            Self::Document(..) | Self::State(_) | Self::DeleteState(..) => None,
        }
    }

    /// Whether it does more than delete.
    pub(super) fn grows(&self) -> bool {
        !matches!(
            self,
            Self::Delete(..)
                | Self::DeleteTenant(_)
                | Self::DeleteState(..)
                | Self::State(StateRequest { change: StateChange::Delete, .. })
                | Self::Document(_, DocumentChange::Delete { .. })
        )
    }

    /// Roughly how many bytes it adds to a commit.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Write(_, writes, _) => writes.iter().map(|w| codec::size(&w.fields)).sum(),
            Self::PutVectors(_, vectors) => vectors.iter().map(|v| 4 * v.vector.values.len()).sum(),
            Self::Document(_, DocumentChange::Write { bytes, .. }) => bytes.len(),
            Self::State(StateRequest { key, change: StateChange::Set { value, .. }, .. }) => {
                key.len() + value.len()
            }
            Self::Delete(..)
            | Self::MarkPending(..)
            | Self::DeleteTenant(_)
            | Self::RaiseRevision(..)
            | Self::DeleteState(..)
            | Self::State(_)
            | Self::Document(_, DocumentChange::Delete { .. }) => 0,
        }
    }
}
