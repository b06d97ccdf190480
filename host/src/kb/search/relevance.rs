//! How likely a hit answers the query.
//!
//! A hit answers by what it means or by the words that it has: two logistic functions, one of the
//! similarity and one of the coverage, and the chance that at least one of them holds. Fitted on
//! the first ten hits of hybrid searches: of the samples' questions (700 hits), of XQuAD's English
//! part (Artetxe, Ruder and Yogatama, 2020; half of its articles, a third of those left out of the
//! facts, so that their questions have no answer; 6,230 hits), and of single words that one fact
//! has (6,400 hits), each kind with the same weight. Without a similarity, it is a logistic
//! function of coverage, fitted on searches by words on XQuAD (5,478 hits). Similarity and coverage
//! are those that the index returns. `docs/SEARCH.md` says how often hits of XQuAD's other half
//! answer their question, by relevance.

use kenning_index::Evidence;

struct Logistic {
    constant: f64,
    slope: f64,
}

const BY_MEANING: Logistic = Logistic { constant: -6.137, slope: 8.637 };

const BY_WORDS: Logistic = Logistic { constant: -11.028, slope: 15.388 };

/// Of coverage, where nothing is known of the meaning.
const BY_WORDS_ALONE: Logistic = Logistic { constant: -6.470, slope: 10.029 };

/// 0 to 1, rounded to four decimal places. Without a similarity it is from words alone.
pub(super) fn relevance(evidence: &Evidence) -> f64 {
    let coverage = f64::from(evidence.coverage);
    rounded(match evidence.similarity {
        Some(similarity) => {
            let neither = (1.0 - BY_MEANING.at(similarity.into())) * (1.0 - BY_WORDS.at(coverage));
            1.0 - neither
        }
        None => BY_WORDS_ALONE.at(coverage),
    })
}

impl Logistic {
    fn at(&self, value: f64) -> f64 {
        1.0 / (1.0 + (-self.constant - self.slope * value).exp())
    }
}

/// Rounded to four decimal places.
pub(super) fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(similarity: Option<f32>, coverage: f32) -> f64 {
        relevance(&Evidence { similarity, coverage, ..Evidence::default() })
    }

    #[test]
    fn what_is_like_the_query_or_has_its_words_is_relevant() {
        assert!(of(Some(0.8), 0.9) > 0.9 && of(Some(0.2), 1.0) > 0.9 && of(None, 1.0) > 0.9);
        assert!(of(Some(0.1), 0.0) < 0.01 && of(None, 0.0) < 0.01);
        assert!(of(Some(0.6), 0.5) > of(Some(0.5), 0.5));
        assert!(of(Some(0.6), 0.5) > of(Some(0.6), 0.4));
    }
}
