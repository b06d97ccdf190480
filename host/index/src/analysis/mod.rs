//! Text analysis: splits texts and queries into the terms by which they match.
//!
//! A text is normalized first, so that spellings which people do not tell apart are equal. Then
//! it is read from start to end, and each of these is a term:
//!
//! - a run of letters, digits and their marks, without regard to case, stemmed if it is a word of
//!   the tenant's language;
//! - the whole of an identifier, and the parts of a word in camelCase or of letters and digits;
//! - in scripts without spaces between words each character, each pair of neighbours, and each
//!   word of a dictionary, so that any part of such a text is found;
//! - a symbol or emoji.
//!
//! Facts and queries are read alike, except that a query has no stop words, unless it has nothing
//! else: BM25 gives common terms a low weight, but a question has many of them.
//!
//! In reading order:
//!
//! | file | holds |
//! |---|---|
//! | `normalize` | what is done to a text before it is read |
//! | `class` | how each character takes part in terms |
//! | `scanner` | finds the terms of a text |
//! | `identifier`, `phone` | names, numbers and addresses of several words |
//! | `runs` | scripts without spaces between words |
//! | `term`, `letters` | folds a word's letters and stems it |
//! | `language`, `stop_words` | what depends on the tenant's language |

mod class;
mod identifier;
mod language;
mod letters;
mod normalize;
mod phone;
mod runs;
mod scanner;
mod stop_words;
mod term;
#[cfg(test)]
mod tests;

pub use language::Language;
pub(crate) use term::{Kind, Term, is_form};

use normalize::normalize;
use scanner::Scanner;
use term::Terms;

/// Calls `each` with every term of a fact's text, in order.
pub(crate) fn terms(text: &str, language: Language, each: impl FnMut(Term<'_>)) {
    Scanner::new(&normalize(text), Terms::new(language, each), None).scan();
}

/// Calls `each` with every term of a query, in order; stop words are of [`Kind::Stop`].
pub(crate) fn query_terms(text: &str, language: Language, each: impl FnMut(Term<'_>)) {
    let stop_words = Some(stop_words::of(language));
    Scanner::new(&normalize(text), Terms::new(language, each), stop_words).scan();
}
