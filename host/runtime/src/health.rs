//! Health of one generation of a guest: its counts, its streaks of failures, and its quarantine.
//!
//! - The counts are what a promoted generation is watched by.
//! - A streak is one tenant's calls of one export that all failed, whatever their input. A
//!   generation with a good one before it is rolled back.
//! - A quarantine follows one tenant's calls that all failed, on inputs that differ. An extension
//!   is not called while it lasts.
//!
//! A caller who repeats the one input that a guest fails on makes a streak, but puts no extension
//! out of the reach of others.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use kenning_storage::TenantId;

/// Failures in a row that begin a streak or, on inputs that differ, a quarantine.
const FAILURES: usize = 5;

/// The first pause and the longest; each is twice as long as the one before.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_LONGEST: Duration = Duration::from_secs(60);

/// Most tenants that are counted one by one. Those beyond are in the sums only.
const TENANTS: usize = 4_096;

/// Most inputs of a tenant that are remembered.
const INPUTS: usize = 64;

/// Counts the calls of one generation. Only failures that are the guest's fault count as such.
#[derive(Debug, Default)]
pub struct Health {
    calls: AtomicU64,
    failures: AtomicU64,
    guest_us: AtomicU64,
    fuel: AtomicU64,
    tenants: Mutex<HashMap<TenantId, TenantHealth>>,
    /// Whether any tenant may have a quarantine, so that the common case takes no lock.
    has_quarantine: AtomicBool,
}

/// One call, to be counted.
pub(crate) struct Counted<'a> {
    pub(crate) tenant: &'a TenantId,
    /// The export.
    pub(crate) operation: &'static str,
    /// A hash of what it was given; `None` if each call's input counts as another.
    pub(crate) input: Option<u64>,
    pub(crate) took: Duration,
    pub(crate) fuel: u64,
    pub(crate) failed: bool,
}

/// What a failure began, if anything. Each is numbered from 1 without a success in between.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Begun {
    /// Another part of a streak: all calls of one export failed since the part before it.
    pub streak: Option<u32>,
    /// A quarantine.
    pub quarantine: Option<u32>,
}

/// The calls of one tenant.
#[derive(Debug, Default)]
struct TenantHealth {
    calls: u64,
    failures: u64,
    /// By export, those whose last call failed.
    streaks: HashMap<&'static str, Streak>,
    /// The inputs that failed since the last success of any export.
    inputs: Vec<u64>,
    /// How many inputs that differ failed since then.
    differing: usize,
    /// The last quarantine, over or not, unless a call has succeeded since.
    quarantine: Option<Pauses>,
}

#[derive(Debug, Default)]
struct Streak {
    failures: usize,
    pauses: Option<Pauses>,
}

/// Pauses that get longer.
#[derive(Debug)]
struct Pauses {
    until: Instant,
    /// Which one it is, from 1.
    number: u32,
    backoff: ExponentialBackoff,
}

impl Pauses {
    /// One that has not begun.
    fn new(now: Instant) -> Self {
        let backoff = ExponentialBuilder::new()
            .with_min_delay(PAUSE_FIRST)
            .with_max_delay(PAUSE_LONGEST)
            .without_max_times()
            .build();
        Self { until: now, number: 0, backoff }
    }

    /// Begins the next one and returns its number, unless one has not ended. Calls that began
    /// before it may fail during it; they do not prolong it.
    fn begin(&mut self, now: Instant) -> Option<u32> {
        if now < self.until {
            return None;
        }
        self.until = now + self.backoff.next().unwrap_or(PAUSE_LONGEST);
        self.number += 1;
        Some(self.number)
    }
}

impl TenantHealth {
    fn succeed(&mut self, operation: &'static str) {
        self.streaks.remove(operation);
        self.inputs.clear();
        (self.differing, self.quarantine) = (0, None);
    }

