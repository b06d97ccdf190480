//! Decides for whom a server-wide logic that fails is rolled back.
//!
//! One tenant can send what a logic traps on, and must not bring an older generation back for the
//! others. So a rollback for everyone needs failures of several tenants, or of all that call; a
//! tenant that fails alone gets the older generation for itself.

use std::collections::HashSet;

use kenning_storage::TenantId;

use super::Swapper;
use kenning_core::limits::Limits;
use kenning_runtime::{Guest, Reading, TenantReading};

/// Fewest failures of a tenant that count where failures of several are added up.
const FAILURES: u64 = 3;

/// For whom a logic fails.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Nobody,
    Tenants(Vec<TenantId>),
    Everyone,
}

/// `readings` are of the tenants that called the generation, `recent` those that call the server.
/// Several tenants are two, and more than `percent` of all.
pub(super) fn verdict(
    readings: &[TenantReading],
    recent: &[TenantId],
    percent: u64,
    is_failing: impl Fn(&TenantReading) -> bool,
) -> Verdict {
    let failing: Vec<TenantId> =
        readings.iter().filter(|one| is_failing(one)).map(|one| one.tenant.clone()).collect();
    let called = readings.iter().map(|one| &one.tenant);
    let all: HashSet<&TenantId> = called.chain(recent).collect();
    let (count, all) = (failing.len(), all.len());
    let several = count >= 2 && 100 * count as u64 > percent * all as u64;
    match count {
        0 => Verdict::Nobody,
        _ if several || count == all => Verdict::Everyone,
        _ => Verdict::Tenants(failing),
    }
}

/// Whether a tenant fails with a generation that is watched: on every call of some export, or more
/// often than before.
pub(super) fn is_worse(
    limits: &Limits,
    before: Reading,
    now: Reading,
) -> impl Fn(&TenantReading) -> bool {
    let allowed = 100.0 * before.failure_rate() + limits.watch_errors_percent as f64;
    let is_worse = move |rate: f64| 100.0 * rate > allowed;
    let together = now.calls >= limits.watch_calls && is_worse(now.failure_rate());
    let enough = limits.watch_calls;
    move |one| {
        let counts = one.calls >= enough || (together && one.failures >= FAILURES);
        one.in_streak || (counts && is_worse(one.failure_rate()))
    }
}

impl Swapper {
    /// The verdict on a generation of the server-wide logic. Tenants that do not use it any more
    /// count, but need nothing.
    pub(super) fn verdict(
        &self,
        guest: &Guest,
        is_failing: impl Fn(&TenantReading) -> bool,
    ) -> Verdict {
        let recent = self.kb().recorder().tenants();
        let recent: Vec<_> = recent.into_iter().filter(|tenant| !self.has_own(tenant)).collect();
        let percent = self.limits().watch_errors_percent;
        match verdict(&guest.health.tenants(), &recent, percent, is_failing) {
            Verdict::Tenants(mut failing) => {
                failing.retain(|tenant| self.calls_use(tenant, guest));
                match failing.is_empty() {
                    true => Verdict::Nobody,
                    false => Verdict::Tenants(failing),
                }
            }
            verdict => verdict,
        }
    }

    fn has_own(&self, tenant: &TenantId) -> bool {
        self.registry().loaded(tenant).is_some_and(|guests| guests.logic.is_some())
    }

    fn calls_use(&self, tenant: &TenantId, guest: &Guest) -> bool {
        let snapshot = self.registry().snapshot(tenant);
        snapshot.is_none_or(|snapshot| std::ptr::eq(&*snapshot.logic.guest, guest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(number: usize) -> TenantId {
        TenantId::parse(&format!("t{number}")).unwrap()
    }

    fn reading(number: usize, calls: u64, failures: u64) -> TenantReading {
        let in_streak = calls == failures && failures >= 5;
        TenantReading { tenant: tenant(number), calls, failures, in_streak }
    }

    /// The verdict on calls and failures of tenants, in the watch.
    fn watched(readings: &[TenantReading]) -> Verdict {
        let limits = Limits::default();
        let sum = |of: fn(&TenantReading) -> u64| readings.iter().map(of).sum();
        let (calls, failures) = (sum(|one| one.calls), sum(|one| one.failures));
        let now = Reading { calls, failures, ..Reading::default() };
        verdict(readings, &[], 5, is_worse(&limits, Reading::default(), now))
    }

    #[test]
    fn a_tenant_that_fails_alone_is_the_only_one_to_go_back() {
        let readings = [reading(1, 1_000, 1_000), reading(2, 1, 0)];
        assert_eq!(watched(&readings), Verdict::Tenants(vec![tenant(1)]));
        let recent = [tenant(1), tenant(2)];
        let alone = verdict(&readings[..1], &recent, 5, |one| one.in_streak);
        assert_eq!(alone, Verdict::Tenants(vec![tenant(1)]), "the other has not called it yet");
    }

    #[test]
    fn the_only_tenant_is_everyone() {
        assert_eq!(watched(&[reading(1, 5, 5)]), Verdict::Everyone);
        assert_eq!(watched(&[reading(1, 100, 10)]), Verdict::Everyone);
        assert_eq!(watched(&[reading(1, 100, 5)]), Verdict::Nobody);
        assert_eq!(watched(&[reading(1, 10, 4)]), Verdict::Nobody, "too few calls to tell");
    }

    #[test]
    fn two_tenants_are_several_unless_there_are_very_many() {
        let failing = [reading(1, 5, 5), reading(2, 9, 9), reading(3, 50, 0)];
        assert_eq!(watched(&failing), Verdict::Everyone);
        let fine = (3..53).map(|number| reading(number, 50, 0));
        let many: Vec<_> = failing[..2].iter().cloned().chain(fine).collect();
        assert_eq!(watched(&many), Verdict::Tenants(vec![tenant(1), tenant(2)]));
    }

    #[test]
    fn failures_of_several_add_up() {
        assert_eq!(watched(&[reading(1, 10, 3), reading(2, 10, 3)]), Verdict::Everyone);
        assert_eq!(watched(&[reading(1, 10, 1), reading(2, 10, 0)]), Verdict::Nobody);
    }
}
