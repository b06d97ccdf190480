//! A circuit breaker: it spares a remote embedder that is down, and spares its callers the wait.
//!
//! - *Closed*: requests are made. After several in a row without a response, the circuit opens.
//! - *Open*: no request is made until the back-off has passed.
//! - *Half-open*: one request is made as a probe. A response closes the circuit; otherwise it
//!   opens again, for twice as long. A probe that is cancelled makes room for the next.
//!
//! Any response counts as success, even an error: the breaker tracks reachability.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// Requests in a row without a response that open the circuit.
const FAILURES: u32 = 5;

/// The first back-off and the longest; each is twice the one before. The longest bounds how long
/// an embedder that is back up is not noticed.
const BACKOFF_FIRST: Duration = Duration::from_millis(500);
const BACKOFF_LONGEST: Duration = Duration::from_secs(5);

/// The longest pause that the embedder may ask for. Much more would be a fault of its clock.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

#[derive(Default)]
pub(super) struct Circuit(Mutex<State>);

#[derive(Default)]
struct State {
    /// Requests in a row without a response.
    failures: u32,
    /// `None` while the circuit is closed.
    open: Option<Open>,
    /// When the pause ends that the embedder asked for.
    paused_until: Option<Instant>,
}

/// An open circuit; half-open once `until` has passed.
struct Open {
    until: Instant,
    backoff: ExponentialBackoff,
    /// The probe is in progress.
    probing: bool,
}

impl Open {
    fn new(now: Instant) -> Self {
        let backoff = ExponentialBuilder::new()
            .with_min_delay(BACKOFF_FIRST)
            .with_max_delay(BACKOFF_LONGEST)
            .without_max_times()
            .build();
        let mut open = Self { until: now, backoff, probing: false };
        open.back_off(now);
        open
    }

    fn back_off(&mut self, now: Instant) {
        self.until = now + self.backoff.next().unwrap_or(BACKOFF_LONGEST);
        self.probing = false;
    }
}

/// Why a request may not be made now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Rejected {
    /// The embedder asked for a pause, which ends then.
    Paused(Instant),
    /// The circuit is open, or half-open with a probe in progress.
    Open,
}

/// Permission to make one request. Report its outcome with [`Permit::succeeded`] or
/// [`Permit::failed`]; a permit that is dropped says nothing about the embedder.
pub(super) struct Permit<'a> {
    circuit: &'a Circuit,
    is_probe: bool,
}

impl Circuit {
    pub(super) fn enter(&self, now: Instant) -> Result<Permit<'_>, Rejected> {
        let mut state = self.lock();
        if let Some(until) = state.paused_until.filter(|until| *until > now) {
            return Err(Rejected::Paused(until));
        }
        let Some(open) = &mut state.open else {
            return Ok(Permit { circuit: self, is_probe: false });
        };
        if open.probing || open.until > now {
            return Err(Rejected::Open);
        }
        open.probing = true;
        Ok(Permit { circuit: self, is_probe: true })
    }

    /// The embedder asked for a pause of this length.
    pub(super) fn pause(&self, time: Duration, now: Instant) {
        self.lock().paused_until = Some(now + time.min(LONGEST_PAUSE));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit<'_> {
    /// There was a response of any kind.
    pub(super) fn succeeded(self) {
        let mut state = self.circuit.lock();
        state.failures = 0;
        if state.open.take().is_some() {
            metrics::gauge!("kenning_embedder_broken").set(0.0);
            tracing::info!("the embedder responds again");
        }
    }

    /// There was no response.
    pub(super) fn failed(self, reason: &str, now: Instant) {
        let mut state = self.circuit.lock();
        state.failures += 1;
        let failures = state.failures;
        match &mut state.open {
            Some(open) if self.is_probe => open.back_off(now),
            // This request began before the circuit opened.
            Some(_) => {}
            None if failures >= FAILURES => {
                metrics::gauge!("kenning_embedder_broken").set(1.0);
                tracing::warn!(reason, "the embedder does not respond; calling it less often");
                state.open = Some(Open::new(now));
            }
            None => {}
        }
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if self.is_probe
            && let Some(open) = &mut self.circuit.lock().open
        {
            open.probing = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(now: Instant) -> Circuit {
        let circuit = Circuit::default();
        for _ in 0..FAILURES {
            circuit.enter(now).unwrap().failed("refused", now);
        }
        circuit
    }

    #[test]
    fn it_opens_after_several_failures_in_a_row_and_not_before() {
        let now = Instant::now();
        let circuit = Circuit::default();
        for _ in 0..3 {
            for _ in 1..FAILURES {
                circuit.enter(now).unwrap().failed("refused", now);
            }
            circuit.enter(now).unwrap().succeeded();
        }
        assert_eq!(open(now).enter(now).err(), Some(Rejected::Open));
    }

    #[test]
    fn after_the_back_off_one_probe_decides_for_all() {
        let mut now = Instant::now();
        let circuit = open(now);
        let mut backoff = BACKOFF_FIRST;
        for _ in 0..8 {
            assert!(circuit.enter(now + backoff - Duration::from_millis(1)).is_err());
            now += backoff;
            let probe = circuit.enter(now).unwrap();
            assert_eq!(circuit.enter(now).err(), Some(Rejected::Open), "one at a time");
            probe.failed("refused", now);
            backoff = (backoff * 2).min(BACKOFF_LONGEST);
        }
        now += backoff;
        circuit.enter(now).unwrap().succeeded();
        assert!(circuit.enter(now).is_ok() && circuit.enter(now).is_ok());
    }

    #[test]
    fn a_probe_that_is_cancelled_makes_room_for_the_next() {
        let now = Instant::now();
        let circuit = open(now);
        drop(circuit.enter(now + BACKOFF_FIRST).unwrap());
        assert!(circuit.enter(now + BACKOFF_FIRST).is_ok());
    }

    #[test]
    fn requests_from_before_it_opened_change_nothing_unless_they_succeed() {
        let now = Instant::now();
        let circuit = Circuit::default();
        let early: Vec<_> = (0..2).map(|_| circuit.enter(now).unwrap()).collect();
        for _ in 0..FAILURES {
            circuit.enter(now).unwrap().failed("refused", now);
        }
        let [one, other] = early.try_into().unwrap_or_else(|_| panic!("two"));
        one.failed("refused", now + BACKOFF_FIRST);
        let probe = circuit.enter(now + BACKOFF_FIRST).expect("the back-off is no longer");
        other.succeeded();
        assert!(circuit.enter(now).is_ok(), "the circuit is closed");
        drop(probe);
        assert!(circuit.enter(now).is_ok());
    }

    #[test]
    fn a_pause_that_was_asked_for_is_kept_up_to_its_bound() {
        let now = Instant::now();
        let circuit = Circuit::default();
        circuit.pause(Duration::from_secs(3), now);
        assert_eq!(circuit.enter(now).err(), Some(Rejected::Paused(now + Duration::from_secs(3))));
        assert!(circuit.enter(now + Duration::from_secs(3)).is_ok());
        circuit.pause(Duration::MAX, now);
        assert!(circuit.enter(now + LONGEST_PAUSE).is_ok());
    }
}
