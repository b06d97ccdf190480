//! Whose pending facts are seen to next: tenants take turns, a few at once, so that
//! no tenant's backlog, and no text that takes for ever, keeps another's from their
//! vectors.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use kenning_storage::TenantId;
use tokio::time::{interval_at, sleep_until};

use super::backlog::{After, Backlog};
use super::step::{Leave, Outcome};
use super::{Indexer, longer};

/// Tenants seen to at once.
const AT_ONCE: usize = 4;

/// How often every tenant is looked at, in case another host left facts pending.
const SWEEP: Duration = Duration::from_secs(60);

impl Indexer {
    /// Sees to what is pending whenever there is something.
    pub(super) async fn keep_up(&self) {
        let mut turns = Turns::default();
        let mut working = FuturesUnordered::new();
        let mut sweep = interval_at((Instant::now() + SWEEP).into(), SWEEP);
        loop {
            let now = Instant::now();
            while working.len() < AT_ONCE
                && let Some(turn) = turns.next(now)
            {
                working.push(self.take(turn));
            }
            let wake = turns.wake(now).unwrap_or(now + SWEEP);
            tokio::select! {
                Some((tenant, backlog, outcome)) = working.next() => {
                    turns.put_back(tenant, backlog, outcome, Instant::now());
                }
                late = self.indexing().take_pending() => late.into_iter().for_each(|t| turns.mark(t)),
                () = sleep_until(wake.into()) => {}
                _ = sweep.tick() => {
                    let tenants = self.kb.services().storage.tenants(self.until()).await;
                    tenants.unwrap_or_default().into_iter().for_each(|t| turns.mark(t));
                }
            }
        }
    }

    async fn take(&self, turn: Turn) -> (TenantId, Backlog, Outcome) {
        let Turn { tenant, mut backlog, leave } = turn;
        // A deleted tenant has nothing pending, and its deletion does not wait for an embedder.
        let outcome = match self.kb.services().tenants.begin(&tenant, None) {
            Ok(running) => tokio::select! {
                outcome = self.step(&tenant, &mut backlog, leave) => outcome,
                () = running.ended() => Outcome::Ended(After::Done),
            },
            Err(_) => Outcome::Ended(After::Done),
        };
        (tenant, backlog, outcome)
    }
}

/// The tenants with a backlog, in the order of their turns.
#[derive(Default)]
struct Turns {
    order: VecDeque<TenantId>,
    places: HashMap<TenantId, Place>,
    down: Option<Down>,
}

struct Place {
    /// `None` while it is worked on.
    backlog: Option<Backlog>,
    /// There may be new facts since the work on it began.
    marked: bool,
    due: Due,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Now,
    /// When the embedder may be asked.
    WhenWell,
    /// When a fact has rested, unless there is a new one before.
    Rested(Instant),
    /// Not before then, whatever is new.
    Paused(Instant),
}

/// The embedder embeds nothing.
struct Down {
    /// Then one tenant may try.
    until: Instant,
    pause: Duration,
    trying: Option<TenantId>,
}

/// One step for a tenant.
struct Turn {
    tenant: TenantId,
    backlog: Backlog,
    leave: Leave,
}

impl Turns {
    /// There may be facts pending.
    fn mark(&mut self, tenant: TenantId) {
        let Some(place) = self.places.get_mut(&tenant) else {
            self.order.push_back(tenant.clone());
            let backlog = Some(Backlog::default());
            self.places.insert(tenant, Place { backlog, marked: false, due: Due::Now });
            return;
        };
        match &mut place.backlog {
            Some(backlog) => backlog.mark(),
            None => place.marked = true,
        }
        if !matches!(place.due, Due::Paused(_)) {
            place.due = Due::Now;
        }
    }

