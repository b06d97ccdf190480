//! Formats the passages of a hit, with the words that matched.

use crate::responses::{Highlight, Match};
use crate::terminal::Paint;
use crate::text::{sanitize, wrap};

/// Maximum number of lines of one passage: 200 characters on a narrow terminal.
const MAX_LINES: usize = 8;

/// Stand around a word while its passage is wrapped; no sanitized text has them.
const BEGIN: char = '\u{2}';
const END: char = '\u{3}';

/// The passages as indented lines of at most `width` columns. An ellipsis stands where text is left
/// out.
pub(super) fn lines(
    passages: &[Highlight],
    content: &str,
    indent: usize,
    width: usize,
    paint: Paint,
) -> Vec<String> {
    let room = width.saturating_sub(indent).max(1);
    let margin = " ".repeat(indent);
    let length = content.chars().count();
    let mut lines = Vec::new();
    for passage in passages {
        let before = if passage.start > 0 { "… " } else { "" };
        let goes_on = passage.start + passage.text.chars().count() < length;
        let after = if goes_on { " …" } else { "" };
        let text = format!("{before}{}{after}", marked(&passage.text, &passage.matches));
        let mut is_inside = false;
        for line in wrap(&text, room, MAX_LINES) {
            lines.push(format!("{margin}{}", painted(&line, &mut is_inside, paint)));
        }
    }
    lines
}

/// The text on one line, with marks around the words.
fn marked(text: &str, matches: &[Match]) -> String {
    let mut marked = String::with_capacity(text.len());
    let begins = |at: usize| matches.iter().any(|word| word.start == at && word.start < word.end);
    let ends = |at: usize| matches.iter().any(|word| word.end == at && word.start < word.end);
    for (at, character) in text.chars().enumerate() {
        marked.extend(ends(at).then_some(END));
        marked.extend(begins(at).then_some(BEGIN));
        match character.is_whitespace() {
            true => marked.push(' '),
            false => marked.push_str(&sanitize(character.encode_utf8(&mut [0; 4]))),
        }
    }
    marked.extend(ends(text.chars().count()).then_some(END));
    marked
}

/// A line with its marked words in bold; a word may begin on one line and end on the next.
fn painted(line: &str, is_inside: &mut bool, paint: Paint) -> String {
    let mut painted = String::new();
    for part in line.split_inclusive([BEGIN, END]) {
        let text = part.trim_end_matches([BEGIN, END]);
        match *is_inside && !text.is_empty() {
            true => painted.push_str(&paint.strong(text)),
            false => painted.push_str(text),
        }
        *is_inside = match part.chars().last() {
            Some(BEGIN) => true,
            Some(END) => false,
            _ => *is_inside,
        };
    }
    painted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passage(text: &str, start: usize, words: &[(usize, usize)]) -> Highlight {
        let matches = words.iter().map(|&(start, end)| Match { start, end }).collect();
        Highlight { text: text.into(), start, matches }
    }

    #[test]
    fn matched_words_are_bold_and_left_out_text_is_an_ellipsis() {
        let content = "A long story: déjà vu again and again";
        let passages = [passage("déjà vu", 14, &[(0, 4)])];
        let plain = lines(&passages, content, 2, 40, Paint { colour: false });
        assert_eq!(plain, ["  … déjà vu …"]);
        let painted = lines(&passages, content, 2, 40, Paint { colour: true });
        assert_eq!(painted.len(), 1);
        assert!(painted[0].contains("déjà\u{1b}[0m vu"), "{painted:?}");
        assert!(!painted[0].contains([BEGIN, END]));
    }

    #[test]
    fn control_characters_and_places_outside_the_text_do_no_harm() {
        let passages = [passage("a\u{1b}[2Jb\u{2}", 0, &[(0, 1), (4, 2), (5, 99)])];
        let lines = lines(&passages, "a\u{1b}[2Jb\u{2}", 0, 40, Paint { colour: false });
        assert!(lines.concat().chars().all(|c| !c.is_control()), "{lines:?}");
    }
}