    fn fail(&mut self, operation: &'static str, input: Option<u64>, now: Instant) -> Begun {
        let streak = self.streaks.entry(operation).or_default();
        streak.failures += 1;
        let mut begun = Begun::default();
        if streak.failures >= FAILURES {
            begun.streak = streak.pauses.get_or_insert_with(|| Pauses::new(now)).begin(now);
        }
        // After a quarantine, one more input is enough for the next, but not one that is known.
        if self.is_new(input) && self.differing >= FAILURES {
            begun.quarantine = self.quarantine.get_or_insert_with(|| Pauses::new(now)).begin(now);
        }
        begun
    }

    /// Remembers an input; returns whether it had not failed before.
    fn is_new(&mut self, input: Option<u64>) -> bool {
        if let Some(input) = input {
            if self.inputs.contains(&input) {
                return false;
            }
            if self.inputs.len() == INPUTS {
                self.inputs.remove(0);
            }
            self.inputs.push(input);
        }
        self.differing += 1;
        true
    }

    fn in_streak(&self) -> bool {
        self.streaks.values().any(|streak| streak.failures >= FAILURES)
    }
}

/// The calls of one tenant at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantReading {
    /// The tenant.
    pub tenant: TenantId,
    /// Its calls that ended.
    pub calls: u64,
    /// Of those, the ones that failed by the guest's fault.
    pub failures: u64,
    /// Whether all its last calls of some export failed, five or more.
    pub in_streak: bool,
}