    /// The next tenant that can be worked on; its next turn comes after all others'.
    fn next(&mut self, now: Instant) -> Option<Turn> {
        let leave = self.leave(now);
        let is_due = |place: &Place| match place.due {
            Due::Now => true,
            Due::WhenWell => leave != Leave::No,
            Due::Rested(at) | Due::Paused(at) => at <= now,
        };
        let first = self.order.iter().position(|tenant| {
            self.places.get(tenant).is_some_and(|place| place.backlog.is_some() && is_due(place))
        })?;
        let tenant = self.order.remove(first)?;
        self.order.push_back(tenant.clone());
        let backlog = self.places.get_mut(&tenant)?.backlog.take()?;
        if let Some(down) = self.down.as_mut().filter(|_| leave == Leave::AfterProbe) {
            down.trying = Some(tenant.clone());
        }
        Some(Turn { tenant, backlog, leave })
    }

    fn leave(&self, now: Instant) -> Leave {
        match &self.down {
            None => Leave::Yes,
            Some(down) if down.trying.is_none() && down.until <= now => Leave::AfterProbe,
            Some(_) => Leave::No,
        }
    }

    /// When there is something to do that is not to be done now.
    fn wake(&self, now: Instant) -> Option<Instant> {
        let times = self.places.values().filter_map(|place| match place.due {
            Due::Now => None,
            Due::WhenWell => self.down.as_ref().map(|down| down.until),
            Due::Rested(at) | Due::Paused(at) => Some(at),
        });
        times.filter(|at| *at > now).min()
    }

    /// The end of a turn.
    fn put_back(&mut self, tenant: TenantId, mut backlog: Backlog, outcome: Outcome, now: Instant) {
        let tried = self
            .down
            .as_mut()
            .is_some_and(|down| down.trying.take_if(|trying| *trying == tenant).is_some());
        // A pass ends only after leave to embed.
        if matches!(outcome, Outcome::Well) || (tried && matches!(outcome, Outcome::Ended(_))) {
            self.down = None;
        }
        let due = match outcome {
            Outcome::GoOn | Outcome::Ended(After::Again) => Some(Due::Now),
            Outcome::Well => Some(Due::Now),
            Outcome::Worded => Some(Due::WhenWell),
            Outcome::Ended(After::Rest(at)) => Some(Due::Rested(at)),
            Outcome::Ended(After::Done) => None,
            Outcome::Failed(error) => {
                tracing::warn!(%tenant, %error, "facts are still waiting for their vectors");
                Some(Due::Paused(now + backlog.pause()))
            }
            Outcome::Down(error) => {
                tracing::warn!(%error, "facts wait for their vectors until the embedder is well");
                self.is_down(tried, now);
                Some(Due::WhenWell)
            }
        };
        let Some(place) = self.places.get_mut(&tenant) else { return };
        let marked = std::mem::take(&mut place.marked);
        if marked {
            backlog.mark();
        }
        place.due = match due {
            Some(due @ Due::Paused(_)) => due,
            _ if marked => Due::Now,
            Some(due) => due,
            None => {
                self.places.remove(&tenant);
                self.order.retain(|other| *other != tenant);
                return;
            }
        };
        place.backlog = Some(backlog);
    }

    /// Turns that were under way when the first one failed do not count again.
    fn is_down(&mut self, tried: bool, now: Instant) {
        let before = match &self.down {
            Some(_) if !tried => return,
            Some(down) => down.pause,
            None => Duration::ZERO,
        };
        let pause = longer(before);
        self.down = Some(Down { until: now + pause, pause, trying: None });
    }
}

#[cfg(test)]
mod tests {
    use super::super::{RETRY_FIRST, RETRY_LAST};
    use super::*;
    use kenning_embedder::EmbedError;

    fn turns(tenants: &[&str]) -> Turns {
        let mut turns = Turns::default();
        tenants.iter().for_each(|tenant| turns.mark(TenantId::parse(tenant).unwrap()));
        turns
    }

