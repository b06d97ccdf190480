//! What the writer is asked for.

use super::changes::Change;
use super::deletion;
use super::documents::DocumentChange;
use super::handle::Fault;
use super::tables::Tables;
use crate::{Revision, TenantId};

/// One request to the writer.
pub(super) enum Request {
    /// A change of a tenant's facts.
    Facts(TenantId, Change),
    /// A step of a tenant's deletion; answers once for each fact that it deleted.
    DeleteTenant(TenantId),
    Document(DocumentChange),
}

impl Request {
    /// Roughly how much it adds to a commit.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Facts(_, change) => change.bytes(),
            Self::DeleteTenant(_) => 0,
            Self::Document(change) => change.bytes(),
        }
    }

    pub(super) fn apply(&self, tables: &mut Tables<'_>) -> Result<Vec<Option<Revision>>, Fault> {
        match self {
            Self::Facts(tenant, change) => change.apply(tables, tenant),
            Self::DeleteTenant(tenant) => Ok(vec![None; deletion::step(tables, tenant.as_str())?]),
            Self::Document(change) => Ok(vec![change.apply(tables)?.map(Revision)]),
        }
    }
}
