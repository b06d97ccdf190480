//! The measures of trec_eval, as BEIR reports them (Thakur et al., NeurIPS 2021).

use std::collections::{HashMap, HashSet};

/// The measures of each query, in this order everywhere.
pub const MEASURES: [&str; 4] = ["nDCG@10", "recall@10", "recall@100", "MRR@10"];

/// The place of nDCG@10 among them.
pub const NDCG_10: usize = 0;

/// Järvelin and Kekäläinen, "Cumulated Gain-Based Evaluation of IR Techniques", 2002, with linear
/// gain, as trec_eval has it. `ids` are the hits, best first; `relevant` has positive grades.
pub fn ndcg(ids: &[String], relevant: &HashMap<String, f64>, depth: usize) -> f64 {
    let mut ideal: Vec<f64> = relevant.values().copied().collect();
    ideal.sort_by(|one, other| other.total_cmp(one));
    let best = discounted(ideal.into_iter().take(depth));
    let gains = ids.iter().map(|id| relevant.get(id).copied().unwrap_or(0.0));
    if best == 0.0 { 0.0 } else { discounted(gains.take(depth)) / best }
}

fn discounted(gains: impl Iterator<Item = f64>) -> f64 {
    gains.enumerate().map(|(rank, gain)| gain / (rank as f64 + 2.0).log2()).sum()
}

/// The share of the relevant facts that are among the first `depth` hits.
pub fn recall(ids: &[String], relevant: &HashMap<String, f64>, depth: usize) -> f64 {
    let found: HashSet<&String> =
        ids.iter().take(depth).filter(|id| relevant.contains_key(*id)).collect();
    found.len() as f64 / relevant.len().max(1) as f64
}

/// One divided by the rank of the first relevant hit, 0 if there is none among the first `depth`.
pub fn reciprocal_rank(ids: &[String], relevant: &HashMap<String, f64>, depth: usize) -> f64 {
    let first = ids.iter().take(depth).position(|id| relevant.contains_key(id));
    first.map_or(0.0, |rank| 1.0 / (rank as f64 + 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(ids: &str) -> Vec<String> {
        ids.split_whitespace().map(String::from).collect()
    }

    fn grades(grades: &[(&str, f64)]) -> HashMap<String, f64> {
        grades.iter().map(|(id, grade)| (id.to_string(), *grade)).collect()
    }

    #[track_caller]
    fn assert_near(one: f64, other: f64) {
        assert!((one - other).abs() < 1e-12, "{one} is not {other}");
    }

    #[test]
    fn ndcg_divides_by_the_best_order_of_the_grades() {
        // 1/log2(3) + 2/log2(5) over 2/log2(2) + 1/log2(3).
        let relevant = grades(&[("a", 1.0), ("b", 2.0)]);
        let (third, fifth) = (1.0 / 3f64.log2(), 2.0 / 5f64.log2());
        assert_near(ndcg(&ids("x a y b"), &relevant, 10), (third + fifth) / (2.0 + third));
        assert_near(ndcg(&ids("b a"), &relevant, 10), 1.0);
        assert_near(ndcg(&ids("x a y b"), &relevant, 2), third / (2.0 + third));
        assert_near(ndcg(&ids("x y"), &relevant, 10), 0.0);
        assert_near(ndcg(&[], &relevant, 10), 0.0);
    }

    #[test]
    fn only_as_many_grades_are_ideal_as_there_are_places() {
        let relevant = grades(&[("a", 1.0), ("b", 1.0), ("c", 1.0)]);
        assert_near(ndcg(&ids("c a"), &relevant, 2), 1.0);
    }

    #[test]
    fn recall_counts_each_relevant_fact_once() {
        let relevant = grades(&[("a", 1.0), ("b", 2.0), ("c", 1.0), ("gone", 1.0)]);
        assert_near(recall(&ids("x a b y c"), &relevant, 4), 0.5);
        assert_near(recall(&ids("x a b y c"), &relevant, 10), 0.75);
        assert_near(recall(&ids("a a a"), &relevant, 10), 0.25);
    }

    #[test]
    fn the_reciprocal_rank_is_that_of_the_first_relevant_hit() {
        let relevant = grades(&[("a", 1.0), ("b", 2.0)]);
        assert_near(reciprocal_rank(&ids("x y b a"), &relevant, 10), 1.0 / 3.0);
        assert_near(reciprocal_rank(&ids("x y b a"), &relevant, 2), 0.0);
        assert_near(reciprocal_rank(&ids("a"), &relevant, 10), 1.0);
    }
}
