//! Decides which tenant's pending facts are indexed next. Tenants take turns, a few at once, so
//! that neither one tenant's backlog nor one slow text delays the vectors of the others.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use kenning_storage::TenantId;
use tokio::time::{interval, sleep_until};

use super::backlog::{Backlog, NextPass};
use super::step::{EmbedPermit, StepOutcome};
use super::{Indexer, next_backoff};

/// Tenants that are worked on at once.
const CONCURRENCY: usize = 4;

/// How often every tenant is looked at, in case another host left facts pending.
const SWEEP: Duration = Duration::from_secs(60);

impl Indexer {
    /// Indexes pending facts as they appear, until aborted.
    pub(super) async fn keep_up(&self) {
        let mut scheduler = Scheduler::default();
        let mut running = FuturesUnordered::new();
        loop {
            let now = Instant::now();
            while running.len() < CONCURRENCY
                && let Some(job) = scheduler.next(now)
            {
                running.push(self.run_job(job));
            }
            let wake = scheduler.next_wake(now).unwrap_or(now + SWEEP);
            tokio::select! {
                Some((tenant, backlog, outcome)) = running.next() => {
                    scheduler.finish(tenant, backlog, outcome, Instant::now());
                }
                pending = self.indexes().take_pending() => {
                    pending.into_iter().for_each(|tenant| scheduler.mark(tenant));
                }
                () = sleep_until(wake.into()) => {}
            }
        }
    }

    /// Has every tenant looked at now and then, until aborted. Not a part of [`Self::keep_up`]:
    /// while that awaited storage here, its jobs would not go on, and one of them may hold what
    /// this waits for.
    pub(super) async fn sweep(&self) {
        let mut sweep = interval(SWEEP);
        loop {
            sweep.tick().await;
            let tenants = self.kb.services().storage.tenants(self.until()).await;
            tenants.unwrap_or_default().iter().for_each(|t| self.indexes().mark_pending(t));
        }
    }

    async fn run_job(&self, job: Job) -> (TenantId, Backlog, StepOutcome) {
        let Job { tenant, mut backlog, permit } = job;
        // A deleted tenant has nothing pending, and its deletion does not wait for an embedder.
        let outcome = match self.kb.services().tenants.begin(&tenant, None) {
            Ok(running) => tokio::select! {
                outcome = self.step(&tenant, &mut backlog, permit) => outcome,
                () = running.ended() => StepOutcome::PassEnded(NextPass::None),
            },
            Err(_) => StepOutcome::PassEnded(NextPass::None),
        };
        (tenant, backlog, outcome)
    }
}

/// The tenants with a backlog. The one that was worked on least recently is next.
#[derive(Default)]
struct Scheduler {
    order: VecDeque<TenantId>,
    tenants: HashMap<TenantId, Scheduled>,
    /// Set while the embedder is down.
    outage: Option<Outage>,
}

/// One tenant with a backlog.
struct Scheduled {
    /// `None` while it is worked on.
    backlog: Option<Backlog>,
    /// There may be new facts since the current job started.
    marked: bool,
    due: Due,
}

/// When a tenant may be worked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Now,
    /// When a step may embed again.
    EmbedderUp,
    /// At this time, to try postponed facts again; earlier if there are new facts.
    Retry(Instant),
    /// At this time, even if there are new facts.
    Backoff(Instant),
}

/// The embedder is down.
struct Outage {
    /// When one tenant may try again.
    until: Instant,
    backoff: Duration,
    trying: Option<TenantId>,
}

/// One step for a tenant.
struct Job {
    tenant: TenantId,
    backlog: Backlog,
    permit: EmbedPermit,
}

impl Scheduler {
    /// The tenant may have pending facts.
    fn mark(&mut self, tenant: TenantId) {
        let Some(scheduled) = self.tenants.get_mut(&tenant) else {
            self.order.push_back(tenant.clone());
            let backlog = Some(Backlog::default());
            self.tenants.insert(tenant, Scheduled { backlog, marked: false, due: Due::Now });
            return;
        };
        match &mut scheduled.backlog {
            Some(backlog) => backlog.mark(),
            None => scheduled.marked = true,
        }
        if !matches!(scheduled.due, Due::Backoff(_)) {
            scheduled.due = Due::Now;
        }
    }

