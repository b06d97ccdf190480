//! Validates the logic's results before the caller sees them.
//!
//! The logic decides what a fact is and how search ranks. But each call runs in a fresh instance
//! that knows only what its imports returned, so its result can be compared with the request and
//! with the effects of the call. A fact that was not requested, that comes twice, or that storage
//! did not return in this call is the guest's fault.

use std::collections::HashSet;

use serde_json::json;

use kenning_core::error::{Code, Error};
use kenning_runtime::CallEffects;
use kenning_runtime::wit::{Answer, Entry, Error as GuestError, Fact, FactPage, Stored};

type Validated = Result<(), Error>;

/// There must be one outcome for each draft, and each must name a fact that was stored. `chosen`
/// holds the ids that the callers chose for their drafts.
pub(crate) fn stored(
    chosen: &[Option<String>],
    outcomes: &[Result<Stored, GuestError>],
    effects: &CallEffects,
) -> Validated {
    exactly("stored_facts", chosen.len(), outcomes.len())?;
    let pairs = chosen.iter().zip(outcomes);
    let stored = pairs.filter_map(|(id, outcome)| Some((id.as_deref(), outcome.as_ref().ok()?)));
    let (chosen, stored): (Vec<_>, Vec<_>) =
        stored.map(|(id, stored)| (id.unwrap_or(&stored.id), stored.id.as_str())).unzip();
    same_ids(&chosen, &stored)?;
    all_from_storage(&stored, effects)
}

/// The fact that was changed must be the requested one.
pub(crate) fn updated(id: &str, stored: &Stored, effects: &CallEffects) -> Validated {
    same_ids(&[id], &[&stored.id])?;
    all_from_storage(&[&stored.id], effects)
}

/// There must be one result, for the fact with this id.
pub(crate) fn got(id: &str, facts: &[Option<Fact>], effects: &CallEffects) -> Validated {
    exactly("read_facts", 1, facts.len())?;
    let ids: Vec<&str> = facts.iter().flatten().map(|fact| fact.id.as_str()).collect();
    same_ids(&vec![id; ids.len()], &ids)?;
    all_from_storage(&ids, effects)
}

/// A page must hold at most `limit` facts, each once.
pub(crate) fn listed(limit: u32, page: &FactPage, effects: &CallEffects) -> Validated {
    at_most("page_facts", limit as usize, page.facts.len())?;
    let ids: Vec<&str> = page.facts.iter().map(|fact| fact.id.as_str()).collect();
    distinct(&ids)?;
    all_from_storage(&ids, effects)
}

/// There must be at most `top_k` hits, each fact once, with finite scores.
pub(crate) fn found(top_k: u32, answer: &Answer, effects: &CallEffects) -> Validated {
    at_most("search_hits", top_k as usize, answer.hits.len())?;
    let not_finite = answer.hits.iter().filter(|hit| !hit.score.is_finite()).count();
    none("answer_not_finite", not_finite, "scores that are not finite")?;
    let ids: Vec<&str> = answer.hits.iter().map(|hit| hit.fact.id.as_str()).collect();
    distinct(&ids)?;
    all_from_storage(&ids, effects)
}

/// Entries must be of requested facts, in their order. Ids without a fact are left out.
pub(crate) fn entries(ids: &[String], entries: &[Option<Entry>]) -> Validated {
    at_most("read_facts", ids.len(), entries.len())?;
    let mut requested = ids.iter();
    let is_other = |entry: &&Entry| !requested.any(|id| *id == entry.id);
    let other = entries.iter().flatten().filter(is_other).count();
    none("answer_other_facts", other, "facts that were not requested")
}

fn same_ids(requested: &[&str], given: &[&str]) -> Validated {
    let other = requested.iter().zip(given).filter(|(wanted, given)| wanted != given).count();
    none("answer_other_facts", other, "facts that were not requested")
}

fn distinct(ids: &[&str]) -> Validated {
    let different = ids.iter().collect::<HashSet<_>>().len();
    none("answer_duplicates", ids.len() - different, "facts that it gave before")
}

fn all_from_storage(ids: &[&str], effects: &CallEffects) -> Validated {
    let known: HashSet<&str> = effects.facts.iter().map(|id| id.as_str()).collect();
    let invented = ids.iter().filter(|id| !known.contains(**id)).count();
    none("answer_invented_facts", invented, "facts that storage did not return")
}

fn exactly(limit: &str, wanted: usize, given: usize) -> Validated {
    if given == wanted {
        return Ok(());
    }
    let message = format!("the logic gave {given} results for {wanted} requested ({limit})");
    Err(limit_error(limit, wanted, given, message))
}

fn at_most(limit: &str, allowed: usize, given: usize) -> Validated {
    if given <= allowed {
        return Ok(());
    }
    let message = format!("the logic gave {given} facts; at most {allowed} are allowed ({limit})");
    Err(limit_error(limit, allowed, given, message))
}

