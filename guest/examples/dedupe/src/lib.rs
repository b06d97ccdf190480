//! Rejects duplicates and marks near duplicates.
//!
//! A draft with the same words as an existing fact is rejected. A draft with almost the same
//! words is stored with `near_duplicate_of` in its metadata, so that a person or a job can
//! review both: a rule cannot decide whether a changed word is a correction.

mod words;

use std::collections::BTreeSet;

use kenning_extension::{Draft, Error, OnStore, Refusal, index, log, storage};

/// The fraction of words that near duplicates have in common, at least.
const NEAR: f64 = 0.8;

/// Maximum number of facts to compare with a draft: those that share the most words.
const COMPARED: u32 = 10;

/// The metadata field that holds the id of the similar fact.
const FIELD: &str = "near_duplicate_of";

/// The extension.
pub struct Dedupe;

impl OnStore for Dedupe {
    fn on_store(draft: Draft) -> Result<Vec<Draft>, Refusal> {
        match closest(&draft) {
            Ok(Some(closest)) if closest.is_same => Err(Refusal::new(format!(
                "the fact {} already says this; update that fact instead",
                closest.id
            ))),
            Ok(Some(closest)) => Ok(vec![draft.with(FIELD, closest.id)]),
            Ok(None) => Ok(vec![draft]),
            // A duplicate can be removed later, but a rejected fact may be lost.
            Err(error) => {
                log::warn(format!("a draft was not compared: {error}"));
                Ok(vec![draft])
            }
        }
    }
}

kenning_extension::export!(Dedupe: OnStore);

struct Closest {
    id: String,
    is_same: bool,
    similarity: f64,
}

/// The fact that is most similar to the draft, if it is a near duplicate.
fn closest(draft: &Draft) -> Result<Option<Closest>, Error> {
    let own = words::normal(&draft.text);
    let wanted: BTreeSet<&str> = own.iter().map(String::as_str).collect();
    let found = index::matching(&draft.text, None, COMPARED)?;
    // A store may be repeated with the same id, so skip the fact with this id.
    let others = found.iter().map(|found| found.id.as_str());
    let others: Vec<&str> = others.filter(|id| draft.id.as_deref() != Some(id)).collect();
    let mut closest: Option<Closest> = None;
    for (id, hash) in others.iter().zip(storage::read(&others)?) {
        let Some(hash) = hash else { continue };
        let theirs = words::normal(hash.get("content").unwrap_or_default());
        let similarity = words::similarity(&wanted, &theirs);
        let is_same = own == theirs;
        let is_nearer = closest.as_ref().is_none_or(|closest| similarity > closest.similarity);
        if is_same || (similarity >= NEAR && is_nearer) {
            closest = Some(Closest { id: id.to_string(), is_same, similarity });
        }
        if is_same {
            break;
        }
    }
    Ok(closest)
}

#[cfg(test)]
mod tests {
    use kenning_extension::Fact;
    use kenning_extension::testing::Host;

    use super::*;

    fn host() -> Host {
        Host::new().with_facts([
            Fact::new("port", "The staging database listens on port 7171 in Frankfurt."),
            Fact::new("tea", "Ada prefers tea."),
        ])
    }

    fn store(draft: Draft) -> Result<Vec<Draft>, Refusal> {
        host().run(|| Dedupe::on_store(draft))
    }

    #[test]
    fn the_same_words_are_rejected_and_the_fact_is_named() {
        for text in ["Ada prefers tea.", "  ada PREFERS, tea!", "Ada\tprefers\ntea"] {
            let refusal = store(Draft::new(text)).unwrap_err();
            assert!(refusal.message.contains("the fact tea already says this"), "{refusal:?}");
        }
    }

    #[test]
    fn almost_the_same_words_are_stored_with_a_mark() {
        let text = "The staging database listens on port 7172 in Frankfurt.";
        let stored = store(Draft::new(text)).unwrap();
        assert_eq!(stored[0].text, text);
        assert_eq!(stored[0].metadata.get_str(FIELD).as_deref(), Some("port"));
    }

    #[test]
    fn other_words_are_stored_as_they_are() {
        for text in ["Ada prefers coffee.", "Bob listens to tea.", "Tea."] {
            let draft = Draft::new(text).with("topic", "people");
            assert_eq!(store(draft.clone()), Ok(vec![draft]), "{text}");
        }
    }

    #[test]
    fn a_store_can_be_repeated_with_the_same_id() {
        let draft = Draft::new("Ada prefers tea.").with_id("tea");
        assert_eq!(store(draft.clone()), Ok(vec![draft]));
    }

    #[test]
    fn if_the_index_fails_facts_are_stored_and_a_warning_is_logged() {
        let host = host().failing();
        let draft = Draft::new("Ada prefers tea.");
        assert_eq!(host.run(|| Dedupe::on_store(draft.clone())), Ok(vec![draft]));
        assert_eq!(host.lines(), ["a draft was not compared: the fake host is set to fail"]);
    }
}
