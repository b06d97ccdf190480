//! Keeps busy guests out of the others' way.
//!
//! Most calls compute for well under a millisecond. One that has computed for longer is
//! *busy*: from then on it computes only in its turn, a tick at a time, and there are
//! fewer turns than cores, so that a core is left for everyone else. Turns go round by
//! tenant ([`super::shares`]): a tenant with eight calls that spin and a tenant with one
//! long listing get half of the turns each.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use kenning_storage::TenantId;

use super::shares::{Rules, Share, Shares};

/// What a call may compute before it is busy. A search of a thousand facts computes for
/// a tenth of it.
const BRIEF: Duration = Duration::from_millis(2);

/// The turns that busy guests take.
#[derive(Clone)]
pub(super) struct Turns(Arc<Shares>);

impl Turns {
    /// One fewer than cores, and at least one.
    pub(super) fn new() -> Self {
        let units = cores().saturating_sub(1).max(1);
        Self(Shares::new(Rules { units, per_tenant: units, for_newcomers: 0 }))
    }

    pub(super) fn pace(&self, tenant: TenantId) -> Pace {
        let call = Call { computed: AtomicU64::new(0), turn: Mutex::new(None) };
        Pace { turns: self.clone(), tenant, call: Arc::new(call) }
    }
}

/// Threads for guests: one for each core; with a single core, a second one so that a
/// guest that computes does not keep others from their timers.
pub(super) fn workers() -> usize {
    cores().max(2)
}

fn cores() -> usize {
    available_parallelism().map_or(1, usize::from)
}

/// One call's pace. Clones are of the same call.
#[derive(Clone)]
pub(super) struct Pace {
    turns: Turns,
    tenant: TenantId,
    call: Arc<Call>,
}

struct Call {
    /// Nanoseconds.
    computed: AtomicU64,
    turn: Mutex<Option<Share>>,
}

impl Pace {
    /// Runs the guest and counts how long it computes, in wasm or in the host. While it
    /// waits, for whatever it may be, it does not keep its turn.
    pub(super) async fn run<T>(&self, guest: impl Future<Output = T>) -> T {
        let mut guest = pin!(guest);
        poll_fn(|context| {
            let begun = Instant::now();
            let polled = guest.as_mut().poll(context);
            let nanos = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
            self.call.computed.fetch_add(nanos, Ordering::Relaxed);
            self.set_turn(None);
            polled
        })
        .await
    }

    /// After each tick: lets others go first, and a busy guest waits for its turn.
    pub(super) fn next(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let pace = self.clone();
        Box::pin(async move {
            tokio::task::yield_now().await;
            if pace.is_busy() {
                let turn = pace.turns.0.acquire(&pace.tenant).await;
                pace.set_turn(Some(turn));
            }
        })
    }

    fn is_busy(&self) -> bool {
        Duration::from_nanos(self.call.computed.load(Ordering::Relaxed)) >= BRIEF
    }

    fn set_turn(&self, turn: Option<Share>) {
        let mut held = self.call.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *held, turn);
        drop(held);
        drop(before);
    }
}
