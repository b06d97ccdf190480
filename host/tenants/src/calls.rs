//! Tracks the calls in progress of each tenant, so that deleting a tenant can end them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kenning_storage::TenantId;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// All calls in progress.
#[derive(Default)]
pub(super) struct Calls {
    /// Holds only tenants with a call in progress, since callers may name any tenant.
    running: Mutex<HashMap<TenantId, TenantCalls>>,
    ended: Notify,
}

#[derive(Default)]
struct TenantCalls {
    count: usize,
    end: CancellationToken,
}

/// One call in progress; it ends when this is dropped.
pub struct Running {
    calls: Arc<Calls>,
    tenant: TenantId,
    end: CancellationToken,
}

impl Running {
    /// Another handle to the call, for a task that may outlive this one.
    pub fn again(&self) -> Self {
        self.calls.begin(&self.tenant)
    }

    /// Waits until the tenant is deleted.
    pub async fn ended(&self) {
        self.end.cancelled().await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut running = self.calls.running();
        if let Some(calls) = running.get_mut(&self.tenant) {
            calls.count -= 1;
            if calls.count == 0 {
                running.remove(&self.tenant);
                self.calls.ended.notify_waiters();
            }
        }
    }
}

impl Calls {
    fn running(&self) -> MutexGuard<'_, HashMap<TenantId, TenantCalls>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn begin(self: &Arc<Self>, tenant: &TenantId) -> Running {
        let mut running = self.running();
        let calls = running.entry(tenant.clone()).or_default();
        calls.count += 1;
        Running { calls: self.clone(), tenant: tenant.clone(), end: calls.end.clone() }
    }

    /// Asks a tenant's calls to end, and returns whether there are any.
    pub(super) fn cancel(&self, tenant: &TenantId) -> bool {
        let running = self.running();
        let calls = running.get(tenant);
        calls.inspect(|calls| calls.end.cancel()).is_some()
    }

    /// Asks a tenant's calls to end, and waits until none is in progress.
    pub(super) async fn end(&self, tenant: &TenantId) {
        loop {
            let mut ended = std::pin::pin!(self.ended.notified());
            // Registered before looking, so that a call that ends right after is not missed.
            ended.as_mut().enable();
            if !self.cancel(tenant) {
                return;
            }
            ended.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(name: &str) -> TenantId {
        TenantId::parse(name).unwrap()
    }

    #[tokio::test]
    async fn ending_one_tenants_calls_waits_for_them_and_leaves_others_alone() {
        let calls = Arc::new(Calls::default());
        let other = calls.begin(&tenant("other"));
        let running: Vec<_> = (0..2).map(|_| calls.begin(&tenant("a"))).collect();
        let tasks: Vec<_> = running
            .into_iter()
            .map(|running| tokio::spawn(async move { running.ended().await }))
            .collect();
        calls.end(&tenant("a")).await;
        for task in tasks {
            task.await.unwrap();
        }
        assert!(!other.end.is_cancelled());
        assert_eq!(calls.running().len(), 1, "a tenant without calls is not kept");
        assert!(!calls.begin(&tenant("a")).end.is_cancelled(), "a later tenant of that name");
    }
}
