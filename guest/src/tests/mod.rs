//! Tests of the logic, run natively over in-memory ports.

mod budget;
mod facts;
mod fusion;
mod listing;
mod reading;
mod searching;
mod storing;
mod updating;

use crate::error::{Backend, Failure};
use crate::fact::{Draft, Fact, Stored};
use crate::testing::Memory;
use crate::{Error, Logic, Result};

fn logic() -> Logic<Memory> {
    Logic::new(Memory::default())
}

fn draft(id: &str, text: &str) -> Draft {
    Draft { id: Some(id.into()), ..Draft::new(text) }
}

fn with_metadata(id: &str, text: &str, metadata: &str) -> Draft {
    Draft { metadata: metadata.into(), ..draft(id, text) }
}

/// Stores one draft.
fn store(logic: &Logic<Memory>, draft: Draft) -> Result<Stored> {
    logic.store(vec![draft]).expect("the store").remove(0)
}

/// Stores facts `f000`, `f001`, …, the last one newest. The text of fact `n` is `text(n)`.
fn fill(logic: &Logic<Memory>, count: usize, text: impl Fn(usize) -> String) {
    let drafts: Vec<_> = (0..count).map(|n| draft(&format!("f{n:03}"), &text(n))).collect();
    for batch in drafts.chunks(100) {
        let stored = logic.store(batch.to_vec()).expect("the store");
        assert!(stored.iter().all(Result::is_ok));
    }
}

/// Reads one fact.
fn get(logic: &Logic<Memory>, id: &str) -> Option<Fact> {
    logic.get(&[id]).expect("the read").remove(0)
}

fn timeout(backend: Backend) -> Error {
    Error::Timeout(Failure { backend, message: "the backend timed out".into() })
}

fn unavailable(backend: Backend) -> Error {
    Error::Unavailable(Failure { backend, message: "the backend is down".into() })
}

/// The pointer of an [`Error::Invalid`].
fn pointer<T: std::fmt::Debug>(result: Result<T>) -> String {
    match result {
        Err(Error::Invalid(problem)) => problem.pointer,
        other => panic!("not an invalid request: {other:?}"),
    }
}

/// The name of the limit of an [`Error::TooLarge`].
fn limit<T: std::fmt::Debug>(result: Result<T>) -> String {
    match result {
        Err(Error::TooLarge(exceeded)) => exceeded.limit,
        other => panic!("not too large: {other:?}"),
    }
}
