//! Keeps a knowledge base from saying the same thing twice.
//!
//! A draft that says word for word what a fact says is refused. One that says almost the
//! same is stored with `near_duplicate_of` in its metadata, so that a person or a job can
//! look at both: whether a changed word is a correction or a copy is not for a rule.

mod words;

use std::collections::BTreeSet;

use kenning_extension::{Draft, Error, OnStore, Refusal, index, log, storage};

/// The share of words that two texts must have in common to be almost the same.
const NEAR: f64 = 0.8;

/// How many facts are compared with a draft: those that share most of its words.
const COMPARED: u32 = 10;

/// Where the id of the fact that says almost the same is noted.
const FIELD: &str = "near_duplicate_of";

/// The extension.
pub struct Dedupe;

impl OnStore for Dedupe {
    fn on_store(draft: Draft) -> Result<Vec<Draft>, Refusal> {
        match closest(&draft) {
            Ok(Some(closest)) if closest.is_same => Err(Refusal::new(format!(
                "the fact {} says this already; change that one instead",
                closest.id
            ))),
            Ok(Some(closest)) => Ok(vec![draft.with(FIELD, closest.id)]),
            Ok(None) => Ok(vec![draft]),
            // A copy can be found later; a fact that was turned away is gone.
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

/// The fact that says most nearly what the draft says, if one is near.
fn closest(draft: &Draft) -> Result<Option<Closest>, Error> {
    let said = words::normal(&draft.text);
    let wanted: BTreeSet<&str> = said.iter().map(String::as_str).collect();
    let found = index::matching(&draft.text, None, COMPARED)?;
    // A store may be repeated under its id: a fact is no copy of itself.
    let others = found.iter().map(|found| found.id.as_str());
    let others: Vec<&str> = others.filter(|id| draft.id.as_deref() != Some(id)).collect();
    let mut closest: Option<Closest> = None;
    for (id, hash) in others.iter().zip(storage::read(&others)?) {
        let Some(hash) = hash else { continue };
        let theirs = words::normal(hash.get("content").unwrap_or_default());
        let similarity = words::similarity(&wanted, &theirs);
        let is_same = said == theirs;
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
    fn the_same_words_are_refused_and_the_fact_is_named() {
        for text in ["Ada prefers tea.", "  ada PREFERS, tea!", "Ada\tprefers\ntea"] {
            let refusal = store(Draft::new(text)).unwrap_err();
            assert!(refusal.message.contains("the fact tea says this"), "{refusal:?}");
        }
    }

    #[test]
    fn almost_the_same_words_are_stored_and_marked() {
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
    fn a_store_can_be_repeated_under_its_id() {
        let draft = Draft::new("Ada prefers tea.").with_id("tea");
        assert_eq!(store(draft.clone()), Ok(vec![draft]));
    }

    #[test]
    fn without_an_index_facts_are_stored_and_the_log_says_why() {
        let host = host().failing();
        let draft = Draft::new("Ada prefers tea.");
        assert_eq!(host.run(|| Dedupe::on_store(draft.clone())), Ok(vec![draft]));
        assert_eq!(host.lines(), ["a draft was not compared: the stand-in was told to fail"]);
    }
}