    /// Takes the next turn and ends it; gives whose it was.
    fn turn(turns: &mut Turns, now: Instant, outcome: Outcome) -> Option<String> {
        let Turn { tenant, backlog, .. } = turns.next(now)?;
        turns.put_back(tenant.clone(), backlog, outcome, now);
        Some(tenant.to_string())
    }

    fn down() -> Outcome {
        Outcome::Down(EmbedError::Timeout)
    }

    #[test]
    fn tenants_take_turns_whatever_they_have() {
        let now = Instant::now();
        let mut turns = turns(&["a", "b", "c"]);
        let order: Vec<_> = (0..6).filter_map(|_| turn(&mut turns, now, Outcome::Well)).collect();
        assert_eq!(order, ["a", "b", "c", "a", "b", "c"]);
    }

    #[test]
    fn a_tenant_that_is_worked_on_is_not_worked_on_twice() {
        let now = Instant::now();
        let mut turns = turns(&["a"]);
        let Turn { tenant, backlog, .. } = turns.next(now).unwrap();
        turns.mark(tenant.clone());
        assert!(turns.next(now).is_none());
        turns.put_back(tenant, backlog, Outcome::Ended(After::Done), now);
        assert!(turns.next(now).is_some(), "it was marked meanwhile");
    }

    #[test]
    fn a_tenant_without_a_backlog_is_forgotten() {
        let now = Instant::now();
        let mut turns = turns(&["a"]);
        assert!(turn(&mut turns, now, Outcome::Ended(After::Done)).is_some());
        assert!(turns.order.is_empty() && turns.places.is_empty() && turns.wake(now).is_none());
    }

    #[test]
    fn while_the_embedder_is_down_words_go_on_and_one_tenant_tries_now_and_then() {
        let mut now = Instant::now();
        let mut turns = turns(&["a", "b"]);
        assert_eq!(turn(&mut turns, now, down()).as_deref(), Some("a"));
        let words = turns.next(now).unwrap();
        assert_eq!(words.leave, Leave::No);
        turns.put_back(words.tenant, words.backlog, Outcome::Worded, now);
        let mut pause = RETRY_FIRST;
        for _ in 0..10 {
            assert!(turns.next(now).is_none());
            assert_eq!(turns.wake(now), Some(now + pause));
            now += pause;
            let trying = turns.next(now).unwrap();
            assert_eq!(trying.leave, Leave::AfterProbe);
            assert!(turns.next(now).is_none(), "one tries");
            turns.put_back(trying.tenant, trying.backlog, down(), now);
            pause = (pause * 2).min(RETRY_LAST);
        }
        now += pause;
        assert!(turn(&mut turns, now, Outcome::Well).is_some());
        let all: Vec<_> = (0..2).filter_map(|_| turns.next(now)).collect();
        assert!(all.len() == 2 && all.iter().all(|turn| turn.leave == Leave::Yes));
    }

    #[test]
    fn a_new_fact_does_not_wait_for_one_that_rests() {
        let now = Instant::now();
        let mut turns = turns(&["a"]);
        let rest = After::Rest(now + Duration::from_secs(600));
        turn(&mut turns, now, Outcome::Ended(rest));
        assert!(turns.next(now).is_none());
        turns.mark(TenantId::parse("a").unwrap());
        assert!(turns.next(now).is_some());
    }

    #[test]
    fn a_tenant_whose_storage_fails_is_left_alone_and_the_others_are_not() {
        let now = Instant::now();
        let mut turns = turns(&["a", "b"]);
        let failed = EmbedError::Timeout.into();
        turn(&mut turns, now, Outcome::Failed(failed));
        turns.mark(TenantId::parse("a").unwrap());
        let order: Vec<_> = (0..2).filter_map(|_| turn(&mut turns, now, Outcome::Well)).collect();
        assert_eq!(order, ["b", "b"]);
        assert!(turns.next(now + RETRY_LAST).is_some_and(|turn| *turn.tenant.as_str() == *"a"));
    }
}
