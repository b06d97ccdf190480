//! After a promotion: for a while the new generation is held against the one before,
//! and replaced by it when it is worse.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kenning_storage::TenantId;
use tokio::time::sleep;

use super::{Rollback, Swapper};
use crate::registry::{Extension, Owner, Registry};
use kenning_core::error::Error;
use kenning_core::limits::Limits;
use kenning_core::provenance::GenerationRef;
use kenning_runtime::{Generation, Guest, Reading};

/// How often the new generation is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// When it is looked at again after it could not be rolled back.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A generation that was just promoted.
pub(super) enum Promoted {
    Logic(Owner, Arc<Generation>),
    Extension(TenantId, Arc<Extension>),
}

impl Promoted {
    fn guest(&self) -> &Arc<Guest> {
        match self {
            Self::Logic(_, logic) => &logic.guest,
            Self::Extension(_, extension) => &extension.guest,
        }
    }

    fn is_active(&self, registry: &Registry) -> bool {
        let active = match self {
            Self::Logic(Owner::Server, _) => Some(registry.server_wide().logic.guest.clone()),
            Self::Logic(Owner::Tenant(tenant), _) => registry
                .loaded(tenant)
                .and_then(|guests| guests.logic.as_ref().map(|logic| logic.guest.clone())),
            Self::Extension(tenant, now) => registry
                .loaded(tenant)
                .and_then(|guests| guests.named(now.name()).map(|one| one.guest.clone())),
        };
        active.is_some_and(|active| Arc::ptr_eq(&active, self.guest()))
    }

    async fn roll_back(
        &self,
        swapper: &Swapper,
        rollback: Rollback,
    ) -> Result<GenerationRef, Error> {
        match self {
            Self::Logic(owner, _) => swapper.rollback_logic(owner, rollback).await,
            Self::Extension(tenant, now) => {
                swapper.rollback_extension(tenant, now.name(), rollback).await
            }
        }
    }
}

/// Holds `now` against `before` until it has stood its time or something else took its
/// place. What cannot be rolled back now, as while storage is away, is tried again.
pub(super) fn watch(swapper: Swapper, before: &Guest, now: Promoted) {
    let before = before.health.reading();
    tokio::spawn(async move {
        let (limits, guest) = (swapper.limits(), now.guest());
        let until = Instant::now() + limits.watch;
        while Instant::now() < until {
            sleep(LOOK).await;
            if !now.is_active(swapper.registry()) {
                return;
            }
            let resting = guest.health.quarantined().is_some();
            let why = worse(limits, before, guest.health.reading(), resting);
            let Some(why) = why else { continue };
            let rollback = Rollback::by_itself(guest.reference.number, why);
            if let Err(error) = now.roll_back(&swapper, rollback).await {
                tracing::error!(component = %guest.component, %error, "cannot roll back");
                sleep(LOOK_AGAIN).await;
            }
        }
    });
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
