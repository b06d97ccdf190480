//! One import under way: reads its body line by line, and stores the lines in groups.
//!
//! Nothing is answered before the body has been read: a proxy may stop sending the rest of a
//! request once it sees a response. So an import that ends early reads on to the end of its body
//! and takes nothing more, unless the body itself is what went wrong.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, BodyDataStream};
use bytes::Bytes;
use futures::StreamExt;
use tokio::time::{timeout, timeout_at};

use super::group::{Group, Numbered, Storing};
use super::line::to_submission;
use super::progress::Tracked;
use super::report::{RefusedLines, Report};
use crate::http::App;
use crate::http::auth::Who;
use crate::http::body::without_mark;
use crate::http::body_budget::Reservation;
use crate::http::gzip::Undecodable;
use crate::http::lines::{Line, Lines};
use crate::kb::StoreMode;
use kenning_core::error::{Code, Error};

/// How the last line of an export begins that could not give every fact.
const WITHHELD: &[u8] = b"{\"withheld\":";

/// How long a stopping server reads on, so that the answer is not lost on a caller who sends
/// everything before reading it.
const STOPPING: Duration = Duration::from_secs(1);

/// One import in progress.
pub(super) struct Import {
    app: Arc<App>,
    storing: Storing,
    tracked: Arc<Tracked>,
    mode: StoreMode,
    lines: Lines,
    group: Group,
    refused: RefusedLines,
    /// Memory for the group and for the line that is not complete yet.
    reserved: Reservation,
}

/// Why an import ended before its body did.
struct Stopped {
    error: Error,
    /// Whether what is left of the body can be read.
    reads_on: bool,
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Self {
        Self { error, reads_on: true }
    }
}

impl Import {
    pub(super) fn new(app: Arc<App>, who: Who, tracked: Arc<Tracked>, mode: StoreMode) -> Self {
        Self {
            lines: Lines::new(app.limits.import_line_bytes),
            storing: Storing::new(app.clone(), who, tracked.clone()),
            app,
            tracked,
            mode,
            group: Group::default(),
            refused: RefusedLines::default(),
            reserved: Reservation::default(),
        }
    }

    /// Reads and stores the whole body.
    pub(super) async fn run(mut self, body: Body) -> Report {
        let mut body = body.into_data_stream();
        let error = match self.read(&mut body).await {
            Ok(()) => None,
            Err(Stopped { error, reads_on }) => {
                if reads_on {
                    self.skip(&mut body).await;
                }
                Some(error)
            }
        };
        let (counts, took_ms) = (self.tracked.counts().clone(), self.tracked.age_ms());
        let report = Report { counts, refused: self.refused, error, took_ms };
        let refusal = report.error();
        let status = refusal.as_ref().map_or(200, |error| error.code.status());
        self.tracked.counts().ended = Some((status, refusal.map(|error| error.message)));
        report
    }

    async fn read(&mut self, body: &mut BodyDataStream) -> Result<(), Stopped> {
        let bound = self.app.limits.request;
        let stopping = self.app.stopping.clone();
        let mut until = Instant::now() + bound;
        loop {
            let next = tokio::select! {
                biased;
                () = stopping.cancelled() => {
                    self.store_group().await?;
                    return Err(self.storing.stopped(server_stops()).into());
                }
                next = timeout_at(until.into(), body.next()) => next,
            };
            match next {
                Ok(Some(Ok(bytes))) => {
                    if self.push(&bytes).await? {
                        until = Instant::now() + bound;
                    }
                }
                Ok(None) => break,
                Ok(Some(Err(error))) => {
                    let undecodable = Undecodable::in_error(&error).map(ToString::to_string);
                    let reason = undecodable.as_deref().unwrap_or("the body ended early");
                    return Err(self.broken(reason).await);
                }
                // Only a complete line counts as progress, not a few bytes.
                Err(_) => {
                    let seconds = bound.as_secs_f64();
                    let reason = format!("no complete line arrived for {seconds} s");
                    return Err(self.broken(&reason).await);
                }
            }
        }
        if let Some(line) = self.lines.finish() {
            self.take(line).await?;
        }
        Ok(self.store_group().await?)
    }

