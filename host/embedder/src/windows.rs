//! Cuts a text into windows: pieces that the model reads whole, each of which begins a little
//! before the end of the last, so that what stands on a border is whole in one of them.

use std::ops::Range;

/// The part of a window that is repeated at the beginning of the next: one of so many.
const OVERLAP: usize = 8;

/// A window ends at the end of a sentence or a word if there is one in the last of so many parts.
const LAST: usize = 4;

/// Ends of sentences in scripts that put no space behind them.
const FULL_STOPS: [char; 6] = ['。', '！', '？', '।', '؟', '።'];

/// Cuts `text` into windows, at most `most` of them. `reach` tells how many bytes of the beginning
/// of a text the model reads.
///
/// The windows cover the text from its beginning without gaps: to its end, unless there would have
/// to be more than `most`. There is always one.
pub(crate) fn cut(text: &str, most: usize, reach: impl Fn(&str) -> usize) -> Vec<Range<usize>> {
    let mut windows = Vec::new();
    let mut start = 0;
    loop {
        let rest = &text[start..];
        // A model that reads nothing of a text is given a character at a time.
        let read = rest.floor_char_boundary(reach(rest));
        let read = read.max(rest.chars().next().map_or(0, char::len_utf8));
        if rest[read..].trim_start().is_empty() {
            windows.push(start..text.len());
            return windows;
        }
        let end = start + border(&rest[..read]);
        windows.push(start..end);
        if windows.len() >= most {
            return windows;
        }
        start = beginning(text, start, end);
    }
}

/// Cuts a text into windows of at most `bytes`.
pub(crate) fn cut_bytes(text: &str, bytes: usize, most: usize) -> Vec<Range<usize>> {
    cut(text, most, |rest| rest.len().min(bytes))
}

/// Where the first window of a text ends of which the model reads `read`: behind the last sentence
/// in its last part, or else behind the last word, or else at its end.
fn border(read: &str) -> usize {
    let from = read.ceil_char_boundary(read.len() - read.len() / LAST);
    let last = &read[from..];
    let mut sentence = None;
    let mut word = None;
    let mut characters = last.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        let end = at + character.len_utf8();
        let before_space = characters.peek().is_some_and(|(_, next)| next.is_whitespace());
        match character {
            '\n' => sentence = Some(end),
            '.' | '!' | '?' if before_space => sentence = Some(end),
            _ if FULL_STOPS.contains(&character) => sentence = Some(end),
            _ if character.is_whitespace() => word = Some(end),
            _ => {}
        }
    }
    from + sentence.or(word).unwrap_or(last.len())
}

/// Where the window after `start..end` begins: at the first word in the part that is repeated.
fn beginning(text: &str, start: usize, end: usize) -> usize {
    let from = text.floor_char_boundary(end - (end - start) / OVERLAP);
    let from = if from > start { from } else { end };
    let repeated = &text[from..end];
    let space = repeated.char_indices().find(|(_, character)| character.is_whitespace());
    space.map_or(from, |(at, character)| from + at + character.len_utf8())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(text: &str, bytes: usize, most: usize) -> Vec<&str> {
        cut_bytes(text, bytes, most).into_iter().map(|window| &text[window]).collect()
    }

    #[test]
    fn a_short_text_is_one_window() {
        for text in ["", " ", "tea", "猫"] {
            assert_eq!(windows(text, 3, 10), [text]);
        }
        assert_eq!(windows("tea \n ", 3, 10), ["tea \n "], "nothing is left to read");
    }

    #[test]
    fn a_window_ends_behind_a_sentence_or_else_a_word_and_the_next_repeats_whole_words() {
        let text = "The keeper of the light wrote each day what he saw. He saw ships. Then came \
                    fog for nine days, and nobody passed.";
        assert_eq!(
            windows(text, 80, 10),
            [
                "The keeper of the light wrote each day what he saw. He saw ships.",
                "ships. Then came fog for nine days, and nobody passed.",
            ]
        );
        let letters =
            "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron";
        assert_eq!(
            windows(letters, 64, 10),
            [
                "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda ",
                "lambda mu nu xi omicron",
            ]
        );
        let chinese = "猫在睡觉。狗在叫。鸟在飞。鱼在游。";
        assert_eq!(windows(chinese, 42, 10)[0], "猫在睡觉。狗在叫。鸟在飞。");
    }

    #[test]
    fn windows_cover_any_text_without_gaps_and_are_no_longer_than_the_model_reads() {
        let mut random = fastrand::Rng::with_seed(5);
        let alphabet = ['a', 'b', ' ', '.', '\n', 'ß', '猫', '。', '\u{1f600}'];
        for _ in 0..2_000 {
            let letters = random.usize(..400);
            let text: String = (0..letters).map(|_| alphabet[random.usize(..9)]).collect();
            let bytes = random.usize(4..60);
            let windows = cut_bytes(&text, bytes, usize::MAX);
            assert_eq!(windows[0].start, 0);
            assert_eq!(windows.last().unwrap().end, text.len());
            for pair in windows.windows(2) {
                assert!(pair[1].start > pair[0].start && pair[1].start <= pair[0].end);
                assert!(pair[1].end > pair[0].end, "{pair:?}");
            }
            for window in &windows {
                assert!(text[window.clone()].trim_end().len() <= bytes);
            }
        }
    }

    #[test]
    fn a_text_of_more_windows_than_allowed_is_covered_from_its_beginning() {
        let text = "word ".repeat(1_000);
        assert_eq!(cut_bytes(&text, 50, 100).len(), 100);
        assert_eq!(cut_bytes(&text, 50, 1_000).last().unwrap().end, text.len());
        assert_eq!(cut_bytes(&text, 50, 1), std::iter::once(0..50).collect::<Vec<_>>());
    }
}
