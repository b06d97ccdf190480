//! The passages of a text that have the words of a query.

use std::ops::Range;

use crate::bm25::TermCounts;
use crate::error::IndexError;
use crate::index::Index;
use crate::places::{Place, TermNumbers, places};
use crate::work::Work;

/// Most passages of one text.
pub const PASSAGES: usize = 3;

/// Most characters of one passage.
pub const PASSAGE_CHARS: usize = 200;

/// The work of analysing one byte of a text.
const BYTE_UNITS: u64 = 30;

/// What a word that an earlier passage has, or that comes again, adds to a passage.
const REPEATED: f32 = 0.1;

/// A part of a text, and where it has words of the query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passage {
    /// The part of the text, in bytes.
    pub range: Range<usize>,
    /// The words, in bytes of the text, in their order; they do not overlap.
    pub matches: Vec<Range<usize>>,
}

/// The terms of a query with their weights.
struct QueryTerms {
    numbers: TermNumbers,
    weights: Vec<f32>,
}

impl Index {
    /// Up to [`PASSAGES`] passages of each text, in their order in it, that have the rarest words
    /// of `query`. A text without a word of the query has one passage: its beginning.
    ///
    /// Words match as they do in a search by words.
    ///
    /// # Errors
    /// [`IndexError::Stopped`] if `work` was stopped.
    pub fn passages(
        &self,
        query: &str,
        texts: &[String],
        work: &Work<'_>,
    ) -> Result<Vec<Vec<Passage>>, IndexError> {
        let terms = self.query_terms(query);
        let passages = texts.iter().map_while(|text| {
            let go_on = work.spend(BYTE_UNITS * text.len() as u64);
            go_on.then(|| best_passages(text, &terms))
        });
        let passages = passages.collect();
        if work.finish() { Ok(passages) } else { Err(IndexError::Stopped) }
    }

    fn query_terms(&self, query: &str) -> QueryTerms {
        let state = self.read();
        let language = state.languages.current();
        let counts = TermCounts::query(query, &[language], &self.hasher);
        let weights = counts.terms().map(|term| state.bm25.idf(term, &self.hasher)).collect();
        let numbers = counts.terms().enumerate().map(|(number, term)| (term.into(), number));
        QueryTerms { numbers: TermNumbers { numbers: numbers.collect(), language }, weights }
    }
}

fn best_passages(text: &str, terms: &QueryTerms) -> Vec<Passage> {
    let matches = places(text, &terms.numbers);
    let mut chosen: Vec<Range<usize>> = Vec::new();
    let mut seen = vec![false; terms.weights.len()];
    while chosen.len() < PASSAGES {
        let Some(core) = best_core(text, &matches, &chosen, terms, &seen) else { break };
        let range = widened(text, core, &chosen);
        let within = matches.iter().filter(|found| is_within(&found.range, &range));
        within.for_each(|found| seen[found.term] = true);
        chosen.push(range);
    }
    if chosen.is_empty() {
        chosen.push(widened(text, 0..0, &[]));
    }
    chosen.sort_unstable_by_key(|range| range.start);
    chosen.into_iter().map(|range| passage(range, &matches)).collect()
}

/// The matches closest together, at most a passage apart, that weigh most: where the text is
/// already in a passage, it is not looked at again.
fn best_core(
    text: &str,
    matches: &[Place],
    chosen: &[Range<usize>],
    terms: &QueryTerms,
    seen: &[bool],
) -> Option<Range<usize>> {
    let is_free = |range: &Range<usize>| {
        chosen.iter().all(|other| range.end <= other.start || other.end <= range.start)
    };
    let mut best: Option<(f32, Range<usize>)> = None;
    for (first, begin) in matches.iter().enumerate() {
        let limit = forward(text, begin.range.start, PASSAGE_CHARS);
        let mut here = Vec::new();
        let (mut weight, mut core) = (0.0, begin.range.start..begin.range.start);
        for found in &matches[first..] {
            let range = begin.range.start..found.range.end.max(core.end);
            if range.end > limit || !is_free(&range) {
                break;
            }
            let is_new = !seen[found.term] && !here.contains(&found.term);
            weight += terms.weights[found.term] * if is_new { 1.0 } else { REPEATED };
            here.push(found.term);
            core = range;
        }
        if weight > 0.0 && best.as_ref().is_none_or(|(most, _)| weight > *most) {
            best = Some((weight, core));
        }
    }
    best.map(|(_, core)| core)
}

/// `core` with what stands around it, without cutting a word in two, and without what is in other
/// passages.
fn widened(text: &str, core: Range<usize>, others: &[Range<usize>]) -> Range<usize> {
    let room = PASSAGE_CHARS.saturating_sub(text[core.clone()].chars().count());
    let floor = others.iter().map(|other| other.end).filter(|end| *end <= core.start).max();
    let ceiling = others.iter().map(|other| other.start).filter(|start| *start >= core.end).min();
    let (floor, ceiling) = (floor.unwrap_or(0), ceiling.unwrap_or(text.len()));
    let after = text[core.end..ceiling].chars().take(room).count();
    // A third before the words, and more if little follows them.
    let before = (room / 3).max(room - after);
    let start = back(text, core.start, before).max(floor);
    let used = text[start..core.start].chars().count();
    let end = forward(text, core.end, room - used.min(room)).min(ceiling);
    begin_of_word(text, start, core.start)..end_of_word(text, core.end, end)
}

