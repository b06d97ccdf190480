//! The clock behind the epoch: it makes busy guests yield, and rests while there
//! are none.
//!
//! A plain thread, so that a busy runtime cannot hold it up. It ends with the
//! engine. Ticking for nobody cost three per cent of a core.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

use wasmtime::Engine;

/// How often a busy guest is made to yield and its deadline is looked at. With
/// 1 ms a deadline was overrun by 0.3 ms at the median; with 10 ms by more, and
/// neighbours waited longer.
const TICK: Duration = Duration::from_millis(1);

/// Ticks without a guest before the clock rests. Guests that come one after the
/// other must not pay for waking it each time.
const IDLE_TICKS: u32 = 100;

/// How often a resting clock looks whether its engine is gone.
const REST: Duration = Duration::from_secs(10);

/// Ticks while guests run.
pub(crate) struct EpochClock {
    shared: Arc<Shared>,
    thread: Thread,
}

#[derive(Default)]
struct Shared {
    guests: AtomicUsize,
    rests: AtomicBool,
}

/// A guest that runs; the clock ticks while there is one.
pub(crate) struct Ticking(Arc<Shared>);

impl EpochClock {
    pub(crate) fn start(engine: &Engine) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let (engine, seen) = (engine.weak(), shared.clone());
        let run = move || {
            let mut idle = 0;
            while let Some(engine) = engine.upgrade() {
                engine.increment_epoch();
                drop(engine);
                idle = if seen.guests.load(Ordering::SeqCst) == 0 { idle + 1 } else { 0 };
                match idle {
                    ..IDLE_TICKS => thread::sleep(TICK),
                    _ => seen.rest(),
                }
            }
        };
        let thread = thread::Builder::new().name("epoch".into()).spawn(run)?.thread().clone();
        Ok(Self { shared, thread })
    }

    /// Has the clock tick until what this returns is dropped.
    pub(crate) fn tick(&self) -> Ticking {
        self.shared.guests.fetch_add(1, Ordering::SeqCst);
        if self.shared.rests.load(Ordering::SeqCst) {
            self.thread.unpark();
        }
        Ticking(self.shared.clone())
    }
}

impl Shared {
    fn rest(&self) {
        self.rests.store(true, Ordering::SeqCst);
        // A guest that came before it could see that the clock rests is seen here; one
        // that comes later sees it and wakes the clock.
        if self.guests.load(Ordering::SeqCst) == 0 {
            thread::park_timeout(REST);
        }
        self.rests.store(false, Ordering::SeqCst);
    }
}

impl Drop for Ticking {
    fn drop(&mut self) {
        self.0.guests.fetch_sub(1, Ordering::SeqCst);
    }
}
