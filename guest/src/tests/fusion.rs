//! Merging what two retrievers know.

use crate::fusion::{Contribution, Fused, Fusion, Retriever, Scoring, fuse, single};
use crate::ports::{Candidate, Evidence};

/// A fact with both scores; `None` for a fact without a vector.
fn fact(id: &str, similarity: impl Into<Option<f32>>, words: f32) -> Evidence {
    Evidence { id: id.into(), similarity: similarity.into(), words, ..Evidence::default() }
}

/// A fact whose words cover so much of the query, and whose rarest word so many facts have.
fn covering(id: &str, similarity: f32, words: f32, coverage: f32, rarest: u32) -> Evidence {
    Evidence { coverage, rarest, ..fact(id, similarity, words) }
}

fn candidates(found: &[(&str, f32)]) -> Vec<Candidate> {
    found.iter().map(|&(id, score)| Candidate { id: id.into(), score }).collect()
}

fn ids<'a>(fused: &[Fused<'a>]) -> Vec<&'a str> {
    fused.iter().map(|fused| fused.id).collect()
}

fn leg(fused: &Fused<'_>, retriever: Retriever) -> Option<Contribution> {
    fused.contributions.into_iter().flatten().find(|part| part.retriever == retriever)
}

fn about(one: f64, other: f64) -> bool {
    (one - other).abs() < 1e-6
}

/// Scores without what coverage changes.
const PLAIN: Fusion = Fusion::Score(Scoring {
    vector_weight: 0.6,
    trusted_coverage: 0.0,
    coverage_weight: 0.0,
    exact_weight: 0.0,
});

#[test]
fn one_retriever_ranks_by_score_and_then_by_id() {
    let found = candidates(&[("c", 0.5), ("b", 0.9), ("a", 0.5), ("d", -1.0)]);
    let ranked = single(Retriever::Vector, &found);
    assert_eq!(ids(&ranked), ["b", "a", "c", "d"]);
    let ranks: Vec<_> =
        ranked.iter().filter_map(|f| leg(f, Retriever::Vector)).map(|part| part.rank).collect();
    assert_eq!(ranks, [1, 2, 3, 4]);
}

#[test]
fn scores_that_are_not_finite_rank_last() {
    let odd = [("nan", f32::NAN), ("low", -2.0), ("inf", f32::INFINITY), ("high", 3.0)];
    let found = candidates(&odd);
    let ranked = single(Retriever::Vector, &found);
    assert_eq!(ids(&ranked), ["high", "low", "inf", "nan"]);
    assert_eq!(ranked.iter().map(|f| f.score).collect::<Vec<_>>(), [3.0, -2.0, -2.0, -2.0]);
    let not_finite = candidates(&[("b", f32::NAN), ("a", f32::NEG_INFINITY)]);
    assert_eq!(ids(&single(Retriever::Text, &not_finite)), ["a", "b"]);
}

#[test]
fn a_repeated_id_counts_once_with_its_best_score() {
    let found = candidates(&[("a", 0.1), ("b", 0.5), ("a", 0.9), ("a", f32::NAN), ("b", 0.5)]);
    let ranked = single(Retriever::Text, &found);
    assert_eq!(ids(&ranked), ["a", "b"]);
    assert!(about(ranked[0].score, 0.9));
    let twice = [fact("a", 0.5, 1.0), fact("b", 0.1, 2.0), fact("a", 0.5, 1.0)];
    assert_eq!(fuse(&twice, Fusion::SCORE).len(), 2);
}

#[test]
fn nothing_found_gives_an_empty_ranking() {
    for fusion in [Fusion::SCORE, Fusion::rank(50)] {
        assert_eq!(fuse(&[], fusion), []);
    }
    assert_eq!(single(Retriever::Text, &[]), []);
}

#[test]
fn ranks_are_fused_as_published() {
    let found = [fact("a", 0.9, 0.0), fact("b", 0.8, 7.0), fact("c", None, 6.0)];
    let fused = fuse(&found, Fusion::rank(50));
    assert_eq!(ids(&fused), ["b", "a", "c"]);
    assert!(about(fused[0].score, 1.0 / 62.0 + 1.0 / 61.0));
    assert!(about(fused[1].score, 1.0 / 61.0));
    assert!(about(fused[2].score, 1.0 / 62.0));
}

