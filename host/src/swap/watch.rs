//! Watches a promoted generation for a while, and rolls it back if it does worse than the one
//! before it.

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

/// How often the new generation is compared.
const INTERVAL: Duration = Duration::from_millis(100);

/// Pause after a rollback that failed.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

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

/// Compares `now` with `before` until the watch period ends or another generation is active. A
/// rollback that fails, because storage is down for example, is tried again.
pub(super) fn watch(swapper: Swapper, before: &Guest, now: Promoted) {
    let before = before.health.reading();
    tokio::spawn(async move {
        let (limits, guest) = (swapper.limits(), now.guest());
        let until = Instant::now() + limits.watch;
        while Instant::now() < until {
            sleep(INTERVAL).await;
            if !now.is_active(swapper.registry()) {
                return;
            }
            let quarantined = guest.health.quarantined().is_some();
            let worse = why_worse(limits, before, guest.health.reading(), quarantined);
            let Some(reason) = worse else { continue };
            let rollback = Rollback::automatic(guest.reference.number, reason);
            if let Err(error) = now.roll_back(&swapper, rollback).await {
                tracing::error!(component = %guest.component, %error, "cannot roll back");
                sleep(RETRY_PAUSE).await;
            }
        }
    });
}

/// Why `now` is worse than `before`, if it is.
fn why_worse(limits: &Limits, before: Reading, now: Reading, quarantined: bool) -> Option<String> {
    if quarantined {
        return Some("it failed on every call".into());
    }
    if now.calls < limits.watch_calls {
        return None;
    }
    let allowed = 100.0 * before.failure_rate() + limits.watch_errors_percent as f64;
    let failing = 100.0 * now.failure_rate();
    if failing > allowed {
        return Some(format!(
            "{failing:.1} % of {} calls failed, compared with {:.1} % before \
             (watch_errors_percent: {})",
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
            "its calls take {:.0} µs, compared with {:.0} µs before (watch_time_percent: {})",
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

    fn watched(before: Reading, now: Reading) -> Option<String> {
        why_worse(&Limits::default(), before, now, false)
    }

    #[test]
    fn a_generation_that_fails_no_more_often_stays() {
        assert_eq!(watched(reading(100, 2, 50), reading(100, 5, 60)), None);
    }

    #[test]
    fn a_generation_that_fails_more_often_is_rolled_back() {
        let reason = watched(reading(100, 2, 50), reading(100, 10, 50)).unwrap();
        assert!(reason.contains("10.0 %") && reason.contains("2.0 %"), "{reason}");
    }

    #[test]
    fn a_generation_that_is_much_slower_is_rolled_back() {
        let reason = watched(reading(100, 0, 50), reading(100, 0, 400)).unwrap();
        assert!(reason.contains("400 µs"), "{reason}");
    }

    #[test]
    fn a_few_calls_decide_nothing_unless_all_failed() {
        assert_eq!(watched(reading(100, 0, 50), reading(10, 4, 50)), None);
        let quarantined =
            why_worse(&Limits::default(), reading(100, 0, 50), reading(5, 5, 50), true);
        assert!(quarantined.is_some());
    }
}
