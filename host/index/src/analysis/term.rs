//! What the analysis gives for each term of a text.

use super::language::Language;
use super::letters::push_folded;
use crate::limits::TERM_CHARS;

/// One occurrence of a term.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Term<'a> {
    pub(crate) text: &'a str,
    pub(crate) kind: Kind,
    /// Whether it is a word as it is written that is its own stem, and so has no [`Kind::Form`].
    pub(crate) is_bare: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A word, or what else stands for itself in the text.
    Word,
    /// A stop word of the language.
    Stop,
    /// Another way to find what other terms stand for: a whole of words, a part of a word, or a
    /// word among syllables. It adds nothing to the length of a text, or a text full of
    /// identifiers would seem longer than it is, and its ordinary words would count less.
    Extra,
    /// A word as it is written, where that is not its stem. Like `Extra` it adds nothing to the
    /// length.
    Form,
}

/// Begins the terms of [`Kind::Form`]. No other term has it before a letter.
const FORM: char = '=';

/// Whether the term is of [`Kind::Form`].
pub(crate) fn is_form(term: &str) -> bool {
    term.strip_prefix(FORM).is_some_and(|word| word.starts_with(char::is_alphanumeric))
}

/// Receives terms, and folds and stems them first.
pub(super) struct Terms<F> {
    each: F,
    language: Language,
    /// The folded word, and the term of its form, kept for their memory.
    folded: String,
    form: String,
}

impl<F: FnMut(Term<'_>)> Terms<F> {
    pub(super) fn new(language: Language, each: F) -> Self {
        Self { each, language, folded: String::new(), form: String::new() }
    }

    /// Adds a word, which is a stop word if `is_stop` says so of its folded form.
    pub(super) fn word(&mut self, word: &str, is_stop: impl FnOnce(&str) -> bool) {
        self.fold(word);
        let kind = if is_stop(&self.folded) { Kind::Stop } else { Kind::Word };
        self.emit(kind);
    }

    /// Adds pieces of the text, joined, as one more term.
    pub(super) fn extra<'p>(&mut self, pieces: impl IntoIterator<Item = &'p str>) {
        self.folded.clear();
        for piece in pieces {
            push_folded(piece, &mut self.folded);
            // Each character has a byte at least; the rest would be cut off.
            if self.folded.len() > TERM_CHARS * 4 {
                break;
            }
        }
        self.emit(Kind::Extra);
    }

    /// Adds a term that is neither folded nor stemmed.
    pub(super) fn plain(&mut self, text: &str, kind: Kind) {
        (self.each)(Term { text: truncate(text), kind, is_bare: false });
    }

    fn fold(&mut self, word: &str) {
        self.folded.clear();
        push_folded(word, &mut self.folded);
    }

    fn emit(&mut self, kind: Kind) {
        let word = truncate(&self.folded);
        let stem = self.language.stem(word);
        let is_bare = kind == Kind::Word && *stem == *word;
        (self.each)(Term { text: &stem, kind, is_bare });
        if kind == Kind::Word && !is_bare {
            self.form.clear();
            self.form.push(FORM);
            self.form.push_str(word);
            (self.each)(Term { text: &self.form, kind: Kind::Form, is_bare: false });
        }
    }
}

fn truncate(term: &str) -> &str {
    if term.len() <= TERM_CHARS {
        return term;
    }
    match term.char_indices().nth(TERM_CHARS) {
        Some((end, _)) => &term[..end],
        None => term,
    }
}
