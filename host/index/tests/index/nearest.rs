//! Nearest-neighbour search agrees with a plain comparison with every vector.

use std::collections::BTreeMap;

use kenning_index::{Candidate, Entry, FactIndex, Filter, Index, IndexError};

use crate::support::{clustered, ids, put};

/// The vector scaled to unit length, in the precision of the index.
fn unit(vector: &[f32]) -> Vec<f32> {
    let squares: f64 = vector.iter().map(|&v| f64::from(v) * f64::from(v)).sum();
    vector.iter().map(|&v| (f64::from(v) / squares.sqrt()) as f32).collect()
}

fn cosine(left: &[f32], right: &[f32]) -> f64 {
    left.iter().zip(right).map(|(&l, &r)| f64::from(l) * f64::from(r)).sum()
}

/// Asserts that `answer` agrees with a comparison with all `facts` in `f64`.
fn assert_nearest<'a>(
    answer: &[Candidate],
    query: &[f32],
    facts: impl Iterator<Item = (&'a String, &'a Vec<f32>)>,
    limit: usize,
) {
    let query = unit(query);
    let scores: BTreeMap<&str, f64> =
        facts.map(|(id, vector)| (id.as_str(), cosine(&query, &unit(vector)))).collect();
    let mut best: Vec<f64> = scores.values().copied().collect();
    best.sort_by(|left, right| right.total_cmp(left));
    assert_eq!(answer.len(), limit.min(best.len()));
    for (candidate, best) in answer.iter().zip(&best) {
        let score = f64::from(candidate.score);
        assert!((score - scores[&*candidate.id]).abs() < 1e-5, "{candidate:?}");
        // The expected fact at this rank, or one whose score differs only in the sixth digit.
        assert!((score - best).abs() < 1e-5, "{candidate:?} instead of {best}");
    }
    for pair in answer.windows(2) {
        assert!(pair[0].score > pair[1].score || pair[0].id < pair[1].id);
    }
}

#[test]
fn results_agree_with_a_comparison_with_every_vector() {
    let mut random = fastrand::Rng::with_seed(11);
    for (dimensions, facts) in [(1, 20), (3, 300), (64, 1_100), (100, 2_500), (384, 1_500)] {
        let index = Index::new();
        let mut all = BTreeMap::new();
        for number in 0..facts {
            let vector = clustered(&mut random, dimensions);
            put(&index, &number.to_string(), "", "{}", Some(&vector));
            all.insert(number.to_string(), vector);
        }
        for limit in [1, 10, 100, facts, 10 * facts] {
            let query = clustered(&mut random, dimensions);
            let answer = index.nearest(&query, None, limit).unwrap();
            assert_nearest(&answer, &query, all.iter(), limit);
        }
    }
}

