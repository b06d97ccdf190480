//! Stores the lines of an import in groups. A group that fails as a whole is tried again: smaller
//! where a quota is short or time ran out, and after a while where a backend is slow or away.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep;
use uuid::Uuid;

use super::progress::{Counts, Tracked};
use super::report::RefusedLines;
use crate::http::App;
use crate::http::auth::Who;
use crate::kb::{StoreOutcome, Submission};
use kenning_core::error::{Blame, Code, Error};
use kenning_runtime::Verb;

/// Facts stored together, fewer if they are large. Their embeddings should be ready within the time
/// that a store waits for them.
const GROUP: usize = 50;

/// Groups in a row that may fail, for a reason that will not pass, before the import ends.
const FAILURES: u32 = 3;

/// How long to wait before a group is tried again: doubled from the first to the last.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_LAST: Duration = Duration::from_secs(5);

/// A line's number, and what it says to store.
#[derive(Clone)]
pub(super) struct Numbered {
    pub(super) number: u64,
    pub(super) submission: Submission,
}

/// Lines that are stored together.
#[derive(Default)]
pub(super) struct Group {
    lines: Vec<Numbered>,
    bytes: usize,
}

impl Group {
    /// Adds a line. One without an id gets one, so that storing it twice stores one fact.
    pub(super) fn push(&mut self, mut line: Numbered) {
        line.submission.draft.id.get_or_insert_with(|| Uuid::new_v4().to_string());
        let draft = &line.submission.draft;
        let vector = line.submission.vector.as_ref().map_or(0, |vector| size_of_val(&vector[..]));
        self.bytes += draft.text.len() + draft.metadata.len() + vector;
        self.lines.push(line);
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether it must be stored before another line is added.
    pub(super) fn is_full(&self, bytes: usize) -> bool {
        self.lines.len() >= GROUP || self.bytes >= bytes
    }
}

/// Stores groups, and counts what became of their lines.
pub(super) struct Storing {
    app: Arc<App>,
    who: Who,
    tracked: Arc<Tracked>,
    failures: u32,
    backoff: Duration,
    /// Since when nothing was stored, if the last attempt failed.
    failing_since: Option<Instant>,
}

/// What is to be done next with lines that were not stored.
enum Next {
    /// Nothing: all have an outcome.
    Done,
    /// Try them again, in parts if there are several of them.
    Split(Vec<Numbered>),
    /// Wait a while, and try them again.
    Wait(Vec<Numbered>, Error),
    /// End the import without them.
    End(Vec<Numbered>, Error),
}

impl Storing {
    pub(super) fn new(app: Arc<App>, who: Who, tracked: Arc<Tracked>) -> Self {
        Self { app, who, tracked, failures: 0, backoff: Duration::ZERO, failing_since: None }
    }

    /// Stores a group.
    ///
    /// # Errors
    /// Why the import must end. What was stored before is counted; the rest is left out.
    pub(super) async fn store(
        &mut self,
        group: Group,
        refused: &mut RefusedLines,
    ) -> Result<(), Error> {
        let mut parts = VecDeque::from([group.lines]);
        while let Some(part) = parts.pop_front() {
            match self.attempt(part, refused).await {
                Next::Done => {}
                Next::Split(part) => halves(part, &mut parts),
                Next::Wait(part, error) => match self.wait(&error).await {
                    Ok(()) if error.code == Code::Timeout => halves(part, &mut parts),
                    Ok(()) => parts.push_front(part),
                    Err(error) => return Err(self.end(part, parts, error, refused)),
                },
                Next::End(part, error) => return Err(self.end(part, parts, error, refused)),
            }
        }
        Ok(())
    }

    async fn attempt(&mut self, part: Vec<Numbered>, refused: &mut RefusedLines) -> Next {
        if part.is_empty() {
            return Next::Done;
        }
        let caller = self.who.within(self.app.limits.call).in_background().asking_to(Verb::Import);
        let submitted = part.iter().map(|line| Ok(line.submission.clone())).collect();
        match self.app.kb.store(&caller, submitted).await {
            Ok(response) => {
                let mut counts = self.tracked.counts();
                counts.revision = counts.revision.max(response.revision);
                drop(counts);
                self.outcomes(part, response.value, refused)
            }
            Err(error) => self.failed(part, error, refused),
        }
    }

