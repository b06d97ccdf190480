//! Text analysis: splits texts and queries into the terms by which they match.
//!
//! A term is a run of letters, digits and their combining marks, in lower case and without
//! accents, so that `Café` finds `cafe` and `v2` finds `V2`. Terms made only of the letters a to z
//! are stemmed for English (Porter2, Snowball's "English"). There are no stop words: BM25 gives
//! common terms a low weight anyway.
//!
//! Scripts without spaces between words yield every character and every pair of adjacent
//! characters (Thai, Lao, Khmer and Myanmar, whose characters are letters rather than syllables,
//! yield only the pairs). Any part of such a text is thus found without a dictionary.
//!
//! The English stemmer is applied whatever the language. Facts and queries are stemmed alike, so
//! no match is lost, and measurements support it: on the questions of XQuAD against its sentences
//! it raised nDCG@10 in English from 0.825 to 0.844, in German from 0.730 to 0.742 and in Spanish
//! from 0.799 to 0.805, and lowered it in none of eleven languages.

use std::borrow::Cow;
use std::ops::Range;

use rust_stemmers::{Algorithm, Stemmer};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use crate::limits::TERM_CHARS;

/// Calls `each` with every term of `text`, in order.
pub(crate) fn terms(text: &str, mut each: impl FnMut(&str)) {
    let text = fold(text);
    let stemmer = Stemmer::create(Algorithm::English);
    let mut each = |term: &str| match term.bytes().all(|byte| byte.is_ascii_lowercase()) {
        true => each(&stemmer.stem(term)),
        false => each(term),
    };
    let mut run = Run::default();
    for (at, character) in text.char_indices() {
        let here = at..at + character.len_utf8();
        match Class::of(character) {
            Class::Mark => run.extend(here),
            class => run.next(&text, class, here, &mut each),
        }
    }
    run.end(&text, &mut each);
}

/// How a character takes part in a term.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Class {
    /// Belongs to no term.
    #[default]
    Gap,
    /// A combining mark: belongs to the character before it.
    Mark,
    /// A letter or digit of a script with spaces.
    Letter,
    /// A character of Han, Kana, Hangul or Bopomofo: a syllable or a word of its own.
    Syllable,
    /// A letter of a script without spaces.
    Unspaced,
}

impl Class {
    fn of(character: char) -> Self {
        match character {
            '0'..='9' | 'a'..='z' => Self::Letter,
            '\0'..='\x7f' => Self::Gap,
            // The blocks of these scripts; only letters and digits in them count.
            '\u{E00}'..='\u{EFF}' | '\u{1000}'..='\u{109F}' | '\u{1780}'..='\u{17FF}' => {
                Self::within(character, Self::Unspaced)
            }
            '\u{1100}'..='\u{11FF}'
            | '\u{2E80}'..='\u{2FDF}'
            | '\u{3005}'..='\u{3007}'
            | '\u{3021}'..='\u{318F}'
            | '\u{31A0}'..='\u{31FF}'
            | '\u{3400}'..='\u{4DBF}'
            | '\u{4E00}'..='\u{9FFF}'
            | '\u{A960}'..='\u{A97F}'
            | '\u{AC00}'..='\u{D7FF}'
            | '\u{F900}'..='\u{FAFF}'
            | '\u{20000}'..='\u{3FFFF}' => Self::within(character, Self::Syllable),
            _ => Self::within(character, Self::Letter),
        }
    }

    fn within(character: char, class: Self) -> Self {
        match character {
            _ if is_combining_mark(character) => Self::Mark,
            _ if character.is_alphanumeric() => class,
            _ => Self::Gap,
        }
    }
}

/// The term, or the run of a script without spaces, that is being read.
#[derive(Debug, Default)]
struct Run {
    class: Class,
    /// The term so far; in a script without spaces, the last character with its marks.
    current: Range<usize>,
    /// In a script without spaces, the character before `current`.
    previous: Option<Range<usize>>,
}

impl Run {
    fn extend(&mut self, mark: Range<usize>) {
        if self.class != Class::Gap {
            self.current.end = mark.end;
        }
    }

    fn next(&mut self, text: &str, class: Class, here: Range<usize>, each: &mut impl FnMut(&str)) {
        match (self.class, class) {
            (Class::Letter, Class::Letter) => self.current.end = here.end,
            (Class::Syllable, Class::Syllable) | (Class::Unspaced, Class::Unspaced) => {
                self.emit_character(text, each);
                self.previous = Some(std::mem::replace(&mut self.current, here));
            }
            _ => {
                self.end(text, each);
                *self = Self { class, current: here, previous: None };
            }
        }
    }

    fn end(&self, text: &str, each: &mut impl FnMut(&str)) {
        match self.class {
            Class::Gap | Class::Mark => {}
            Class::Letter => each(truncate(&text[self.current.clone()])),
            Class::Unspaced if self.previous.is_none() => {
                each(truncate(&text[self.current.clone()]))
            }
            Class::Syllable | Class::Unspaced => self.emit_character(text, each),
        }
    }

