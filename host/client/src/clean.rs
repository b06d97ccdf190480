//! Makes a stranger's text safe to print. Every printer of the product uses these functions: the
//! commands through [`Terminal`](crate::Terminal), and the server for its log.
//!
//! Facts, names, and what guests log are untrusted: an escape sequence in them could move the
//! cursor, rename the window, answer for the user or hide what was written before.

use std::borrow::Cow;

/// How the styles begin that our own output has; one digit or two and an `m` follow.
const STYLE: &str = "\u{1b}[";

/// The numbers of these styles: reset, bold, dimmed, italic, and the colours.
const STYLES: [&str; 10] = ["0", "1", "2", "3", "31", "32", "33", "34", "35", "36"];

/// Whether a terminal may act on `c`, or show the text around it in another order.
///
/// ```
/// assert!(kenning_client::is_unprintable('\u{1b}') && kenning_client::is_unprintable('\n'));
/// assert!(!kenning_client::is_unprintable('é'));
/// ```
pub fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}'
                | '\u{fff9}'..='\u{fffb}'
        )
}

fn must_change(text: &str) -> bool {
    text.chars().any(|c| is_unprintable(c) && !matches!(c, '\n' | '\t'))
}

/// The text with U+FFFD for each unprintable character; line breaks and tabs stay.
///
/// ```
/// assert_eq!(kenning_client::clean_lines("a\u{1b}[2J\n\tb"), "a\u{fffd}[2J\n\tb");
/// ```
pub fn clean_lines(text: &str) -> Cow<'_, str> {
    if !must_change(text) {
        return Cow::Borrowed(text);
    }
    let visible = |c| match c {
        '\n' | '\t' => c,
        c if is_unprintable(c) => char::REPLACEMENT_CHARACTER,
        c => c,
    };
    Cow::Owned(text.chars().map(visible).collect())
}

/// Like [`clean_lines`], but keeps the styles that our own output has: a stranger's text that is
/// part of it can at most be coloured.
pub fn clean_styled(text: &str) -> Cow<'_, str> {
    if !must_change(text) {
        return Cow::Borrowed(text);
    }
    let mut cleaned = String::with_capacity(text.len());
    let mut parts = text.split(STYLE);
    cleaned.push_str(&clean_lines(parts.next().unwrap_or_default()));
    for part in parts {
        let number = part.split('m').next().unwrap_or_default();
        let is_style = number.len() < part.len() && STYLES.contains(&number);
        cleaned.push_str(if is_style { STYLE } else { "\u{fffd}[" });
        cleaned.push_str(&clean_lines(part));
    }
    Cow::Owned(cleaned)
}

/// The text with `\u001b` for each unprintable character, as JSON has it; line breaks and tabs
/// stay. Of a JSON document it changes only how strings are written, and not what they are.
///
/// ```
/// assert_eq!(kenning_client::escape_controls("\"\u{9b}2J\"\n"), "\"\\u009b2J\"\n");
/// ```
pub fn escape_controls(text: &str) -> Cow<'_, str> {
    if !must_change(text) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' | '\t' => escaped.push(c),
            c if is_unprintable(c) => escaped.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => escaped.push(c),
        }
    }
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything that a terminal may act on, and what is around it.
    const HOSTILE: &str = "a\u{1b}]0;title\u{7}b\u{9b}31mc\u{202e}d\u{8}\r\u{7f}\u{2028}e";

    #[test]
    fn nothing_that_a_terminal_acts_on_is_left() {
        for clean in [clean_lines(HOSTILE), clean_styled(HOSTILE), escape_controls(HOSTILE)] {
            assert!(!clean.chars().any(is_unprintable), "{clean:?}");
        }
        assert_eq!(escape_controls("\u{1b}\u{202e}\r"), "\\u001b\\u202e\\u000d");
        assert!(matches!(clean_lines("plain\n\ttext, é"), Cow::Borrowed(_)));
    }

    #[test]
    fn only_our_own_styles_stay() {
        let ours = "\u{1b}[1m\u{1b}[36mname\u{1b}[0m text";
        assert_eq!(clean_styled(&format!("{ours}\u{7}")), format!("{ours}\u{fffd}"));
        for theirs in ["\u{1b}[2J", "\u{1b}[8mhidden", "\u{1b}[31", "\u{1b}]0;x\u{7}", "\u{1b}["] {
            assert!(!clean_styled(theirs).contains('\u{1b}'), "{theirs:?}");
        }
    }

    #[test]
    fn json_means_the_same_when_its_controls_are_escaped() {
        let value = serde_json::json!({ "text": HOSTILE, "é": ["\u{85}"] });
        let escaped = escape_controls(&value.to_string()).into_owned();
        assert_eq!(serde_json::from_str::<serde_json::Value>(&escaped).unwrap(), value);
    }
}
