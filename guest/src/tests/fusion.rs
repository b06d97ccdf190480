//! Merging ranked lists.

use crate::fusion::{Floor, Fused, Fusion, RankedList, Retriever, Scoring, Spread, fuse, single};
use crate::ports::Candidate;

fn list(retriever: Retriever, found: &[(&str, f32)]) -> RankedList {
    let candidate = |&(id, score): &(&str, f32)| Candidate { id: id.into(), score };
    RankedList::new(retriever, found.iter().map(candidate).collect())
}

fn vector(found: &[(&str, f32)]) -> RankedList {
    list(Retriever::Vector, found)
}

fn text(found: &[(&str, f32)]) -> RankedList {
    list(Retriever::Text, found)
}

fn ids<'a>(fused: &[Fused<'a>]) -> Vec<&'a str> {
    fused.iter().map(|fused| fused.id).collect()
}

fn scoring(spread: Spread, floor: Floor) -> Fusion {
    Fusion::Score(Scoring { spread, floor, vector_weight: 0.7 })
}

fn about(one: f64, other: f64) -> bool {
    (one - other).abs() < 1e-6
}

#[test]
fn a_list_is_sorted_by_score_and_then_by_id() {
    let list = vector(&[("c", 0.5), ("b", 0.9), ("a", 0.5), ("d", -1.0)]);
    assert_eq!(ids(&single(&list)), ["b", "a", "c", "d"]);
    let ranks: Vec<_> =
        single(&list).iter().map(|f| f.contributions[0].expect("a contribution").rank).collect();
    assert_eq!(ranks, [1, 2, 3, 4]);
}

#[test]
fn scores_that_are_not_finite_rank_last() {
    let odd = [("nan", f32::NAN), ("low", -2.0), ("inf", f32::INFINITY), ("high", 3.0)];
    let list = vector(&odd);
    let fused = single(&list);
    assert_eq!(ids(&fused), ["high", "low", "inf", "nan"]);
    assert_eq!(fused.iter().map(|f| f.score).collect::<Vec<_>>(), [3.0, -2.0, -2.0, -2.0]);
    let not_finite = vector(&[("b", f32::NAN), ("a", f32::NEG_INFINITY)]);
    assert_eq!(ids(&fuse(&[not_finite], Fusion::SCORE)), ["a", "b"]);
}

#[test]
fn a_repeated_id_counts_once_with_its_best_score() {
    let list = vector(&[("a", 0.1), ("b", 0.5), ("a", 0.9), ("a", f32::NAN), ("b", 0.5)]);
    let fused = single(&list);
    assert_eq!(ids(&fused), ["a", "b"]);
    assert!(about(fused[0].score, 0.9));
}

#[test]
fn no_lists_and_empty_lists_give_an_empty_ranking() {
    for fusion in [Fusion::SCORE, Fusion::RANK] {
        assert_eq!(fuse(&[], fusion), []);
        assert_eq!(fuse(&[vector(&[]), text(&[])], fusion), []);
    }
}

#[test]
fn ranks_are_fused_as_published() {
    let lists = [vector(&[("a", 0.9), ("b", 0.8)]), text(&[("b", 7.0), ("c", 6.0)])];
    let fused = fuse(&lists, Fusion::RANK);
    assert_eq!(ids(&fused), ["b", "a", "c"]);
    assert!(about(fused[0].score, 1.0 / 62.0 + 1.0 / 61.0));
    assert!(about(fused[1].score, 1.0 / 61.0));
    assert!(about(fused[2].score, 1.0 / 62.0));
}

#[test]
fn scores_are_fused_in_standard_deviations_above_the_lowest() {
    // Deviations: sqrt(2/3) for 3, 2, 1 and 1 for 4, 2.
    let lists = [vector(&[("a", 3.0), ("b", 2.0), ("c", 1.0)]), text(&[("c", 4.0), ("d", 2.0)])];
    let fused = fuse(&lists, scoring(Spread::Deviation, Floor::Lowest));
    assert_eq!(ids(&fused), ["a", "b", "c", "d"]);
    let unit = (2.0_f64 / 3.0).sqrt();
    let expected = [0.7 * 2.0 / unit, 0.7 / unit, 0.3 * 2.0, 0.0];
    for (fused, expected) in fused.iter().zip(expected) {
        assert!(about(fused.score, expected), "{fused:?} {expected}");
    }
}

