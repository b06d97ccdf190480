//! How far one tenant's pending facts are seen to, and how to go on when the
//! embedder fails at some of them.
//!
//! Facts are embedded in runs. A run that fails, though the embedder is well, is
//! halved, down to the one fact that cannot be embedded; that one rests, longer each
//! time, and the others go on.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use kenning_storage::{FactId, Revision};

use super::longer;

/// A fact that waits for its vector.
pub(super) type Pending = (FactId, Revision);

/// Facts in one run, at most.
pub(super) const RUN: usize = 32;

/// How long a fact that cannot be embedded rests, four times as long each time, from
/// the first to the last. The embedder may be another by then, or better.
const REST_FIRST: Duration = Duration::from_secs(1);
const REST_LAST: Duration = Duration::from_secs(600);

/// One tenant's.
#[derive(Debug)]
pub(super) struct Backlog {
    /// Facts up to here can be found by their words.
    pub(super) worded: Option<Revision>,
    /// Facts up to here were seen to in this pass.
    pub(super) embedded: Option<Revision>,
    run: usize,
    resting: HashMap<FactId, Resting>,
    /// Some fact was marked since the pass began.
    again: bool,
    /// Some fact was passed over in this pass, and may be tried at this time.
    next_rested: Option<Instant>,
    pause: Duration,
}

#[derive(Debug)]
struct Resting {
    revision: Revision,
    rest: Duration,
    until: Instant,
    /// It was pending when the last pass came by.
    met: bool,
}

/// What comes after a pass.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum After {
    /// Nothing is left.
    Done,
    /// Another pass.
    Again,
    /// Another pass, when a fact has rested.
    Rest(Instant),
}

impl Default for Backlog {
    fn default() -> Self {
        Self {
            worded: None,
            embedded: None,
            run: RUN,
            resting: HashMap::new(),
            again: false,
            next_rested: None,
            pause: Duration::ZERO,
        }
    }
}

impl Backlog {
    /// There may be new facts.
    pub(super) fn mark(&mut self) {
        self.again = true;
    }

    /// The first facts to embed together of `pending`, which is not empty; those that
    /// rest are passed over. If all do, none.
    pub(super) fn choose(&mut self, pending: Vec<Pending>, now: Instant) -> Vec<Pending> {
        let mut run: Vec<Pending> = Vec::new();
        for (id, revision) in pending {
            if run.len() == self.run {
                break;
            }
            if let Some(until) = self.rests(&id, revision, now) {
                self.next_rested = Some(self.next_rested.map_or(until, |next| next.min(until)));
                if run.is_empty() {
                    self.embedded = Some(revision);
                }
                continue;
            }
            run.push((id, revision));
        }
        run
    }

    fn rests(&mut self, id: &FactId, revision: Revision, now: Instant) -> Option<Instant> {
        let resting = self.resting.get_mut(id)?;
        if resting.revision != revision {
            // It was changed, and is another text.
            self.resting.remove(id);
            return None;
        }
        resting.met = true;
        (resting.until > now).then_some(resting.until)
    }

    /// A run has its vectors.
    pub(super) fn succeeded(&mut self, run: &[Pending]) {
        self.run = (self.run * 2).min(RUN);
        self.pause = Duration::ZERO;
        self.embedded = run.last().map(|(_, revision)| *revision);
        for (id, _) in run {
            self.resting.remove(id);
        }
    }

