//! BodyBudget and import streams, without a server around them.

use bytes::Bytes;

use super::body::parse;
use super::facts::{Batch, FactChange, NewFact};
use super::lines::{Line, Lines};
use super::{import, search};
use crate::kb::{Patch, Search, StoreMode, Submission};
use kenning_core::error::Error;
use kenning_core::limits::Limits;

/// The mode of what says none.
const MODE: StoreMode = StoreMode::Insert;

/// A route that takes JSON.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "each is named as its route")]
pub enum Route {
    Store,
    Batch,
    Update,
    Search,
}

/// What a route makes of its body.
#[derive(Debug)]
#[expect(missing_docs, reason = "each is named as its route")]
pub enum Read {
    Store(Submission),
    Batch(Vec<Result<Submission, Error>>),
    Update(Patch),
    Search(Search),
}

/// Reads a body as `route` does.
pub fn read_body(route: Route, body: &[u8], limits: &Limits) -> Result<Read, Error> {
    match route {
        Route::Store => parse::<NewFact>(body)?.into_submission(None, MODE).map(Read::Store),
        Route::Batch => parse::<Batch>(body)?.submissions(limits.batch_facts).map(Read::Batch),
        Route::Update => parse::<FactChange>(body)?.into_patch(true).map(Read::Update),
        Route::Search => parse::<search::Request>(body)?.into_search(limits).map(Read::Search),
    }
}

/// The lines of an import.
pub struct Import(Lines);

impl Import {
    /// Lines of at most `bound` bytes.
    pub fn new(bound: usize) -> Self {
        Self(Lines::new(bound))
    }

    /// The lines that end in `bytes`; of those that are too long, how long they were.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Result<Bytes, usize>> {
        self.0.push(bytes).into_iter().map(whole).collect()
    }

    /// The last line, if no line break ended it.
    pub fn finish(&mut self) -> Option<Result<Bytes, usize>> {
        self.0.finish().map(whole)
    }

    /// Bytes set aside for the line that has not ended.
    pub fn held(&self) -> usize {
        self.0.held()
    }
}

fn whole(line: Line) -> Result<Bytes, usize> {
    match line {
        Line::Whole(line) => Ok(line),
        Line::TooLong(bytes) => Err(bytes),
    }
}

/// Reads one line of an import.
pub fn read_line(line: &[u8]) -> Result<Submission, Error> {
    import::to_submission(line, MODE)
}
