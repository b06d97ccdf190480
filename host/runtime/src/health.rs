//! Health of one generation of a guest: its counts, and its quarantine.
//!
//! The counts are what a promoted generation is watched by. The quarantine keeps a guest that
//! fails on every call from being run again and again.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// Failures in a row that send a guest into quarantine.
const FAILURES_TO_QUARANTINE: u32 = 5;

/// The first quarantine, and the longest; each is twice as long as the one before.
const QUARANTINE_FIRST: Duration = Duration::from_secs(1);
const QUARANTINE_LONGEST: Duration = Duration::from_secs(60);

/// Counts the calls of one generation. Only failures that are the guest's fault count as such.
#[derive(Debug, Default)]
pub struct Health {
    calls: AtomicU64,
    failures: AtomicU64,
    in_a_row: AtomicU32,
    guest_us: AtomicU64,
    fuel: AtomicU64,
    /// The last quarantine, over or not, unless a call has succeeded since.
    quarantine: Mutex<Option<Quarantine>>,
}

#[derive(Debug)]
struct Quarantine {
    until: Instant,
    /// Which one it is, from 1, without a successful call in between.
    number: u32,
    backoff: ExponentialBackoff,
}

impl Quarantine {
    /// One that has not begun.
    fn new(now: Instant) -> Self {
        let backoff = ExponentialBuilder::new()
            .with_min_delay(QUARANTINE_FIRST)
            .with_max_delay(QUARANTINE_LONGEST)
            .without_max_times()
            .build();
        Self { until: now, number: 0, backoff }
    }

    fn begin(&mut self, now: Instant) {
        self.until = now + self.backoff.next().unwrap_or(QUARANTINE_LONGEST);
        self.number += 1;
    }
}

/// The counts at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Calls that ended.
    pub calls: u64,
    /// Of those, the ones that failed by the guest's fault.
    pub failures: u64,
    /// Time in the guest, without its imports, in microseconds.
    pub guest_us: u64,
    /// Fuel that was used.
    pub fuel: u64,
}

impl Reading {
    /// What was counted after `before`, an earlier reading of the same guest.
    pub fn since(self, before: Self) -> Self {
        Self {
            calls: self.calls - before.calls,
            failures: self.failures - before.failures,
            guest_us: self.guest_us - before.guest_us,
            fuel: self.fuel - before.fuel,
        }
    }

    /// The fraction of calls that failed, from 0 to 1.
    pub fn failure_rate(self) -> f64 {
        self.failures as f64 / self.calls.max(1) as f64
    }

    /// Mean time of a call in the guest, in microseconds.
    pub fn mean_us(self) -> f64 {
        self.guest_us as f64 / self.calls.max(1) as f64
    }

    /// Mean fuel of a call.
    pub fn mean_fuel(self) -> f64 {
        self.fuel as f64 / self.calls.max(1) as f64
    }
}

impl Health {
    /// The counts now.
    pub fn reading(&self) -> Reading {
        let load = |number: &AtomicU64| number.load(Ordering::Relaxed);
        Reading {
            // Failures first: they must not include a call that `calls` does not.
            failures: load(&self.failures),
            calls: load(&self.calls),
            guest_us: load(&self.guest_us),
            fuel: load(&self.fuel),
        }
    }

    /// Counts one call. If it sends the guest into quarantine, returns how many quarantines that
    /// makes without a successful call in between.
    pub(crate) fn count(&self, took: Duration, fuel: u64, failed: bool) -> Option<u32> {
        self.guest_us.fetch_add(took.as_micros() as u64, Ordering::Relaxed);
        self.fuel.fetch_add(fuel, Ordering::Relaxed);
        self.calls.fetch_add(1, Ordering::Relaxed);
        if failed {
            self.failures.fetch_add(1, Ordering::Relaxed);
            if self.in_a_row.fetch_add(1, Ordering::Relaxed) + 1 >= FAILURES_TO_QUARANTINE {
                return self.begin_quarantine();
            }
        } else if self.in_a_row.swap(0, Ordering::Relaxed) > 0 {
            *self.quarantine() = None;
        }
        None
    }

    /// Until when the guest is in quarantine, if it is. After a quarantine, one failure is enough
    /// for the next, which is longer.
    pub fn quarantined(&self) -> Option<Instant> {
        // The common case takes no lock.
        if self.in_a_row.load(Ordering::Relaxed) < FAILURES_TO_QUARANTINE {
            return None;
        }
        let until = self.quarantine().as_ref()?.until;
        (Instant::now() < until).then_some(until)
    }

    fn begin_quarantine(&self) -> Option<u32> {
        let mut quarantine = self.quarantine();
        let now = Instant::now();
        let quarantine = quarantine.get_or_insert_with(|| Quarantine::new(now));
        // Calls that began before the quarantine may fail during it; they do not prolong it.
        if now < quarantine.until {
            return None;
        }
        quarantine.begin(now);
        Some(quarantine.number)
    }

    fn quarantine(&self) -> MutexGuard<'_, Option<Quarantine>> {
        self.quarantine.lock().unwrap_or_else(PoisonError::into_inner)
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
    fn a_guest_that_fails_on_every_call_is_quarantined() {
        let health = Health::default();
        fail(&health, FAILURES_TO_QUARANTINE - 1);
        assert_eq!(health.quarantined(), None);
        assert_eq!(health.count(Duration::ZERO, 0, true), Some(1), "reported once");
        assert_eq!(health.count(Duration::ZERO, 0, true), None);
        assert!(health.quarantined().is_some());
    }

    #[test]
    fn one_successful_call_resets_the_failures_in_a_row() {
        let health = Health::default();
        fail(&health, FAILURES_TO_QUARANTINE - 1);
        health.count(Duration::ZERO, 0, false);
        fail(&health, FAILURES_TO_QUARANTINE - 1);
        assert_eq!(health.quarantined(), None);
    }

    #[test]
    fn failures_during_a_quarantine_do_not_prolong_it() {
        let health = Health::default();
        fail(&health, FAILURES_TO_QUARANTINE);
        let until = health.quarantined();
        fail(&health, 100);
        assert_eq!(health.quarantined(), until);
    }

    #[test]
    fn each_quarantine_is_longer_up_to_the_longest() {
        let now = Instant::now();
        let mut quarantine = Quarantine::new(now);
        let lengths = (0..8).map(|_| {
            quarantine.begin(now);
            (quarantine.until - now).as_secs()
        });
        assert_eq!(lengths.collect::<Vec<_>>(), [1, 2, 4, 8, 16, 32, 60, 60]);
    }

    #[test]
    fn a_reading_is_the_difference_of_the_counts() {
        let health = Health::default();
        let before = health.reading();
        health.count(Duration::from_micros(30), 7, false);
        health.count(Duration::from_micros(10), 5, true);
        let since = health.reading().since(before);
        assert_eq!(since, Reading { calls: 2, failures: 1, guest_us: 40, fuel: 12 });
        assert_eq!((since.failure_rate(), since.mean_us(), since.mean_fuel()), (0.5, 20.0, 6.0));
    }
}
