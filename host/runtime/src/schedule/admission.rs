//! Admission: the permits to run guests, and the queue before them.
//!
//! Both are bounded. A call that finds the queue full is refused at once, since a longer queue
//! would only make every call late.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kenning_core::limits::Limits;
use kenning_storage::TenantId;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::outcome::CallError;
use kenning_core::fair_semaphore::{self, FairSemaphore, Permit};

/// One permit in so many is reserved for tenants that have no call running, so that a few tenants
/// with slow calls do not hold them all.
const ONE_RESERVED_OF: usize = 8;

/// How long a background call waits before it tries a full queue again.
const RETRY: Duration = Duration::from_millis(20);

/// Who waits for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// A person or a program. The call is refused at once if the queue for admission is full.
    Interactive,
    /// Nobody. Under load the call keeps waiting, behind interactive calls, until its deadline.
    Background,
}

pub(crate) struct Admission {
    guests: usize,
    per_tenant: usize,
    permits: Arc<FairSemaphore>,
    waiting: usize,
    /// One permit for each call in the queue.
    queue: Semaphore,
    wait: Duration,
}

impl Admission {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            guests: limits.guests,
            per_tenant: limits.guests_per_tenant,
            permits: FairSemaphore::new(fair_semaphore::Limits {
                permits: limits.guests,
                per_tenant: limits.guests_per_tenant,
                reserved_for_idle: limits.guests / ONE_RESERVED_OF,
            }),
            waiting: limits.guests_waiting,
            queue: Semaphore::new(limits.guests_waiting),
            wait: limits.guest_wait,
        }
    }

    /// A permit for `tenant` by `deadline`. A background call is not refused by a full queue: it
    /// tries again, behind every call that waits in the queue.
    pub(crate) async fn admit(
        &self,
        tenant: &TenantId,
        deadline: Instant,
        priority: Priority,
    ) -> Result<Permit, CallError> {
        let in_background = priority == Priority::Background;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.acquire(tenant, left).await {
                Err(_) if in_background && !left.is_zero() => sleep(RETRY.min(left)).await,
                result => return result,
            }
        }
    }

    async fn acquire(&self, tenant: &TenantId, left: Duration) -> Result<Permit, CallError> {
        if let Some(permit) = self.permits.try_acquire(tenant) {
            return Ok(permit);
        }
        let overloaded = |limit, allowed| CallError::Overloaded { limit, allowed };
        let queued = self.queue.try_acquire();
        let _queued = queued.map_err(|_| overloaded("guests_waiting", self.waiting))?;
        let begun = Instant::now();
        let acquired = timeout(self.wait.min(left), self.permits.acquire(tenant)).await;
        metrics::histogram!("kenning_admission_seconds").record(begun.elapsed().as_secs_f64());
        match acquired {
            Ok(permit) => Ok(permit),
            Err(_) if self.permits.is_at_limit(tenant) => {
                Err(overloaded("guests_per_tenant", self.per_tenant))
            }
            Err(_) => Err(overloaded("guests", self.guests)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;

    fn admission(guests: usize, guests_waiting: usize, guest_wait: Duration) -> Admission {
        Admission::new(&Limits { guests, guests_waiting, guest_wait, ..Limits::default() })
    }

    static ONE: LazyLock<TenantId> = LazyLock::new(|| TenantId::parse("one").unwrap());

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[tokio::test]
    async fn a_queued_call_gets_the_permit_that_is_returned_obeyed() {
        let admission = admission(1, 1, Duration::from_secs(60));
        let first = admission.admit(&ONE, soon(), Priority::Interactive).await.unwrap();
        let (second, ()) =
            tokio::join!(admission.admit(&ONE, soon(), Priority::Interactive), async {
                drop(first)
            });
        assert!(second.is_ok());
    }

    #[tokio::test]
    async fn a_call_that_finds_the_queue_full_is_refused_violated() {
        let admission = admission(1, 1, Duration::from_secs(3_600));
        let _first = admission.admit(&ONE, soon(), Priority::Interactive).await.unwrap();
        let mut second = std::pin::pin!(admission.admit(&ONE, soon(), Priority::Interactive));
        assert!(futures::poll!(second.as_mut()).is_pending());
        let full = CallError::Overloaded { limit: "guests_waiting", allowed: 1 };
        assert_eq!(admission.admit(&ONE, soon(), Priority::Interactive).await.err(), Some(full));
    }

    #[tokio::test]
    async fn a_call_that_leaves_the_queue_makes_room_in_it() {
        let admission = admission(1, 1, Duration::from_secs(3_600));
        let _first = admission.admit(&ONE, soon(), Priority::Interactive).await.unwrap();
        for _ in 0..3 {
            let mut next = std::pin::pin!(admission.admit(&ONE, soon(), Priority::Interactive));
            assert!(futures::poll!(next.as_mut()).is_pending());
        }
    }

    #[tokio::test]
    async fn a_call_that_waited_too_long_is_refused_naming_guests() {
        let admission = admission(1, 1, Duration::from_millis(1));
        let _first = admission.admit(&ONE, soon(), Priority::Interactive).await.unwrap();
        let full = CallError::Overloaded { limit: "guests", allowed: 1 };
        assert_eq!(admission.admit(&ONE, soon(), Priority::Interactive).await.err(), Some(full));
    }

    #[tokio::test]
    async fn a_background_call_keeps_waiting_while_the_queue_is_full() {
        let admission = admission(1, 0, Duration::from_millis(1));
        let first = admission.admit(&ONE, soon(), Priority::Interactive).await.unwrap();
        let (second, ()) =
            tokio::join!(admission.admit(&ONE, soon(), Priority::Background), async {
                sleep(3 * RETRY).await;
                drop(first);
            });
        assert!(second.is_ok());
        let late = admission.admit(&ONE, Instant::now(), Priority::Background).await;
        assert!(late.is_err(), "its deadline ends it");
    }
}