#[test]
fn only_ranks_within_the_pool_count() {
    let found = [fact("a", 0.9, 1.0), fact("b", 0.8, 7.0), fact("c", 0.1, 6.0)];
    let fused = fuse(&found, Fusion::rank(2));
    let score = |id| fused.iter().find(|f| f.id == id).map_or(0.0, |f| f.score);
    assert!(about(score("a"), 1.0 / 61.0) && about(score("c"), 1.0 / 62.0));
    assert!(about(score("b"), 1.0 / 61.0 + 1.0 / 62.0));
}

#[test]
fn the_ranking_equals_that_of_weighted_z_scores_over_all_candidates() {
    let found = [
        fact("a", 0.61, 0.0),
        fact("b", 0.58, 0.4),
        fact("c", 0.33, 8.1),
        fact("d", 0.12, 0.0),
        fact("e", 0.05, 9.3),
        fact("x", None, 2.2),
    ];
    let z = |values: [f64; 6]| {
        let mean = values.iter().sum::<f64>() / 6.0;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 6.0;
        values.map(|value| (value - mean) / variance.sqrt())
    };
    let similarity = z([0.61, 0.58, 0.33, 0.12, 0.05, 0.05]);
    let words = z([0.0, 0.4, 8.1, 0.0, 9.3, 2.2]);
    let mut expected: Vec<(f64, &str)> = ["a", "b", "c", "d", "e", "x"]
        .iter()
        .enumerate()
        .map(|(at, id)| (0.6 * similarity[at] + 0.4 * words[at], *id))
        .collect();
    expected.sort_by(|a, b| b.0.total_cmp(&a.0));
    let fused = fuse(&found, PLAIN);
    assert_eq!(ids(&fused), expected.iter().map(|(_, id)| *id).collect::<Vec<_>>());
    for (pair, wanted) in fused.windows(2).zip(expected.windows(2)) {
        assert!(about(pair[0].score - pair[1].score, wanted[0].0 - wanted[1].0));
    }
}

#[test]
fn a_leg_is_shown_where_its_retriever_knows_the_fact_with_its_place_among_all() {
    let found =
        [fact("a", 0.9, 0.0), fact("b", 0.2, 7.0), fact("c", None, 3.0), fact("d", 0.5, 1.0)];
    let fused = fuse(&found, Fusion::SCORE);
    let shown = |id: &str, retriever| {
        let fused = fused.iter().find(|fused| fused.id == id)?;
        leg(fused, retriever).map(|part| (part.rank, part.score as f32))
    };
    assert_eq!(shown("a", Retriever::Vector), Some((1, 0.9)));
    assert_eq!(shown("a", Retriever::Text), None);
    assert_eq!(shown("b", Retriever::Vector), Some((3, 0.2)));
    assert_eq!(shown("b", Retriever::Text), Some((1, 7.0)));
    assert_eq!(shown("c", Retriever::Vector), None);
    assert_eq!(shown("d", Retriever::Text), Some((3, 1.0)));
}

/// A vector pool of fifty, closer to the query than the one fact that has its word.
fn drowned(coverage: f32, rarest: u32) -> Vec<Evidence> {
    let others = (0..50).map(|n| fact(&format!("near-{n:02}"), 0.6 - n as f32 / 200.0, 0.0));
    let mut found: Vec<_> = others.collect();
    found.push(covering("exact", 0.02, 6.0, coverage, rarest));
    found
}

/// Facts of which the text retriever prefers those that the vector retriever likes least. The best
/// by words covers so much of the query.
fn in_dispute(coverage: f32) -> Vec<Evidence> {
    let fact = |n: u8| {
        let words = f32::from(n) / 10.0;
        covering(&format!("{n:02}"), 0.8 - words / 10.0, words, coverage * words / 4.0, 30)
    };
    (0..=40).map(fact).collect()
}

