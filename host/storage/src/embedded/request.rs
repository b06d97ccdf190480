//! What the writer is sent.

use super::handle::TransactionError;
use super::tables::Tables;
use super::{codec, documents, facts, tenants, vectors};
use crate::{DocumentName, FactId, FactQuota, Revision, StoredVector, TenantId, Write};

/// A change for the writer to perform.
pub(super) enum Request {
    Write(TenantId, Vec<Write>, FactQuota),
    Delete(TenantId, FactId),
    PutVectors(TenantId, Vec<StoredVector>),
    MarkPending(TenantId, Vec<FactId>),
    /// One step of deleting a tenant. Its answer has one entry per deleted fact.
    DeleteTenant(TenantId),
    Document(DocumentName, DocumentChange),
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
    /// Roughly how many bytes it adds to a commit.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Write(_, writes, _) => writes.iter().map(|w| codec::size(&w.fields)).sum(),
            Self::PutVectors(_, vectors) => vectors.iter().map(|v| 4 * v.vector.values.len()).sum(),
            Self::Document(_, DocumentChange::Write { bytes, .. }) => bytes.len(),
            Self::Delete(..)
            | Self::MarkPending(..)
            | Self::DeleteTenant(_)
            | Self::Document(_, DocumentChange::Delete { .. }) => 0,
        }
    }

    /// Performs it. The answer has one entry per write and one for a deletion or a document, and is
    /// empty for vectors and marks.
    pub(super) fn apply(
        &self,
        tables: &mut Tables<'_>,
    ) -> Result<Vec<Option<Revision>>, TransactionError> {
        match self {
            Self::Write(tenant, writes, quota) => {
                facts::put_all(tables, tenant.as_str(), writes, *quota)
            }
            Self::Delete(tenant, id) => Ok(vec![facts::delete(tables, tenant.as_str(), id)?]),
            Self::PutVectors(tenant, new) => {
                new.iter().try_for_each(|new| vectors::put(tables, tenant.as_str(), new))?;
                Ok(Vec::new())
            }
            Self::MarkPending(tenant, ids) => {
                let mark = |id| vectors::mark_pending(tables, tenant.as_str(), id);
                ids.iter().try_for_each(mark)?;
                Ok(Vec::new())
            }
            Self::DeleteTenant(tenant) => {
                Ok(vec![None; tenants::delete_step(tables, tenant.as_str())?])
            }
            Self::Document(name, change) => {
                Ok(vec![documents::apply(tables, name.as_str(), change)?.map(Revision)])
            }
        }
    }
}
