//! Where a text has the terms of a query.
//!
//! Terms do not say where they were read: a text is normalized before it is analysed. So pieces of
//! the original text are analysed, from large to small, and the smallest piece that yields a term
//! is its place.

use std::collections::HashMap;
use std::ops::Range;

use unicode_normalization::char::is_combining_mark;

use crate::analysis::{self, Language};

/// Longest word that is looked for in a script without spaces, in characters.
const UNSPACED_CHARS: usize = 4;

/// The terms of a query, by number, and the language for which they were read.
#[derive(Debug, Default)]
pub(crate) struct TermNumbers {
    pub(crate) numbers: HashMap<Box<str>, usize>,
    pub(crate) language: Language,
}

/// A term of the query in the text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The bytes of the text that it was read from.
    pub(crate) range: Range<usize>,
    /// The term's number.
    pub(crate) term: usize,
}

/// Every place of the terms in `text`, by where they begin. Places may overlap.
pub(crate) fn places(text: &str, terms: &TermNumbers) -> Vec<Place> {
    let mut places = Vec::new();
    for chunk in between_spaces(text) {
        let found = numbers(&text[chunk.clone()], terms, |_| true);
        if !found.is_empty() {
            within_chunk(text, chunk, found, terms, &mut places);
        }
    }
    places.sort_by_key(|place| (place.range.start, place.range.end));
    places
}

/// Adds the places of the terms `found` in a text without spaces.
fn within_chunk(
    text: &str,
    chunk: Range<usize>,
    mut found: Vec<usize>,
    terms: &TermNumbers,
    places: &mut Vec<Place>,
) {
    for (run, is_unspaced) in runs(text, chunk.clone()) {
        let here = numbers(&text[run.clone()], terms, |_| true);
        found.retain(|term| !here.contains(term));
        if is_unspaced && !here.is_empty() {
            within_unspaced(text, run, terms, places);
        } else {
            places.extend(here.into_iter().map(|term| Place { range: run.clone(), term }));
        }
    }
    // What is more than one word, such as an address.
    let is_closing = |character: char| ",.;:!?\"')]}".contains(character);
    let is_opening = |character: char| "\"'([{".contains(character);
    let whole = &text[chunk.clone()];
    let start = chunk.end - whole.trim_start_matches(is_opening).len();
    let end = (chunk.start + whole.trim_end_matches(is_closing).len()).max(start);
    places.extend(found.into_iter().map(|term| Place { range: start..end, term }));
}

/// Adds the places of the terms in a run of a script without spaces: the pieces of as many
/// characters as the term.
fn within_unspaced(text: &str, run: Range<usize>, terms: &TermNumbers, places: &mut Vec<Place>) {
    let mut bounds: Vec<usize> = text[run.clone()].char_indices().map(|(at, _)| at).collect();
    bounds.push(run.len());
    for length in 1..=UNSPACED_CHARS {
        for ends in bounds.windows(length + 1) {
            let range = run.start + ends[0]..run.start + ends[length];
            let is_whole = |term: &str| term.chars().count() == length;
            let here = numbers(&text[range.clone()], terms, is_whole);
            places.extend(here.into_iter().map(|term| Place { range: range.clone(), term }));
        }
    }
}

/// The numbers of the query's terms that `text` has, each once, if `counts` says so of the term.
fn numbers(text: &str, terms: &TermNumbers, counts: impl Fn(&str) -> bool) -> Vec<usize> {
    let mut found = Vec::new();
    analysis::terms(text, terms.language, |term| {
        let number = terms.numbers.get(term.text);
        found.extend(number.filter(|number| !found.contains(*number) && counts(term.text)));
    });
    found
}

/// The parts of the text between its spaces.
fn between_spaces(text: &str) -> impl Iterator<Item = Range<usize>> {
    text.split_whitespace().map(|part| {
        // Parts are slices of the text.
        let start = part.as_ptr() as usize - text.as_ptr() as usize;
        start..start + part.len()
    })
}

/// The runs of letters and digits in a part of the text, and whether their script has no spaces.
fn runs(text: &str, part: Range<usize>) -> Vec<(Range<usize>, bool)> {
    let mut runs: Vec<(Range<usize>, bool)> = Vec::new();
    for (at, character) in text[part.clone()].char_indices() {
        let start = part.start + at;
        let end = start + character.len_utf8();
        let is_mark = is_combining_mark(character);
        let is_unspaced = is_unspaced(character);
        match runs.last_mut().filter(|(run, _)| run.end == start) {
            Some((run, kind)) if is_mark || *kind == is_unspaced && character.is_alphanumeric() => {
                run.end = end;
            }
            _ if character.is_alphanumeric() => runs.push((start..end, is_unspaced)),
            _ => {}
        }
    }
    runs
}

/// Whether the character is of a script that is analysed by characters: without spaces between
/// words, or Hangul.
fn is_unspaced(character: char) -> bool {
    matches!(character,
        '\u{E00}'..='\u{EFF}'
        | '\u{1000}'..='\u{109F}'
        | '\u{1100}'..='\u{11FF}'
        | '\u{1780}'..='\u{17FF}'
        | '\u{2E80}'..='\u{9FFF}'
        | '\u{A960}'..='\u{A97F}'
        | '\u{AC00}'..='\u{D7FF}'
        | '\u{F900}'..='\u{FAFF}'
        | '\u{FF66}'..='\u{FFDC}'
        | '\u{20000}'..='\u{3FFFF}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found<'a>(query: &str, text: &'a str) -> Vec<&'a str> {
        let mut terms = TermNumbers::default();
        analysis::terms(query, terms.language, |term| {
            let number = terms.numbers.len();
            terms.numbers.entry(term.text.into()).or_insert(number);
        });
        places(text, &terms).into_iter().map(|place| &text[place.range]).collect()
    }

    #[test]
    fn a_word_is_found_whatever_its_form() {
        let text = "They migrated (the CAFÉ tables), ﬁne. Don't migrate!";
        assert_eq!(found("migrations", text), ["migrated", "migrate"]);
        assert_eq!(found("cafe table", text), ["CAFÉ", "tables"]);
        assert_eq!(found("fine", text), ["ﬁne"]);
        assert_eq!(found("don", text), ["Don"]);
        assert_eq!(found("cafe", "un CAFE\u{301}, s'il vous plaît"), ["CAFE\u{301}"]);
        assert_eq!(found("absent", text), [""; 0]);
    }

    #[test]
    fn a_part_of_a_text_without_spaces_is_found() {
        assert_eq!(found("京都", "東京都へ"), ["京", "京都", "都"]);
        assert_eq!(found("ข้าว", "กินข้าวแล้ว").concat(), found("ข้าว", "ข้าว").concat());
        assert_eq!(found("ipad", "新しいiPad発売"), ["iPad"]);
    }
}