#[test]
fn the_less_the_words_know_of_a_query_the_more_its_vector_decides() {
    let words_share = |coverage| {
        let found = in_dispute(coverage);
        let ranking = fuse(&found, Fusion::SCORE);
        let last = ranking.iter().find(|fused| fused.id == "40");
        last.and_then(|fused| leg(fused, Retriever::Text)).map_or(0.0, |part| part.share)
    };
    assert_eq!(fuse(&in_dispute(0.1), Fusion::SCORE)[0].id, "00");
    assert!(words_share(0.05) < words_share(0.1) && words_share(0.1) < words_share(0.3));
    assert!(words_share(0.05) < words_share(0.4) / 50.0);
    assert!(about(words_share(0.0), 0.0));
}

#[test]
fn the_first_hits_do_not_depend_on_how_many_are_wanted() {
    let fact = |n: u32| {
        let (similarity, words) = (n * 37 % 401, n * 113 % 397);
        let (similarity, words) = (similarity as f32 / 401.0, words.saturating_sub(200) as f32);
        covering(&format!("{n:03}"), similarity, words, words / 400.0, 9)
    };
    let all: Vec<_> = (0..400).map(fact).collect();
    let best_by = |score: fn(&Evidence) -> f32, limit: usize| {
        let mut ordered: Vec<_> = all.iter().filter(|fact| score(fact) > 0.0).cloned().collect();
        ordered.sort_by(|a, b| score(b).total_cmp(&score(a)));
        ordered.truncate(limit);
        ordered
    };
    let pools = |limit| {
        let mut found = best_by(|fact| fact.similarity.unwrap_or_default(), limit);
        found.extend(best_by(|fact| fact.words, limit));
        found
    };
    let (few, many) = (pools(50), pools(200));
    let (few, many) = (fuse(&few, Fusion::SCORE), fuse(&many, Fusion::SCORE));
    assert!(many.len() > few.len() + 100);
    assert_eq!(ids(&few)[..10], ids(&many)[..10]);
}

#[test]
fn a_word_that_only_one_fact_has_wins_over_any_similarity() {
    assert_eq!(fuse(&drowned(1.0, 1), Fusion::SCORE)[0].id, "exact");
    assert_ne!(fuse(&drowned(1.0, 1), PLAIN)[0].id, "exact", "this is what the bonus is for");
}

#[test]
fn a_word_counts_less_the_more_facts_have_it_and_the_less_of_the_query_it_is() {
    let score = |coverage, rarest| {
        let found = drowned(coverage, rarest);
        let fused = fuse(&found, Fusion::SCORE);
        fused.iter().find(|fused| fused.id == "exact").map_or(0.0, |fused| fused.score)
    };
    assert!(score(1.0, 1) > score(1.0, 2) && score(1.0, 2) > score(1.0, 40));
    assert!(score(1.0, 2) > score(0.5, 2) && score(0.5, 2) > score(0.1, 2));
    // Less of the query only keeps the one fact that has the word among the first ten.
    assert!(score(1.0, 1) > score(0.5, 1) && score(1.0, 1) > score(0.1, 1));
    assert!(about(score(f32::NAN, 3), score(0.0, 0)) && about(score(1.0, 0), score(0.0, 0)));
}

#[test]
fn a_fact_that_alone_has_a_word_is_among_the_first_ten_of_any_question() {
    let common = (0..50).map(|n| {
        covering(&format!("near-{n:02}"), 0.6 - n as f32 / 200.0, 8.0 - n as f32 / 10.0, 0.5, 90)
    });
    let mut found: Vec<_> = common.collect();
    found.push(covering("alone", 0.02, 3.0, 0.05, 1));
    let ranking = fuse(&found, Fusion::SCORE);
    assert_eq!(ids(&ranking).iter().position(|id| *id == "alone"), Some(9));
    let text = leg(&ranking[9], Retriever::Text).map(|part| part.score);
    assert_eq!(text, Some(3.0), "what the index returned stays");
    assert!(ranking.windows(2).all(|pair| pair[0].score >= pair[1].score));

    // Of many, the best two by words.
    let alone = (0..20).map(|n| covering(&format!("alone-{n:02}"), 0.01, n as f32 / 10.0, 0.01, 1));
    found.extend(alone);
    let ranking = fuse(&found, Fusion::SCORE);
    assert_eq!(ids(&ranking)[8..10], ["alone", "alone-19"]);
    assert_eq!(ranking.len(), 71);
    let others: Vec<_> = ids(&ranking).into_iter().filter(|id| id.starts_with("near")).collect();
    assert!(others.is_sorted(), "the others keep their order");
    let by_rank = fuse(&found, Fusion::rank(50));
    assert!(ids(&by_rank)[..10].iter().all(|id| id.starts_with("near")));
}

