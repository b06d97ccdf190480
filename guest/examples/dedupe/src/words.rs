//! Comparing texts by their words.

use std::collections::BTreeSet;

/// The words of a text in lower case, without punctuation.
pub(crate) fn normal(text: &str) -> Vec<String> {
    let words = text.split(|letter: char| !letter.is_alphanumeric());
    words.filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
}

/// Jaccard similarity: the words in both texts as a fraction of the words in either.
pub(crate) fn similarity(one: &BTreeSet<&str>, other: &[String]) -> f64 {
    let other: BTreeSet<&str> = other.iter().map(String::as_str).collect();
    let (both, all) = (one.intersection(&other).count(), one.union(&other).count());
    if all == 0 { 0.0 } else { both as f64 / all as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn similarity_is_the_fraction_of_common_words() {
        let one = BTreeSet::from(["a", "b", "c"]);
        let other = |text: &str| similarity(&one, &normal(text));
        assert_eq!(
            (other("c b a A"), other("a, b"), other("x"), other("")),
            (1.0, 2.0 / 3.0, 0.0, 0.0)
        );
        assert_eq!(similarity(&BTreeSet::new(), &[]), 0.0);
    }

    #[test]
    fn words_consist_of_letters_and_digits_of_any_script() {
        assert_eq!(normal("Über-Öl: 7,5 % 東京!"), ["über", "öl", "7", "5", "東京"]);
    }
}
