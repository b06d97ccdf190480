//! Text from facts, made fit to print.
//!
//! Facts are written by anyone, so on a terminal their control characters are shown rather than
//! sent: an escape sequence in a fact must not move the cursor or rename the window. Elsewhere
//! only what would break a line into two is escaped.

use std::borrow::Cow;

use textwrap::core::display_width;

/// One line of harmless characters: runs of white space become one space, and controls and
/// characters that turn the direction of text become U+FFFD.
pub(crate) fn clean(text: &str) -> String {
    let mut cleaned = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !cleaned.is_empty() {
            cleaned.push(' ');
        }
        cleaned.extend(word.chars().map(harmless));
    }
    cleaned
}

/// Like [`clean`], but lines stay lines.
pub(crate) fn clean_lines(text: &str) -> Vec<String> {
    let visible = |c: char| if c == '\t' { ' ' } else { harmless(c) };
    text.lines().map(|line| line.chars().map(visible).collect()).collect()
}

fn harmless(c: char) -> char {
    let turns =
        matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if turns || c.is_control() { char::REPLACEMENT_CHARACTER } else { c }
}

/// One field of a tab-separated line: backslash, tab, newline and return as `\\ \t \n \r`.
pub(crate) fn field(text: &str) -> Cow<'_, str> {
    if !text.contains(['\\', '\t', '\n', '\r']) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\\' => escaped.push_str("\\\\"),
            '\t' => escaped.push_str("\\t"),
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            other => escaped.push(other),
        }
    }
    Cow::Owned(escaped)
}

/// Cuts to `width` columns, the last one an ellipsis if anything was cut.
pub(crate) fn cut(text: &str, width: usize) -> Cow<'_, str> {
    if display_width(text) <= width {
        return Cow::Borrowed(text);
    }
    let mut used = 0;
    let kept: String = text
        .chars()
        .take_while(|c| {
            used += display_width(c.encode_utf8(&mut [0; 4]));
            used < width
        })
        .collect();
    Cow::Owned(kept + "…")
}

/// Wraps to `width` columns and at most `most` lines, the last one cut if there is more.
pub(crate) fn wrap(text: &str, width: usize, most: usize) -> Vec<String> {
    // No more than this can show, and a fact may be 256 KiB.
    let shown: String = text.chars().take(width.saturating_mul(most) + width).collect();
    let mut lines: Vec<String> =
        textwrap::wrap(&shown, width).into_iter().map(Cow::into_owned).collect();
    if lines.len() > most {
        lines.truncate(most);
        if let Some(last) = lines.last_mut() {
            *last = cut(&format!("{last} …"), width).into_owned();
        }
    }
    lines
}

/// `1234567` as `1,234,567`.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() * 4 / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A count and its noun: `1 fact`, `1,204 facts`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", thousands(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_escape_sequence_is_shown_rather_than_sent() {
        assert_eq!(clean("a\u{1b}[2Jb\u{9b}c\u{202e}d"), "a\u{fffd}[2Jb\u{fffd}c\u{fffd}d");
        assert_eq!(clean("  a\n\tb \r\n"), "a b");
        assert_eq!(clean_lines("a\tb\n\u{7}c"), ["a b", "\u{fffd}c"]);
    }

    #[test]
    fn a_field_never_breaks_its_line() {
        assert_eq!(field("a\tb\nc\\n\r"), "a\\tb\\nc\\\\n\\r");
        assert!(matches!(field("plain"), Cow::Borrowed("plain")));
    }

    #[test]
    fn a_cut_text_fits_its_width_counting_wide_characters() {
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdefg", 6), "abcde…");
        assert_eq!(cut("日本語日本語", 6), "日本…");
        assert_eq!(cut("abc", 0), "…");
    }

    #[test]
    fn a_wrapped_text_keeps_to_its_lines() {
        assert_eq!(wrap("one two three four", 9, 2), ["one two", "three …"]);
        assert_eq!(wrap("one two", 9, 2), ["one two"]);
        let long = wrap(&"word ".repeat(100_000), 20, 3);
        assert_eq!(long.len(), 3);
        assert!(long.iter().all(|line| display_width(line) <= 20), "{long:?}");
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        for (number, said) in
            [(0, "0"), (999, "999"), (1000, "1,000"), (12345, "12,345"), (1234567, "1,234,567")]
        {
            assert_eq!(thousands(number), said);
        }
        assert_eq!(count(1, "fact"), "1 fact");
        assert_eq!(count(1204, "hit"), "1,204 hits");
    }
}
