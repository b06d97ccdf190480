//! Which tenants have calls of the logic under way, so that they can be ended.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kenning_storage::TenantId;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Calls under way.
#[derive(Default)]
pub(super) struct Calls {
    /// Only tenants with a call under way: anyone may ask for any name.
    running: Mutex<HashMap<TenantId, Live>>,
    ended: Notify,
}

#[derive(Default)]
struct Live {
    calls: usize,
    end: CancellationToken,
}

/// One call under way.
pub struct Running {
    calls: Arc<Calls>,
    tenant: TenantId,
    end: CancellationToken,
}

impl Running {
    /// The same call, for a part of it that may outlive the other.
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
        if let Some(live) = running.get_mut(&self.tenant) {
            live.calls -= 1;
            if live.calls == 0 {
                running.remove(&self.tenant);
                self.calls.ended.notify_waiters();
            }
        }
    }
}

impl Calls {
    fn running(&self) -> MutexGuard<'_, HashMap<TenantId, Live>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn begin(self: &Arc<Self>, tenant: &TenantId) -> Running {
        let mut running = self.running();
        let live = running.entry(tenant.clone()).or_default();
        live.calls += 1;
        Running { calls: self.clone(), tenant: tenant.clone(), end: live.end.clone() }
    }

    /// Tells a tenant's calls to end; whether there are any.
    pub(super) fn cancel(&self, tenant: &TenantId) -> bool {
        let running = self.running();
        let live = running.get(tenant);
        live.inspect(|live| live.end.cancel()).is_some()
    }

    /// Ends a tenant's calls and waits until none is under way.
    pub(super) async fn end(&self, tenant: &TenantId) {
        loop {
            let mut ended = std::pin::pin!(self.ended.notified());
            // Before looking, so that an end right after it is not missed.
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
    async fn calls_of_one_tenant_are_ended_and_waited_for() {
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
        assert_eq!(calls.running().len(), 1, "nothing is kept of who is done");
        assert!(!calls.begin(&tenant("a")).end.is_cancelled(), "the next tenant of that name");
    }
}
