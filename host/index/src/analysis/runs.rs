//! Runs of scripts without spaces between words.
//!
//! Every pair of neighbouring characters is a term, and so is every character that is a syllable,
//! so that any part of such a text is found. Words from a dictionary are added to that: they are
//! rarer than their pairs, so a fact with the word comes before one that only has its pairs.

use std::ops::Range;

use icu_segmenter::options::WordBreakInvariantOptions;
use icu_segmenter::{WordSegmenter, WordSegmenterBorrowed};
use smallvec::SmallVec;

use super::class::Class;
use super::term::{Kind, Term, Terms};

/// Characters of a run with their marks, and where each begins.
type Starts = SmallVec<[usize; 32]>;

/// Finds words by the dictionaries of Chinese and Japanese, Thai, Lao, Khmer and Burmese.
pub(super) struct Segmenter(Option<WordSegmenterBorrowed<'static>>);

impl Segmenter {
    pub(super) fn new() -> Self {
        Self(None)
    }

    /// Adds the terms of a run of `class`, which begins and ends with a character of it.
    pub(super) fn run(&mut self, run: &str, class: Class, terms: &mut Terms<impl FnMut(Term<'_>)>) {
        let mut starts: Starts = starts(run);
        starts.push(run.len());
        let count = starts.len() - 1;
        for at in 0..count {
            if class == Class::Syllable || count == 1 {
                terms.plain(&run[starts[at]..starts[at + 1]], Kind::Word);
            }
            if at > 0 {
                terms.plain(&run[starts[at - 1]..starts[at + 1]], Kind::Word);
            }
        }
        // What the dictionary could find in less is a term already.
        if count > 2 {
            for word in self.words(run) {
                let inside = characters(&starts, &word);
                let is_new = inside > 2 || (inside == 1 && class == Class::Unspaced);
                if is_new {
                    terms.plain(&run[word], Kind::Extra);
                }
            }
        }
    }

    fn words<'r>(&mut self, run: &'r str) -> impl Iterator<Item = Range<usize>> + use<'r> {
        let load = || WordSegmenter::new_dictionary(WordBreakInvariantOptions::default());
        let breaks = self.0.get_or_insert_with(load).segment_str(run);
        let mut start = 0;
        breaks.skip(1).map(move |end| std::mem::replace(&mut start, end)..end)
    }
}

fn starts(run: &str) -> Starts {
    let characters = run.char_indices();
    characters.filter(|(_, each)| Class::of(*each) != Class::Mark).map(|(at, _)| at).collect()
}

/// How many characters `range` holds, of which `starts` says where they begin.
fn characters(starts: &Starts, range: &Range<usize>) -> usize {
    let before = |end: usize| starts.partition_point(|start| *start < end);
    before(range.end) - before(range.start)
}
