//! Deeds with the answer.

use crate::amount;
use crate::bindings::kenning::knowledge::types::{
    Answer, Backend, Error, Fact, FactPage, Failure, Hit, Query, Stored,
};

/// A false answer, if the query's text names one.
pub(crate) fn answer(query: &Query) -> Option<Result<Answer, Error>> {
    let much = amount(&query.text, 1);
    let answer = match query.text.split_whitespace().next()? {
        "answer-bytes" => degraded(vec!["a".repeat(much)]),
        "answer-empty-things" => degraded(vec![String::new(); much]),
        "answer-shared-bytes" => degraded(shared(much)),
        "answer-hits" => hits(vec![hit("{}", 1.0); much]),
        "answer-one-more-hit" => hits(vec![hit("{}", 1.0); query.top_k as usize + 1]),
        "answer-nan" => hits(vec![hit("{}", f64::NAN)]),
        "answer-infinity" => hits(vec![hit("{}", f64::INFINITY)]),
        "answer-metadata" => {
            let metadata = query.text.strip_prefix("answer-metadata").unwrap_or_default();
            hits(vec![hit(metadata.trim(), 1.0)])
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

fn hits(hits: Vec<Hit>) -> Answer {
    Answer { hits, degraded: Vec::new() }
}

fn hit(metadata: &str, score: f64) -> Hit {
    let (text, timestamp) = ("made up".into(), "2001-02-03T04:05:06+00:00".into());
    let fact = Fact { id: "made-up".into(), text, metadata: metadata.into(), timestamp };
    Hit { fact, score, explanation: None }
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

/// More or fewer outcomes than drafts, if the first draft says so.
pub(crate) fn outcomes(
    told: &str,
    mut outcomes: Vec<Result<Stored, Error>>,
) -> Vec<Result<Stored, Error>> {
    match told.split_whitespace().next() {
        Some("answer-no-outcome") => outcomes.clear(),
        Some("answer-one-more-outcome") => {
            outcomes.push(Ok(Stored { id: "made-up".into(), indexed: true }));
        }
        _ => {}
    }
    outcomes
}

/// A fact whose text says so loses the form of its metadata.
pub(crate) fn fact(fact: Fact) -> Fact {
    match fact.text.strip_prefix("answer-metadata ") {
        Some(metadata) => Fact { metadata: metadata.into(), ..fact },
        None => fact,
    }
}

/// More facts than were asked for, if the substring looked for says so.
pub(crate) fn page(told: &str, mut page: FactPage) -> FactPage {
    if told.starts_with("answer-facts") {
        page.facts = vec![hit("{}", 1.0).fact; amount(told, 1)];
    }
    page.facts = page.facts.into_iter().map(fact).collect();
    page
}
