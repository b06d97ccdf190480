//! Keeps busy guests out of the others' way.
//!
//! Most calls compute for well under a millisecond. One that has computed for longer is
//! *busy*: from then on it computes only in its turn, a tick at a time, and there are
//! fewer turns than cores, so that a core is left for everyone else. TimeSlicer go round by
//! tenant ([`super::fair_semaphore`]): a tenant with eight calls that spin and a tenant with one
//! long listing get half of the turns each.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use kenning_storage::TenantId;

use crate::schedule::fair_semaphore::{FairSemaphore, Limits, Permit};

/// What a call may compute before it is busy. A search of a thousand facts computes for
/// a tenth of it.
const BRIEF: Duration = Duration::from_millis(2);

/// The turns that busy guests take.
#[derive(Clone)]
pub(crate) struct TimeSlicer(Arc<FairSemaphore>);

impl TimeSlicer {
    /// One fewer than cores, and at least one.
    pub(crate) fn new() -> Self {
        let units = cores().saturating_sub(1).max(1);
        Self(FairSemaphore::new(Limits { units, per_tenant: units, reserved_for_idle: 0 }))
    }

    pub(crate) fn slice(&self, tenant: TenantId) -> Slice {
        let call = Call { computed: AtomicU64::new(0), permit: Mutex::new(None) };
        Slice { slicer: self.clone(), tenant, call: Arc::new(call) }
    }
}

/// Threads for guests: one for each core; with a single core, a second one so that a
/// guest that computes does not keep others from their timers.
pub(crate) fn workers() -> usize {
    cores().max(2)
}

fn cores() -> usize {
    available_parallelism().map_or(1, usize::from)
}

/// One call's slice. Clones are of the same call.
#[derive(Clone)]
pub(crate) struct Slice {
    slicer: TimeSlicer,
    tenant: TenantId,
    call: Arc<Call>,
}

struct Call {
    /// Nanoseconds.
    computed: AtomicU64,
    permit: Mutex<Option<Permit>>,
}

impl Slice {
    /// Runs the guest and counts how long it computes, in wasm or in the host. While it
    /// waits, for whatever it may be, it does not keep its turn.
    pub(crate) async fn run<T>(&self, guest: impl Future<Output = T>) -> T {
        let mut guest = pin!(guest);
        poll_fn(|context| {
            let begun = Instant::now();
            let polled = guest.as_mut().poll(context);
            let nanos = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
            self.call.computed.fetch_add(nanos, Ordering::Relaxed);
            self.hold(None);
            polled
        })
        .await
    }

    /// After each tick: lets others go first, and a busy guest waits for its turn.
    pub(crate) fn next(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let slice = self.clone();
        Box::pin(async move {
            tokio::task::yield_now().await;
            if slice.is_busy() {
                let permit = slice.slicer.0.acquire(&slice.tenant).await;
                slice.hold(Some(permit));
            }
        })
    }

    fn is_busy(&self) -> bool {
        Duration::from_nanos(self.call.computed.load(Ordering::Relaxed)) >= BRIEF
    }

    fn hold(&self, permit: Option<Permit>) {
        let mut held = self.call.permit.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *held, permit);
        drop(held);
        drop(before);
    }
}