/// `start`, or the beginning of the next word before `limit` if it is within one.
fn begin_of_word(text: &str, start: usize, limit: usize) -> usize {
    if text[..start].ends_with(char::is_whitespace) || start == 0 {
        return start;
    }
    let next = text[start..limit].find(char::is_whitespace);
    let after = |at: usize| {
        let rest = &text[start + at..limit];
        limit - rest.trim_start().len()
    };
    next.map_or(start, after)
}

/// `end`, or the end of the last whole word after `limit` if it is within one.
fn end_of_word(text: &str, limit: usize, end: usize) -> usize {
    if text[end..].starts_with(char::is_whitespace) || end == text.len() {
        return end;
    }
    let last = text[limit..end].rfind(char::is_whitespace);
    last.map_or(end, |at| limit + text[limit..limit + at].trim_end().len())
}

/// The place `count` characters after `from`.
fn forward(text: &str, from: usize, count: usize) -> usize {
    text[from..].char_indices().nth(count).map_or(text.len(), |(at, _)| from + at)
}

/// The place `count` characters before `from`.
fn back(text: &str, from: usize, count: usize) -> usize {
    match count {
        0 => from,
        _ => text[..from].char_indices().rev().nth(count - 1).map_or(0, |(at, _)| at),
    }
}

fn is_within(inner: &Range<usize>, outer: &Range<usize>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

fn passage(range: Range<usize>, matches: &[Place]) -> Passage {
    let mut merged: Vec<Range<usize>> = Vec::new();
    for found in matches.iter().filter(|found| is_within(&found.range, &range)) {
        match merged.last_mut() {
            Some(last) if found.range.start < last.end => last.end = last.end.max(found.range.end),
            _ => merged.push(found.range.clone()),
        }
    }
    Passage { range, matches: merged }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Entry, FactIndex};

    fn passages(query: &str, text: &str) -> Vec<(String, Vec<String>)> {
        let index = Index::new();
        for (id, text) in [("a", "the common words"), ("b", "the common things"), ("c", text)] {
            let entry = Entry { id, revision: 1, text, metadata: "{}", vector: None };
            index.upsert(&entry).unwrap();
        }
        let found = index.passages(query, &[text.to_string()], &Work::unbounded()).unwrap();
        let words = |passage: &Passage| {
            passage.matches.iter().map(|range| text[range.clone()].to_string()).collect()
        };
        found[0].iter().map(|found| (text[found.range.clone()].to_string(), words(found))).collect()
    }

    #[test]
    fn a_short_text_is_one_passage_whose_words_match_as_in_a_search() {
        let text = "Migrating CAFÉ tables: the migrations ran.";
        let found = passages("cafe migration", text);
        let words = ["Migrating", "CAFÉ", "migrations"].map(String::from).to_vec();
        assert_eq!(found, [(text.to_string(), words)]);
        let found = passages("京都", "東京都です");
        assert_eq!(found, [("東京都です".to_string(), vec!["京都".to_string()])]);
    }

    #[test]
    fn a_long_text_yields_the_passages_with_the_rarest_words() {
        let filler = "the common words go on and on here. ".repeat(40);
        let text = format!("{filler}The zebra sleeps. {filler}A quagga wakes. {filler}");
        let found = passages("the zebra and the quagga", &text);
        assert!(found.len() <= PASSAGES);
        assert!(found.iter().all(|(passage, _)| passage.chars().count() <= PASSAGE_CHARS));
        let words: Vec<_> = found.iter().flat_map(|(_, words)| words).collect();
        assert!(words.iter().any(|word| *word == "zebra"), "{found:?}");
        assert!(words.iter().any(|word| *word == "quagga"), "{found:?}");
        for (passage, _) in &found {
            let around = [passage.split(' ').next(), passage.rsplit(' ').next()];
            let words = around.into_iter().flatten().map(|word| word.trim_matches('.'));
            words.for_each(|word| assert!(text.split(['.', ' ']).any(|other| other == word)));
        }
    }

    #[test]
    fn a_text_without_the_words_begins_with_its_passage() {
        let text = "one two three four ".repeat(100);
        let found = passages("zebra", &text);
        assert_eq!(found.len(), 1);
        assert!(found[0].0.starts_with("one two") && found[0].1.is_empty());
        assert!(found[0].0.chars().count() <= PASSAGE_CHARS && found[0].0.len() > 150);
        assert_eq!(passages("zebra", ""), [(String::new(), vec![])]);
    }

    #[test]
    fn any_text_has_passages_that_are_parts_of_it_and_do_not_overlap() {
        let mut random = fastrand::Rng::with_seed(3);
        let words = ["zebra", "é", "東京", " ", "  ", "\u{301}", "ﬁ", "x\n", "the", "🎉", "กิน"];
        for _ in 0..300 {
            let count = random.usize(..300);
            let text: String = (0..count).map(|_| words[random.usize(..words.len())]).collect();
            let found = passages("zebra the 東京 fi กิน", &text);
            let length: usize = found.iter().map(|(passage, _)| passage.len()).sum();
            assert!(length <= text.len() && found.len() <= PASSAGES, "{text:?}");
            let chars = found.iter().map(|(passage, _)| passage.chars().count());
            assert!(chars.max().unwrap_or_default() <= PASSAGE_CHARS, "{text:?}");
        }
    }
}