    /// A run has not, though the embedder is well. Gives the fact whose fault that is,
    /// if that is known.
    pub(super) fn failed<'r>(&mut self, run: &'r [Pending], now: Instant) -> Option<&'r FactId> {
        let [(id, revision)] = run else {
            self.run = run.len().div_ceil(2);
            return None;
        };
        let before = self.resting.get(id).map(|resting| resting.rest * 4);
        let rest = before.unwrap_or(REST_FIRST).min(REST_LAST);
        let until = now + rest;
        let resting = Resting { revision: *revision, rest, until, met: true };
        self.resting.insert(id.clone(), resting);
        self.next_rested = Some(self.next_rested.map_or(until, |next| next.min(until)));
        self.embedded = Some(*revision);
        self.pause = Duration::ZERO;
        Some(id)
    }

    /// Something else failed; how long to leave this tenant alone.
    pub(super) fn pause(&mut self) -> Duration {
        self.pause = longer(self.pause);
        self.pause
    }

    /// No fact is left in this pass.
    pub(super) fn end_pass(&mut self) -> After {
        self.embedded = None;
        // Facts that were deleted, or changed and embedded, are met no more.
        self.resting.retain(|_, resting| std::mem::take(&mut resting.met));
        let next_rested = self.next_rested.take();
        match (std::mem::take(&mut self.again), next_rested) {
            (true, _) => After::Again,
            (false, Some(until)) => After::Rest(until),
            (false, None) => After::Done,
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

    /// One pass over facts 1 to `facts` with an embedder that fails at `poison`; gives
    /// the calls it took.
    fn pass(
        backlog: &mut Backlog,
        facts: u64,
        poison: &[u64],
        now: Instant,
        done: &mut HashSet<u64>,
    ) -> (usize, After) {
        for calls in 0.. {
            let from = backlog.embedded.map_or(1, |revision| revision.0 + 1);
            let left = (from..=facts).filter(|n| !done.contains(n)).take(RUN);
            let left = pending(left);
            if left.is_empty() {
                return (calls, backlog.end_pass());
            }
            let run = backlog.choose(left, now);
            if run.iter().any(|(_, revision)| poison.contains(&revision.0)) {
                backlog.failed(&run, now);
            } else if !run.is_empty() {
                done.extend(run.iter().map(|(_, revision)| revision.0));
                backlog.succeeded(&run);
            }
        }
        unreachable!()
    }

    #[test]
    fn all_but_the_poisonous_get_their_vectors_in_one_pass() {
        let now = Instant::now();
        for poison in [vec![], vec![1], vec![100], vec![40, 41, 77], (1..=100).step_by(3).collect()]
        {
            let (mut backlog, mut done) = (Backlog::default(), HashSet::new());
            let (calls, after) = pass(&mut backlog, 100, &poison, now, &mut done);
            assert_eq!(done.len(), 100 - poison.len(), "{poison:?}");
            assert!(calls <= 4 + 12 * poison.len(), "{calls} calls for {poison:?}");
            assert_eq!(after == After::Done, poison.is_empty());
        }
    }

    #[test]
    fn the_poisonous_rest_longer_each_time_and_no_one_waits_for_them() {
        let mut now = Instant::now();
        let (mut backlog, mut done) = (Backlog::default(), HashSet::new());
        let mut rest = REST_FIRST;
        for round in 0..10 {
            let (_, after) = pass(&mut backlog, 10 + round, &[3], now, &mut done);
            assert_eq!(after, After::Rest(now + rest));
            assert_eq!(done.len() as u64, 9 + round, "a new fact is embedded");
            let (calls, _) = pass(&mut backlog, 10 + round, &[3], now, &mut done);
            assert_eq!(calls, 1, "the other is not tried while it rests");
            now += rest;
            rest = (rest * 4).min(REST_LAST);
        }
        assert_eq!(rest, REST_LAST);
    }

    #[test]
    fn a_poisonous_fact_that_was_changed_or_deleted_is_forgotten() {
        let now = Instant::now();
        let mut backlog = Backlog::default();
        assert_eq!(backlog.failed(&pending([3]), now).map(FactId::as_str), Some("f3"));
        let changed = vec![(FactId::parse("f3").unwrap(), Revision(9))];
        assert_eq!(backlog.choose(changed.clone(), now), changed);

        backlog.failed(&changed, now);
        backlog.end_pass();
        backlog.end_pass();
        assert!(backlog.resting.is_empty());
    }

    #[test]
    fn what_is_marked_during_a_pass_has_another() {
        let mut backlog = Backlog::default();
        backlog.mark();
        assert_eq!(backlog.end_pass(), After::Again);
        assert_eq!(backlog.end_pass(), After::Done);
    }
}
