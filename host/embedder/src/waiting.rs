//! Bounds the texts that wait for an embedder or are being embedded, in each lane.

use std::sync::Arc;
use std::time::Instant;

use kenning_core::fair_semaphore::{FairSemaphore, Limits, Permit};
use kenning_storage::TenantId;
use tokio::time::timeout_at;

use crate::{EmbedError, Lane};

pub(crate) const LANES: usize = 3;

/// Room for texts in each lane, shared fairly between tenants. One tenant gets half of a lane.
pub(crate) struct Waiting([Arc<FairSemaphore>; LANES]);

impl Waiting {
    /// Room for `texts` texts in each lane.
    pub(crate) fn new(texts: usize) -> Self {
        let per_tenant = texts.div_ceil(2);
        let limits = Limits { permits: texts, per_tenant, reserved_for_idle: 0 };
        Self(std::array::from_fn(|_| FairSemaphore::new(limits)))
    }

    /// Waits for room for so many texts of one call. A call with more texts than a tenant has room
    /// for takes all of the tenant's room.
    pub(crate) async fn enter(
        &self,
        tenant: &TenantId,
        lane: Lane,
        texts: usize,
        until: Instant,
    ) -> Result<Permit, EmbedError> {
        let room = self.0[lane as usize].acquire_many(tenant, texts);
        timeout_at(until.into(), room).await.map_err(|_| EmbedError::Overloaded)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;
    use std::time::Duration;

    use super::*;

    static ONE: LazyLock<TenantId> = LazyLock::new(|| TenantId::parse("one").unwrap());
    static OTHER: LazyLock<TenantId> = LazyLock::new(|| TenantId::parse("other").unwrap());

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[tokio::test]
    async fn texts_up_to_the_bound_are_taken_obeyed() {
        let waiting = Waiting::new(100);
        let _one = waiting.enter(&ONE, Lane::Query, 50, soon()).await.unwrap();
        assert!(waiting.enter(&OTHER, Lane::Query, 1_000, soon()).await.is_ok(), "all its room");
    }

    #[tokio::test]
    async fn texts_above_the_bound_are_refused_at_their_deadline_violated() {
        let waiting = Waiting::new(100);
        let _held = waiting.enter(&ONE, Lane::Query, 30, soon()).await.unwrap();
        let refused = waiting.enter(&ONE, Lane::Query, 30, Instant::now()).await;
        assert_eq!(refused.err(), Some(EmbedError::Overloaded));
    }

    #[tokio::test]
    async fn a_tenant_that_fills_its_room_leaves_that_of_others() {
        let waiting = Waiting::new(2);
        let _held = waiting.enter(&ONE, Lane::Query, 100, soon()).await.unwrap();
        assert!(waiting.enter(&ONE, Lane::Query, 1, Instant::now()).await.is_err());
        assert!(waiting.enter(&OTHER, Lane::Query, 1, soon()).await.is_ok());
    }
}
