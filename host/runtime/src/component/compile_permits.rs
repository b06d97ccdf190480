//! Who may compile: as many components at once as `compiles` allows, and of each tenant one, so
//! that a large component delays only its own tenant. Waiting tenants are served in turn.

use std::sync::Arc;
use std::time::Duration;

use kenning_core::fair_semaphore::{self, FairSemaphore, Permit};
use kenning_core::limits::Limits;
use kenning_storage::TenantId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// How soon a component is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// A rollback, or the server-wide logic: does not wait for what is being compiled already.
    First,
    /// Everything else.
    Usual,
}

/// Who wants a component, and how soon.
#[derive(Clone, Debug)]
pub struct Demand {
    /// In whose name it is compiled.
    pub tenant: TenantId,
    /// Whether it goes first.
    pub urgency: Urgency,
}

pub(crate) struct CompilePermits {
    most: usize,
    wait: Duration,
    usual: Arc<FairSemaphore>,
    /// One more, for what goes first.
    first: Arc<Semaphore>,
}

/// Permission to compile one component; returned when it is dropped.
pub(crate) enum CompilePermit {
    Usual { _permit: Permit },
    First { _permit: OwnedSemaphorePermit },
}

impl CompilePermits {
    pub(crate) fn new(limits: &Limits) -> Self {
        let permits = limits.compiles;
        let usual = fair_semaphore::Limits { permits, per_tenant: 1, reserved_for_idle: 0 };
        Self {
            most: permits,
            wait: limits.compile_wait,
            usual: FairSemaphore::new(usual),
            first: Arc::new(Semaphore::new(1)),
        }
    }

    /// Waits for a permit. The error is the number of permits, all of which were taken for as long
    /// as `compile_wait_ms`.
    pub(crate) async fn acquire(&self, demand: &Demand) -> Result<CompilePermit, usize> {
        let permit = async {
            match demand.urgency {
                Urgency::Usual => self.usual(demand).await,
                Urgency::First => tokio::select! {
                    biased;
                    permit = self.usual(demand) => permit,
                    Ok(permit) = self.first.clone().acquire_owned() => {
                        CompilePermit::First { _permit: permit }
                    }
                },
            }
        };
        timeout(self.wait, permit).await.map_err(|_| self.most)
    }

    async fn usual(&self, demand: &Demand) -> CompilePermit {
        CompilePermit::Usual { _permit: self.usual.acquire(&demand.tenant).await }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn permits(wait: Duration) -> CompilePermits {
        CompilePermits::new(&Limits { compiles: 2, compile_wait: wait, ..Limits::default() })
    }

    fn of(tenant: &str, urgency: Urgency) -> Demand {
        Demand { tenant: TenantId::parse(tenant).unwrap(), urgency }
    }

    fn usual(tenant: &str) -> Demand {
        of(tenant, Urgency::Usual)
    }

    const LONG: Duration = Duration::from_secs(3_600);

    #[tokio::test]
    async fn a_tenant_that_compiles_delays_no_other() {
        let permits = permits(LONG);
        let large = permits.acquire(&usual("a")).await.unwrap();
        let second = usual("a");
        let mut waiting = std::pin::pin!(permits.acquire(&second));
        assert!((&mut waiting).now_or_never().is_none());
        assert!(permits.acquire(&usual("b")).now_or_never().is_some());
        drop(large);
        assert!(waiting.now_or_never().is_some());
    }

    #[tokio::test]
    async fn what_goes_first_does_not_wait_for_its_own_tenant_or_for_others() {
        let permits = permits(LONG);
        let _own = permits.acquire(&usual("a")).await.unwrap();
        let _other = permits.acquire(&usual("b")).await.unwrap();
        assert!(permits.acquire(&of("a", Urgency::First)).now_or_never().is_some());
    }

    #[tokio::test]
    async fn who_waits_too_long_is_told_how_many_permits_there_are_violated() {
        let permits = permits(Duration::from_millis(1));
        let _own = permits.acquire(&usual("a")).await.unwrap();
        assert_eq!(permits.acquire(&usual("a")).await.err(), Some(2));
    }
}