#[test]
fn the_ranking_equals_that_of_weighted_z_scores_with_the_lowest_for_missing_candidates() {
    let found_by_vector = [("a", 0.61), ("b", 0.58), ("c", 0.33), ("d", 0.12), ("e", 0.05)];
    let found_by_text = [("e", 9.3), ("c", 8.1), ("x", 2.2), ("b", 0.4)];
    let z = |found: &[(&str, f32)], id: &str| {
        let scores: Vec<_> = found.iter().map(|(_, score)| f64::from(*score)).collect();
        let mean = scores.iter().sum::<f64>() / scores.len() as f64;
        let variance = scores.iter().map(|s| (s - mean).powi(2)).sum::<f64>();
        let lowest = scores.iter().copied().fold(f64::INFINITY, f64::min);
        let score = found.iter().find(|(of, _)| *of == id).map(|(_, s)| f64::from(*s));
        (score.unwrap_or(lowest) - mean) / (variance / scores.len() as f64).sqrt()
    };
    let mut expected = vec!["a", "b", "c", "d", "e", "x"];
    let score = |id| 0.7 * z(&found_by_vector, id) + 0.3 * z(&found_by_text, id);
    expected.sort_by(|a, b| score(b).total_cmp(&score(a)));
    let lists = [vector(&found_by_vector), text(&found_by_text)];
    let fused = fuse(&lists, Fusion::SCORE);
    assert_eq!(ids(&fused), expected);
    let gap = |of: &dyn Fn(usize) -> f64| of(0) - of(1);
    assert!(about(gap(&|n| fused[n].score), gap(&|n| score(expected[n]))));
}

#[test]
fn scores_are_fused_by_min_and_max() {
    let lists = [vector(&[("a", 3.0), ("b", 2.0), ("c", 1.0)]), text(&[("c", 4.0), ("d", 2.0)])];
    let fused = fuse(&lists, scoring(Spread::Range, Floor::Lowest));
    let scores: Vec<_> = fused.iter().map(|f| (f.id, f.score)).collect();
    for ((id, score), (expected_id, expected)) in
        scores.into_iter().zip([("a", 0.7), ("b", 0.35), ("c", 0.3), ("d", 0.0)])
    {
        assert_eq!(id, expected_id);
        assert!(about(score, expected), "{id} {score}");
    }
}

#[test]
fn the_floor_of_text_scores_can_be_zero() {
    let lists = [vector(&[("a", 3.0), ("b", 1.0)]), text(&[("a", 4.0), ("b", 2.0)])];
    let fused = fuse(&lists, scoring(Spread::Range, Floor::NoWords));
    let shares: Vec<_> =
        fused.iter().flat_map(|f| f.contributions.iter().flatten().map(|c| c.share)).collect();
    for (share, expected) in shares.into_iter().zip([0.7, 0.3, 0.0, 0.15]) {
        assert!(about(share, expected), "{share} {expected}");
    }
}

#[test]
fn a_list_with_equal_scores_gives_each_candidate_its_full_weight() {
    for fusion in [Fusion::SCORE, scoring(Spread::Range, Floor::Lowest)] {
        let lists = [vector(&[("a", 0.5), ("b", 0.5)]), text(&[("b", 7.0)])];
        let fused = fuse(&lists, fusion);
        assert_eq!(ids(&fused), ["b", "a"]);
        assert!(about(fused[0].score, 1.0) && about(fused[1].score, 0.7));
    }
}

#[test]
fn ties_are_in_the_order_of_ids() {
    let lists = [vector(&[("b", 1.0), ("a", 1.0)]), text(&[("d", 1.0), ("c", 1.0)])];
    assert_eq!(ids(&fuse(&lists, Fusion::RANK)), ["a", "c", "b", "d"]);
    assert_eq!(ids(&fuse(&lists, Fusion::SCORE)), ["a", "b", "c", "d"]);
}

#[test]
fn a_score_is_the_sum_of_its_shares_and_finite_for_any_input() {
    let odd = [f32::MAX, f32::MIN, f32::MIN_POSITIVE, -0.0, 0.0, f32::NAN, 1e-30, 1.0];
    for (a, b) in odd.iter().flat_map(|a| odd.map(|b| (*a, b))) {
        let lists = [vector(&[("a", a), ("b", b), ("c", 0.5)]), text(&[("b", a), ("d", b)])];
        for fusion in [
            Fusion::SCORE,
            Fusion::RANK,
            scoring(Spread::Range, Floor::NoWords),
            scoring(Spread::Deviation, Floor::NoWords),
        ] {
            let fused = fuse(&lists, fusion);
            assert_eq!(fused.len(), 4);
            for fused in fused {
                let sum: f64 = fused
                    .contributions
                    .iter()
                    .flatten()
                    .map(|contribution| contribution.share)
                    .sum();
                assert!(fused.score.is_finite() && fused.score == sum, "{a} {b} {fused:?}");
            }
        }
    }
}
