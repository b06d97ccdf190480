//! What a guest may return: the rules for every value in the result of any export, in one place.
//!
//! `validate` compares the logic's results with the request and with what the call did. Here each
//! value is judged by itself, whoever returned it. An extension answers only for what it changed:
//! a value that it passes on is the caller's, or storage's. Nothing here recurses before the depth
//! is known, so no nesting can exhaust the host's stack.

use kenning_core::limits::Limits;
use kenning_index::Filter;
use kenning_index::limits::METADATA_DEPTH;
use kenning_runtime::DeletionRefusal;
use kenning_runtime::wit::{Draft, Fact, Query};
use kenning_storage::FactId;
use serde::de::IgnoredAny;

/// How a value breaks a rule.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Violation {
    /// It exceeds a limit that has a name.
    Limit { limit: &'static str, allowed: usize, used: usize },
    /// It is not what the contract allows.
    Invalid {
        /// Completes the sentence "GUEST gave …". Never holds a part of the value.
        what: &'static str,
        /// What is wrong with it, for the guest's author.
        why: String,
    },
}

type Checked = Result<(), Violation>;

/// Most bytes of a refusal's code and pointer; the contract names the numbers.
const CODE_BYTES: usize = 64;
const POINTER_BYTES: usize = 256;

/// A draft that `on-store` returned for `given`.
pub(super) fn draft(limits: &Limits, given: &Draft, draft: &Draft) -> Checked {
    if draft.text != given.text {
        at_most("fact_text_bytes", limits.fact_text_bytes, draft.text.len())?;
        not_blank("a blank text", &draft.text)?;
    }
    if draft.metadata != given.metadata {
        shallow(TOO_DEEP, &draft.metadata)?;
        at_most("fact_metadata_bytes", limits.fact_metadata_bytes, draft.metadata.len())?;
        storable(&draft.metadata)?;
    }
    match &draft.id {
        Some(id) if draft.id != given.id => valid_id(id)?,
        _ => {}
    }
    match &draft.timestamp {
        Some(time) if draft.timestamp != given.timestamp => valid_time(time),
        _ => Ok(()),
    }
}

/// A query that `on-query` returned for `given`.
pub(super) fn query(limits: &Limits, given: &Query, query: &Query) -> Checked {
    if query.top_k == 0 {
        return invalid("a top_k of 0", "it is at least 1");
    }
    at_most("search_hits", limits.search_hits, query.top_k as usize)?;
    if query.text != given.text {
        at_most("query_bytes", limits.query_bytes, query.text.len())?;
        not_blank("a blank query", &query.text)?;
    }
    match &query.filter {
        Some(filter) if query.filter != given.filter => valid_filter(filter),
        _ => Ok(()),
    }
}

/// A refusal that `on-delete` returned.
pub(super) fn deletion_refusal(refusal: &DeletionRefusal) -> Checked {
    if refusal.code.as_ref().is_some_and(|code| code.is_empty() || code.len() > CODE_BYTES) {
        return invalid("a refusal's code", format!("it has 1 to {CODE_BYTES} bytes"));
    }
    let Some(pointer) = &refusal.pointer else { return Ok(()) };
    if pointer.len() > POINTER_BYTES || !(pointer.is_empty() || pointer.starts_with('/')) {
        let why = format!("a JSON pointer begins with '/' and has at most {POINTER_BYTES} bytes");
        return invalid("a refusal's pointer", why);
    }
    Ok(())
}

/// A fact that the logic read: its text may be any, and its metadata must fit into an answer.
/// Other programs write facts too, so the limits on what is stored do not apply.
pub(super) fn fact(fact: &Fact) -> Checked {
    json_object(&fact.metadata)
}

/// A fact as `on-read` shows it, of which `stored` was read.
pub(super) fn shown(limits: &Limits, stored: &Fact, shown: &Fact) -> Checked {
    if shown.text != stored.text {
        at_most("fact_text_bytes", limits.fact_text_bytes, shown.text.len())?;
    }
    if shown.metadata != stored.metadata {
        shallow(TOO_DEEP, &shown.metadata)?;
        at_most("fact_metadata_bytes", limits.fact_metadata_bytes, shown.metadata.len())?;
        json_object(&shown.metadata)?;
    }
    Ok(())
}

/// A score that `rerank` gave.
pub(super) fn score(score: f64) -> Checked {
    if score.is_finite() {
        return Ok(());
    }
    invalid("a score that is not finite", "it is a number that hits can be sorted by")
}

