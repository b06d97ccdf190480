//! After a promotion: for a while the new generation is held against the one before,
//! and replaced by it when it is worse.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kenning_storage::TenantId;
use tokio::time::sleep;

use super::Swapper;
use crate::limits::Limits;
use crate::registry::{Extension, Owner, What};
use crate::runtime::{Generation, Guest, Reading};

/// How often the new generation is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Watches a logic that took the place of `before`.
pub(super) fn logic(swapper: Swapper, owner: Owner, before: Arc<Generation>, now: Arc<Generation>) {
    tokio::spawn(async move {
        let limits = swapper.limits().clone();
        let still = || match &owner {
            Owner::Server => Arc::ptr_eq(&swapper.registry().server_wide().logic, &now),
            Owner::Tenant(tenant) => swapper
                .registry()
                .loaded(tenant)
                .and_then(|guests| guests.logic.clone())
                .is_some_and(|logic| Arc::ptr_eq(&logic, &now)),
        };
        let base = before.guest.meter.reading();
        let Some(why) = watch(&limits, base, &now.guest, still).await else { return };
        tracing::error!(generation = now.guest.reference.number, why, "logic rolled back");
        metrics::counter!("kenning_rollbacks_total", "component" => "logic").increment(1);
        let what = What::RolledBackByItself;
        let rolled = swapper.rollback_logic(owner.clone(), None, what, Some(why));
        if let Err(error) = rolled.await {
            tracing::error!(%error, "the logic could not be rolled back");
        }
    });
}

/// Watches an extension that took the place of `before`, if there was one.
pub(super) fn extension(
    swapper: Swapper,
    tenant: TenantId,
    before: Option<Arc<Extension>>,
    now: Arc<Extension>,
) {
    // With nothing to go back to, an extension that fails rests by itself.
    let Some(before) = before else { return };
    tokio::spawn(async move {
        let limits = swapper.limits().clone();
        let still = || {
            let guests = swapper.registry().loaded(&tenant);
            let active = guests.and_then(|guests| guests.named(now.name()));
            active.is_some_and(|active| Arc::ptr_eq(&active.guest, &now.guest))
        };
        let base = before.guest.meter.reading();
        let Some(why) = watch(&limits, base, &now.guest, still).await else { return };
        let (extension, generation) = (now.name(), now.guest.reference.number);
        tracing::error!(%tenant, extension, generation, why, "extension rolled back");
        metrics::counter!("kenning_rollbacks_total", "component" => "extension").increment(1);
        let what = What::RolledBackByItself;
        let rolled = swapper.rollback_extension(&tenant, now.name(), None, what, Some(why));
        if let Err(error) = rolled.await {
            tracing::error!(%error, "the extension could not be rolled back");
        }
    });
}

/// Why `now` is worse than what was before; `None` once it has stood its time or
/// something else took its place.
async fn watch(
    limits: &Limits,
    before: Reading,
    now: &Guest,
    still_active: impl Fn() -> bool,
) -> Option<String> {
    let until = Instant::now() + limits.watch;
    while Instant::now() < until {
        sleep(LOOK).await;
        if !still_active() {
            return None;
        }
        let why = worse(limits, before, now.meter.reading(), now.meter.quarantined().is_some());
        if why.is_some() {
            return why;
        }
    }
    None
}

fn worse(limits: &Limits, before: Reading, now: Reading, resting: bool) -> Option<String> {
    if resting {
        return Some("it failed on every call".into());
    }
    if now.calls < limits.watch_calls {
        return None;
    }
    let allowed = 100.0 * before.failure_rate() + limits.watch_errors_percent as f64;
    let failing = 100.0 * now.failure_rate();
    if failing > allowed {
        return Some(format!(
            "{failing:.1} % of {} calls failed, against {:.1} % before (watch_errors_percent: {})",
            now.calls,
            100.0 * before.failure_rate(),
            limits.watch_errors_percent
        ));
    }
    if before.calls < limits.watch_calls {
        return None;
    }
    let slower = 100.0 * now.mean_us() / before.mean_us().max(1.0);
    (slower > limits.watch_time_percent as f64).then(|| {
        format!(
            "its calls take {:.0} µs, against {:.0} µs before (watch_time_percent: {})",
            now.mean_us(),
            before.mean_us(),
            limits.watch_time_percent
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(calls: u64, failures: u64, mean_us: u64) -> Reading {
        Reading { calls, failures, guest_us: calls * mean_us, fuel: 0 }
    }

    fn judged(before: Reading, now: Reading) -> Option<String> {
        worse(&Limits::default(), before, now, false)
    }

    #[test]
    fn a_generation_that_fails_no_more_often_stays() {
        assert_eq!(judged(reading(100, 2, 50), reading(100, 5, 60)), None);
    }

    #[test]
    fn a_generation_that_fails_more_often_goes() {
        let why = judged(reading(100, 2, 50), reading(100, 10, 50)).unwrap();
        assert!(why.contains("10.0 %") && why.contains("2.0 %"), "{why}");
    }

    #[test]
    fn a_generation_that_is_much_slower_goes() {
        let why = judged(reading(100, 0, 50), reading(100, 0, 400)).unwrap();
        assert!(why.contains("400 µs"), "{why}");
    }

    #[test]
    fn a_few_calls_say_nothing_unless_all_failed() {
        assert_eq!(judged(reading(100, 0, 50), reading(10, 4, 50)), None);
        assert!(worse(&Limits::default(), reading(100, 0, 50), reading(5, 5, 50), true).is_some());
    }
}