    /// The body cannot be read to its end. Its whole lines are stored.
    async fn broken(&mut self, reason: &str) -> Stopped {
        let stored = self.store_group().await;
        let broken = || self.storing.stopped(Error::invalid("", reason));
        Stopped { error: stored.err().unwrap_or_else(broken), reads_on: false }
    }

    /// Takes the lines that end in `bytes`; whether there was one.
    async fn push(&mut self, bytes: &Bytes) -> Result<bool, Error> {
        self.reserve(bytes.len()).await?;
        self.tracked.counts().bytes += bytes.len() as u64;
        let lines = self.lines.push(bytes);
        let any = !lines.is_empty();
        let mut lines = lines.into_iter();
        while let Some(line) = lines.next() {
            if let Err(error) = self.take(line).await {
                lines.for_each(|line| self.skip_line(&line));
                return Err(error);
            }
        }
        self.reserved.shrink_to(self.group.bytes() + self.lines.partial());
        Ok(any)
    }

    /// Reserves memory for bytes that arrived. If there is not enough, it first returns what
    /// it can, so that imports do not wait for one another.
    async fn reserve(&mut self, bytes: usize) -> Result<(), Error> {
        let reservation = match self.app.bodies.reserve(bytes) {
            Ok(reservation) => reservation,
            Err(_) => {
                self.store_group().await?;
                self.reserved.shrink_to(self.lines.partial());
                let until = Instant::now() + self.app.limits.request;
                let reservation = self.app.bodies.reserve_until(bytes, until).await;
                reservation.map_err(|error| self.storing.stopped(error))?
            }
        };
        self.reserved.merge(reservation);
        Ok(())
    }

    async fn take(&mut self, line: Line) -> Result<(), Error> {
        let number = self.next_number();
        let submission = match line {
            Line::Whole(line) => {
                let line = if number == 1 { without_mark(&line) } else { &line[..] };
                if line.trim_ascii().is_empty() || line.starts_with(WITHHELD) {
                    return Ok(());
                }
                to_submission(line, self.mode)
            }
            Line::TooLong(used) => {
                let allowed = self.app.limits.import_line_bytes as u64;
                let mut error = Error::too_large("import_line_bytes", allowed, used as u64);
                let words = format!("limited to {allowed}, and this line has {used}");
                error.message = format!("import_line_bytes is {words}");
                Err(error)
            }
        };
        match submission {
            Ok(submission) => self.group.push(Numbered { number, submission }),
            Err(error) => self.storing.refuse(number, &error, &mut self.refused),
        }
        let full = self.group.is_full(self.app.limits.host_call_bytes / 2);
        if full { self.store_group().await } else { Ok(()) }
    }

    fn next_number(&self) -> u64 {
        let mut counts = self.tracked.counts();
        counts.lines += 1;
        counts.lines
    }

    async fn store_group(&mut self) -> Result<(), Error> {
        let group = std::mem::take(&mut self.group);
        self.storing.store(group, &mut self.refused).await
    }

    /// Reads what is left of the body and takes none of it.
    async fn skip(&mut self, body: &mut BodyDataStream) {
        let bound = self.app.limits.request;
        let stopping = self.app.stopping.clone();
        let stopped = async {
            stopping.cancelled().await;
            tokio::time::sleep(STOPPING).await;
        };
        let all = async {
            while let Ok(Some(Ok(bytes))) = timeout(bound, body.next()).await {
                self.tracked.counts().bytes += bytes.len() as u64;
                for line in self.lines.push(&bytes) {
                    self.skip_line(&line);
                }
            }
        };
        tokio::select! {
            () = all => {}
            () = stopped => {}
        }
        if let Some(line) = self.lines.finish() {
            self.skip_line(&line);
        }
    }

    fn skip_line(&self, line: &Line) {
        let number = self.next_number();
        let blank = matches!(line, Line::Whole(line) if line.trim_ascii().is_empty());
        if !blank {
            self.storing.leave_out(number);
        }
    }
}

fn server_stops() -> Error {
    Error::new(Code::Overloaded, "the server is stopping; import the lines after it again")
}
