//! What the host demands of a logic's answer before anyone sees it.
//!
//! The logic decides what a fact is and how search ranks. But it decides in a fresh
//! instance that knows nothing but what its imports told it, so an answer can be held
//! against the question and against what the call did: a fact that nobody asked for, one
//! that comes twice, or one that storage never gave to this call is the guest's fault.

use std::collections::HashSet;

use serde_json::json;

use kenning_core::error::{Code, Error};
use kenning_runtime::CallEffects;
use kenning_runtime::wit::{Answer, Entry, Error as GuestError, Fact, FactPage, Stored};

type Checked = Result<(), Error>;

/// Whether `outcomes` is one for each draft, and each names what was stored. `chosen`
/// holds the ids that the drafts came with.
pub(crate) fn stored(
    chosen: &[Option<String>],
    outcomes: &[Result<Stored, GuestError>],
    effects: &CallEffects,
) -> Checked {
    counted("stored_facts", chosen.len(), outcomes.len())?;
    let pairs = chosen.iter().zip(outcomes);
    let stored = pairs.filter_map(|(id, outcome)| Some((id.as_deref(), outcome.as_ref().ok()?)));
    let (chosen, stored): (Vec<_>, Vec<_>) =
        stored.map(|(id, stored)| (id.unwrap_or(&stored.id), stored.id.as_str())).unzip();
    asked_for(&chosen, &stored)?;
    known(&stored, effects)
}

/// Whether the fact that was changed is the one named.
pub(crate) fn updated(id: &str, stored: &Stored, effects: &CallEffects) -> Checked {
    asked_for(&[id], &[&stored.id])?;
    known(&[&stored.id], effects)
}

/// Whether there is one answer, about the fact with this id.
pub(crate) fn got(id: &str, facts: &[Option<Fact>], effects: &CallEffects) -> Checked {
    counted("read_facts", 1, facts.len())?;
    let ids: Vec<&str> = facts.iter().flatten().map(|fact| fact.id.as_str()).collect();
    asked_for(&vec![id; ids.len()], &ids)?;
    known(&ids, effects)
}

/// Whether a page holds no more facts than asked for, each once.
pub(crate) fn listed(limit: u32, page: &FactPage, effects: &CallEffects) -> Checked {
    at_most("page_facts", limit as usize, page.facts.len())?;
    let ids: Vec<&str> = page.facts.iter().map(|fact| fact.id.as_str()).collect();
    distinct(&ids)?;
    known(&ids, effects)
}

/// Whether there are no more hits than asked for, each fact once, with scores that can
/// be compared.
pub(crate) fn found(top_k: u32, answer: &Answer, effects: &CallEffects) -> Checked {
    at_most("search_hits", top_k as usize, answer.hits.len())?;
    let endless = answer.hits.iter().filter(|hit| !hit.score.is_finite()).count();
    none("answer_not_finite", endless, "scores that are no numbers")?;
    let ids: Vec<&str> = answer.hits.iter().map(|hit| hit.fact.id.as_str()).collect();
    distinct(&ids)?;
    known(&ids, effects)
}

/// Whether each entry is of the fact asked for at its place.
pub(crate) fn entries(ids: &[String], entries: &[Option<Entry>]) -> Checked {
    at_most("read_facts", ids.len(), entries.len())?;
    let pairs = ids.iter().zip(entries);
    let pairs = pairs.filter_map(|(id, entry)| Some((id.as_str(), entry.as_ref()?.id.as_str())));
    let (asked, given): (Vec<_>, Vec<_>) = pairs.unzip();
    asked_for(&asked, &given)
}

fn asked_for(asked: &[&str], given: &[&str]) -> Checked {
    let other = asked.iter().zip(given).filter(|(asked, given)| asked != given).count();
    none("answer_other_facts", other, "facts that it was not asked for")
}

fn distinct(ids: &[&str]) -> Checked {
    let different = ids.iter().collect::<HashSet<_>>().len();
    none("answer_duplicates", ids.len() - different, "facts that it had given already")
}

fn known(ids: &[&str], effects: &CallEffects) -> Checked {
    let known: HashSet<&str> = effects.facts.iter().map(|id| id.as_str()).collect();
    let invented = ids.iter().filter(|id| !known.contains(**id)).count();
    none("answer_invented_facts", invented, "facts that are not in storage")
}

