//! Admission to run, and the line before them. Both are bounded: whoever finds the line
//! full is refused at once, since a longer one would only make everybody late.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kenning_storage::TenantId;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::outcome::CallError;
use crate::schedule::fair_semaphore::{self, FairSemaphore, Permit};
use kenning_core::limits::Limits;

/// One place in so many is kept for tenants that have no call running, so that a few
/// tenants with slow calls do not take them all.
const ONE_KEPT_OF: usize = 8;

/// A patient call that found the line full tries again after this long.
const PAUSE: Duration = Duration::from_millis(20);

pub(crate) struct Admission {
    guests: usize,
    per_tenant: usize,
    places: Arc<FairSemaphore>,
    waiting: usize,
    line: Semaphore,
    wait: Duration,
}

impl Admission {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            guests: limits.guests,
            per_tenant: limits.guests_per_tenant,
            places: FairSemaphore::new(fair_semaphore::Limits {
                units: limits.guests,
                per_tenant: limits.guests_per_tenant,
                reserved_for_idle: limits.guests / ONE_KEPT_OF,
            }),
            waiting: limits.guests_waiting,
            line: Semaphore::new(limits.guests_waiting),
            wait: limits.guest_wait,
        }
    }

    /// A place for `tenant` by `deadline`; free again when it is dropped. A patient call,
    /// which no person waits for, is not turned away by a full line: it tries again,
    /// behind everyone who waits in it.
    pub(crate) async fn admit(
        &self,
        tenant: &TenantId,
        deadline: Instant,
        patient: bool,
    ) -> Result<Permit, CallError> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.in_line(tenant, left).await {
                Err(_) if patient && !left.is_zero() => sleep(PAUSE.min(left)).await,
                taken => return taken,
            }
        }
    }

    async fn in_line(&self, tenant: &TenantId, left: Duration) -> Result<Permit, CallError> {
        if let Some(place) = self.places.try_acquire(tenant) {
            return Ok(place);
        }
        let full = |limit, allowed| CallError::Overloaded { limit, allowed };
        let in_line = self.line.try_acquire();
        let _in_line = in_line.map_err(|_| full("guests_waiting", self.waiting))?;
        match timeout(self.wait.min(left), self.places.acquire(tenant)).await {
            Ok(place) => Ok(place),
            Err(_) if self.places.is_at_limit(tenant) => {
                Err(full("guests_per_tenant", self.per_tenant))
            }
            Err(_) => Err(full("guests", self.guests)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;

    fn places(guests: usize, guests_waiting: usize, guest_wait: Duration) -> Admission {
        Admission::new(&Limits { guests, guests_waiting, guest_wait, ..Limits::default() })
    }

    static ONE: LazyLock<TenantId> = LazyLock::new(|| TenantId::parse("one").unwrap());

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[tokio::test]
    async fn a_call_in_the_line_gets_the_place_that_becomes_free_obeyed() {
        let places = places(1, 1, Duration::from_secs(60));
        let first = places.admit(&ONE, soon(), false).await.unwrap();
        let (second, ()) = tokio::join!(places.admit(&ONE, soon(), false), async { drop(first) });
        assert!(second.is_ok());
    }

    #[tokio::test]
    async fn a_call_that_finds_the_line_full_is_refused_violated() {
        let places = places(1, 1, Duration::from_secs(3_600));
        let _first = places.admit(&ONE, soon(), false).await.unwrap();
        let mut second = std::pin::pin!(places.admit(&ONE, soon(), false));
        assert!(futures::poll!(second.as_mut()).is_pending());
        let full = CallError::Overloaded { limit: "guests_waiting", allowed: 1 };
        assert_eq!(places.admit(&ONE, soon(), false).await.err(), Some(full));
    }

    #[tokio::test]
    async fn a_call_that_leaves_the_line_makes_room_in_it() {
        let places = places(1, 1, Duration::from_secs(3_600));
        let _first = places.admit(&ONE, soon(), false).await.unwrap();
        for _ in 0..3 {
            let mut next = std::pin::pin!(places.admit(&ONE, soon(), false));
            assert!(futures::poll!(next.as_mut()).is_pending());
        }
    }

    #[tokio::test]
    async fn a_wait_that_is_too_long_names_the_places() {
        let places = places(1, 1, Duration::from_millis(1));
        let _first = places.admit(&ONE, soon(), false).await.unwrap();
        let full = CallError::Overloaded { limit: "guests", allowed: 1 };
        assert_eq!(places.admit(&ONE, soon(), false).await.err(), Some(full));
    }

    #[tokio::test]
    async fn a_patient_call_outlasts_a_full_line() {
        let places = places(1, 0, Duration::from_millis(1));
        let first = places.admit(&ONE, soon(), false).await.unwrap();
        let (second, ()) = tokio::join!(places.admit(&ONE, soon(), true), async {
            sleep(3 * PAUSE).await;
            drop(first);
        });
        assert!(second.is_ok());
        let late = places.admit(&ONE, Instant::now(), true).await;
        assert!(late.is_err(), "its deadline ends it");
    }
}
