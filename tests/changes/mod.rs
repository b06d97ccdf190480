//! `GET /v1/changes`: what changed, once and in order, for as long as somebody listens.

mod bounds;
mod clients;
mod ending;
mod following;
mod gaps;
mod hiding;

use anyhow::{Result, ensure};
use kenning_tests::{Answer, ChangeEvent};

/// The revision that a write was answered with.
fn revision(answer: &Answer) -> Result<u64> {
    ensure!(matches!(answer.status, 200 | 201), "not written: {}", answer.text);
    Ok(answer.header("x-kenning-revision").parse()?)
}

/// What each event tells.
fn told(events: &[ChangeEvent]) -> Vec<(&str, &str)> {
    events.iter().map(ChangeEvent::told).collect()
}
