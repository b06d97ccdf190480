//! Formats text for output. What is untrusted in it is cleaned by `clean`.

use std::borrow::Cow;

use textwrap::core::display_width;

use crate::clean::is_unprintable;

/// The text on one line: runs of white space become one space, and control characters and
/// characters that change the text direction become U+FFFD.
pub fn sanitize(text: &str) -> String {
    let mut cleaned = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !cleaned.is_empty() {
            cleaned.push(' ');
        }
        cleaned.extend(word.chars().map(printable));
    }
    cleaned
}

/// Like [`sanitize`], but keeps the lines.
pub(crate) fn sanitize_lines(text: &str) -> Vec<String> {
    let visible = |c: char| if c == '\t' { ' ' } else { printable(c) };
    text.lines().map(|line| line.chars().map(visible).collect()).collect()
}

fn printable(c: char) -> char {
    if is_unprintable(c) { char::REPLACEMENT_CHARACTER } else { c }
}

/// One field of a tab-separated line: backslash, tab, newline and carriage return are written as
/// `\\ \t \n \r`. Printing the line escapes what else a terminal would act on.
pub(crate) fn escape_field(text: &str) -> Cow<'_, str> {
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

/// Truncates to `width` columns; the last one is an ellipsis if anything is missing.
pub(crate) fn truncate(text: &str, width: usize) -> Cow<'_, str> {
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

/// Wraps to `width` columns and at most `max_lines` lines; the last one ends with an ellipsis if
/// anything is missing.
pub(crate) fn wrap(text: &str, width: usize, max_lines: usize) -> Vec<String> {
    // Only this much can be visible, and a fact may have 256 KiB.
    let shown: String = text.chars().take(width.saturating_mul(max_lines) + width).collect();
    let mut lines: Vec<String> =
        textwrap::wrap(&shown, width).into_iter().map(Cow::into_owned).collect();
    if lines.len() > max_lines {
        lines.truncate(max_lines);
        if let Some(last) = lines.last_mut() {
            *last = truncate(&format!("{last} …"), width).into_owned();
        }
    }
    lines
}

/// Formats `1234567` as `1,234,567`.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
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
    fn control_characters_are_replaced() {
        assert_eq!(sanitize("a\u{1b}[2Jb\u{9b}c\u{202e}d"), "a\u{fffd}[2Jb\u{fffd}c\u{fffd}d");
        assert_eq!(sanitize("  a\n\tb \r\n"), "a b");
        assert_eq!(sanitize_lines("a\tb\n\u{7}c"), ["a b", "\u{fffd}c"]);
    }

    #[test]
    fn a_field_never_contains_a_tab_or_a_line_break() {
        assert_eq!(escape_field("a\tb\nc\\n\r"), "a\\tb\\nc\\\\n\\r");
        assert!(matches!(escape_field("plain"), Cow::Borrowed("plain")));
    }

    #[test]
    fn a_truncated_text_fits_its_width_with_wide_characters() {
        assert_eq!(truncate("abcdef", 6), "abcdef");
        assert_eq!(truncate("abcdefg", 6), "abcde…");
        assert_eq!(truncate("日本語日本語", 6), "日本…");
        assert_eq!(truncate("abc", 0), "…");
    }

    #[test]
    fn a_wrapped_text_has_at_most_the_given_lines() {
        assert_eq!(wrap("one two three four", 9, 2), ["one two", "three …"]);
        assert_eq!(wrap("one two", 9, 2), ["one two"]);
        let long = wrap(&"word ".repeat(100_000), 20, 3);
        assert_eq!(long.len(), 3);
        assert!(long.iter().all(|line| display_width(line) <= 20), "{long:?}");
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        for (number, expected) in
            [(0, "0"), (999, "999"), (1000, "1,000"), (12345, "12,345"), (1234567, "1,234,567")]
        {
            assert_eq!(thousands(number), expected);
        }
        assert_eq!(count(1, "fact"), "1 fact");
        assert_eq!(count(1204, "hit"), "1,204 hits");
    }
}
