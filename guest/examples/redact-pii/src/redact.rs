//! Redacting a text in one pass.

use crate::Kind;

/// A redacted text.
#[derive(Debug, PartialEq, Eq)]
pub struct Redacted {
    /// The text with labels in place of personal data.
    pub text: String,
    /// How many items were replaced.
    pub count: usize,
}

/// Replaces every item of these kinds in `text` by the label of its kind.
///
/// Redacting a redacted text changes nothing.
pub fn redact(text: &str, kinds: &[Kind]) -> Redacted {
    let mut redacted = Redacted { text: String::with_capacity(text.len()), count: 0 };
    let mut rest = text;
    let mut within_a_word = false;
    while let Some(first) = rest.chars().next() {
        let found = match within_a_word {
            true => None,
            false => kinds.iter().find_map(|kind| Some((kind, kind.length_at_start(rest)?))),
        };
        let taken = match found {
            Some((kind, length)) => {
                redacted.text.push_str(kind.label());
                redacted.count += 1;
                length
            }
            None => {
                redacted.text.push(first);
                first.len_utf8()
            }
        };
        within_a_word = rest[..taken].chars().next_back().is_some_and(char::is_alphanumeric);
        rest = &rest[taken..];
    }
    redacted
}