fn at_most(limit: &'static str, allowed: usize, used: usize) -> Checked {
    if used <= allowed { Ok(()) } else { Err(Violation::Limit { limit, allowed, used }) }
}

fn invalid(what: &'static str, why: impl Into<String>) -> Checked {
    Err(Violation::Invalid { what, why: why.into() })
}

fn not_blank(what: &'static str, text: &str) -> Checked {
    if text.trim().is_empty() {
        invalid(what, "it has at least one visible character")
    } else {
        Ok(())
    }
}

fn valid_id(id: &str) -> Checked {
    match FactId::parse(id) {
        Ok(_) => Ok(()),
        Err(_) => invalid(
            "an id that is not valid",
            "it is 1 to 128 ASCII letters, digits, '.', '_' and '-', and does not begin with '.' \
             or '-'",
        ),
    }
}

fn valid_time(time: &str) -> Checked {
    if is_time(time) {
        return Ok(());
    }
    invalid(
        "a timestamp that is not valid",
        "it is RFC 3339, such as 2026-11-23T17:48:43.123456+00:00",
    )
}

/// Whether a text is RFC 3339, with or without an offset, in the years 1 to 9999.
fn is_time(time: &str) -> bool {
    let with_offset = chrono::DateTime::parse_from_rfc3339(time).is_ok();
    let alone = || {
        let formats = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"];
        formats.iter().any(|form| chrono::NaiveDateTime::parse_from_str(time, form).is_ok())
    };
    time.as_bytes().first().is_some_and(u8::is_ascii_digit)
        && !time.starts_with("0000")
        && (with_offset || alone())
}

fn valid_filter(filter: &str) -> Checked {
    let what = "a filter that is not valid";
    // The parser of JSON stops at its own depth; this one is told to the author in our words.
    shallow(what, filter)?;
    Filter::parse_text(filter)
        .map(drop)
        .or_else(|error| invalid(what, format!("{} (at {:?})", error.message, error.pointer)))
}

/// Metadata that the logic accepts and the index can read.
fn storable(metadata: &str) -> Checked {
    json_object(metadata)?;
    match serde_json::from_str::<serde_json::Value>(metadata) {
        Ok(_) => Ok(()),
        Err(error) => invalid(NO_OBJECT, error.to_string()),
    }
}

const TOO_DEEP: &str = "metadata that is nested too deep";
const NO_OBJECT: &str = "metadata that is no JSON object";

fn json_object(metadata: &str) -> Checked {
    shallow(TOO_DEEP, metadata)?;
    match serde_json::from_str::<IgnoredAny>(metadata) {
        Ok(_) if metadata.trim_start().starts_with('{') => Ok(()),
        Ok(_) => invalid(NO_OBJECT, "it is JSON of another type"),
        Err(error) => invalid(NO_OBJECT, error.to_string()),
    }
}

fn shallow(what: &'static str, json: &str) -> Checked {
    match depth(json) {
        ..=METADATA_DEPTH => Ok(()),
        depth => invalid(what, format!("it has {depth} levels, and {METADATA_DEPTH} are allowed")),
    }
}

