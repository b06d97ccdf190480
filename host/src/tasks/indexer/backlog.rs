//! How far one tenant's pending facts are indexed, and what to do when the embedder fails on some
//! of them.
//!
//! Facts are embedded in batches. A batch that fails while the embedder is up is halved, down to
//! the one fact that cannot be embedded. That fact is postponed, longer each time, and the others
//! continue.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use kenning_storage::{FactId, Revision};

use super::next_backoff;

/// A fact without a vector, and the revision of its last change.
pub(super) type Pending = (FactId, Revision);

/// Most facts in one batch.
pub(super) const BATCH: usize = 32;

/// How long a fact that cannot be embedded is postponed: four times as long each time, from the
/// first to the last. By then the embedder may have been replaced or repaired.
const POSTPONE_FIRST: Duration = Duration::from_secs(1);
const POSTPONE_LAST: Duration = Duration::from_secs(600);

/// The backlog of one tenant.
#[derive(Debug)]
pub(super) struct Backlog {
    /// Text search finds facts up to this revision.
    pub(super) text_indexed: Option<Revision>,
    /// Facts up to this revision were embedded or postponed in this pass.
    pub(super) embedded: Option<Revision>,
    /// Facts in the next batch.
    batch: usize,
    postponed: HashMap<FactId, Postponed>,
    /// Facts were marked since the pass started.
    marked: bool,
    /// When the first fact that was skipped in this pass may be tried.
    next_retry: Option<Instant>,
    backoff: Duration,
}

#[derive(Debug)]
struct Postponed {
    revision: Revision,
    delay: Duration,
    until: Instant,
    /// It was pending in the last pass.
    still_pending: bool,
}

/// When the next pass starts.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NextPass {
    /// Nothing is left.
    None,
    Now,
    /// When a postponed fact may be tried again.
    At(Instant),
}

impl Default for Backlog {
    fn default() -> Self {
        Self {
            text_indexed: None,
            embedded: None,
            batch: BATCH,
            postponed: HashMap::new(),
            marked: false,
            next_retry: None,
            backoff: Duration::ZERO,
        }
    }
}

impl Backlog {
    /// There may be new facts.
    pub(super) fn mark(&mut self) {
        self.marked = true;
    }

    /// The first facts of `pending` to embed in one batch, without those that are postponed;
    /// empty if all are.
    pub(super) fn next_batch(&mut self, pending: Vec<Pending>, now: Instant) -> Vec<Pending> {
        let mut batch: Vec<Pending> = Vec::new();
        for (id, revision) in pending {
            if batch.len() == self.batch {
                break;
            }
            if let Some(until) = self.postponed_until(&id, revision, now) {
                self.retry_at(until);
                if batch.is_empty() {
                    self.embedded = Some(revision);
                }
                continue;
            }
            batch.push((id, revision));
        }
        batch
    }

    fn postponed_until(
        &mut self,
        id: &FactId,
        revision: Revision,
        now: Instant,
    ) -> Option<Instant> {
        let postponed = self.postponed.get_mut(id)?;
        if postponed.revision != revision {
            // The fact was changed and has another text.
            self.postponed.remove(id);
            return None;
        }
        postponed.still_pending = true;
        (postponed.until > now).then_some(postponed.until)
    }

    fn retry_at(&mut self, until: Instant) {
        self.next_retry = Some(self.next_retry.map_or(until, |next| next.min(until)));
    }

    /// The first facts of the batch were embedded, so many of them.
    pub(super) fn succeeded(&mut self, batch: &[Pending], facts: usize) {
        // The next batch is not much longer than what can be embedded of it.
        self.batch = match facts < batch.len() {
            true => facts.max(1),
            false => (self.batch * 2).min(BATCH),
        };
        self.backoff = Duration::ZERO;
        let batch = &batch[..facts];
        self.embedded = batch.last().map(|(_, revision)| *revision);
        for (id, _) in batch {
            self.postponed.remove(id);
        }
    }

