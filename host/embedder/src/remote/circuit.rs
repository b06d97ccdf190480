//! Spares a far embedder that is down, and its callers the wait.
//!
//! After some requests in a row without an answer, none is made for a while; then one
//! may try, and its outcome decides for all. Nothing latches: the while is bounded,
//! and a try that is given up makes room for the next. An answer, even an error, is
//! one: what is down here is the way, not the embedder's mind.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Requests in a row without an answer.
const FAILURES: u32 = 5;

/// How long none is made then, doubled from the first to the last; so service is
/// back that long after the far side is.
const REST_FIRST: Duration = Duration::from_millis(500);
const REST_LAST: Duration = Duration::from_secs(5);

/// The longest that a far side may ask to be left alone. A month would be a fault of
/// its clock.
const PAUSE_MOST: Duration = Duration::from_secs(60);

#[derive(Default)]
pub(super) struct Circuit(Mutex<State>);

#[derive(Default)]
struct State {
    failures: u32,
    broken: Option<Broken>,
    /// It asked to be left alone until then.
    paused: Option<Instant>,
}

struct Broken {
    until: Instant,
    rest: Duration,
    /// One request is finding out whether it answers again.
    trying: bool,
}

/// Why a request may not be made now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turned {
    /// The far side asked to be left alone until then.
    Paused(Instant),
    /// It does not answer.
    Broken,
}

/// Leave to make one request. Its outcome must be told; dropped without, nothing was
/// learnt from it.
pub(super) struct Pass<'a> {
    circuit: &'a Circuit,
    is_try: bool,
}

impl Circuit {
    pub(super) fn enter(&self, now: Instant) -> Result<Pass<'_>, Turned> {
        let mut state = self.lock();
        if let Some(until) = state.paused.filter(|until| *until > now) {
            return Err(Turned::Paused(until));
        }
        let Some(broken) = &mut state.broken else {
            return Ok(Pass { circuit: self, is_try: false });
        };
        if broken.trying || broken.until > now {
            return Err(Turned::Broken);
        }
        broken.trying = true;
        Ok(Pass { circuit: self, is_try: true })
    }

    /// The far side asks to be left alone.
    pub(super) fn pause(&self, time: Duration, now: Instant) {
        self.lock().paused = Some(now + time.min(PAUSE_MOST));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass<'_> {
    /// Something came back, whatever it was.
    pub(super) fn answered(self) {
        let mut state = self.circuit.lock();
        state.failures = 0;
        if state.broken.take().is_some() {
            metrics::gauge!("kenning_embedder_broken").set(0.0);
            tracing::info!("the embedder answers again");
        }
    }

    /// Nothing came back.
    pub(super) fn failed(self, reason: &str, now: Instant) {
        let mut state = self.circuit.lock();
        state.failures += 1;
        let rest = match &state.broken {
            Some(broken) if self.is_try => (broken.rest * 2).min(REST_LAST),
            // A request from before it broke.
            Some(_) => return,
            None if state.failures >= FAILURES => REST_FIRST,
            None => return,
        };
        if state.broken.is_none() {
            metrics::gauge!("kenning_embedder_broken").set(1.0);
            tracing::warn!(reason, "the embedder does not answer; it is asked now and then");
        }
        state.broken = Some(Broken { until: now + rest, rest, trying: false });
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if self.is_try
            && let Some(broken) = &mut self.circuit.lock().broken
        {
            broken.trying = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(now: Instant) -> Circuit {
        let circuit = Circuit::default();
        for _ in 0..FAILURES {
            circuit.enter(now).unwrap().failed("refused", now);
        }
        circuit
    }

    #[test]
    fn it_breaks_after_some_failures_in_a_row_and_not_before() {
        let now = Instant::now();
        let circuit = Circuit::default();
        for _ in 0..3 {
            for _ in 1..FAILURES {
                circuit.enter(now).unwrap().failed("refused", now);
            }
            circuit.enter(now).unwrap().answered();
        }
        assert_eq!(broken(now).enter(now).err(), Some(Turned::Broken));
    }

    #[test]
    fn after_a_rest_one_request_tries_and_decides_for_all() {
        let mut now = Instant::now();
        let circuit = broken(now);
        let mut rest = REST_FIRST;
        for _ in 0..8 {
            assert!(circuit.enter(now + rest - Duration::from_millis(1)).is_err());
            now += rest;
            let one = circuit.enter(now).unwrap();
            assert_eq!(circuit.enter(now).err(), Some(Turned::Broken), "one at a time");
            one.failed("refused", now);
            rest = (rest * 2).min(REST_LAST);
        }
        now += rest;
        circuit.enter(now).unwrap().answered();
        assert!(circuit.enter(now).is_ok() && circuit.enter(now).is_ok());
    }

    #[test]
    fn a_try_that_is_given_up_makes_room_for_the_next() {
        let now = Instant::now();
        let circuit = broken(now);
        drop(circuit.enter(now + REST_FIRST).unwrap());
        assert!(circuit.enter(now + REST_FIRST).is_ok());
    }

    #[test]
    fn requests_from_before_it_broke_change_nothing_unless_they_are_answered() {
        let now = Instant::now();
        let circuit = Circuit::default();
        let late: Vec<_> = (0..2).map(|_| circuit.enter(now).unwrap()).collect();
        for _ in 0..FAILURES {
            circuit.enter(now).unwrap().failed("refused", now);
        }
        let [one, other] = late.try_into().unwrap_or_else(|_| panic!("two"));
        one.failed("refused", now + REST_FIRST);
        let trying = circuit.enter(now + REST_FIRST).expect("no longer rest than before");
        other.answered();
        assert!(circuit.enter(now).is_ok(), "it answers");
        drop(trying);
        assert!(circuit.enter(now).is_ok());
    }

    #[test]
    fn a_pause_that_was_asked_for_is_kept_up_to_its_bound() {
        let now = Instant::now();
        let circuit = Circuit::default();
        circuit.pause(Duration::from_secs(3), now);
        assert_eq!(circuit.enter(now).err(), Some(Turned::Paused(now + Duration::from_secs(3))));
        assert!(circuit.enter(now + Duration::from_secs(3)).is_ok());
        circuit.pause(Duration::MAX, now);
        assert!(circuit.enter(now + PAUSE_MOST).is_ok());
    }
}
