//! Time slices: they keep busy guests, and long searches of the index, from delaying short calls.
//!
//! Most calls compute for well under a millisecond, and end where they began. One that has computed
//! for a [`TICK`] yields at each tick of the epoch. One that has computed for longer than [`BRIEF`]
//! is *busy*: from then on it needs a permit to compute, for one tick at a time. There are fewer
//! permits than cores, so that a core is left for all other calls. Tenants share the permits
//! through a [`FairSemaphore`]: a tenant with eight calls in a loop and a tenant with one long
//! listing get half of the slices each.

use std::future::poll_fn;
use std::hash::{BuildHasher, RandomState};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use kenning_storage::TenantId;

use kenning_core::fair_semaphore::{FairSemaphore, Limits, Permit};

/// How long a call may compute before it is busy. A search in a thousand facts takes a tenth of
/// it.
const BRIEF: Duration = Duration::from_millis(2);

/// How long a call may compute before it yields.
const TICK: Duration = Duration::from_millis(1);

/// How many [`Pasts`] are kept. Tenants beyond it share them, which costs a hand-over at most.
const PASTS: usize = 1024;

/// By how much a call that yielded counts against its tenant, and one that did not for it.
const YIELDED: u8 = 16;
const DID_NOT: u8 = 1;

/// From here on a tenant's calls usually yield.
const USUALLY: u8 = 128;

/// The permits that busy guests need to compute.
#[derive(Clone)]
pub(crate) struct TimeSlicer {
    permits: Arc<FairSemaphore>,
    pasts: Arc<Pasts>,
}

/// How long the calls of each tenant computed lately.
struct Pasts {
    hasher: RandomState,
    /// Higher, the more of them yielded.
    scores: Vec<AtomicU8>,
}

impl Pasts {
    fn of(&self, tenant: &TenantId) -> &AtomicU8 {
        &self.scores[self.hasher.hash_one(tenant) as usize % self.scores.len()]
    }
}

impl TimeSlicer {
    /// One fewer than cores, and at least one.
    pub(crate) fn new() -> Self {
        let permits = cores().saturating_sub(1).max(1);
        let limits = Limits { permits, per_tenant: permits, reserved_for_idle: 0 };
        let scores = (0..PASTS).map(|_| AtomicU8::new(0)).collect();
        let pasts = Arc::new(Pasts { hasher: RandomState::new(), scores });
        Self { permits: FairSemaphore::new(limits), pasts }
    }

    /// For one call, which has not computed yet.
    pub(crate) fn slice(&self, tenant: TenantId) -> Slice {
        let call = Call {
            begun: Instant::now(),
            computed: AtomicU64::new(0),
            polled: AtomicU64::new(0),
            yields: AtomicBool::new(false),
            permit: Mutex::new(None),
        };
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
    begun: Instant,
    /// How long it had computed when it was polled last, in nanoseconds.
    computed: AtomicU64,
    /// When it was polled last, in nanoseconds since it began.
    polled: AtomicU64,
    /// Whether it computed for so long that it yielded.
    yields: AtomicBool,
    permit: Mutex<Option<Permit>>,
}

impl Slice {
    /// Runs the guest and counts how long it computes, in wasm or in the host. The permit is
    /// returned whenever the guest waits for something.
    pub(crate) async fn run<T>(&self, guest: impl Future<Output = T>) -> T {
        let mut guest = pin!(guest);
        poll_fn(|context| {
            let begun = Instant::now();
            self.call.polled.store(nanos(begun - self.call.begun), Ordering::Relaxed);
            let polled = guest.as_mut().poll(context);
            self.add(begun.elapsed());
            self.hold(None);
            polled
        })
        .await
    }

    /// Whether a call that is polled now has computed for a tick. The epoch may have advanced while
    /// it waited.
    pub(crate) fn has_computed_a_tick(&self) -> bool {
        self.computed_now() >= TICK
    }

    /// How long a call that is polled now has computed.
    pub(crate) fn computed_now(&self) -> Duration {
        let polled = Duration::from_nanos(self.call.polled.load(Ordering::Relaxed));
        self.computed() + self.call.begun.elapsed().saturating_sub(polled)
    }

    /// Whether the call computed for so long that it yielded.
    pub(crate) fn yields(&self) -> bool {
        self.call.yields.load(Ordering::Relaxed)
    }

    /// Whether the calls of this tenant usually yield.
    pub(crate) fn usually_yields(&self) -> bool {
        self.slicer.pasts.of(&self.tenant).load(Ordering::Relaxed) >= USUALLY
    }

    /// The call has ended: its tenant is judged by it.
    pub(crate) fn finish(&self) {
        let past = self.slicer.pasts.of(&self.tenant);
        let score = past.load(Ordering::Relaxed);
        let score = match self.yields() {
            true => score.saturating_add(YIELDED),
            false => score.saturating_sub(DID_NOT),
        };
        // Of calls that end together one counts: it is a matter of many.
        past.store(score, Ordering::Relaxed);
    }

    /// Called at each tick: yields to other tasks, and then waits for a permit if the call is busy.
    pub(crate) fn next(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.call.yields.store(true, Ordering::Relaxed);
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
        self.slicer.permits.acquire(&self.tenant).await
    }

    /// Counts `time` that was computed for the call elsewhere.
    pub(crate) fn add(&self, time: Duration) {
        self.call.computed.fetch_add(nanos(time), Ordering::Relaxed);
    }

    /// Whether the call has computed for so long that it needs a permit to go on.
    pub(crate) fn is_busy(&self) -> bool {
        self.computed() >= BRIEF
    }

    fn computed(&self) -> Duration {
        Duration::from_nanos(self.call.computed.load(Ordering::Relaxed))
    }

    fn hold(&self, permit: Option<Permit>) {
        let mut held = self.call.permit.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *held, permit);
        drop(held);
        drop(before);
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