#[test]
fn the_ranking_does_not_depend_on_the_scale_of_either_score() {
    let mut random = 7_u32;
    let mut next = || {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (random >> 8) as f32 / (1 << 24) as f32
    };
    for _ in 0..50 {
        let found: Vec<_> = (0..80)
            .map(|n| {
                let (similarity, words) = (next(), (next() - 0.5).max(0.0));
                covering(&format!("f{n}"), similarity, words * 20.0, words, 3)
            })
            .collect();
        let scaled = found.iter().map(|fact| Evidence {
            similarity: fact.similarity.map(|similarity| similarity * 0.25 - 0.125),
            words: fact.words * 8.0,
            ..fact.clone()
        });
        let scaled: Vec<_> = scaled.collect();
        let (fused, other) = (fuse(&found, Fusion::SCORE), fuse(&scaled, Fusion::SCORE));
        for (one, two) in fused.iter().zip(&other) {
            assert!((one.score - two.score).abs() < 1e-3, "{one:?} {two:?}");
        }
    }
}

#[test]
fn a_fact_without_a_vector_counts_as_the_lowest() {
    let found = [fact("far", 0.1, 2.0), fact("near", 0.8, 0.0), fact("none", None, 2.0)];
    let fused = fuse(&found, Fusion::SCORE);
    let score = |id| fused.iter().find(|f| f.id == id).map(|f| f.score);
    assert_eq!(score("far"), score("none"));
}

#[test]
fn equal_scores_give_each_candidate_the_full_weight() {
    let found = [fact("a", 0.5, 0.0), fact("b", 0.5, 0.0)];
    for fused in fuse(&found, PLAIN) {
        assert!(about(fused.score, 0.6), "{fused:?}");
    }
    let alone = [fact("a", 0.5, 3.0)];
    assert!(about(fuse(&alone, PLAIN)[0].score, 1.0));
    // One that is not known makes no difference between them.
    let unknown = [fact("a", 0.5, 0.0), fact("b", None, 0.0)];
    assert!(fuse(&unknown, PLAIN).iter().all(|fused| fused.score == 0.0));
}

#[test]
fn ties_are_in_the_order_of_ids() {
    let found =
        [fact("b", 1.0, 0.0), fact("a", 1.0, 0.0), fact("d", 0.0, 1.0), fact("c", 0.0, 1.0)];
    assert_eq!(ids(&fuse(&found, Fusion::SCORE))[..2], ["a", "b"]);
    let by_rank = fuse(&found, Fusion::rank(50));
    assert!(by_rank.windows(2).all(|pair| pair[0].score >= pair[1].score));
}

#[test]
fn a_score_is_the_sum_of_its_shares_and_finite_for_any_input() {
    let odd = [f32::MAX, f32::MIN, f32::MIN_POSITIVE, -0.0, 0.0, f32::NAN, f32::INFINITY, 1.0];
    for (a, b) in odd.iter().flat_map(|a| odd.map(|b| (*a, b))) {
        let found = [
            covering("a", a, b, a, 1),
            covering("b", b, a, b, u32::MAX),
            fact("c", None, b),
            fact("d", 0.5, 0.0),
        ];
        for fusion in [Fusion::SCORE, PLAIN, Fusion::rank(1), Fusion::rank(50)] {
            let fused = fuse(&found, fusion);
            assert_eq!(fused.len(), 4);
            for fused in fused {
                let shares = fused.contributions.iter().flatten().map(|part| part.share);
                assert!(fused.score.is_finite(), "{a} {b} {fused:?}");
                assert!(about(fused.score, shares.sum()), "{a} {b} {fused:?}");
            }
        }
    }
}