#[test]
fn results_stay_correct_after_upserts_and_removals() {
    let mut random = fastrand::Rng::with_seed(12);
    let index = Index::with_dimensions(48);
    let mut all = BTreeMap::new();
    for revision in 1..12_000 {
        let id = random.u32(..1_500).to_string();
        let vector = clustered(&mut random, 48);
        match random.u8(..5) {
            0 => {
                index.remove(&id, revision).unwrap();
                all.remove(&id);
            }
            1 => {
                // Another text and no vector: drops the old vector.
                let text = revision.to_string();
                let entry = Entry { id: &id, revision, text: &text, metadata: "{}", vector: None };
                index.upsert(&entry).unwrap();
                all.remove(&id);
            }
            _ => {
                let metadata = format!(r#"{{"group":{}}}"#, revision % 7);
                let vector_ref = Some(vector.as_slice());
                let entry =
                    Entry { id: &id, revision, text: "", metadata: &metadata, vector: vector_ref };
                index.upsert(&entry).unwrap();
                all.insert(id, (revision % 7, vector));
            }
        }
    }
    assert_eq!(index.sizes().vectors, all.len());
    let vectors: BTreeMap<_, _> = all.iter().map(|(id, (_, v))| (id.clone(), v.clone())).collect();
    let third: BTreeMap<_, _> = all
        .iter()
        .filter(|(_, (group, _))| *group == 3)
        .map(|(id, (_, v))| (id.clone(), v.clone()))
        .collect();
    let filter = Filter::parse_text(r#"{"group":3}"#).unwrap();
    for _ in 0..50 {
        let query = clustered(&mut random, 48);
        assert_nearest(&index.nearest(&query, None, 10).unwrap(), &query, vectors.iter(), 10);
        let answer = index.nearest(&query, Some(&filter), 10).unwrap();
        assert_nearest(&answer, &query, third.iter(), 10);
    }
}

#[test]
fn equal_facts_are_ordered_by_id_however_many_there_are() {
    let index = Index::new();
    let mut numbers: Vec<u32> = (1_000..4_000).collect();
    fastrand::Rng::with_seed(13).shuffle(&mut numbers);
    for number in numbers {
        put(&index, &number.to_string(), "", "{}", Some(&[0.3, 0.2, -0.5]));
    }
    let answer = index.nearest(&[0.1, 0.9, 0.2], None, 3).unwrap();
    assert_eq!(ids(&answer), ["1000", "1001", "1002"]);
}

#[test]
fn the_length_of_a_vector_does_not_matter() {
    let index = Index::new();
    put(&index, "long", "", "{}", Some(&[3e37, 4e37]));
    put(&index, "short", "", "{}", Some(&[4e-30, 3e-30]));
    let answer = index.nearest(&[0.6, 0.8], None, 10).unwrap();
    assert_eq!(ids(&answer), ["long", "short"]);
    assert!((answer[0].score - 1.0).abs() < 1e-6 && (answer[1].score - 0.96).abs() < 1e-6);
}

#[test]
fn facts_without_a_vector_are_not_found() {
    let index = Index::new();
    put(&index, "words", "only", "{}", None);
    assert_eq!(index.nearest(&[1.0], None, 10).unwrap(), []);
    put(&index, "both", "only", "{}", Some(&[1.0]));
    assert_eq!(ids(&index.nearest(&[1.0], None, 10).unwrap()), ["both"]);
    assert_eq!(index.nearest(&[1.0], None, 0).unwrap(), []);
}

#[test]
fn vectors_of_other_dimensions_are_refused_and_change_nothing() {
    let index = Index::new();
    put(&index, "a", "one", "{}", Some(&[1.0, 2.0]));
    let wrong = IndexError::Dimensions { expected: 2, got: 3 };
    let vector = Some([1.0; 3].as_slice());
    let entry = Entry { id: "a", revision: 2, text: "two", metadata: "{}", vector };
    assert_eq!(index.upsert(&entry), Err(wrong.clone()));
    assert_eq!(index.nearest(&[1.0; 3], None, 1), Err(wrong));
    assert_eq!(ids(&index.matching("one", None, 1).unwrap()), ["a"]);

    let index = Index::with_dimensions(2);
    let wrong = IndexError::Dimensions { expected: 2, got: 1 };
    assert_eq!(index.nearest(&[1.0], None, 1), Err(wrong));
}

#[test]
fn vectors_without_a_direction_are_refused_and_change_nothing() {
    let index = Index::new();
    let refusals = [
        ([f32::NAN, 1.0], IndexError::NotFinite),
        ([f32::INFINITY, 1.0], IndexError::NotFinite),
        ([0.0, 0.0], IndexError::ZeroVector),
    ];
    for (vector, error) in refusals {
        let given = Some(vector.as_slice());
        let entry = Entry { id: "a", revision: 1, text: "one", metadata: "{}", vector: given };
        assert_eq!(index.upsert(&entry), Err(error.clone()));
        assert_eq!(index.nearest(&vector, None, 1), Err(error));
    }
    assert_eq!(index.nearest(&[], None, 1), Err(IndexError::VectorLength { got: 0 }));
    assert_eq!(index.sizes().facts, 0);
}

#[test]
fn a_fact_without_meaning_has_a_vector_and_is_near_to_nothing() {
    let index = Index::new();
    let upsert = |id, revision, text, vector: Option<&[f32]>| {
        let entry = Entry { id, revision, text, metadata: "{}", vector };
        index.upsert(&entry).unwrap()
    };
    assert!(upsert("a", 1, "tea", Some(&[1.0, 0.0])) && upsert("b", 1, "\u{1f375}", Some(&[])));
    assert!(index.has_vector("b"));
    assert_eq!((index.sizes().facts, index.sizes().vectors), (2, 2));
    assert_eq!(ids(&index.nearest(&[1.0, 0.0], None, 10).unwrap()), ["a"]);
    // Its vector stays with the text, and goes with it.
    assert!(upsert("b", 2, "\u{1f375}", None) && index.has_vector("b"));
    assert!(upsert("b", 3, "coffee", None) && !index.has_vector("b"));
    assert!(upsert("b", 3, "coffee", Some(&[0.0, 1.0])) && index.has_vector("b"));
    assert_eq!(ids(&index.nearest(&[1.0, 0.0], None, 10).unwrap()), ["a", "b"]);
    assert!(upsert("a", 2, "tea", Some(&[])));
    assert_eq!(ids(&index.nearest(&[1.0, 0.0], None, 10).unwrap()), ["b"]);
    index.remove("a", 3).unwrap();
    assert_eq!((index.sizes().facts, index.sizes().vectors), (1, 1));
}
