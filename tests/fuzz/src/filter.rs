//! Filters, and the metadata they look at.
//!
//! - A filter is taken or refused; a refusal points at a part of it, in little room.
//! - A filter that is taken says yes or no to any metadata. Its negation says the opposite, and
//!   the negation of that the same again.
//! - An index finds exactly the facts that the filter lets through, by words and by meaning.
//!
//! The first line is a filter, each further one a fact's metadata.

use std::collections::BTreeSet;

use kenning_index::{Candidate, Entry, FactIndex, Filter, FilterError, Index, Metadata};
use serde_json::Value;

use crate::Verdict;
use crate::pointer::{MESSAGE_BYTES, assert_pointer};

/// Facts that are put into an index.
const FACTS: usize = 16;

/// Runs the target.
pub fn run(bytes: &[u8]) -> Verdict {
    let Ok(text) = std::str::from_utf8(bytes) else { return Verdict::Refused };
    let mut lines = text.split('\n');
    let text = lines.next().unwrap_or_default();
    let filter = Filter::parse_text(text);
    match &filter {
        Ok(filter) => assert_sound(text, filter, &facts(lines)),
        Err(error) => assert_refusal(text, error),
    }
    Verdict::taken_if(filter.is_ok())
}

/// Those lines that are metadata.
fn facts<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<(&'a str, Metadata)> {
    lines.filter_map(|line| Some((line, Metadata::parse(line).ok()?))).take(FACTS).collect()
}

fn assert_refusal(text: &str, error: &FilterError) {
    assert!((1..=MESSAGE_BYTES).contains(&error.message.len()), "{error:.400}");
    assert_pointer(&error.pointer, b"");
    // A member that is given twice may be within one that a later one replaces.
    if error.message.contains("twice") {
        return;
    }
    if let Ok(filter) = serde_json::from_str::<Value>(text) {
        assert!(filter.pointer(&error.pointer).is_some(), "{error} is nowhere in {filter}");
    }
}

fn assert_sound(text: &str, filter: &Filter, facts: &[(&str, Metadata)]) {
    let passing = |filter: &Filter| facts.iter().map(|(_, fact)| filter.matches(fact)).collect();
    let passed: Vec<bool> = passing(filter);
    let index = indexed(facts);
    assert_found(&index, filter, &passed);
    let opposite: Vec<bool> = passed.iter().map(|passed| !passed).collect();
    let Some(negated) = negation(text) else { return };
    assert_eq!(passing(&negated), opposite);
    assert_found(&index, &negated, &opposite);
    let Some(twice) = negation(&format!("{{\"NOT\":{text}}}")) else { return };
    assert_eq!(passing(&twice), passed);
    assert_found(&index, &twice, &passed);
}

/// The opposite of a filter: of any but the empty one and the deepest ones.
fn negation(text: &str) -> Option<Filter> {
    let negated = Filter::parse_text(&format!("{{\"NOT\":{text}}}"));
    if let Err(error) = &negated {
        let expected = ["this filter is empty", "nest at most"];
        assert!(expected.iter().any(|reason| error.message.contains(reason)), "{error}");
    }
    negated.ok()
}

fn indexed(facts: &[(&str, Metadata)]) -> Index {
    let index = Index::new();
    for (number, (metadata, _)) in facts.iter().enumerate() {
        let (id, vector) = (number.to_string(), Some(&[1.0][..]));
        let entry = Entry { id: &id, revision: 1, text: "word", metadata, vector };
        assert_eq!(index.upsert(&entry), Ok(true), "{metadata}");
    }
    index
}

fn assert_found(index: &Index, filter: &Filter, passed: &[bool]) {
    let passing = passed.iter().enumerate().filter(|(_, passed)| **passed);
    let expected: BTreeSet<String> = passing.map(|(number, _)| number.to_string()).collect();
    let ids = |found: Vec<Candidate>| -> BTreeSet<String> {
        found.into_iter().map(|candidate| candidate.id.to_string()).collect()
    };
    assert_eq!(index.matching("word", Some(filter), FACTS).map(ids), Ok(expected.clone()));
    assert_eq!(index.nearest(&[1.0], Some(filter), FACTS).map(ids), Ok(expected));
}