impl TenantReading {
    /// The fraction of its calls that failed, from 0 to 1.
    pub fn failure_rate(&self) -> f64 {
        self.failures as f64 / self.calls.max(1) as f64
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

    /// The counts of each tenant that called.
    pub fn tenants(&self) -> Vec<TenantReading> {
        let reading = |(tenant, health): (&TenantId, &TenantHealth)| TenantReading {
            tenant: tenant.clone(),
            calls: health.calls,
            failures: health.failures,
            in_streak: health.in_streak(),
        };
        self.by_tenant().iter().map(reading).collect()
    }

    /// Whether all last calls of some export by some tenant failed, five or more.
    pub fn in_streak(&self) -> bool {
        self.by_tenant().values().any(TenantHealth::in_streak)
    }

    /// Counts one call.
    pub(crate) fn count(&self, call: &Counted<'_>) -> Begun {
        self.guest_us.fetch_add(call.took.as_micros() as u64, Ordering::Relaxed);
        self.fuel.fetch_add(call.fuel, Ordering::Relaxed);
        self.calls.fetch_add(1, Ordering::Relaxed);
        if call.failed {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
        let mut tenants = self.by_tenant();
        if tenants.len() >= TENANTS && !tenants.contains_key(call.tenant) {
            return Begun::default();
        }
        let tenant = tenants.entry(call.tenant.clone()).or_default();
        tenant.calls += 1;
        if !call.failed {
            tenant.succeed(call.operation);
            return Begun::default();
        }
        tenant.failures += 1;
        let begun = tenant.fail(call.operation, call.input, Instant::now());
        if begun.quarantine.is_some() {
            self.has_quarantine.store(true, Ordering::Relaxed);
        }
        begun
    }

    /// Until when the guest is in quarantine, if it is: for the tenant with the longest.
    pub fn quarantined(&self) -> Option<Instant> {
        if !self.has_quarantine.load(Ordering::Relaxed) {
            return None;
        }
        let now = Instant::now();
        let tenants = self.by_tenant();
        let quarantines = tenants.values().filter_map(|tenant| tenant.quarantine.as_ref());
        quarantines.map(|quarantine| quarantine.until).filter(|until| now < *until).max()
    }

    fn by_tenant(&self) -> MutexGuard<'_, HashMap<TenantId, TenantHealth>> {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(name: &str) -> TenantId {
        TenantId::parse(name).unwrap()
    }

    fn call(health: &Health, operation: &'static str, input: u64, failed: bool) -> Begun {
        let (tenant, took) = (tenant("t"), Duration::from_micros(10));
        let input = Some(input);
        health.count(&Counted { tenant: &tenant, operation, input, took, fuel: 5, failed })
    }

    fn fail(health: &Health, inputs: std::ops::Range<u64>) -> Vec<Begun> {
        inputs.map(|input| call(health, "on-store", input, true)).collect()
    }

    const NOTHING: Begun = Begun { streak: None, quarantine: None };

    #[test]
    fn a_guest_that_fails_on_five_inputs_is_quarantined() {
        let health = Health::default();
        assert_eq!(fail(&health, 0..4), [NOTHING; 4]);
        assert_eq!(health.quarantined(), None);
        assert_eq!(fail(&health, 4..5), [Begun { streak: Some(1), quarantine: Some(1) }]);
        assert_eq!(fail(&health, 5..6), [NOTHING], "reported once");
        assert!(health.quarantined().is_some());
    }

    #[test]
    fn one_input_that_is_repeated_quarantines_nobody_but_makes_a_streak() {
        let health = Health::default();
        let begun: Vec<_> = (0..20).map(|_| call(&health, "on-store", 7, true)).collect();
        assert_eq!(begun[4], Begun { streak: Some(1), quarantine: None });
        assert_eq!(health.quarantined(), None);
        assert!(health.in_streak());
    }

    #[test]
    fn a_success_in_between_resets_the_inputs_and_its_own_exports_streak() {
        let health = Health::default();
        fail(&health, 0..4);
        call(&health, "on-read", 0, false);
        fail(&health, 0..4);
        assert_eq!(health.quarantined(), None);
        assert!(health.in_streak(), "no store succeeded");
        call(&health, "on-store", 0, false);
        assert!(!health.in_streak());
    }

    #[test]
    fn failures_during_a_quarantine_do_not_prolong_it() {
        let health = Health::default();
        fail(&health, 0..5);
        let until = health.quarantined();
        fail(&health, 5..100);
        assert_eq!(health.quarantined(), until);
    }

    #[test]
    fn a_known_input_that_fails_again_begins_no_other_quarantine() {
        let (mut tenant, now) = (TenantHealth::default(), Instant::now());
        for input in 0..5 {
            tenant.fail("on-store", Some(input), now);
        }
        let later = now + PAUSE_LONGEST;
        assert_eq!(tenant.fail("on-store", Some(3), later).quarantine, None);
        assert_eq!(tenant.fail("on-store", Some(9), later).quarantine, Some(2));
    }

    #[test]
    fn each_pause_is_longer_up_to_the_longest() {
        let mut now = Instant::now();
        let mut pauses = Pauses::new(now);
        let lengths = (0..8).map(|_| {
            pauses.begin(now);
            let length = pauses.until - now;
            now = pauses.until;
            length.as_secs()
        });
        assert_eq!(lengths.collect::<Vec<_>>(), [1, 2, 4, 8, 16, 32, 60, 60]);
    }

    #[test]
    fn each_tenant_is_counted_by_itself() {
        let health = Health::default();
        fail(&health, 0..5);
        let (other, took) = (tenant("other"), Duration::ZERO);
        let good = Counted {
            tenant: &other,
            operation: "on-store",
            input: None,
            took,
            fuel: 0,
            failed: false,
        };
        health.count(&good);
        let mut tenants = health.tenants();
        tenants.sort_by_key(|reading| reading.calls);
        let seen: Vec<_> =
            tenants.iter().map(|one| (one.calls, one.failures, one.in_streak)).collect();
        assert_eq!(seen, [(1, 0, false), (5, 5, true)], "a success of another ends no streak");
    }

    #[test]
    fn a_reading_is_the_difference_of_the_counts() {
        let health = Health::default();
        let before = health.reading();
        call(&health, "search", 0, false);
        call(&health, "search", 0, true);
        let since = health.reading().since(before);
        assert_eq!(since, Reading { calls: 2, failures: 1, guest_us: 20, fuel: 10 });
        assert_eq!((since.failure_rate(), since.mean_us(), since.mean_fuel()), (0.5, 10.0, 5.0));
    }
}