    /// A job for the first tenant that is due, which then moves to the end of the order.
    fn next(&mut self, now: Instant) -> Option<Job> {
        let permit = self.permit(now);
        let is_due = |scheduled: &Scheduled| match scheduled.due {
            Due::Now => true,
            Due::EmbedderUp => permit != EmbedPermit::Denied,
            Due::Retry(at) | Due::Backoff(at) => at <= now,
        };
        let first = self.order.iter().position(|tenant| {
            let scheduled = self.tenants.get(tenant);
            scheduled.is_some_and(|scheduled| scheduled.backlog.is_some() && is_due(scheduled))
        })?;
        let tenant = self.order.remove(first)?;
        self.order.push_back(tenant.clone());
        let backlog = self.tenants.get_mut(&tenant)?.backlog.take()?;
        if let Some(outage) = self.outage.as_mut().filter(|_| permit == EmbedPermit::AfterProbe) {
            outage.trying = Some(tenant.clone());
        }
        Some(Job { tenant, backlog, permit })
    }

    fn permit(&self, now: Instant) -> EmbedPermit {
        match &self.outage {
            None => EmbedPermit::Granted,
            Some(outage) if outage.trying.is_none() && outage.until <= now => {
                EmbedPermit::AfterProbe
            }
            Some(_) => EmbedPermit::Denied,
        }
    }

    /// When the next tenant becomes due that is not due now.
    fn next_wake(&self, now: Instant) -> Option<Instant> {
        let times = self.tenants.values().filter_map(|scheduled| match scheduled.due {
            Due::Now => None,
            Due::EmbedderUp => self.outage.as_ref().map(|outage| outage.until),
            Due::Retry(at) | Due::Backoff(at) => Some(at),
        });
        times.filter(|at| *at > now).min()
    }

    /// Takes the backlog back after a job and decides when the tenant is due again.
    fn finish(
        &mut self,
        tenant: TenantId,
        mut backlog: Backlog,
        outcome: StepOutcome,
        now: Instant,
    ) {
        let tried = self
            .outage
            .as_mut()
            .is_some_and(|outage| outage.trying.take_if(|trying| *trying == tenant).is_some());
        // A pass ends only in a step with a permit, which after an outage probed the embedder.
        let is_up = matches!(outcome, StepOutcome::EmbedderUp)
            || (tried && matches!(outcome, StepOutcome::PassEnded(_)));
        if is_up {
            self.outage = None;
        }
        let due = match outcome {
            StepOutcome::Continue
            | StepOutcome::EmbedderUp
            | StepOutcome::PassEnded(NextPass::Now) => Some(Due::Now),
            StepOutcome::TextIndexed => Some(Due::EmbedderUp),
            StepOutcome::PassEnded(NextPass::At(at)) => Some(Due::Retry(at)),
            StepOutcome::PassEnded(NextPass::None) => None,
            StepOutcome::Failed(error) => {
                tracing::warn!(%tenant, %error, "pending facts not indexed; they are tried again");
                Some(Due::Backoff(now + backlog.next_backoff()))
            }
            StepOutcome::EmbedderDown(error) => {
                tracing::warn!(%error, "embedder down; pending facts wait for their vectors");
                self.begin_outage(tried, now);
                Some(Due::EmbedderUp)
            }
        };
        let Some(scheduled) = self.tenants.get_mut(&tenant) else { return };
        let marked = std::mem::take(&mut scheduled.marked);
        if marked {
            backlog.mark();
        }
        scheduled.due = match due {
            Some(due @ Due::Backoff(_)) => due,
            _ if marked => Due::Now,
            Some(due) => due,
            None => {
                self.tenants.remove(&tenant);
                self.order.retain(|other| *other != tenant);
                return;
            }
        };
        scheduled.backlog = Some(backlog);
    }

    /// Starts an outage, or prolongs it if this was its trial. Other jobs that were already
    /// running when the outage started do not prolong it.
    fn begin_outage(&mut self, tried: bool, now: Instant) {
        let before = match &self.outage {
            Some(_) if !tried => return,
            Some(outage) => outage.backoff,
            None => Duration::ZERO,
        };
        let backoff = next_backoff(before);
        self.outage = Some(Outage { until: now + backoff, backoff, trying: None });
    }
}

#[cfg(test)]
mod tests {
    use super::super::{RETRY_FIRST, RETRY_LAST};
    use super::*;
    use kenning_embedder::EmbedError;

    fn scheduler(tenants: &[&str]) -> Scheduler {
        let mut scheduler = Scheduler::default();
        tenants.iter().for_each(|tenant| scheduler.mark(TenantId::parse(tenant).unwrap()));
        scheduler
    }

