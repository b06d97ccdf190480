//! How much of what callers see stays with a candidate.
//!
//! The hits of a search are compared by rank-biased overlap (Webber, Moffat and Zobel, "A
//! Similarity Measure for Indefinite Rankings", 2010) with p = 0.9, down to the last hit: the mean,
//! over all depths, of the fraction of hits that the two have in common down to that depth, where
//! each depth weighs 0.9 of the one above it. It is 1 for equal rankings, and changes at the top
//! lower it most.

use std::collections::HashSet;

/// The overlaps of some requests.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Overlap {
    pub(super) requests: usize,
    sum: f64,
}

impl Overlap {
    pub(super) fn add(&mut self, overlap: f64) {
        self.requests += 1;
        self.sum += overlap;
    }

    /// The mean, from 0 to 1; `None` of no requests.
    pub(super) fn mean(self) -> Option<f64> {
        (self.requests > 0).then(|| self.sum / self.requests as f64)
    }
}

/// How much each depth of a ranking weighs of the one above it.
const PERSISTENCE: f64 = 0.9;

/// The rank-biased overlap of two rankings, as the module describes it; 1 if both are empty.
pub(super) fn rank_biased_overlap(one: &[String], other: &[String]) -> f64 {
    let depth = one.len().max(other.len());
    if depth == 0 {
        return 1.0;
    }
    let (mut seen_one, mut seen_other) = (HashSet::new(), HashSet::new());
    let (mut common, mut sum, mut weights, mut weight) = (0_usize, 0.0, 0.0, 1.0);
    for at in 0..depth {
        let (a, b) = (one.get(at), other.get(at));
        seen_one.extend(a);
        seen_other.extend(b);
        common += usize::from(a.is_some_and(|a| seen_other.contains(a)));
        common += usize::from(b.is_some_and(|b| seen_one.contains(b) && Some(b) != a));
        sum += weight * common as f64 / (at + 1) as f64;
        weights += weight;
        weight *= PERSISTENCE;
    }
    sum / weights
}

/// The fraction of facts that two results have in common, in any order; 1 if both are empty.
pub(super) fn common(one: &[String], other: &[String]) -> f64 {
    let (one, other): (HashSet<_>, HashSet<_>) = (one.iter().collect(), other.iter().collect());
    match one.len().max(other.len()) {
        0 => 1.0,
        most => one.intersection(&other).count() as f64 / most as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overlap(one: &str, other: &str) -> f64 {
        let ids = |text: &str| text.chars().map(String::from).collect::<Vec<_>>();
        rank_biased_overlap(&ids(one), &ids(other))
    }

    #[test]
    fn equal_rankings_overlap_fully_and_disjoint_ones_not_at_all() {
        assert_eq!(overlap("abc", "abc"), 1.0);
        assert_eq!(overlap("", ""), 1.0);
        assert_eq!(overlap("abc", "xyz"), 0.0);
        assert_eq!(overlap("abc", ""), 0.0);
    }

    #[test]
    fn changes_at_the_top_count_most() {
        // Depths 1 to 3: 0/1, 2/2, 3/3, which weigh 1, 0.9 and 0.81.
        assert!((overlap("abc", "bac") - 1.71 / 2.71).abs() < 1e-9);
        // 1/1, 1/2, 3/3.
        assert!((overlap("abc", "acb") - 2.26 / 2.71).abs() < 1e-9);
        assert!(overlap("abc", "cba") < overlap("abc", "acb"));
    }

    #[test]
    fn a_shorter_ranking_overlaps_less() {
        // 1/1, 1/2.
        assert!((overlap("ab", "a") - 1.45 / 1.9).abs() < 1e-9);
    }
}