fn counted(limit: &str, wanted: usize, given: usize) -> Checked {
    if given == wanted {
        return Ok(());
    }
    let said = format!("the logic gave {given} answers where {wanted} were asked for");
    Err(broken(limit, wanted, given, said))
}

fn at_most(limit: &str, allowed: usize, given: usize) -> Checked {
    if given <= allowed {
        return Ok(());
    }
    let said = format!("the logic gave {given} facts where {allowed} are allowed ({limit})");
    Err(broken(limit, allowed, given, said))
}

fn none(limit: &str, given: usize, what: &str) -> Checked {
    if given == 0 {
        return Ok(());
    }
    Err(broken(limit, 0, given, format!("the logic gave {what}: {given} ({limit})")))
}

fn broken(limit: &str, allowed: usize, used: usize, said: String) -> Error {
    Error::new(Code::GuestLimit, said).with_details(
        json!({ "limit": limit, "allowed": allowed, "used": used, "component": "logic" }),
    )
}

#[cfg(test)]
mod tests {
    use kenning_storage::FactId;

    use super::*;

    /// A call that read or wrote these facts.
    fn effects(facts: &[&str]) -> CallEffects {
        let facts = facts.iter().map(|id| FactId::parse(id).unwrap()).collect();
        CallEffects { facts, ..CallEffects::default() }
    }

    fn fact(id: &str) -> Fact {
        let text = String::new;
        Fact { id: id.into(), text: text(), metadata: text(), timestamp: text() }
    }

    fn page(ids: &[&str]) -> FactPage {
        FactPage { facts: ids.iter().map(|id| fact(id)).collect(), cursor: None }
    }

    fn outcomes(ids: &[&str]) -> Vec<Result<Stored, GuestError>> {
        ids.iter().map(|id| Ok(Stored { id: (*id).into(), indexed: true })).collect()
    }

    #[track_caller]
    fn assert_broke(checked: Checked, limit: &str, used: usize) {
        let error = checked.unwrap_err();
        let details = error.details.as_deref().unwrap();
        assert_eq!(error.code, Code::GuestLimit);
        assert_eq!((&details["limit"], &details["used"]), (&json!(limit), &json!(used)));
    }

    #[test]
    fn an_answer_to_the_question_is_obeyed() {
        let effects = effects(&["a", "b"]);
        assert!(got("a", &[Some(fact("a"))], &effects).is_ok());
        assert!(got("c", &[None], &effects).is_ok());
        assert!(listed(2, &page(&["b", "a"]), &effects).is_ok());
        assert!(stored(&[Some("a".into()), None], &outcomes(&["a", "b"]), &effects).is_ok());
        assert!(updated("a", &Stored { id: "a".into(), indexed: true }, &effects).is_ok());
    }

    #[test]
    fn another_fact_than_asked_for_violated() {
        let effects = effects(&["a", "b"]);
        assert_broke(got("a", &[Some(fact("b"))], &effects), "answer_other_facts", 1);
        let chosen = [Some("a".into()), Some("a".into())];
        assert_broke(stored(&chosen, &outcomes(&["b", "b"]), &effects), "answer_other_facts", 2);
        let other = Stored { id: "b".into(), indexed: true };
        assert_broke(updated("a", &other, &effects), "answer_other_facts", 1);
        let entry = Entry { id: "b".into(), text: String::new(), metadata: "{}".into() };
        assert_broke(entries(&["a".into()], &[Some(entry)]), "answer_other_facts", 1);
    }

    #[test]
    fn facts_that_come_twice_violated() {
        let effects = effects(&["a", "b"]);
        assert_broke(listed(9, &page(&["a", "b", "a", "a"]), &effects), "answer_duplicates", 2);
    }

    #[test]
    fn facts_that_storage_did_not_give_violated() {
        let effects = effects(&["a"]);
        assert_broke(got("x", &[Some(fact("x"))], &effects), "answer_invented_facts", 1);
        assert_broke(listed(9, &page(&["x", "a", "y"]), &effects), "answer_invented_facts", 2);
        assert_broke(stored(&[None], &outcomes(&["x"]), &effects), "answer_invented_facts", 1);
    }

    #[test]
    fn more_or_fewer_answers_than_asked_for_violated() {
        let effects = effects(&["a"]);
        assert_broke(got("a", &[], &effects), "read_facts", 0);
        assert_broke(stored(&[None], &[], &effects), "stored_facts", 0);
        assert_broke(listed(1, &page(&["a", "a"]), &effects), "page_facts", 2);
    }
}