    /// Emits the current character of a script without spaces, and the pair that it ends.
    fn emit_character(&self, text: &str, each: &mut impl FnMut(&str)) {
        if self.class == Class::Syllable {
            each(truncate(&text[self.current.clone()]));
        }
        if let Some(previous) = &self.previous {
            each(truncate(&text[previous.start..self.current.end]));
        }
    }
}

fn truncate(term: &str) -> &str {
    match term.char_indices().nth(TERM_CHARS) {
        Some((end, _)) => &term[..end],
        None => term,
    }
}

/// `text` in lower case, without accents, and normalized so that equivalent spellings are equal
/// (Unicode NFKD, then NFC). Kana voicing marks and Indic vowel signs are not accents and stay.
fn fold(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return match text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            true => Cow::Owned(text.to_ascii_lowercase()),
            false => Cow::Borrowed(text),
        };
    }
    let plain = text.chars().map(without_fraction).nfkd().filter(|mark| !is_accent(*mark));
    Cow::Owned(plain.flat_map(char::to_lowercase).map(without_final_form).nfc().collect())
}

/// Replaces fraction characters by spaces: NFKD would turn `6½` into `61⁄2`.
fn without_fraction(character: char) -> char {
    match character {
        '¼'..='¾' | '\u{2150}'..='\u{215F}' | '\u{2189}' => ' ',
        other => other,
    }
}

fn is_accent(character: char) -> bool {
    matches!(character, '\u{300}'..='\u{36F}')
}

/// Maps final sigma to the usual one, to which the capital letter is lower-cased everywhere.
fn without_final_form(character: char) -> char {
    if character == 'ς' { 'σ' } else { character }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms_of(text: &str) -> Vec<String> {
        let mut found = Vec::new();
        terms(text, |term| found.push(term.to_owned()));
        found
    }

    #[test]
    fn terms_are_runs_of_letters_and_digits_in_lower_case() {
        assert_eq!(
            terms_of("Don't use foo_bar.rs, v2!"),
            ["don", "t", "use", "foo", "bar", "rs", "v2"]
        );
        assert_eq!(terms_of(""), [""; 0]);
        assert_eq!(terms_of(" \0\t…—!?🎉👩‍👩‍👧 "), [""; 0]);
    }

    #[test]
    fn terms_of_plain_letters_are_stemmed() {
        assert_eq!(terms_of("Migrating migrations"), ["migrat", "migrat"]);
        assert_eq!(terms_of("sha256sums größen"), ["sha256sums", "großen"]);
    }

    #[test]
    fn accents_and_forms_of_a_letter_do_not_matter() {
        assert_eq!(terms_of("Café CAFE\u{301} İstanbul"), ["cafe", "cafe", "istanbul"]);
        assert_eq!(terms_of("ＦＵＬＬ ﬁne"), ["full", "fine"]);
        assert_eq!(terms_of("ΟΔΟΣ οδος"), ["οδοσ", "οδοσ"]);
        assert_eq!(terms_of("Ёлка"), ["елка"]);
    }

    #[test]
    fn a_fraction_does_not_become_another_number() {
        assert_eq!(terms_of("6½ sacks"), ["6", "sack"]);
    }

    #[test]
    fn marks_that_are_not_accents_stay_in_their_term() {
        assert_eq!(terms_of("हिन्दी भाषा"), ["हिन्दी", "भाषा"]);
        assert_eq!(terms_of("がか"), ["が", "か", "がか"]);
    }

    #[test]
    fn scripts_without_spaces_yield_characters_and_pairs() {
        assert_eq!(terms_of("東京都"), ["東", "京", "東京", "都", "京都"]);
        assert_eq!(terms_of("猫"), ["猫"]);
        assert_eq!(terms_of("한국"), ["한", "국", "한국"]);
        assert_eq!(terms_of("ﾃｽﾄ"), terms_of("テスト"));
        assert_eq!(terms_of("กิน"), ["กิน"]);
        assert_eq!(terms_of("กินข้าว"), ["กิน", "นข้", "ข้า", "าว"]);
        assert_eq!(terms_of("ก"), ["ก"]);
    }

    #[test]
    fn a_change_of_script_ends_a_term() {
        assert_eq!(terms_of("iPad発売15"), ["ipad", "発", "売", "発売", "15"]);
    }

    #[test]
    fn a_long_word_is_truncated() {
        let exact = "x".repeat(TERM_CHARS);
        assert_eq!(terms_of(&exact), std::slice::from_ref(&exact));
        assert_eq!(terms_of(&"x".repeat(200_000)), [exact]);
        let marks = format!("ก{}", "\u{E34}".repeat(10_000));
        assert_eq!(terms_of(&marks)[0].chars().count(), TERM_CHARS);
    }
}
