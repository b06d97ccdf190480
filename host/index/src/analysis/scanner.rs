//! Reads a normalized text from its start to its end, and finds what is a term in it.

use smallvec::SmallVec;

use super::class::Class;
use super::identifier::{self, Join, Word};
use super::phone::Phone;
use super::runs::Segmenter;
use super::stop_words::StopWords;
use super::term::{Kind, Term, Terms};

/// The most bytes of a sign made of ASCII characters, such as `=>`, and of what may quote it.
const SIGN_BYTES: usize = 3;
const QUOTED_SIGN_BYTES: usize = 6;

pub(super) struct Scanner<'t, F> {
    text: &'t str,
    terms: Terms<F>,
    /// `None` where stop words are words as others.
    stop_words: Option<StopWords>,
    segmenter: Segmenter,
    /// The words of the identifier that is being read, or one word.
    words: SmallVec<[Word; 8]>,
    /// Where the last phone number ends.
    phone_end: usize,
}

impl<'t, F: FnMut(Term<'_>)> Scanner<'t, F> {
    pub(super) fn new(text: &'t str, terms: Terms<F>, stop_words: Option<StopWords>) -> Self {
        let (segmenter, words) = (Segmenter::new(), SmallVec::new());
        Self { text, terms, stop_words, segmenter, words, phone_end: 0 }
    }

    pub(super) fn scan(mut self) {
        let mut at = 0;
        while let Some(character) = self.text[at..].chars().next() {
            let class = Class::of(character);
            let end = match class {
                Class::Letter | Class::Syllable | Class::Unspaced => self.end_of(class, at),
                Class::Symbol => self.end_of_symbol(character, at),
                Class::Gap | Class::Mark => at + character.len_utf8(),
            };
            match class {
                Class::Letter => self.word(at, end),
                Class::Syllable | Class::Unspaced => {
                    self.finish();
                    self.segmenter.run(&self.text[at..end], class, &mut self.terms);
                }
                Class::Symbol => self.symbol(at, end),
                Class::Gap => self.gap(character, at),
                Class::Mark => {}
            }
            at = end;
        }
        self.finish();
    }

    fn end_of(&self, class: Class, start: usize) -> usize {
        let is_inside = |character: char| {
            let other = Class::of(character);
            other == class || other == Class::Mark
        };
        let outside = self.text[start..].find(|character| !is_inside(character));
        outside.map_or(self.text.len(), |length| start + length)
    }

    /// The end of a symbol: two letters of a flag are one.
    fn end_of_symbol(&self, symbol: char, start: usize) -> usize {
        let end = start + symbol.len_utf8();
        let is_flag = |character: &char| ('\u{1F1E6}'..='\u{1F1FF}').contains(character);
        let next = self.text[end..].chars().next().filter(is_flag);
        next.filter(|_| is_flag(&symbol)).map_or(end, |next| end + next.len_utf8())
    }

    fn word(&mut self, start: usize, end: usize) {
        let between = self.words.last().map(|last| &self.text[last.range.end..start]);
        let join = between.and_then(Join::of);
        if join.is_none() {
            self.finish();
        }
        self.words.push(Word { range: start..end, join });
    }

    /// Adds the terms of the words that were read.
    fn finish(&mut self) {
        let (Some(first), Some(last)) = (self.words.first(), self.words.last()) else { return };
        let (text, terms) = (self.text, &mut self.terms);
        for word in &self.words {
            let range = word.range.clone();
            let is_beside = is_beside_apostrophe(text, range.start, range.end);
            terms.word(&text[range.clone()], |folded| match &self.stop_words {
                Some(list) if is_beside && folded.len() == 1 => !list.is_empty(),
                Some(list) => list.contains(folded),
                None => false,
            });
            identifier::add_parts(&text[range], terms);
        }
        identifier::add_wholes(text, &self.words, terms);
        if let Some(suffix) = suffix(&text[last.range.end..]) {
            terms.extra([&text[last.range.clone()], suffix]);
        }
        if has_leading_dot(&text[..first.range.start]) {
            terms.extra([".", &text[first.range.clone()]]);
        }
        self.words.clear();
    }

    /// Adds a symbol, unless it only repeats the one before it.
    fn symbol(&mut self, start: usize, end: usize) {
        self.finish();
        let symbol = &self.text[start..end];
        if !self.text[..start].ends_with(symbol) {
            self.terms.plain(symbol, Kind::Word);
        }
    }

    fn gap(&mut self, character: char, at: usize) {
        let before = self.text[..at].chars().next_back();
        if matches!(character, '+' | '(')
            && at >= self.phone_end
            && !before.is_some_and(char::is_alphanumeric)
            && let Some(phone) = Phone::read(&self.text[at..])
        {
            self.finish();
            self.phone_end = at + phone.bytes;
            self.terms.plain(&phone.digits, Kind::Extra);
            if let Some(national) = phone.national() {
                self.terms.plain(national, Kind::Extra);
            }
        }
        if before.is_none_or(char::is_whitespace)
            && let Some(sign) = ascii_sign(&self.text[at..])
        {
            self.finish();
            self.terms.plain(sign, Kind::Word);
        }
    }
}

/// Whether the word is next to an apostrophe, as `s` in `what's` and `l` in `l'eau`.
fn is_beside_apostrophe(text: &str, start: usize, end: usize) -> bool {
    text[..start].ends_with(['\'', '’']) || text[end..].starts_with(['\'', '’'])
}

/// What belongs to the name before it: `C++`, `C#`.
fn suffix(rest: &str) -> Option<&'static str> {
    if rest.starts_with("++") && !rest.starts_with("+++") {
        return Some("++");
    }
    let next = rest.strip_prefix('#')?.chars().next();
    (!next.is_some_and(|next| next == '#' || next.is_alphanumeric())).then_some("#")
}

/// Whether a word begins with a dot of its own: `.NET`, `.env`.
fn has_leading_dot(before: &str) -> bool {
    let Some(rest) = before.strip_suffix('.') else { return false };
    let is_edge = |character: char| {
        character.is_whitespace() || matches!(character, '(' | '/' | '"' | '\'' | '`' | '*')
    };
    rest.chars().next_back().is_none_or(is_edge)
}

/// A sign of ASCII characters that stands by itself at the start of `text`, such as `=>` or `$`.
fn ascii_sign(text: &str) -> Option<&str> {
    let bytes = text.bytes().take(QUOTED_SIGN_BYTES + 1);
    let length = bytes.take_while(|byte| !byte.is_ascii_whitespace()).count();
    if length > QUOTED_SIGN_BYTES {
        return None;
    }
    let quotes = ['"', '\'', '`', '(', ')', ',', '.', ';', ':', '[', ']', '{', '}'];
    let sign = text.get(..length)?.trim_matches(quotes);
    let is_sign = |byte: u8| b"!$%&*+-/<=>?@\\^|~".contains(&byte);
    match sign.len() {
        // The others mark headings, lists, quotations and columns.
        1 => b"$%&+<=@^~".contains(&sign.as_bytes()[0]).then_some(sign),
        // Dashes and marks of a sentence are no signs.
        2..=SIGN_BYTES
            if sign.bytes().all(is_sign) && !sign.trim_matches(['-', '!', '?']).is_empty() =>
        {
            Some(sign)
        }
        _ => None,
    }
}
