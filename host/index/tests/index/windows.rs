//! A fact with several vectors is found by its best one, once, and as exactly as any other.

use std::collections::BTreeMap;

use kenning_index::{Entry, FactIndex, Filter, Index, IndexError};

use crate::support::{clustered, ids};

const DIMENSIONS: usize = 24;

/// A fact with its group and its vectors.
type Facts = BTreeMap<String, (u64, Vec<Vec<f32>>)>;

fn put(index: &Index, id: &str, revision: u64, vectors: &[Vec<f32>]) -> Result<bool, IndexError> {
    let values = vectors.concat();
    let metadata = format!(r#"{{"group":{}}}"#, revision % 7);
    let vector = (!values.is_empty()).then_some(values.as_slice());
    let text = revision.to_string();
    let entry = Entry { id, revision, text: &text, metadata: &metadata, vector };
    index.upsert_windows(&entry, DIMENSIONS)
}

fn cosine(left: &[f32], right: &[f32]) -> f64 {
    let dot = |l: &[f32], r: &[f32]| -> f64 {
        l.iter().zip(r).map(|(&l, &r)| f64::from(l) * f64::from(r)).sum()
    };
    dot(left, right) / (dot(left, left) * dot(right, right)).sqrt()
}

/// Asserts that the nearest facts of `index` are those that a scan of all vectors finds.
fn assert_exact(index: &Index, facts: &Facts, query: &[f32], group: Option<u64>, limit: usize) {
    let filter = group.map(|group| Filter::parse_text(&format!(r#"{{"group":{group}}}"#)).unwrap());
    let found = index.nearest(query, filter.as_ref(), limit).unwrap();
    let scores: BTreeMap<&str, f64> = facts
        .iter()
        .filter(|(_, (of, vectors))| group.is_none_or(|group| group == *of) && !vectors.is_empty())
        .map(|(id, (_, vectors))| {
            let best = vectors.iter().map(|vector| cosine(query, vector)).max_by(f64::total_cmp);
            (id.as_str(), best.unwrap())
        })
        .collect();
    let mut best: Vec<f64> = scores.values().copied().collect();
    best.sort_by(|left, right| right.total_cmp(left));
    assert_eq!(found.len(), limit.min(best.len()));
    for (candidate, best) in found.iter().zip(&best) {
        let score = f64::from(candidate.score);
        assert!((score - scores[&*candidate.id]).abs() < 1e-5, "{candidate:?}");
        assert!((score - best).abs() < 1e-5, "{candidate:?} instead of {best}");
    }
    let mut unique = ids(&found);
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), found.len(), "each fact once");
}

#[test]
fn results_agree_with_a_scan_of_all_windows_after_any_changes() {
    for seed in 0..8 {
        let mut random = fastrand::Rng::with_seed(seed);
        let index = Index::new();
        let mut facts = Facts::new();
        // From few facts with many windows to many with few.
        let (ids, most) = (30 << (seed % 4), [40, 3, 12, 2][seed as usize % 4]);
        for revision in 1..3_000 {
            let id = random.usize(..ids).to_string();
            match random.u8(..5) {
                0 => {
                    index.remove(&id, revision).unwrap();
                    facts.remove(&id);
                }
                kind => {
                    let windows = if kind == 1 { 0 } else { random.usize(..=most) };
                    let vectors: Vec<_> =
                        (0..windows).map(|_| clustered(&mut random, DIMENSIONS)).collect();
                    assert!(put(&index, &id, revision, &vectors).unwrap());
                    facts.insert(id, (revision % 7, vectors));
                }
            }
            if revision % 300 == 0 {
                let query = clustered(&mut random, DIMENSIONS);
                for limit in [1, 5, 50, 5_000] {
                    assert_exact(&index, &facts, &query, None, limit);
                    assert_exact(&index, &facts, &query, Some(3), limit);
                }
            }
        }
        let windows: usize = facts.values().map(|(_, vectors)| vectors.len()).sum();
        let with_vectors = facts.values().filter(|(_, vectors)| !vectors.is_empty()).count();
        let sizes = index.sizes();
        assert_eq!((sizes.facts, sizes.vectors), (facts.len(), with_vectors));
        assert_eq!(sizes.windows, windows);
    }
}

#[test]
fn a_fact_whose_windows_are_all_near_does_not_displace_others() {
    let index = Index::new();
    let near = |turn: f32| {
        let mut vector = vec![0.0; DIMENSIONS];
        (vector[0], vector[1]) = (turn.cos(), turn.sin());
        vector
    };
    let many: Vec<_> = (0..2_000).map(|number| near(number as f32 / 1e6)).collect();
    put(&index, "many", 1, &many).unwrap();
    for number in 0..9 {
        put(&index, &format!("f{number}"), 2, &[near(0.5 + number as f32 / 100.0)]).unwrap();
    }
    let found = index.nearest(&near(0.0), None, 5).unwrap();
    assert_eq!(ids(&found), ["many", "f0", "f1", "f2", "f3"]);
}

#[test]
fn another_text_drops_all_windows_and_the_same_text_keeps_them() {
    let index = Index::new();
    let axis = |at: usize| (0..DIMENSIONS).map(|d| f32::from(d == at)).collect::<Vec<f32>>();
    put(&index, "a", 1, &[axis(0), axis(1)]).unwrap();
    let score = |query: &[f32]| index.nearest(query, None, 1).unwrap().first().map(|c| c.score);
    assert_eq!((score(&axis(0)), score(&axis(1))), (Some(1.0), Some(1.0)));
    put(&index, "a", 2, &[axis(2)]).unwrap();
    assert_eq!((score(&axis(1)), score(&axis(2))), (Some(0.0), Some(1.0)));
    put(&index, "a", 3, &[]).unwrap();
    assert_eq!(score(&axis(2)), None);
}

#[test]
fn vectors_that_end_within_a_window_are_refused_and_change_nothing() {
    let index = Index::new();
    put(&index, "a", 1, &[vec![1.0; DIMENSIONS]]).unwrap();
    let long = vec![1.0; 2 * DIMENSIONS + 1];
    let got = long.len();
    assert_eq!(
        put(&index, "a", 2, &[long]),
        Err(IndexError::Dimensions { expected: DIMENSIONS, got })
    );
    let zero = [vec![1.0; DIMENSIONS], vec![0.0; DIMENSIONS]];
    assert_eq!(put(&index, "a", 2, &zero), Err(IndexError::ZeroVector));
    assert_eq!(index.revision("a"), Some(1));
}