    fn outcomes(
        &mut self,
        part: Vec<Numbered>,
        outcomes: Vec<Result<StoreOutcome, Error>>,
        refused: &mut RefusedLines,
    ) -> Next {
        let attempted = part.len();
        let mut left = Vec::new();
        for (line, outcome) in part.into_iter().zip(outcomes) {
            match outcome {
                Ok(_) => self.count(line.number, |counts| counts.imported += 1),
                // Part of a group was stored; the rest is another attempt's.
                Err(error) if is_quota(&error) || passes(&error) => left.push((line, error)),
                Err(error) => self.refuse(line.number, &error, refused),
            }
        }
        if left.len() < attempted {
            self.recovered();
        }
        match left.pop() {
            None => Next::Done,
            Some((line, error)) => {
                let mut part: Vec<_> = left.into_iter().map(|(line, _)| line).collect();
                part.push(line);
                self.failed(part, error, refused)
            }
        }
    }

    /// Lines that were not stored for one reason.
    fn failed(&mut self, part: Vec<Numbered>, error: Error, refused: &mut RefusedLines) -> Next {
        let alone = part.len() == 1;
        if is_quota(&error) {
            return if alone { Next::End(part, error) } else { Next::Split(part) };
        }
        if passes(&error) && !(alone && error.blame == Blame::Guest) {
            return Next::Wait(part, error);
        }
        if ends(&error) {
            return Next::End(part, error);
        }
        for line in &part {
            self.refuse(line.number, &error, refused);
        }
        self.failures += u32::from(error.blame != Blame::Caller);
        match self.failures {
            FAILURES.. => Next::End(Vec::new(), error),
            _ => Next::Done,
        }
    }

    fn recovered(&mut self) {
        (self.failures, self.backoff, self.failing_since) = (0, Duration::ZERO, None);
        self.tracked.counts().waiting_for = None;
    }

    /// Waits before the next attempt.
    ///
    /// # Errors
    /// `error` if nothing could be stored for too long, or why the import must end now.
    async fn wait(&mut self, error: &Error) -> Result<(), Error> {
        let since = *self.failing_since.get_or_insert_with(Instant::now);
        if since.elapsed() >= self.app.limits.import_retry {
            return Err(error.clone());
        }
        self.backoff = (self.backoff * 2).clamp(RETRY_FIRST, RETRY_LAST);
        self.tracked.counts().waiting_for = Some(error.to_string());
        tokio::select! {
            () = sleep(self.backoff) => Ok(()),
            () = self.app.stopping.cancelled() => Err(error.clone()),
        }
    }

    /// Leaves out `part` and all later parts of the group, and says where the import ended.
    fn end(
        &self,
        part: Vec<Numbered>,
        later: VecDeque<Vec<Numbered>>,
        error: Error,
        refused: &mut RefusedLines,
    ) -> Error {
        let mut left_out = part.iter().chain(later.iter().flatten());
        if let Some(first) = left_out.next() {
            // Bad lines after it were refused already.
            self.tracked.counts().last_line = first.number - 1;
            self.leave_out(first.number);
            refused.push(first.number, &error, GROUP, &self.app.bodies);
        }
        left_out.for_each(|line| self.leave_out(line.number));
        self.tracked.counts().waiting_for = None;
        self.stopped(error)
    }

    /// `error`, saying after which line it stopped the import.
    pub(super) fn stopped(&self, mut error: Error) -> Error {
        let last = self.tracked.counts().last_line;
        error.message = format!("the import stopped after line {last}: {}", error.message);
        error
    }

    /// A line was refused by itself.
    pub(super) fn refuse(&self, number: u64, error: &Error, refused: &mut RefusedLines) {
        self.count(number, |counts| counts.failed += 1);
        self.first_refused(number);
        refused.push(number, error, GROUP, &self.app.bodies);
    }

    /// A line was not taken because the import ended before it.
    pub(super) fn leave_out(&self, number: u64) {
        self.tracked.counts().failed += 1;
        self.first_refused(number);
    }

    fn count(&self, number: u64, count: impl FnOnce(&mut Counts)) {
        let mut counts = self.tracked.counts();
        counts.last_line = counts.last_line.max(number);
        count(&mut counts);
    }

    fn first_refused(&self, number: u64) {
        let mut counts = self.tracked.counts();
        let first = counts.first_refused_line.unwrap_or(number).min(number);
        counts.first_refused_line = Some(first);
    }
}

fn halves(mut part: Vec<Numbered>, parts: &mut VecDeque<Vec<Numbered>>) {
    let second = part.split_off(part.len().div_ceil(2));
    parts.push_front(second);
    parts.push_front(part);
}

fn is_quota(error: &Error) -> bool {
    error.code == Code::QuotaExceeded
}

/// Whether the same lines may be stored later: a backend is slow or away, or the server is busy.
fn passes(error: &Error) -> bool {
    matches!(
        error.code,
        Code::StorageUnavailable | Code::EmbeddingUnavailable | Code::Overloaded | Code::Timeout
    )
}

/// Whether no later line can be stored either.
fn ends(error: &Error) -> bool {
    matches!(error.code, Code::Unauthorized | Code::Forbidden | Code::NotFound)
        || error.code.status() == 507
}
