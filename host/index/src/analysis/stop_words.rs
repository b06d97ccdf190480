//! Stop words: the words of a query that say how it is asked, not what it asks for.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use super::language::Language;
use super::letters::push_folded;
use super::normalize::normalize;

/// The folded stop words of one language.
pub(super) type StopWords = Arc<HashSet<Box<str>>>;

/// The lists in use, made once each.
static LISTS: LazyLock<RwLock<HashMap<Language, StopWords>>> = LazyLock::new(RwLock::default);

/// The stop words of `language`; empty for a language without a list.
pub(super) fn of(language: Language) -> StopWords {
    if let Some(list) = LISTS.read().unwrap_or_else(PoisonError::into_inner).get(&language) {
        return Arc::clone(list);
    }
    let mut lists = LISTS.write().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(lists.entry(language).or_insert_with(|| Arc::new(read(language))))
}

fn read(language: Language) -> HashSet<Box<str>> {
    let words = stop_words::lookup(language.code()).unwrap_or_default();
    words.iter().map(|word| fold(word)).filter(|word| is_word(word)).collect()
}

fn fold(word: &str) -> Box<str> {
    let mut folded = String::new();
    push_folded(&normalize(word), &mut folded);
    folded.into()
}

/// Contractions are read as their parts, which the lists have too. Single letters other than
/// words of the language stand for something: vitamin D, plan B.
fn is_word(folded: &str) -> bool {
    let is_letter = folded.len() == 1 && !matches!(folded, "a" | "i" | "y" | "e" | "o");
    !is_letter && folded.chars().all(char::is_alphanumeric)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_folded_as_texts_are() {
        let has = |code, word: &str| of(Language::parse(code).unwrap()).contains(word);
        assert!(has("en", "the") && has("en", "which") && has("en", "don"));
        assert!(!has("en", "kenning") && !has("en", "d") && !has("en", "don't"));
        assert!(has("de", "fur") && has("fr", "meme") && has("ru", "что"));
        assert!(of(Language::parse("none").unwrap()).is_empty());
    }
}
