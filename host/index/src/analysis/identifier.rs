//! Identifiers: names, numbers and addresses made of several words, which are found whole and by
//! their parts.
//!
//! The words of `rosa.lind@example.org` are terms anyway. Added to them are the wholes of each
//! level, `rosa.lind`, `example.org` and the address itself, so that the fact with this very
//! address comes before those with the same words in another order. Hyphens and underscores join
//! without a trace: `e-mail` is `email`, and `get_ledger` is `getLedger`.

use std::ops::Range;

use smallvec::SmallVec;

use super::term::{Term, Terms};

/// How a word is joined to the one before it; the tightest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Join {
    /// A hyphen, or underscores.
    Tight,
    /// A dot.
    Dot,
    /// What separates the steps of a path, or a name from its place.
    Path,
}

impl Join {
    /// The join that the text between two words makes, if it makes one.
    pub(super) fn of(between: &str) -> Option<Self> {
        match between {
            "-" | "\u{2010}" => Some(Self::Tight),
            "." => Some(Self::Dot),
            "/" | "\\" | ":" | "::" | "@" => Some(Self::Path),
            _ if !between.is_empty() && between.bytes().all(|byte| byte == b'_') => {
                Some(Self::Tight)
            }
            _ => None,
        }
    }
}

/// One word, and its join to the word before it in the same identifier.
#[derive(Debug)]
pub(super) struct Word {
    pub(super) range: Range<usize>,
    pub(super) join: Option<Join>,
}

/// Adds the wholes of an identifier.
pub(super) fn add_wholes(text: &str, words: &[Word], terms: &mut Terms<impl FnMut(Term<'_>)>) {
    for level in [Join::Tight, Join::Dot, Join::Path] {
        for group in words.chunk_by(|_, word| word.join.is_some_and(|join| join <= level)) {
            if group.iter().skip(1).any(|word| word.join == Some(level)) {
                terms.extra(pieces(text, group));
                if level == Join::Dot {
                    add_forms(text, group, terms);
                }
            }
        }
    }
}

/// The words of a group with what is between them, except hyphens and underscores.
fn pieces<'t>(text: &'t str, group: &'t [Word]) -> impl Iterator<Item = &'t str> {
    group.iter().enumerate().flat_map(move |(at, word)| {
        let between = match word.join {
            Some(Join::Dot | Join::Path) if at > 0 => {
                &text[group[at - 1].range.end..word.range.start]
            }
            _ => "",
        };
        [between, &text[word.range.clone()]]
    })
}

/// Other forms of numbers with dots: a version without its `v`, and a phone number as its digits.
fn add_forms(text: &str, group: &[Word], terms: &mut Terms<impl FnMut(Term<'_>)>) {
    let first = &text[group[0].range.clone()];
    if let Some(number) = first.strip_prefix(['v', 'V'])
        && !number.is_empty()
        && number.bytes().all(|byte| byte.is_ascii_digit())
    {
        // The first piece is empty, and the second is the first word.
        terms.extra(std::iter::once(number).chain(pieces(text, group).skip(2)));
    }
    let is_number =
        |word: &Word| text[word.range.clone()].bytes().all(|byte| byte.is_ascii_digit());
    let digits: usize = group.iter().map(|word| word.range.len()).sum();
    // Four numbers are an address of the internet.
    if matches!(group.len(), 3 | 5) && (7..=15).contains(&digits) && group.iter().all(is_number) {
        terms.extra(group.iter().map(|word| &text[word.range.clone()]));
    }
}

/// Adds the parts of one word: those of camelCase, and its letters and digits apart.
pub(super) fn add_parts(word: &str, terms: &mut Terms<impl FnMut(Term<'_>)>) {
    if word.bytes().all(|byte| byte.is_ascii_lowercase()) {
        return;
    }
    let (parts, switches) = parts(word);
    if parts.len() < 2 {
        return;
    }
    // Shorter parts say nothing, least of all in a digest that alternates letters and digits.
    let shortest = if switches > 1 { 3 } else { 2 };
    for part in parts {
        let part = &word[part];
        if part.chars().nth(shortest - 1).is_some() {
            terms.extra([part]);
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Letter {
    Small,
    Capital,
    Digit,
}

impl Letter {
    fn of(letter: char) -> Self {
        match letter {
            _ if letter.is_numeric() => Self::Digit,
            _ if letter.is_uppercase() => Self::Capital,
            _ => Self::Small,
        }
    }
}

/// The parts of a word, and how often letters and digits change in it.
fn parts(word: &str) -> (SmallVec<[Range<usize>; 8]>, usize) {
    let mut parts = SmallVec::new();
    let (mut start, mut switches) = (0, 0);
    let mut previous = None;
    let mut letters = word.char_indices().map(|(at, letter)| (at, Letter::of(letter))).peekable();
    while let Some((at, letter)) = letters.next() {
        let next = letters.peek().copied();
        let switched = previous
            .is_some_and(|previous| (previous == Letter::Digit) != (letter == Letter::Digit));
        let begins_name = match (previous, letter) {
            (Some(Letter::Small), Letter::Capital) => true,
            // The last capital begins a name, unless what follows is a plural: `XMLFeed`, `PDFs`.
            (Some(Letter::Capital), Letter::Capital) => {
                let plural = |at: usize| &word[at..] == "s";
                next.is_some_and(|(at, next)| next == Letter::Small && !plural(at))
            }
            _ => false,
        };
        switches += usize::from(switched);
        if switched || begins_name {
            parts.push(start..at);
            start = at;
        }
        previous = Some(letter);
    }
    parts.push(start..word.len());
    (parts, switches)
}