    /// Takes the next job and finishes it; returns its tenant.
    fn run(scheduler: &mut Scheduler, now: Instant, outcome: StepOutcome) -> Option<String> {
        let Job { tenant, backlog, .. } = scheduler.next(now)?;
        scheduler.finish(tenant.clone(), backlog, outcome, now);
        Some(tenant.to_string())
    }

    fn down() -> StepOutcome {
        StepOutcome::EmbedderDown(EmbedError::Timeout)
    }

    #[test]
    fn tenants_take_turns_whatever_their_backlog() {
        let now = Instant::now();
        let mut scheduler = scheduler(&["a", "b", "c"]);
        let order: Vec<_> =
            (0..6).filter_map(|_| run(&mut scheduler, now, StepOutcome::EmbedderUp)).collect();
        assert_eq!(order, ["a", "b", "c", "a", "b", "c"]);
    }

    #[test]
    fn a_tenant_has_one_job_at_a_time() {
        let now = Instant::now();
        let mut scheduler = scheduler(&["a"]);
        let Job { tenant, backlog, .. } = scheduler.next(now).unwrap();
        scheduler.mark(tenant.clone());
        assert!(scheduler.next(now).is_none());
        scheduler.finish(tenant, backlog, StepOutcome::PassEnded(NextPass::None), now);
        assert!(scheduler.next(now).is_some(), "it was marked meanwhile");
    }

    #[test]
    fn a_tenant_without_a_backlog_is_forgotten() {
        let now = Instant::now();
        let mut scheduler = scheduler(&["a"]);
        assert!(run(&mut scheduler, now, StepOutcome::PassEnded(NextPass::None)).is_some());
        assert!(scheduler.order.is_empty() && scheduler.tenants.is_empty());
        assert!(scheduler.next_wake(now).is_none());
    }

    #[test]
    fn while_the_embedder_is_down_texts_are_indexed_and_one_tenant_at_a_time_tries_it() {
        let mut now = Instant::now();
        let mut scheduler = scheduler(&["a", "b"]);
        assert_eq!(run(&mut scheduler, now, down()).as_deref(), Some("a"));
        let text_only = scheduler.next(now).unwrap();
        assert_eq!(text_only.permit, EmbedPermit::Denied);
        scheduler.finish(text_only.tenant, text_only.backlog, StepOutcome::TextIndexed, now);
        let mut backoff = RETRY_FIRST;
        for _ in 0..10 {
            assert!(scheduler.next(now).is_none());
            assert_eq!(scheduler.next_wake(now), Some(now + backoff));
            now += backoff;
            let trial = scheduler.next(now).unwrap();
            assert_eq!(trial.permit, EmbedPermit::AfterProbe);
            assert!(scheduler.next(now).is_none(), "one tries");
            scheduler.finish(trial.tenant, trial.backlog, down(), now);
            backoff = (backoff * 2).min(RETRY_LAST);
        }
        now += backoff;
        assert!(run(&mut scheduler, now, StepOutcome::EmbedderUp).is_some());
        let all: Vec<_> = (0..2).filter_map(|_| scheduler.next(now)).collect();
        assert!(all.len() == 2 && all.iter().all(|job| job.permit == EmbedPermit::Granted));
    }

    #[test]
    fn a_new_fact_does_not_wait_for_a_postponed_one() {
        let now = Instant::now();
        let mut scheduler = scheduler(&["a"]);
        let later = NextPass::At(now + Duration::from_secs(600));
        run(&mut scheduler, now, StepOutcome::PassEnded(later));
        assert!(scheduler.next(now).is_none());
        scheduler.mark(TenantId::parse("a").unwrap());
        assert!(scheduler.next(now).is_some());
    }

    #[test]
    fn a_tenant_whose_storage_fails_backs_off_and_the_others_continue() {
        let now = Instant::now();
        let mut scheduler = scheduler(&["a", "b"]);
        let failed = EmbedError::Timeout.into();
        run(&mut scheduler, now, StepOutcome::Failed(failed));
        scheduler.mark(TenantId::parse("a").unwrap());
        let order: Vec<_> =
            (0..2).filter_map(|_| run(&mut scheduler, now, StepOutcome::EmbedderUp)).collect();
        assert_eq!(order, ["b", "b"]);
        let next = scheduler.next(now + RETRY_LAST);
        assert!(next.is_some_and(|job| *job.tenant.as_str() == *"a"));
    }
}
