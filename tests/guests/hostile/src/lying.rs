//! Deeds with the answer.

use crate::amount;
use crate::bindings::kenning::knowledge::types::{
    Answer, Backend, Error, Fact, FactPage, Failure, Hit, Query, Stored,
};
use crate::honest;

/// A false answer, if the query's text names one.
pub(crate) fn answer(query: &Query) -> Option<Result<Answer, Error>> {
    let much = amount(&query.text, 1);
    let answer = match query.text.split_whitespace().next()? {
        "answer-bytes" => degraded(vec!["a".repeat(much)]),
        "answer-empty-things" => degraded(vec![String::new(); much]),
        "answer-shared-bytes" => degraded(shared(much)),
        "answer-hits" => return Some(stored(much).map(hits)),
        "answer-one-more-hit" => return Some(stored(query.top_k as usize + 1).map(hits)),
        "answer-twice" => return Some(stored(1).map(|facts| hits(repeated(facts)))),
        "answer-invented" => hits((0..much).map(made_up).collect()),
        "answer-nan" => scored(f64::NAN),
        "answer-infinity" => scored(f64::INFINITY),
        "answer-metadata" => {
            let metadata = query.text.strip_prefix("answer-metadata").unwrap_or_default();
            let odd = |fact| Fact { metadata: metadata.trim().into(), ..fact };
            return Some(stored(1).map(|facts| hits(facts.into_iter().map(odd).collect())));
        }
        "answer-error-bytes" => return Some(Err(Error::Other("e".repeat(much)))),
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

/// A fact that nobody stored.
fn made_up(number: usize) -> Fact {
    let (text, timestamp) = ("made up".into(), "2001-02-03T04:05:06+00:00".into());
    Fact { id: format!("made-up-{number}"), text, metadata: "{}".into(), timestamp }
}

/// The newest facts, so many of them.
fn stored(count: usize) -> Result<Vec<Fact>, Error> {
    Ok(honest::list(count as u32, None)?.facts)
}

fn repeated(facts: Vec<Fact>) -> Vec<Fact> {
    [facts.clone(), facts].concat()
}

fn down() -> Failure {
    Failure { backend: Backend::Storage, message: "so the guest says".into() }
}

/// `count` strings of a mebibyte each that are all the same mebibyte: little for the
/// guest, and much for a host that copied them all.
#[expect(unsafe_code, reason = "safe Rust has no strings that share their bytes")]
fn shared(count: usize) -> Vec<String> {
    let bytes: &'static mut [u8] = Vec::leak(vec![b's'; 1 << 20]);
    let (start, length) = (bytes.as_mut_ptr(), bytes.len());
    // SAFETY: the bytes are UTF-8 and leaked, and the strings are only read: they go
    // straight into an answer that the host is to refuse, which ends this instance.
    (0..count).map(|_| unsafe { String::from_raw_parts(start, length, length) }).collect()
}

/// Outcomes that do not fit the drafts, if the first draft says so.
pub(crate) fn outcomes(
    told: &str,
    mut outcomes: Vec<Result<Stored, Error>>,
) -> Vec<Result<Stored, Error>> {
    let made_up = || Ok(Stored { id: "made-up".into(), indexed: true });
    match told.split_whitespace().next() {
        Some("answer-no-outcome") => outcomes.clear(),
        Some("answer-one-more-outcome") => outcomes.push(made_up()),
        Some("answer-other-outcome") => outcomes = vec![made_up()],
        _ => {}
    }
    outcomes
}

/// Facts that do not fit the ids, if the first fact or the first id says so.
pub(crate) fn facts(
    ids: &[String],
    mut facts: Vec<Option<Fact>>,
) -> Result<Vec<Option<Fact>>, Error> {
    let told = facts.first().cloned().flatten().map(|fact| fact.text).unwrap_or_default();
    match told.split_whitespace().next() {
        Some("answer-no-fact") => facts.clear(),
        Some("answer-two-facts") => facts.push(None),
        Some("answer-other-fact") => {
            let other = told.split_whitespace().nth(1).unwrap_or_default();
            return honest::get(&[other.into()]);
        }
        _ if ids.iter().any(|id| id == "made-up-0") => return Ok(vec![Some(made_up(0))]),
        _ => {}
    }
    Ok(facts.into_iter().map(|fact| fact.map(odd)).collect())
}

/// A fact whose text says so loses the form of its metadata.
fn odd(fact: Fact) -> Fact {
    match fact.text.strip_prefix("answer-metadata ") {
        Some(metadata) => Fact { metadata: metadata.into(), ..fact },
        None => fact,
    }
}

/// A page that does not fit the question, if the substring looked for says so.
pub(crate) fn page(told: &str, mut page: FactPage) -> Result<FactPage, Error> {
    match told.split_whitespace().next() {
        Some("answer-facts") => page.facts = stored(amount(told, 1))?,
        Some("answer-twice") => page.facts = repeated(page.facts),
        Some("answer-invented") => page.facts.push(made_up(0)),
        _ => {}
    }
    page.facts = page.facts.into_iter().map(odd).collect();
    Ok(page)
}