/// How deep objects and lists nest, in one pass and without recursion. Of text that is not JSON,
/// at least as deep as a parser would get.
fn depth(json: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut in_string, mut escaped) = (false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use kenning_runtime::wit::{Fusion, Mode};

    use super::*;

    fn a_draft() -> Draft {
        let (text, metadata) = ("tea".into(), "{}".into());
        Draft { id: Some("a".into()), text, metadata, timestamp: None }
    }

    fn a_query() -> Query {
        let (text, filter) = ("tea".into(), None);
        let (mode, fusion) = (Mode::Text, Fusion::Score);
        Query { text, top_k: 3, mode, fusion, filter, explain: false }
    }

    fn a_fact(metadata: &str) -> Fact {
        let (id, text) = ("a".into(), "tea".into());
        Fact { id, text, metadata: metadata.into(), timestamp: "then".into() }
    }

    fn nested(levels: usize) -> String {
        format!("{{\"a\":{}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1))
    }

    #[track_caller]
    fn assert_invalid(checked: Checked, expected: &str) {
        match checked {
            Err(Violation::Invalid { what, .. }) => assert_eq!(what, expected),
            other => panic!("{expected}: {other:?}"),
        }
    }

    #[track_caller]
    fn assert_over(checked: Checked, expected: &str) {
        match checked {
            Err(Violation::Limit { limit, .. }) => assert_eq!(limit, expected),
            other => panic!("{expected}: {other:?}"),
        }
    }

    #[test]
    fn a_draft_that_breaks_a_rule_is_the_extensions_fault() {
        let (limits, given) = (Limits::default(), a_draft());
        let judge = |changed: Draft| draft(&limits, &given, &changed);
        for metadata in ["{oops", "[]", "", "{} {}", "{\"n\":1e999}"] {
            assert_invalid(judge(Draft { metadata: metadata.into(), ..a_draft() }), NO_OBJECT);
        }
        assert_invalid(judge(Draft { metadata: nested(100_000), ..a_draft() }), TOO_DEEP);
        assert_invalid(judge(Draft { text: " \n".into(), ..a_draft() }), "a blank text");
        for id in ["../../etc", "", "-a", "a b"] {
            let draft = Draft { id: Some(id.into()), ..a_draft() };
            assert_invalid(judge(draft), "an id that is not valid");
        }
        for time in ["yesterday", "", "2026-13-01T00:00:00Z", "0000-01-01T00:00:00Z"] {
            let draft = Draft { timestamp: Some(time.into()), ..a_draft() };
            assert_invalid(judge(draft), "a timestamp that is not valid");
        }
        let text = "x".repeat(limits.fact_text_bytes + 1);
        assert_over(judge(Draft { text, ..a_draft() }), "fact_text_bytes");
    }

    #[test]
    fn what_an_extension_passes_on_is_not_its_fault() {
        let text = "x".repeat(Limits::default().fact_text_bytes + 1);
        let (id, timestamp) = (Some("../../etc".into()), Some("yesterday".into()));
        let given = Draft { id, text, metadata: "{oops".into(), timestamp };
        assert_eq!(draft(&Limits::default(), &given, &given.clone()), Ok(()));
        let given = Query { text: " ".into(), filter: Some("{".into()), ..a_query() };
        assert_eq!(query(&Limits::default(), &given, &given.clone()), Ok(()));
    }

    #[test]
    fn what_the_contract_allows_is_accepted() {
        let (limits, given) = (Limits::default(), a_draft());
        for time in
            ["2026-11-23T17:48:43.123456+00:00", "2026-11-23T17:48:43", "2026-11-23T17:48:43Z"]
        {
            let changed = Draft {
                id: Some("_b.c-d".into()),
                text: "more tea".into(),
                metadata: nested(METADATA_DEPTH),
                timestamp: Some(time.into()),
            };
            assert_eq!(draft(&limits, &given, &changed), Ok(()), "{time}");
        }
        let filter = Some("{\"topic\":{\"in\":[\"a\"]}}".into());
        let changed = Query { text: "x".into(), top_k: 1_000, filter, ..a_query() };
        assert_eq!(query(&limits, &a_query(), &changed), Ok(()));
    }

    #[test]
    fn a_query_that_breaks_a_rule_is_the_extensions_fault() {
        let limits = Limits::default();
        let judge = |changed: Query| query(&limits, &a_query(), &changed);
        assert_invalid(judge(Query { top_k: 0, ..a_query() }), "a top_k of 0");
        assert_over(judge(Query { top_k: 1_001, ..a_query() }), "search_hits");
        assert_invalid(judge(Query { text: String::new(), ..a_query() }), "a blank query");
        for filter in ["{oops", "[]", "{\"a\":{\"near\":1}}", &nested(100_000)] {
            let query = Query { filter: Some(filter.into()), ..a_query() };
            assert_invalid(judge(query), "a filter that is not valid");
        }
    }

    #[test]
    fn a_fact_is_judged_by_its_own_metadata_and_size() {
        let limits = Limits::default();
        assert_eq!(fact(&a_fact("{}")), Ok(()));
        assert_invalid(fact(&a_fact("{")), NO_OBJECT);
        assert_invalid(fact(&a_fact(&nested(100_000))), TOO_DEEP);
        let judge = |changed: Fact| shown(&limits, &a_fact("{}"), &changed);
        assert_invalid(judge(a_fact(&nested(1_000))), TOO_DEEP);
        let text = "x".repeat(limits.fact_text_bytes + 1);
        assert_over(judge(Fact { text, ..a_fact("{}") }), "fact_text_bytes");
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(limits.fact_metadata_bytes));
        assert_over(judge(a_fact(&long)), "fact_metadata_bytes");
        assert_invalid(score(f64::NAN), "a score that is not finite");
    }

    #[test]
    fn brackets_in_a_text_are_no_depth() {
        assert_eq!(depth("{\"a\":\"[[[[\\\"[[\"}"), 1);
        assert_eq!(depth("[[{}]]"), 3);
        assert_eq!(depth("]]]]"), 0);
        assert_eq!(depth("\"\\\\\"[["), 2);
    }
}
