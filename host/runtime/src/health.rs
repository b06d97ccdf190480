//! How one generation of a guest fares: what a promotion is watched by, and what
//! keeps a guest that traps on every call from being tried again and again.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Failures in a row after which a guest rests.
const FAILURES_TO_REST: u32 = 5;

/// The first rest, and the longest; each is twice the one before.
const REST_FIRST: Duration = Duration::from_secs(1);
const REST_LONGEST: Duration = Duration::from_secs(60);

/// Counts of one generation. Only ends that are the guest's own doing are failures.
#[derive(Debug, Default)]
pub struct Health {
    calls: AtomicU64,
    failures: AtomicU64,
    in_a_row: AtomicU32,
    guest_us: AtomicU64,
    fuel: AtomicU64,
    rest: Mutex<Rest>,
}

#[derive(Debug, Default)]
struct Rest {
    until: Option<Instant>,
    times: u32,
}

/// What the counts are at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    pub calls: u64,
    pub failures: u64,
    /// Time in the guest, without its imports.
    pub guest_us: u64,
    pub fuel: u64,
}

impl Reading {
    /// What came after `before`.
    pub fn since(self, before: Self) -> Self {
        Self {
            calls: self.calls - before.calls,
            failures: self.failures - before.failures,
            guest_us: self.guest_us - before.guest_us,
            fuel: self.fuel - before.fuel,
        }
    }

    pub fn failure_rate(self) -> f64 {
        self.failures as f64 / self.calls.max(1) as f64
    }

    /// Mean time of a call in the guest.
    pub fn mean_us(self) -> f64 {
        self.guest_us as f64 / self.calls.max(1) as f64
    }

    pub fn mean_fuel(self) -> f64 {
        self.fuel as f64 / self.calls.max(1) as f64
    }
}

impl Health {
    pub fn reading(&self) -> Reading {
        let load = |number: &AtomicU64| number.load(Ordering::Relaxed);
        Reading {
            // Failures first: a call that ends in between must not show as a failure of no call.
            failures: load(&self.failures),
            calls: load(&self.calls),
            guest_us: load(&self.guest_us),
            fuel: load(&self.fuel),
        }
    }

    /// Counts one call. A call that sends the guest into quarantine gives how many rests
    /// that makes without a good call in between.
    pub(crate) fn count(&self, took: Duration, fuel: u64, failed: bool) -> Option<u32> {
        self.guest_us.fetch_add(took.as_micros() as u64, Ordering::Relaxed);
        self.fuel.fetch_add(fuel, Ordering::Relaxed);
        self.calls.fetch_add(1, Ordering::Relaxed);
        if failed {
            self.failures.fetch_add(1, Ordering::Relaxed);
            if self.in_a_row.fetch_add(1, Ordering::Relaxed) + 1 >= FAILURES_TO_REST {
                return self.begin_rest();
            }
        } else if self.in_a_row.swap(0, Ordering::Relaxed) > 0 {
            *self.rest() = Rest::default();
        }
        None
    }

    /// Until when the guest is in quarantine, if it is. After a rest one failure is
    /// enough for the next, which is longer.
    pub fn quarantined(&self) -> Option<Instant> {
        // The common case takes no lock.
        if self.in_a_row.load(Ordering::Relaxed) < FAILURES_TO_REST {
            return None;
        }
        self.rest().until.filter(|until| Instant::now() < *until)
    }

    fn begin_rest(&self) -> Option<u32> {
        let mut rest = self.rest();
        let now = Instant::now();
        // Calls that began before the rest end in it; they prolong nothing.
        if rest.until.is_some_and(|until| now < until) {
            return None;
        }
        let pause = REST_FIRST.saturating_mul(1 << rest.times.min(16)).min(REST_LONGEST);
        *rest = Rest { until: Some(now + pause), times: rest.times + 1 };
        Some(rest.times)
    }

    fn rest(&self) -> std::sync::MutexGuard<'_, Rest> {
        self.rest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fail(health: &Health, times: u32) {
        (0..times).for_each(|_| {
            let _ = health.count(Duration::ZERO, 0, true);
        });
    }

    #[test]
    fn a_guest_that_fails_again_and_again_rests() {
        let health = Health::default();
        fail(&health, FAILURES_TO_REST - 1);
        assert_eq!(health.quarantined(), None);
        assert_eq!(health.count(Duration::ZERO, 0, true), Some(1), "told once");
        assert_eq!(health.count(Duration::ZERO, 0, true), None);
        assert!(health.quarantined().is_some());
    }

    #[test]
    fn one_good_call_ends_the_count() {
        let health = Health::default();
        fail(&health, FAILURES_TO_REST - 1);
        health.count(Duration::ZERO, 0, false);
        fail(&health, FAILURES_TO_REST - 1);
        assert_eq!(health.quarantined(), None);
    }

    #[test]
    fn what_fails_while_it_rests_prolongs_nothing() {
        let health = Health::default();
        fail(&health, FAILURES_TO_REST);
        let until = health.quarantined();
        fail(&health, 100);
        assert_eq!(health.quarantined(), until);
    }

    #[test]
    fn a_reading_is_what_was_counted() {
        let health = Health::default();
        let before = health.reading();
        health.count(Duration::from_micros(30), 7, false);
        health.count(Duration::from_micros(10), 5, true);
        let since = health.reading().since(before);
        assert_eq!(since, Reading { calls: 2, failures: 1, guest_us: 40, fuel: 12 });
        assert_eq!((since.failure_rate(), since.mean_us(), since.mean_fuel()), (0.5, 20.0, 6.0));
    }
}
