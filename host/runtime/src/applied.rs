//! How far this host's indexes have come in the tenants' changes.
//!
//! Where hosts share a storage, the task that follows their changes moves these positions. With
//! embedded storage there is only this host, and its writes move them.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use kenning_storage::{Revision, TenantId};
use tokio::sync::Notify;
use tokio::time::timeout_at;

/// The position of each tenant whose index is here.
#[derive(Default)]
pub struct Applied {
    state: Mutex<State>,
    /// Notified when a position moves.
    moved: Notify,
}

#[derive(Default)]
struct State {
    positions: HashMap<TenantId, Revision>,
    /// The tenants of which this host is behind for longer than it may be, and their revisions.
    behind: HashMap<TenantId, Revision>,
    /// Why changes cannot be read, if they cannot for longer than they may.
    unreadable: Option<String>,
}

impl Applied {
    /// The position of a tenant; `None` if its changes are not followed yet.
    pub fn position(&self, tenant: &TenantId) -> Option<Revision> {
        self.state().positions.get(tenant).copied()
    }

    /// The positions of all tenants.
    pub fn positions(&self) -> Vec<(TenantId, Revision)> {
        let state = self.state();
        state.positions.iter().map(|(tenant, position)| (tenant.clone(), *position)).collect()
    }

    /// The index has all of a tenant's changes up to `revision`.
    pub fn advance(&self, tenant: &TenantId, revision: Revision) {
        let mut state = self.state();
        match state.positions.get_mut(tenant) {
            Some(position) if *position >= revision => return,
            Some(position) => *position = revision,
            None => drop(state.positions.insert(tenant.clone(), revision)),
        }
        drop(state);
        self.moved.notify_waiters();
    }

    /// The same, unless the tenant's index was dropped meanwhile.
    pub fn advance_known(&self, tenant: &TenantId, revision: Revision) {
        let mut state = self.state();
        match state.positions.get_mut(tenant) {
            Some(position) if *position < revision => *position = revision,
            _ => return,
        }
        drop(state);
        self.moved.notify_waiters();
    }

    /// The tenant's index is gone, or has to be read again from the beginning.
    pub fn forget(&self, tenant: &TenantId) {
        let mut state = self.state();
        state.positions.remove(tenant);
        state.behind.remove(tenant);
    }

    /// Waits until the tenant's index has all changes up to `revision`. Returns whether it has by
    /// `deadline`.
    pub async fn wait(&self, tenant: &TenantId, revision: Revision, deadline: Instant) -> bool {
        let arrived = async {
            loop {
                let mut moved = std::pin::pin!(self.moved.notified());
                // Registered before looking, so that no move is missed.
                moved.as_mut().enable();
                if self.position(tenant).is_some_and(|position| position >= revision) {
                    return;
                }
                moved.await;
            }
        };
        timeout_at(deadline.into(), arrived).await.is_ok()
    }

    /// Publishes which tenants this host is behind with for too long.
    pub fn set_behind(&self, behind: HashMap<TenantId, Revision>) {
        self.state().behind = behind;
    }

    /// Publishes that changes cannot be read for too long, or that they can again.
    pub fn set_unreadable(&self, reason: Option<String>) {
        self.state().unreadable = reason;
    }

    /// Why searches of this tenant may miss changes of other hosts, if they may for too long.
    pub fn lag(&self, tenant: &TenantId) -> Option<String> {
        let state = self.state();
        if let Some(reason) = &state.unreadable {
            return Some(format!("index: changes of other hosts cannot be read: {reason}"));
        }
        let Revision(last) = state.behind.get(tenant)?;
        let at = state.positions.get(tenant).map_or(0, |position| position.0);
        Some(format!("index: this host is at revision {at} of {last}"))
    }

    /// The same, for the whole host.
    pub fn lag_of_any(&self) -> Option<String> {
        let state = self.state();
        if let Some(reason) = &state.unreadable {
            return Some(format!("changes of other hosts cannot be read: {reason}"));
        }
        let tenants = state.behind.len();
        (tenants > 0).then(|| format!("the indexes of {tenants} tenants are behind other hosts"))
    }

    /// How many tenants this host is behind with for too long.
    pub fn tenants_behind(&self) -> usize {
        self.state().behind.len()
    }

    /// How many changes of those tenants are missing here.
    pub fn changes_behind(&self) -> u64 {
        let state = self.state();
        let missing = |(tenant, last): (&TenantId, &Revision)| {
            last.0.saturating_sub(state.positions.get(tenant).map_or(0, |at| at.0))
        };
        state.behind.iter().map(missing).sum()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::FutureExt;

    use super::*;

    fn tenant() -> TenantId {
        TenantId::parse("acme").unwrap()
    }

    #[tokio::test]
    async fn whoever_waits_for_a_revision_is_woken_by_it() {
        let applied = Applied::default();
        let deadline = Instant::now() + Duration::from_secs(3_600);
        let tenant = tenant();
        let mut waiting = applied.wait(&tenant, Revision(7), deadline).boxed();
        assert!((&mut waiting).now_or_never().is_none());
        applied.advance_known(&tenant, Revision(9));
        assert_eq!(applied.position(&tenant), None, "the tenant is not followed");
        applied.advance(&tenant, Revision(6));
        assert!((&mut waiting).now_or_never().is_none());
        applied.advance(&tenant, Revision(8));
        assert!(waiting.await);
        applied.advance(&tenant, Revision(2));
        assert_eq!(applied.position(&tenant), Some(Revision(8)), "never backwards");
    }

    #[test]
    fn a_host_says_how_far_behind_it_is() {
        let applied = Applied::default();
        applied.advance(&tenant(), Revision(3));
        assert_eq!((applied.lag(&tenant()), applied.lag_of_any()), (None, None));
        applied.set_behind(HashMap::from([(tenant(), Revision(9))]));
        assert_eq!(applied.lag(&tenant()).unwrap(), "index: this host is at revision 3 of 9");
        assert!(applied.lag_of_any().unwrap().contains("1 tenants"));
        assert_eq!(applied.changes_behind(), 6);
        applied.set_unreadable(Some("gone".into()));
        assert!(applied.lag(&tenant()).unwrap().ends_with("cannot be read: gone"));
    }
}
