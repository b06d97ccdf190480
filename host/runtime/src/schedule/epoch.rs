//! The clock that advances wasmtime's epoch, which makes busy guests yield.
//!
//! It is a plain thread, so that a busy tokio runtime cannot delay it, and ends with the engines.
//! It is idle while no guest runs, because ticking all the time took three percent of a core.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

use crate::component::engine::Engines;

/// How often a busy guest yields and its deadline is checked. With 1 ms, calls ended 0.3 ms after
/// their deadline at the median; with 10 ms they ended later, and other calls waited longer.
const TICK: Duration = Duration::from_millis(1);

/// Ticks without a guest before the clock goes idle. Calls in quick succession should not each
/// have to wake it.
const IDLE_TICKS: u32 = 100;

/// How often an idle clock checks whether its engines are gone.
const IDLE_CHECK: Duration = Duration::from_secs(10);

/// Ticks while guests run.
pub(crate) struct EpochClock {
    shared: Arc<Shared>,
    thread: Thread,
}

#[derive(Default)]
struct Shared {
    guests: AtomicUsize,
    is_idle: AtomicBool,
}

/// Keeps the clock ticking until it is dropped.
pub(crate) struct Ticking(Arc<Shared>);

impl EpochClock {
    pub(crate) fn start(engines: &Arc<Engines>) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let (engines, seen) = (Arc::downgrade(engines), shared.clone());
        let run = move || {
            let mut idle_ticks = 0;
            while let Some(engines) = engines.upgrade() {
                engines.increment_epoch();
                drop(engines);
                let has_guests = seen.guests.load(Ordering::SeqCst) > 0;
                idle_ticks = if has_guests { 0 } else { idle_ticks + 1 };
                match idle_ticks {
                    ..IDLE_TICKS => thread::sleep(TICK),
                    _ => seen.wait_for_guest(),
                }
            }
        };
        let thread = thread::Builder::new().name("epoch".into()).spawn(run)?.thread().clone();
        Ok(Self { shared, thread })
    }

    /// Makes the clock tick until the returned value is dropped.
    pub(crate) fn tick(&self) -> Ticking {
        self.shared.guests.fetch_add(1, Ordering::SeqCst);
        if self.shared.is_idle.load(Ordering::SeqCst) {
            self.thread.unpark();
        }
        Ticking(self.shared.clone())
    }

    /// Whether no guest runs.
    pub(crate) fn is_idle(&self) -> bool {
        self.shared.guests.load(Ordering::Relaxed) == 0
    }
}

impl Shared {
    fn wait_for_guest(&self) {
        self.is_idle.store(true, Ordering::SeqCst);
        // A guest that came too early to see `is_idle` is counted here; a later one sees it and
        // wakes the clock.
        if self.guests.load(Ordering::SeqCst) == 0 {
            thread::park_timeout(IDLE_CHECK);
        }
        self.is_idle.store(false, Ordering::SeqCst);
    }
}

impl Drop for Ticking {
    fn drop(&mut self) {
        self.0.guests.fetch_sub(1, Ordering::SeqCst);
    }
}
