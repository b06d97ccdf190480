//! Watches a promoted generation for a while, and rolls it back if it does worse than the one
//! before it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kenning_storage::TenantId;
use tokio::time::sleep;

use super::verdict::{Verdict, is_worse};
use super::{Rollback, RolledBack, Swapper};
use crate::registry::{Extension, Owner, Registry};
use kenning_core::error::{Code, Error};
use kenning_core::limits::Limits;
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

    /// Rolls the generation back if it does worse than `before`, for those who fail with it.
    async fn compare(&self, swapper: &Swapper, before: Reading) -> Result<(), Error> {
        let (limits, guest) = (swapper.limits(), self.guest());
        let (now, number) = (guest.health.reading(), guest.reference.number);
        let reason = match self {
            Self::Logic(Owner::Server, _) => {
                match swapper.verdict(guest, is_worse(limits, before, now)) {
                    Verdict::Everyone => Some(why_failing(limits, before, now)),
                    Verdict::Nobody => why_slower(limits, before, now),
                    Verdict::Tenants(tenants) => {
                        let reason = "it failed for this tenant, and not for the others";
                        for tenant in tenants {
                            swapper.pin(&tenant, number, reason).await?;
                        }
                        None
                    }
                }
            }
            _ => why_worse(limits, before, now, guest.health.quarantined().is_some()),
        };
        match reason {
            None => Ok(()),
            Some(reason) => {
                self.roll_back(swapper, Rollback::automatic(number, reason)).await.map(drop)
            }
        }
    }

    async fn roll_back(&self, swapper: &Swapper, rollback: Rollback) -> Result<RolledBack, Error> {
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
        let until = Instant::now() + swapper.limits().watch;
        while Instant::now() < until {
            sleep(INTERVAL).await;
            if !now.is_active(swapper.registry()) {
                return;
            }
            let Err(error) = now.compare(&swapper, before).await else { continue };
            tracing::error!(component = %now.guest().component, %error, "cannot roll back");
            if error.code == Code::Conflict {
                // There is nothing to roll back to, or another change came first.
                return;
            }
            sleep(RETRY_PAUSE).await;
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
    match 100.0 * now.failure_rate() > allowed {
        true => Some(why_failing(limits, before, now)),
        false => why_slower(limits, before, now),
    }
}

fn why_failing(limits: &Limits, before: Reading, now: Reading) -> String {
    format!(
        "{:.1} % of {} calls failed, compared with {:.1} % before (watch_errors_percent: {})",
        100.0 * now.failure_rate(),
        now.calls,
        100.0 * before.failure_rate(),
        limits.watch_errors_percent
    )
}

/// Why `now` is slower than `before`, if both had enough calls to tell and it is.
fn why_slower(limits: &Limits, before: Reading, now: Reading) -> Option<String> {
    if before.calls.min(now.calls) < limits.watch_calls {
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
