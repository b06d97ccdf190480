//! Maximal marginal relevance: hits that do not repeat one another.
//!
//! Carbonell and Goldstein, "The Use of MMR, Diversity-Based Reranking for Reordering Documents
//! and Producing Summaries", SIGIR 1998: each next hit is the one with the highest
//! `(1 - diversity) * worth - diversity * similarity`, where the similarity is that to the most
//! similar hit picked before it.

use crate::error::IndexError;
use crate::index::{Index, State};
use crate::work::Work;

/// The work of comparing two facts, about that of a dot product of 384 dimensions.
const COMPARE_UNITS: u64 = 50;

/// A hit that was picked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Picked {
    /// Its position in the given order.
    pub position: usize,
    /// Its marginal relevance when it was picked; no later pick has a higher one.
    pub worth: f64,
}

impl Index {
    /// Picks up to `take` of `ranked`, ids with their worth, which is 0 to 1. Equal candidates are
    /// picked in their order.
    ///
    /// Facts are as similar as their vectors are (the cosine, if positive), or, where one has none,
    /// as the share of their words that they have in common.
    ///
    /// # Errors
    /// [`IndexError::Stopped`] if `work` was stopped.
    pub fn diversify(
        &self,
        ranked: &[(String, f64)],
        diversity: f64,
        take: usize,
        work: &Work<'_>,
    ) -> Result<Vec<Picked>, IndexError> {
        let state = self.read();
        let slots: Vec<_> =
            ranked.iter().map(|(id, _)| state.slots.get(id.as_str()).copied()).collect();
        let mut nearest = vec![0.0_f64; ranked.len()];
        let mut rest: Vec<usize> = (0..ranked.len()).collect();
        let mut picked = Vec::with_capacity(take.min(ranked.len()));
        while picked.len() < take {
            let marginal = |at: usize| (1.0 - diversity) * ranked[at].1 - diversity * nearest[at];
            let best = (0..rest.len()).reduce(|best, next| {
                if marginal(rest[next]) > marginal(rest[best]) { next } else { best }
            });
            let Some(best) = best else { break };
            // Not `swap_remove`: equal candidates are picked in their order.
            let position = rest.remove(best);
            picked.push(Picked { position, worth: marginal(position) });
            if !work.spend(COMPARE_UNITS * rest.len() as u64) {
                break;
            }
            for &at in &rest {
                let similarity = state.similarity(slots[position], slots[at]);
                nearest[at] = nearest[at].max(similarity.into());
            }
        }
        if work.finish() { Ok(picked) } else { Err(IndexError::Stopped) }
    }
}

impl State {
    fn similarity(&self, left: Option<u32>, right: Option<u32>) -> f32 {
        // A fact that is not in the index is like no other.
        let (Some(left), Some(right)) = (left, right) else { return 0.0 };
        let cosine = self.vectors.between(left, right);
        cosine.unwrap_or_else(|| self.bm25.shared(left, right)).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Entry, FactIndex};

    fn index(facts: &[(&str, &str, Option<&[f32]>)]) -> Index {
        let index = Index::new();
        for (id, text, vector) in facts {
            let entry = Entry { id, revision: 1, text, metadata: "{}", vector: *vector };
            index.upsert(&entry).unwrap();
        }
        index
    }

    fn order(index: &Index, diversity: f64) -> Vec<usize> {
        let ranked = [("a", 0.9), ("b", 0.89), ("c", 0.6), ("d", 0.1)];
        let ranked = ranked.map(|(id, worth)| (id.to_string(), worth));
        let picked = index.diversify(&ranked, diversity, 3, &Work::unbounded()).unwrap();
        assert!(picked.is_sorted_by(|first, next| first.worth >= next.worth), "{picked:?}");
        picked.iter().map(|picked| picked.position).collect()
    }

    #[test]
    fn a_repetition_gives_way_to_something_else() {
        let same: &[f32] = &[1.0, 0.0, 0.0];
        let index = index(&[
            ("a", "one", Some(same)),
            ("b", "two", Some(same)),
            ("c", "three", Some(&[0.0, 1.0, 0.0])),
            ("d", "four", Some(&[0.0, 0.0, 1.0])),
        ]);
        assert_eq!(order(&index, 0.0), [0, 1, 2]);
        assert_eq!(order(&index, 0.3), [0, 2, 1]);
        assert_eq!(order(&index, 0.9), [0, 2, 3]);
    }

    #[test]
    fn facts_without_vectors_are_compared_by_their_words() {
        let index = index(&[
            ("a", "tea in the pot", None),
            ("b", "tea in the pot", Some(&[1.0, 0.0])),
            ("c", "rain on Monday", None),
        ]);
        assert_eq!(order(&index, 0.5), [0, 2, 3], "the last one is not in the index");
    }
}