fn none(limit: &str, given: usize, violation: &str) -> Validated {
    if given == 0 {
        return Ok(());
    }
    Err(limit_error(limit, 0, given, format!("the logic gave {violation}: {given} ({limit})")))
}

fn limit_error(limit: &str, allowed: usize, used: usize, message: String) -> Error {
    Error::new(Code::GuestLimit, message).with_details(
        json!({ "limit": limit, "allowed": allowed, "used": used, "component": "logic" }),
    )
}

#[cfg(test)]
mod tests {
    use kenning_storage::FactId;

    use super::*;

    /// The effects of a call that read or wrote these facts.
    fn effects(facts: &[&str]) -> CallEffects {
        let facts = facts.iter().map(|id| FactId::parse(id).unwrap()).collect();
        CallEffects { facts, ..CallEffects::default() }
    }

    fn fact(id: &str) -> Fact {
        let text = String::new;
        Fact { id: id.into(), text: text(), metadata: text(), timestamp: text() }
    }

    fn entry(id: &str) -> Entry {
        Entry { id: id.into(), text: String::new(), metadata: "{}".into() }
    }

    fn page(ids: &[&str]) -> FactPage {
        FactPage { facts: ids.iter().map(|id| fact(id)).collect(), cursor: None }
    }

    fn outcomes(ids: &[&str]) -> Vec<Result<Stored, GuestError>> {
        ids.iter().map(|id| Ok(Stored { id: (*id).into(), indexed: true })).collect()
    }

    #[track_caller]
    fn assert_refused(validated: Validated, limit: &str, used: usize) {
        let error = validated.unwrap_err();
        let details = error.details.as_deref().unwrap();
        assert_eq!(error.code, Code::GuestLimit);
        assert_eq!((&details["limit"], &details["used"]), (&json!(limit), &json!(used)));
    }

    #[test]
    fn results_that_match_the_request_are_accepted() {
        let effects = effects(&["a", "b"]);
        assert!(got("a", &[Some(fact("a"))], &effects).is_ok());
        assert!(got("c", &[None], &effects).is_ok());
        assert!(listed(2, &page(&["b", "a"]), &effects).is_ok());
        assert!(stored(&[Some("a".into()), None], &outcomes(&["a", "b"]), &effects).is_ok());
        assert!(updated("a", &Stored { id: "a".into(), indexed: true }, &effects).is_ok());
    }

    #[test]
    fn another_fact_than_the_requested_one_is_refused() {
        let effects = effects(&["a", "b"]);
        assert_refused(got("a", &[Some(fact("b"))], &effects), "answer_other_facts", 1);
        let chosen = [Some("a".into()), Some("a".into())];
        assert_refused(stored(&chosen, &outcomes(&["b", "b"]), &effects), "answer_other_facts", 2);
        let other = Stored { id: "b".into(), indexed: true };
        assert_refused(updated("a", &other, &effects), "answer_other_facts", 1);
        assert_refused(entries(&["a".into()], &[Some(entry("b"))]), "answer_other_facts", 1);
    }

    #[test]
    fn entries_of_a_part_of_the_facts_are_accepted_in_their_order_only() {
        let ids = ["a", "b", "c"].map(String::from);
        assert!(entries(&ids, &[Some(entry("b")), Some(entry("c"))]).is_ok());
        assert!(entries(&ids, &[Some(entry("a")), None]).is_ok());
        let reversed = [Some(entry("c")), Some(entry("b"))];
        assert_refused(entries(&ids, &reversed), "answer_other_facts", 1);
        let twice = [Some(entry("a")), Some(entry("a"))];
        assert_refused(entries(&ids, &twice), "answer_other_facts", 1);
    }

    #[test]
    fn facts_that_come_twice_are_refused() {
        let effects = effects(&["a", "b"]);
        assert_refused(listed(9, &page(&["a", "b", "a", "a"]), &effects), "answer_duplicates", 2);
    }

    #[test]
    fn facts_that_storage_did_not_return_are_refused() {
        let effects = effects(&["a"]);
        assert_refused(got("x", &[Some(fact("x"))], &effects), "answer_invented_facts", 1);
        assert_refused(listed(9, &page(&["x", "a", "y"]), &effects), "answer_invented_facts", 2);
        assert_refused(stored(&[None], &outcomes(&["x"]), &effects), "answer_invented_facts", 1);
    }

    #[test]
    fn more_or_fewer_results_than_requested_are_refused() {
        let effects = effects(&["a"]);
        assert_refused(got("a", &[], &effects), "read_facts", 0);
        assert_refused(stored(&[None], &[], &effects), "stored_facts", 0);
        assert_refused(listed(1, &page(&["a", "a"]), &effects), "page_facts", 2);
    }
}
