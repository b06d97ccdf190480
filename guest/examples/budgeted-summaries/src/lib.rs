//! Keeps a short summary of each long fact, at most so many a day.
//!
//! `on-change` makes summaries in the background and keeps them in the extension's state, and
//! `on-read` shows them. The first sentence of a text stands for whatever costs something, such as
//! a call of a model; the settings `per_day` and `characters` bound it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kenning_extension::json::{self, Value, json};
use kenning_extension::{
    Change, ChangeKind, Error, Fact, OnChange, OnRead, SettingsSchema, log, settings, state,
};

/// Summaries a day, if the settings do not say.
const PER_DAY: i64 = 1_000;

/// Characters of a summary, if the settings do not say.
const CHARACTERS: usize = 120;

/// The longest id that has room in a key of the state.
const ID_BYTES: usize = 500;

const DAY: u64 = 24 * 60 * 60;

/// The extension.
pub struct BudgetedSummaries;

impl OnChange for BudgetedSummaries {
    fn on_change(change: Change) -> Result<(), String> {
        if change.kind == ChangeKind::Missed {
            log::warn("changes were missed, so some summaries may be missing or old");
            return Ok(());
        }
        if change.id.len() > ID_BYTES {
            return Ok(());
        }
        let done = match &change.fact {
            Some(fact) => summarise(fact, change.revision, day()),
            None => state::delete(key(&change.id)).map(drop),
        };
        // The change is told again, and set aside in the end.
        done.map_err(|error| error.to_string())
    }
}

impl OnRead for BudgetedSummaries {
    fn on_read(mut facts: Vec<Fact>) -> Vec<Fact> {
        for fact in &mut facts {
            if let Some(summary) = kept(&fact.id) {
                fact.metadata.set("summary", summary.text);
            }
        }
        facts
    }
}

impl SettingsSchema for BudgetedSummaries {
    const SCHEMA: &'static str = r#"{
        "type": "object",
        "properties": {
            "per_day": { "type": "integer", "minimum": 0 },
            "characters": { "type": "integer", "minimum": 20, "maximum": 1000 }
        },
        "additionalProperties": false
    }"#;
}

kenning_extension::export!(BudgetedSummaries: OnRead, OnChange);
kenning_extension::export_schema!(BudgetedSummaries);

/// A summary, and the change that it is of.
struct Summary {
    revision: u64,
    text: String,
}

/// Makes the summary of a fact that has changed, if it needs one and the budget of `day` allows it.
fn summarise(fact: &Fact, revision: u64, day: u64) -> Result<(), Error> {
    let before = kept(&fact.id);
    // A change that is told again costs nothing.
    if before.as_ref().is_some_and(|before| before.revision >= revision) {
        return Ok(());
    }
    let settings = settings::get();
    let number = |name: &str| settings.get(name).and_then(|value| value.as_u64());
    let characters = number("characters").map_or(CHARACTERS, |most| most as usize);
    let text = first_sentence(&fact.text, characters);
    if text.len() < fact.text.trim().len() {
        let per_day = number("per_day").map_or(PER_DAY, |most| most as i64);
        // Kept for two days, so that a clock that is set back finds it.
        let spent =
            state::increment(format!("spent/{day}"), 1, Some(Duration::from_secs(2 * DAY)))?;
        if spent <= per_day {
            let value = json!({ "revision": revision, "text": text }).to_string();
            return state::set(key(&fact.id), value, None).map(drop);
        }
        if spent == per_day + 1 {
            log::warn(format!("the budget of {per_day} summaries is used up for today"));
        }
    }
    // What is kept is of an earlier text.
    match before {
        Some(_) => state::delete(key(&fact.id)).map(drop),
        None => Ok(()),
    }
}

/// The summary that is kept of a fact. One that cannot be read is as good as none.
fn kept(id: &str) -> Option<Summary> {
    if id.len() > ID_BYTES {
        return None;
    }
    let entry = state::get(key(id)).ok()??;
    let value: Value = json::from_str(entry.text()?).ok()?;
    let (revision, text) = (value["revision"].as_u64()?, value["text"].as_str()?.to_string());
    Some(Summary { revision, text })
}

