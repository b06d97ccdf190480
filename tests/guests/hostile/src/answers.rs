//! Commands that return invalid answers.

use crate::amount;
use crate::bindings::kenning::knowledge::types::{
    Answer, Backend, Error, Fact, FactPage, Failure, Hit, Query, Stored,
};
use crate::correct;

/// An invalid answer, if the query's text requests one.
pub(crate) fn answer(query: &Query) -> Option<Result<Answer, Error>> {
    let amount = amount(&query.text, 1);
    let answer = match query.text.split_whitespace().next()? {
        "answer-bytes" => degraded(vec!["a".repeat(amount)]),
        "answer-empty-things" => degraded(vec![String::new(); amount]),
        "answer-shared-bytes" => degraded(shared(amount)),
        "answer-hits" => return Some(stored(amount).map(hits)),
        "answer-one-more-hit" => return Some(stored(query.top_k as usize + 1).map(hits)),
        "answer-twice" => return Some(stored(1).map(|facts| hits(repeated(facts)))),
        "answer-invented" => hits((0..amount).map(made_up).collect()),
        "answer-nan" => scored(f64::NAN),
        "answer-infinity" => scored(f64::INFINITY),
        "answer-metadata" => {
            let metadata = query.text.strip_prefix("answer-metadata").unwrap_or_default();
            let replaced = |fact| Fact { metadata: metadata.trim().into(), ..fact };
            return Some(stored(1).map(|facts| hits(facts.into_iter().map(replaced).collect())));
        }
        "answer-error-bytes" => return Some(Err(Error::Other("e".repeat(amount)))),
        "answer-storage-down" => return Some(Err(Error::Unavailable(down()))),
        _ => return None,
    };
    Some(Ok(answer))
}

fn degraded(degraded: Vec<String>) -> Answer {
    Answer { hits: Vec::new(), degraded }
}

fn hits(facts: Vec<Fact>) -> Answer {
    let hit = |fact| Hit { fact, score: 1.0, explanation: None };
    Answer { hits: facts.into_iter().map(hit).collect(), degraded: Vec::new() }
}

fn scored(score: f64) -> Answer {
    let mut answer = hits(vec![made_up(0)]);
    answer.hits[0].score = score;
    answer
}

/// A fact that was never stored.
fn made_up(number: usize) -> Fact {
    let (text, timestamp) = ("made up".into(), "2001-02-03T04:05:06+00:00".into());
    Fact { id: format!("made-up-{number}"), text, metadata: "{}".into(), timestamp }
}

/// The newest `count` facts.
fn stored(count: usize) -> Result<Vec<Fact>, Error> {
    Ok(correct::list(count as u32, None)?.facts)
}

fn repeated(facts: Vec<Fact>) -> Vec<Fact> {
    [facts.clone(), facts].concat()
}

fn down() -> Failure {
    Failure { backend: Backend::Storage, message: "claimed by the guest".into() }
}

/// `count` strings that share the same mebibyte of memory: cheap for the guest, but expensive
/// for a host that copies them all.
#[expect(unsafe_code, reason = "safe Rust cannot make strings share their bytes")]
fn shared(count: usize) -> Vec<String> {
    let bytes: &'static mut [u8] = Vec::leak(vec![b's'; 1 << 20]);
    let (start, length) = (bytes.as_mut_ptr(), bytes.len());
    // SAFETY: the bytes are UTF-8 and leaked, and the strings are only read: they are
    // returned in an answer that the host rejects, which ends this instance.
    (0..count).map(|_| unsafe { String::from_raw_parts(start, length, length) }).collect()
}

/// Outcomes that do not match the drafts, if the first draft requests it.
pub(crate) fn outcomes(
    command: &str,
    mut outcomes: Vec<Result<Stored, Error>>,
) -> Vec<Result<Stored, Error>> {
    let made_up = || Ok(Stored { id: "made-up".into(), indexed: true });
    match command.split_whitespace().next() {
        Some("answer-no-outcome") => outcomes.clear(),
        Some("answer-one-more-outcome") => outcomes.push(made_up()),
        Some("answer-other-outcome") => outcomes = vec![made_up()],
        _ => {}
    }
    outcomes
}

/// Facts that do not match the ids, if the first fact or an id requests it.
pub(crate) fn facts(
    ids: &[String],
    mut facts: Vec<Option<Fact>>,
) -> Result<Vec<Option<Fact>>, Error> {
    let command = facts.first().cloned().flatten().map(|fact| fact.text).unwrap_or_default();
    match command.split_whitespace().next() {
        Some("answer-no-fact") => facts.clear(),
        Some("answer-two-facts") => facts.push(None),
        Some("answer-other-fact") => {
            let other = command.split_whitespace().nth(1).unwrap_or_default();
            return correct::get(&[other.into()]);
        }
        _ if ids.iter().any(|id| id == "made-up-0") => return Ok(vec![Some(made_up(0))]),
        _ => {}
    }
    Ok(facts.into_iter().map(|fact| fact.map(with_metadata)).collect())
}

/// Replaces the metadata of a fact, if its text requests it.
fn with_metadata(fact: Fact) -> Fact {
    match fact.text.strip_prefix("answer-metadata ") {
        Some(metadata) => Fact { metadata: metadata.into(), ..fact },
        None => fact,
    }
}

/// A page that does not match the request, if the text to contain requests it.
pub(crate) fn page(command: &str, mut page: FactPage) -> Result<FactPage, Error> {
    match command.split_whitespace().next() {
        Some("answer-facts") => page.facts = stored(amount(command, 1))?,
        Some("answer-twice") => page.facts = repeated(page.facts),
        Some("answer-invented") => page.facts.push(made_up(0)),
        _ => {}
    }
    page.facts = page.facts.into_iter().map(with_metadata).collect();
    Ok(page)
}
