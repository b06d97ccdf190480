//! Performs what the writer is sent.

use super::handle::TransactionError;
use super::request::Request;
use super::tables::Tables;
use super::{changes, documents, facts, state, tenants, vectors};
use crate::Revision;
use crate::limits::STATE_STEP;

impl Request {
    /// Performs it. The answer has one entry per write and one for a deletion or a document, and is
    /// empty for vectors, marks and changes of state.
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
            Self::RaiseRevision(tenant, revision) => {
                changes::raise_revision(tables, tenant.as_str(), *revision)?;
                Ok(Vec::new())
            }
            Self::State(request) => {
                let _ = request.outcome.set(state::apply(tables, request)?);
                Ok(Vec::new())
            }
            Self::DeleteState(tenant, extension) => {
                let space = (tenant.as_str(), extension.as_str());
                Ok(vec![None; state::delete_some(tables, space, STATE_STEP)?])
            }
            Self::Document(name, change) => {
                Ok(vec![documents::apply(tables, name.as_str(), change)?.map(Revision)])
            }
        }
    }
}
