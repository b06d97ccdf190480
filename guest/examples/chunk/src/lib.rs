//! Splits long texts at sentence ends, so that search finds each part by its own content:
//! an embedding model reads only the beginning of a text.
//!
//! | part | id | metadata |
//! |---|---|---|
//! | first | the draft's own, or one derived from its text | the draft's, and `chunk` |
//! | later | the first part's with `.2`, `.3`, … | the same |
//!
//! `chunk` is `{"of": first id, "part": n, "parts": count}`. Parts overlap by a sentence.

mod id;
mod split;

use kenning_extension::json::json;
use kenning_extension::{Draft, OnStore, Refusal, log};

/// Maximum length of a part, in bytes. all-MiniLM-L6-v2 reads 256 tokens, which is about
/// this much English text. Longer sentences are cut at a space.
const PART_BYTES: usize = 1_000;

/// Maximum overlap with the previous part, in bytes. Only whole sentences are repeated.
const OVERLAP_BYTES: usize = 200;

/// Maximum number of parts of one draft.
const PARTS: usize = 100;

/// The extension.
pub struct Chunk;

impl OnStore for Chunk {
    fn on_store(mut draft: Draft) -> Result<Vec<Draft>, Refusal> {
        if draft.text.len() <= PART_BYTES {
            return Ok(vec![draft]);
        }
        let text = std::mem::take(&mut draft.text);
        let parts = split::split(&text, PART_BYTES, OVERLAP_BYTES);
        let count = parts.len();
        if count > PARTS {
            return Err(Refusal::new(format!(
                "this text would become {count} facts, but at most {PARTS} are possible; store it \
                 in pieces"
            )));
        }
        let first = draft.id.clone().unwrap_or_else(|| id::of_text(&text));
        log::debug(format!("split a text of {} bytes into {count} facts", text.len()));
        let numbered = parts.into_iter().zip(1..);
        numbered.map(|(part, number)| to_draft(&draft, &first, part, number, count)).collect()
    }
}

kenning_extension::export!(Chunk: OnStore);

fn to_draft(
    whole: &Draft,
    first: &str,
    part: &str,
    number: usize,
    count: usize,
) -> Result<Draft, Refusal> {
    let draft = Draft { id: Some(id::of_part(first, number)?), text: part.into(), ..whole.clone() };
    Ok(draft.with("chunk", json!({ "of": first, "part": number, "parts": count })))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long() -> String {
        let sentence = |n| format!("Sentence number {n} is about topic {}. ", n % 7);
        (1..=100).map(sentence).collect()
    }

    #[test]
    fn a_short_text_stays_one_fact() {
        let draft = Draft::new("Tea is hot. ".repeat(10)).with_id("a");
        assert_eq!(Chunk::on_store(draft.clone()), Ok(vec![draft]));
    }

    #[test]
    fn a_long_text_becomes_facts_with_their_part_numbers() {
        let draft = Draft {
            timestamp: Some("2026-01-01T00:00:00Z".into()),
            ..Draft::new(long()).with_id("a").with("topic", "x")
        };
        let parts = Chunk::on_store(draft).unwrap();
        assert!(parts.len() > 3, "{}", parts.len());
        for (number, part) in (1..).zip(&parts) {
            let id = if number == 1 { "a".to_string() } else { format!("a.{number}") };
            assert_eq!(part.id.as_ref(), Some(&id));
            assert_eq!(part.metadata.get_str("topic").as_deref(), Some("x"));
            let chunk = json!({ "of": "a", "part": number, "parts": parts.len() });
            assert_eq!(part.metadata.get("chunk"), Some(chunk));
            assert_eq!(part.timestamp.as_deref(), Some("2026-01-01T00:00:00Z"));
        }
    }

    #[test]
    fn the_same_text_becomes_the_same_facts() {
        let once = Chunk::on_store(Draft::new(long())).unwrap();
        assert_eq!(Chunk::on_store(Draft::new(long())).unwrap(), once);
        assert!(once[0].id.as_ref().is_some_and(|id| id.starts_with("text-")));
    }

    #[test]
    fn a_text_that_cannot_be_split_is_rejected_with_a_reason() {
        let refused = |draft| Chunk::on_store(draft).unwrap_err().message;
        assert!(refused(Draft::new("Word. ".repeat(30_000))).contains("at most 100"));
        let long_id = "a".repeat(127);
        assert!(refused(Draft::new(long()).with_id(long_id)).contains("shorter"));
    }
}