    /// The batch failed while the embedder is up. A batch of one fact postpones that fact and
    /// returns it; a larger one is halved.
    pub(super) fn failed<'b>(&mut self, batch: &'b [Pending], now: Instant) -> Option<&'b FactId> {
        let [(id, revision)] = batch else {
            self.batch = batch.len().div_ceil(2);
            return None;
        };
        let longer = self.postponed.get(id).map(|postponed| postponed.delay * 4);
        let delay = longer.unwrap_or(POSTPONE_FIRST).min(POSTPONE_LAST);
        let until = now + delay;
        let postponed = Postponed { revision: *revision, delay, until, still_pending: true };
        self.postponed.insert(id.clone(), postponed);
        self.retry_at(until);
        self.embedded = Some(*revision);
        self.backoff = Duration::ZERO;
        Some(id)
    }

    /// Storage or the logic failed: how long to wait before the tenant's next step.
    pub(super) fn next_backoff(&mut self) -> Duration {
        self.backoff = next_backoff(self.backoff);
        self.backoff
    }

    /// No fact is left in this pass.
    pub(super) fn end_pass(&mut self) -> NextPass {
        self.embedded = None;
        // Drops facts that were deleted, or changed and embedded.
        self.postponed.retain(|_, postponed| std::mem::take(&mut postponed.still_pending));
        match (std::mem::take(&mut self.marked), self.next_retry.take()) {
            (true, _) => NextPass::Now,
            (false, Some(until)) => NextPass::At(until),
            (false, None) => NextPass::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn pending(numbers: impl IntoIterator<Item = u64>) -> Vec<Pending> {
        let fact = |n: u64| (FactId::parse(&format!("f{n}")).unwrap(), Revision(n));
        numbers.into_iter().map(fact).collect()
    }

    /// One pass over facts 1 to `facts` with an embedder that fails on `poison`; returns the
    /// number of calls.
    fn pass(
        backlog: &mut Backlog,
        facts: u64,
        poison: &[u64],
        now: Instant,
        done: &mut HashSet<u64>,
    ) -> (usize, NextPass) {
        for calls in 0.. {
            let from = backlog.embedded.map_or(1, |revision| revision.0 + 1);
            let left = (from..=facts).filter(|n| !done.contains(n)).take(BATCH);
            let left = pending(left);
            if left.is_empty() {
                return (calls, backlog.end_pass());
            }
            let batch = backlog.next_batch(left, now);
            if batch.iter().any(|(_, revision)| poison.contains(&revision.0)) {
                backlog.failed(&batch, now);
            } else if !batch.is_empty() {
                done.extend(batch.iter().map(|(_, revision)| revision.0));
                backlog.succeeded(&batch, batch.len());
            }
        }
        unreachable!()
    }

    #[test]
    fn all_facts_but_the_poisonous_are_embedded_in_one_pass() {
        let now = Instant::now();
        for poison in [vec![], vec![1], vec![100], vec![40, 41, 77], (1..=100).step_by(3).collect()]
        {
            let (mut backlog, mut done) = (Backlog::default(), HashSet::new());
            let (calls, next) = pass(&mut backlog, 100, &poison, now, &mut done);
            assert_eq!(done.len(), 100 - poison.len(), "{poison:?}");
            assert!(calls <= 4 + 12 * poison.len(), "{calls} calls for {poison:?}");
            assert_eq!(next == NextPass::None, poison.is_empty());
        }
    }

    #[test]
    fn poisonous_facts_are_postponed_longer_each_time_and_delay_no_other() {
        let mut now = Instant::now();
        let (mut backlog, mut done) = (Backlog::default(), HashSet::new());
        let mut delay = POSTPONE_FIRST;
        for round in 0..10 {
            let (_, next) = pass(&mut backlog, 10 + round, &[3], now, &mut done);
            assert_eq!(next, NextPass::At(now + delay));
            assert_eq!(done.len() as u64, 9 + round, "a new fact is embedded");
            let (calls, _) = pass(&mut backlog, 10 + round, &[3], now, &mut done);
            assert_eq!(calls, 1, "the poisonous one is not tried while it is postponed");
            now += delay;
            delay = (delay * 4).min(POSTPONE_LAST);
        }
        assert_eq!(delay, POSTPONE_LAST);
    }

    #[test]
    fn a_poisonous_fact_that_was_changed_or_deleted_is_forgotten() {
        let now = Instant::now();
        let mut backlog = Backlog::default();
        assert_eq!(backlog.failed(&pending([3]), now).map(FactId::as_str), Some("f3"));
        let changed = vec![(FactId::parse("f3").unwrap(), Revision(9))];
        assert_eq!(backlog.next_batch(changed.clone(), now), changed);

        backlog.failed(&changed, now);
        backlog.end_pass();
        backlog.end_pass();
        assert!(backlog.postponed.is_empty());
    }

    #[test]
    fn facts_marked_during_a_pass_cause_another() {
        let mut backlog = Backlog::default();
        backlog.mark();
        assert_eq!(backlog.end_pass(), NextPass::Now);
        assert_eq!(backlog.end_pass(), NextPass::None);
    }
}
