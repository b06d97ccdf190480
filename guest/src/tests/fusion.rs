//! Making one order of two legs.

use crate::fusion::{Floor, Fused, Fusion, Half, Leg, Scoring, Spread, alone, fuse};
use crate::ports::Candidate;

fn leg(half: Half, found: &[(&str, f32)]) -> Leg {
    let candidate = |&(id, score): &(&str, f32)| Candidate { id: id.into(), score };
    Leg::new(half, found.iter().map(candidate).collect())
}

fn vector(found: &[(&str, f32)]) -> Leg {
    leg(Half::Vector, found)
}

fn text(found: &[(&str, f32)]) -> Leg {
    leg(Half::Text, found)
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
fn a_leg_is_in_order_of_score_and_then_of_id() {
    let leg = vector(&[("c", 0.5), ("b", 0.9), ("a", 0.5), ("d", -1.0)]);
    assert_eq!(ids(&alone(&leg)), ["b", "a", "c", "d"]);
    let ranks: Vec<_> = alone(&leg).iter().map(|f| f.parts[0].expect("a part").rank).collect();
    assert_eq!(ranks, [1, 2, 3, 4]);
}

#[test]
fn scores_that_are_not_finite_are_worst() {
    let odd = [("nan", f32::NAN), ("low", -2.0), ("inf", f32::INFINITY), ("high", 3.0)];
    let leg = vector(&odd);
    let fused = alone(&leg);
    assert_eq!(ids(&fused), ["high", "low", "inf", "nan"]);
    assert_eq!(fused.iter().map(|f| f.score).collect::<Vec<_>>(), [3.0, -2.0, -2.0, -2.0]);
    let hopeless = vector(&[("b", f32::NAN), ("a", f32::NEG_INFINITY)]);
    assert_eq!(ids(&fuse(&[hopeless], Fusion::SCORE)), ["a", "b"]);
}

#[test]
fn an_id_that_an_index_repeats_counts_once_with_its_best_score() {
    let leg = vector(&[("a", 0.1), ("b", 0.5), ("a", 0.9), ("a", f32::NAN), ("b", 0.5)]);
    let fused = alone(&leg);
    assert_eq!(ids(&fused), ["a", "b"]);
    assert!(about(fused[0].score, 0.9));
}

#[test]
fn no_legs_and_empty_legs_make_no_order() {
    for fusion in [Fusion::SCORE, Fusion::RANK] {
        assert_eq!(fuse(&[], fusion), []);
        assert_eq!(fuse(&[vector(&[]), text(&[])], fusion), []);
    }
}

#[test]
fn ranks_fuse_as_published() {
    let legs = [vector(&[("a", 0.9), ("b", 0.8)]), text(&[("b", 7.0), ("c", 6.0)])];
    let fused = fuse(&legs, Fusion::RANK);
    assert_eq!(ids(&fused), ["b", "a", "c"]);
    assert!(about(fused[0].score, 1.0 / 62.0 + 1.0 / 61.0));
    assert!(about(fused[1].score, 1.0 / 61.0));
    assert!(about(fused[2].score, 1.0 / 62.0));
}

#[test]
fn scores_fuse_by_deviations_above_the_lowest() {
    // Deviations: sqrt(2/3) for 3, 2, 1 and 1 for 4, 2.
    let legs = [vector(&[("a", 3.0), ("b", 2.0), ("c", 1.0)]), text(&[("c", 4.0), ("d", 2.0)])];
    let fused = fuse(&legs, scoring(Spread::Deviation, Floor::Lowest));
    assert_eq!(ids(&fused), ["a", "b", "c", "d"]);
    let unit = (2.0_f64 / 3.0).sqrt();
    let expected = [0.7 * 2.0 / unit, 0.7 / unit, 0.3 * 2.0, 0.0];
    for (fused, expected) in fused.iter().zip(expected) {
        assert!(about(fused.score, expected), "{fused:?} {expected}");
    }
}

#[test]
fn the_order_is_that_of_weighted_z_scores_with_the_lowest_for_the_missing() {
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
    let legs = [vector(&found_by_vector), text(&found_by_text)];
    let fused = fuse(&legs, Fusion::SCORE);
    assert_eq!(ids(&fused), expected);
    let gap = |of: &dyn Fn(usize) -> f64| of(0) - of(1);
    assert!(about(gap(&|n| fused[n].score), gap(&|n| score(expected[n]))));
}

#[test]
fn scores_fuse_by_min_and_max() {
    let legs = [vector(&[("a", 3.0), ("b", 2.0), ("c", 1.0)]), text(&[("c", 4.0), ("d", 2.0)])];
    let fused = fuse(&legs, scoring(Spread::Range, Floor::Lowest));
    let scores: Vec<_> = fused.iter().map(|f| (f.id, f.score)).collect();
    for ((id, score), (expected_id, expected)) in
        scores.into_iter().zip([("a", 0.7), ("b", 0.35), ("c", 0.3), ("d", 0.0)])
    {
        assert_eq!(id, expected_id);
        assert!(about(score, expected), "{id} {score}");
    }
}

#[test]
fn no_shared_word_can_be_the_floor_of_texts() {
    let legs = [vector(&[("a", 3.0), ("b", 1.0)]), text(&[("a", 4.0), ("b", 2.0)])];
    let fused = fuse(&legs, scoring(Spread::Range, Floor::NoWords));
    let shares: Vec<_> =
        fused.iter().flat_map(|f| f.parts.iter().flatten().map(|part| part.share)).collect();
    for (share, expected) in shares.into_iter().zip([0.7, 0.3, 0.0, 0.15]) {
        assert!(about(share, expected), "{share} {expected}");
    }
}

#[test]
fn a_leg_whose_scores_are_equal_still_counts_who_was_found() {
    for fusion in [Fusion::SCORE, scoring(Spread::Range, Floor::Lowest)] {
        let legs = [vector(&[("a", 0.5), ("b", 0.5)]), text(&[("b", 7.0)])];
        let fused = fuse(&legs, fusion);
        assert_eq!(ids(&fused), ["b", "a"]);
        assert!(about(fused[0].score, 1.0) && about(fused[1].score, 0.7));
    }
}

#[test]
fn ties_are_in_the_order_of_ids() {
    let legs = [vector(&[("b", 1.0), ("a", 1.0)]), text(&[("d", 1.0), ("c", 1.0)])];
    assert_eq!(ids(&fuse(&legs, Fusion::RANK)), ["a", "c", "b", "d"]);
    assert_eq!(ids(&fuse(&legs, Fusion::SCORE)), ["a", "b", "c", "d"]);
}

#[test]
fn a_score_is_the_sum_of_its_shares_and_finite_for_any_input() {
    let odd = [f32::MAX, f32::MIN, f32::MIN_POSITIVE, -0.0, 0.0, f32::NAN, 1e-30, 1.0];
    for (a, b) in odd.iter().flat_map(|a| odd.map(|b| (*a, b))) {
        let legs = [vector(&[("a", a), ("b", b), ("c", 0.5)]), text(&[("b", a), ("d", b)])];
        for fusion in [
            Fusion::SCORE,
            Fusion::RANK,
            scoring(Spread::Range, Floor::NoWords),
            scoring(Spread::Deviation, Floor::NoWords),
        ] {
            let fused = fuse(&legs, fusion);
            assert_eq!(fused.len(), 4);
            for fused in fused {
                let sum: f64 = fused.parts.iter().flatten().map(|part| part.share).sum();
                assert!(fused.score.is_finite() && fused.score == sum, "{a} {b} {fused:?}");
            }
        }
    }
}