fn key(id: &str) -> String {
    format!("summary/{id}")
}

/// Days since 1970. A clock before 1970 counts as 1970.
fn day() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / DAY
}

/// The first sentence, or as many of its words as have room in `most` characters.
fn first_sentence(text: &str, most: usize) -> String {
    let text = text.trim();
    let is_end = |(at, end): &(usize, char)| {
        let next = text[at + end.len_utf8()..].chars().next();
        ".!?".contains(*end) && next.is_none_or(char::is_whitespace)
    };
    let sentence = match text.char_indices().find(is_end) {
        Some((at, end)) => &text[..at + end.len_utf8()],
        None => text,
    };
    let Some((room, _)) = sentence.char_indices().nth(most) else { return sentence.to_string() };
    let cut = sentence[..room].rfind(char::is_whitespace).unwrap_or(room);
    format!("{}…", sentence[..cut].trim_end())
}

#[cfg(test)]
mod tests {
    use kenning_extension::testing::Host;

    use super::*;

    const LONG: &str = "Ada prefers tea. She drinks it without sugar, and never after six.";

    fn change(id: &str, revision: u64, text: Option<&str>) -> Change {
        let kind = text.map_or(ChangeKind::Deleted, |_| ChangeKind::Changed);
        let fact = text.map(|text| Fact::new(id, text));
        Change { id: id.into(), kind, revision, fact, attempt: 1 }
    }

    fn tell(host: &Host, change: Change) {
        assert_eq!(host.run(|| BudgetedSummaries::on_change(change)), Ok(()));
    }

    fn shown(host: &Host, id: &str) -> Option<String> {
        let facts = host.run(|| BudgetedSummaries::on_read(vec![Fact::new(id, LONG)]));
        facts[0].metadata.get_str("summary")
    }

    #[test]
    fn a_long_fact_has_a_summary_until_it_is_short_or_gone() {
        let host = Host::new();
        tell(&host, change("a", 1, Some(LONG)));
        assert_eq!(shown(&host, "a").as_deref(), Some("Ada prefers tea."));
        assert_eq!(shown(&host, "b"), None);
        tell(&host, change("a", 2, Some("Ada prefers coffee.")));
        assert_eq!(shown(&host, "a"), None);
        tell(&host, change("a", 3, Some(LONG)));
        tell(&host, change("a", 4, None));
        assert_eq!(shown(&host, "a"), None);
    }

    #[test]
    fn the_budget_of_a_day_is_obeyed_and_a_change_that_is_told_again_costs_nothing() {
        let host = Host::new().with_settings(r#"{"per_day":2}"#);
        let make = |id: &str, revision, day| {
            host.run(|| summarise(&Fact::new(id, LONG), revision, day)).unwrap();
            shown(&host, id).is_some()
        };
        assert!(make("a", 1, 7) && make("a", 1, 7) && make("b", 2, 7));
        assert!(!make("c", 3, 7) && !make("d", 4, 7));
        assert_eq!(host.lines(), ["the budget of 2 summaries is used up for today"]);
        assert!(!make("a", 5, 7), "the summary of an earlier text goes");
        assert!(make("c", 6, 8), "another day");
    }

    #[test]
    fn what_has_no_room_in_the_state_is_told_again() {
        let host = Host::new().with_state_quota(1, 1_000);
        let taken = host.run(|| BudgetedSummaries::on_change(change("a", 1, Some(LONG))));
        assert!(taken.is_err());
        let long = "x".repeat(ID_BYTES + 1);
        tell(&host, change(&long, 2, Some(LONG)));
        assert_eq!(shown(&host, &long), None);
    }

    #[test]
    fn a_summary_is_the_first_sentence_or_its_first_words() {
        for (text, summary) in [
            ("Version 1.5 is out! Install it.", "Version 1.5 is out!"),
            ("  No end at all ", "No end at all"),
            ("Größere Wörter werden nicht zerschnitten.", "Größere Wörter…"),
            ("ünununununununununununun", "ünununununununununun…"),
            ("", ""),
        ] {
            assert_eq!(first_sentence(text, 20), summary, "{text}");
        }
    }
}
