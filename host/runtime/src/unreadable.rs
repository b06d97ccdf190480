//! Which stored records cannot be served, and how many facts storage has lost.
//!
//! A record that cannot be read costs only itself: it is left out, and noted here, so that an
//! operator sees how many there are. Noted are hashes that are no facts, and records that are
//! damaged.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use kenning_storage::{FactId, TenantId};
use tokio::sync::Notify;

/// The records of all tenants that cannot be served.
#[derive(Default)]
pub struct Unreadable {
    tenants: Mutex<HashMap<TenantId, Records>>,
    /// Facts that were listed, or in the index, and that storage did not return.
    suspects: Mutex<HashMap<TenantId, HashSet<FactId>>>,
    has_suspects: Notify,
}

/// Those of one tenant.
#[derive(Default)]
struct Records {
    /// What is wrong with each.
    reasons: HashMap<FactId, String>,
    lost: u64,
}

/// How many facts of one tenant cannot be served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records that are listed and cannot be read.
    pub unreadable: u64,
    /// Facts that storage has lost, as far as this process has noticed.
    pub lost: u64,
}

impl Unreadable {
    /// Notes records that cannot be served, with what is wrong. Each is logged once.
    pub fn note(&self, tenant: &TenantId, records: &[(FactId, String)]) {
        for (id, reason) in records {
            let is_new = {
                let mut tenants = self.tenants();
                let reasons = &mut tenants.entry(tenant.clone()).or_default().reasons;
                reasons.insert(id.clone(), reason.clone()).is_none()
            };
            if is_new {
                metrics::counter!("kenning_unreadable_records_total").increment(1);
                tracing::error!(%tenant, %id, reason, "a record cannot be served; it is left out");
            }
        }
    }

    /// The record can be read, or is gone.
    pub fn forget(&self, tenant: &TenantId, id: &FactId) {
        if let Some(records) = self.tenants().get_mut(tenant) {
            records.reasons.remove(id);
        }
    }

    /// Forgets all that is noted of a tenant.
    pub fn forget_tenant(&self, tenant: &TenantId) {
        self.tenants().remove(tenant);
        self.all_suspects().remove(tenant);
    }

    /// What is wrong with a record, if that was noted.
    pub fn reason(&self, tenant: &TenantId, id: &FactId) -> Option<String> {
        self.tenants().get(tenant)?.reasons.get(id).cloned()
    }

    /// How many records of a tenant cannot be served.
    pub fn counts(&self, tenant: &TenantId) -> Counts {
        let tenants = self.tenants();
        tenants.get(tenant).map_or_else(Counts::default, |records| Counts {
            unreadable: records.reasons.len() as u64,
            lost: records.lost,
        })
    }

    /// Counts facts that storage has lost.
    pub fn count_lost(&self, tenant: &TenantId, lost: u64) {
        if lost > 0 {
            metrics::counter!("kenning_lost_facts_total").increment(lost);
            tracing::warn!(%tenant, lost, "storage has lost facts: evicted, or deleted by others");
            self.tenants().entry(tenant.clone()).or_default().lost += lost;
        }
    }

    /// Facts that storage listed and did not return. Why is found out in the background.
    pub fn suspect(&self, tenant: &TenantId, ids: Vec<FactId>) {
        if !ids.is_empty() {
            self.all_suspects().entry(tenant.clone()).or_default().extend(ids);
            self.has_suspects.notify_one();
        }
    }

    /// Waits for suspects, and takes them.
    pub async fn take_suspects(&self) -> HashMap<TenantId, HashSet<FactId>> {
        loop {
            let suspects = std::mem::take(&mut *self.all_suspects());
            if !suspects.is_empty() {
                return suspects;
            }
            self.has_suspects.notified().await;
        }
    }

    fn tenants(&self) -> MutexGuard<'_, HashMap<TenantId, Records>> {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn all_suspects(&self) -> MutexGuard<'_, HashMap<TenantId, HashSet<FactId>>> {
        self.suspects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_can_be_read_again_is_not_counted_any_more() {
        let (tenant, id) = (TenantId::parse("t").unwrap(), FactId::parse("a").unwrap());
        let unreadable = Unreadable::default();
        let noted = [(id.clone(), "it has no text".to_string())];
        unreadable.note(&tenant, &noted);
        unreadable.note(&tenant, &noted);
        unreadable.count_lost(&tenant, 2);
        assert_eq!(unreadable.counts(&tenant), Counts { unreadable: 1, lost: 2 });
        unreadable.forget(&tenant, &id);
        assert_eq!(unreadable.counts(&tenant), Counts { unreadable: 0, lost: 2 });
    }
}
