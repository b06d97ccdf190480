//! Time slices: they keep busy guests, and long searches of the index, from delaying short calls.
//!
//! Most calls compute for well under a millisecond. One that has computed for longer than
//! [`BRIEF`] is *busy*: from then on it needs a permit to compute, for one tick of the epoch at a
//! time. There are fewer permits than cores, so that a core is left for all other calls. Tenants
//! share the permits through a [`FairSemaphore`]: a tenant with eight calls in a loop and a tenant
//! with one long listing get half of the slices each.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use kenning_storage::TenantId;

use kenning_core::fair_semaphore::{FairSemaphore, Limits, Permit};

/// How long a call may compute before it is busy. A search in a thousand facts takes a tenth of
/// it.
const BRIEF: Duration = Duration::from_millis(2);

/// The permits that busy guests need to compute.
#[derive(Clone)]
pub(crate) struct TimeSlicer(Arc<FairSemaphore>);

impl TimeSlicer {
    /// One fewer than cores, and at least one.
    pub(crate) fn new() -> Self {
        let permits = cores().saturating_sub(1).max(1);
        Self(FairSemaphore::new(Limits { permits, per_tenant: permits, reserved_for_idle: 0 }))
    }

    /// For one call, which has not computed yet.
    pub(crate) fn slice(&self, tenant: TenantId) -> Slice {
        let call = Call { computed: AtomicU64::new(0), permit: Mutex::new(None) };
        Slice { slicer: self.clone(), tenant, call: Arc::new(call) }
    }
}

/// Threads for guests: one for each core, and two on a single core, so that a busy guest does not
/// delay the timers of others.
pub(crate) fn workers() -> usize {
    cores().max(2)
}

fn cores() -> usize {
    available_parallelism().map_or(1, usize::from)
}

/// The computing time of one call. Clones belong to the same call.
#[derive(Clone)]
pub(crate) struct Slice {
    slicer: TimeSlicer,
    tenant: TenantId,
    call: Arc<Call>,
}

struct Call {
    /// How long it has computed, in nanoseconds.
    computed: AtomicU64,
    permit: Mutex<Option<Permit>>,
}

impl Slice {
    /// Runs the guest and counts how long it computes, in wasm or in the host. The permit is
    /// returned whenever the guest waits for something.
    pub(crate) async fn run<T>(&self, guest: impl Future<Output = T>) -> T {
        let mut guest = pin!(guest);
        poll_fn(|context| {
            let begun = Instant::now();
            let polled = guest.as_mut().poll(context);
            self.add(begun.elapsed());
            self.hold(None);
            polled
        })
        .await
    }

    /// Called at each tick: yields to other tasks, and then waits for a permit if the call is busy.
    pub(crate) fn next(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let slice = self.clone();
        Box::pin(async move {
            tokio::task::yield_now().await;
            if slice.is_busy() {
                let permit = slice.acquire().await;
                slice.hold(Some(permit));
            }
        })
    }

    /// Waits for a permit to compute.
    pub(crate) async fn acquire(&self) -> Permit {
        self.slicer.0.acquire(&self.tenant).await
    }

    /// Counts `time` that was computed for the call elsewhere.
    pub(crate) fn add(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.call.computed.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Whether the call has computed for so long that it needs a permit to go on.
    pub(crate) fn is_busy(&self) -> bool {
        Duration::from_nanos(self.call.computed.load(Ordering::Relaxed)) >= BRIEF
    }

    fn hold(&self, permit: Option<Permit>) {
        let mut held = self.call.permit.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *held, permit);
        drop(held);
        drop(before);
    }
}
