//! Bounds the requests to a remote embedder, and keeps queries from waiting behind background
//! work, and tenants from waiting behind one another.

use std::sync::Arc;
use std::time::Instant;

use kenning_core::fair_semaphore::{FairSemaphore, Limits, Permit};
use kenning_storage::TenantId;
use smallvec::SmallVec;
use tokio::time::timeout_at;

use crate::{EmbedError, Lane};

/// Permits for requests. Of every eight, stores and background work together may hold six, and
/// background work alone three, so that a query soon finds a free one. Tenants share all of them
/// fairly, and one of eight is reserved for tenants that hold none.
pub(super) struct Lanes {
    requests: Arc<FairSemaphore>,
    not_queries: Arc<FairSemaphore>,
    background: Arc<FairSemaphore>,
}

/// All permits of one request, returned when dropped.
pub(super) struct Permits {
    _held: SmallVec<[Permit; 3]>,
}

impl Lanes {
    /// For `requests` requests at once.
    pub(super) fn new(requests: usize) -> Self {
        let share = |eighths: usize, reserved_for_idle| {
            let permits = (requests * eighths / 8).max(1);
            FairSemaphore::new(Limits { permits, per_tenant: permits, reserved_for_idle })
        };
        Self { requests: share(8, requests / 8), not_queries: share(6, 0), background: share(3, 0) }
    }

    /// Waits for the permits of one request of `tenant`.
    pub(super) async fn enter(
        &self,
        tenant: &TenantId,
        lane: Lane,
        until: Instant,
    ) -> Result<Permits, EmbedError> {
        // From the narrowest to the widest, so that a request that waits for the widest holds
        // no more than its lane may.
        let narrower: &[&Arc<FairSemaphore>] = match lane {
            Lane::Query => &[],
            Lane::Document => &[&self.not_queries],
            Lane::Background => &[&self.background, &self.not_queries],
        };
        let mut held = SmallVec::new();
        for permits in narrower.iter().copied().chain([&self.requests]) {
            match timeout_at(until.into(), permits.acquire(tenant)).await {
                Ok(permit) => held.push(permit),
                Err(_) => return Err(EmbedError::Timeout),
            }
        }
        Ok(Permits { _held: held })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;
    use std::time::Duration;

    use futures::FutureExt;

    use super::*;

    static ONE: LazyLock<TenantId> = LazyLock::new(|| TenantId::parse("one").unwrap());
    static OTHER: LazyLock<TenantId> = LazyLock::new(|| TenantId::parse("other").unwrap());

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    /// Acquires permits until there are none.
    async fn fill(lanes: &Lanes, lane: Lane) -> Vec<Permits> {
        let mut held = Vec::new();
        while let Ok(permits) = lanes.enter(&ONE, lane, Instant::now()).await {
            held.push(permits);
        }
        held
    }

    #[tokio::test]
    async fn a_query_gets_a_permit_however_busy_the_other_lanes_are() {
        let lanes = Lanes::new(8);
        let background = fill(&lanes, Lane::Background).await;
        let stores = fill(&lanes, Lane::Document).await;
        assert_eq!((background.len(), stores.len()), (3, 3));
        assert!(lanes.enter(&ONE, Lane::Query, soon()).await.is_ok());
    }

    #[tokio::test]
    async fn a_tenant_that_asks_all_it_may_leaves_a_permit_to_another() {
        let lanes = Lanes::new(8);
        let queries = fill(&lanes, Lane::Query).await;
        assert_eq!(queries.len(), 7);
        assert!(lanes.enter(&OTHER, Lane::Query, soon()).await.is_ok());
    }

    #[tokio::test]
    async fn a_store_waits_for_one_request_of_another_tenant_however_many_that_has() {
        let lanes = Lanes::new(8);
        let mut held = fill(&lanes, Lane::Document).await;
        let mut waiting: Vec<_> = [&*ONE, &*ONE, &*OTHER]
            .into_iter()
            .map(|tenant| lanes.enter(tenant, Lane::Document, soon()).boxed())
            .collect();
        assert!(waiting.iter_mut().all(|one| one.now_or_never().is_none()));
        held.pop();
        let served: Vec<bool> =
            waiting.iter_mut().map(|one| one.now_or_never().is_some()).collect();
        assert_eq!(served, [false, false, true]);
    }

    #[tokio::test]
    async fn permits_are_returned_when_their_request_ends() {
        let lanes = Lanes::new(1);
        for _ in 0..3 {
            assert_eq!(fill(&lanes, Lane::Background).await.len(), 1);
        }
    }
}
