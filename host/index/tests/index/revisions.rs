//! The newest revision wins, in whatever order writes arrive.

use kenning_index::limits::REMOVALS;
use kenning_index::{Entry, FactIndex, Filter, Index};

fn upsert(index: &Index, revision: u64, text: &str, vector: Option<&[f32]>) -> bool {
    let metadata = format!(r#"{{"revision":{revision}}}"#);
    index.upsert(&Entry { id: "a", revision, text, metadata: &metadata, vector }).unwrap()
}

fn is_found(index: &Index, text: &str) -> bool {
    !index.matching(text, None, 1).unwrap().is_empty()
}

fn score(index: &Index) -> Option<f32> {
    index.nearest(&[1.0, 0.0], None, 1).unwrap().first().map(|candidate| candidate.score)
}

#[test]
fn an_older_upsert_changes_nothing() {
    let index = Index::new();
    assert!(upsert(&index, 5, "new", None));
    assert!(!upsert(&index, 4, "old", Some(&[1.0, 0.0])));
    assert!(is_found(&index, "new") && !is_found(&index, "old"));
    assert_eq!(score(&index), None);
}

#[test]
fn the_same_revision_can_add_a_vector_and_nothing_else() {
    let index = Index::new();
    assert!(upsert(&index, 5, "text", None));
    assert!(!upsert(&index, 5, "text", None));
    assert!(!upsert(&index, 5, "other", Some(&[1.0, 0.0])));
    assert!(is_found(&index, "text") && !is_found(&index, "other"));
    assert_eq!(score(&index), None);
    assert!(!index.has_vector("a") && !index.has_vector("b"));
    assert!(upsert(&index, 5, "text", Some(&[1.0, 0.0])));
    assert_eq!((score(&index), index.has_vector("a")), (Some(1.0), true));
}

#[test]
fn a_newer_text_drops_the_vector_of_the_old_one() {
    let index = Index::new();
    assert!(upsert(&index, 1, "old", Some(&[1.0, 0.0])));
    assert!(upsert(&index, 2, "new", None));
    assert_eq!(score(&index), None);
    assert_eq!(index.sizes().vectors, 0);
    assert!(is_found(&index, "new") && !is_found(&index, "old"));
}

#[test]
fn the_same_text_keeps_its_vector_when_only_metadata_changes() {
    let index = Index::new();
    assert!(upsert(&index, 1, "text", Some(&[1.0, 0.0])));
    assert!(upsert(&index, 2, "text", None));
    assert_eq!(score(&index), Some(1.0));
    let filter = Filter::parse_text(r#"{"revision":2}"#).unwrap();
    assert_eq!(index.nearest(&[1.0, 0.0], Some(&filter), 1).unwrap().len(), 1);
    assert_eq!(index.matching("text", Some(&filter), 1).unwrap().len(), 1);
}

#[test]
fn a_newer_vector_replaces_the_old_one() {
    let index = Index::new();
    assert!(upsert(&index, 1, "text", Some(&[1.0, 0.0])));
    assert!(upsert(&index, 2, "other", Some(&[0.0, 1.0])));
    assert_eq!(score(&index), Some(0.0));
    assert_eq!(index.sizes().vectors, 1);
}

#[test]
fn a_removed_fact_is_not_restored_by_a_late_upsert() {
    let index = Index::new();
    assert!(upsert(&index, 1, "text", None));
    assert!(index.remove("a", 2).unwrap());
    assert!(!upsert(&index, 1, "text", Some(&[1.0, 0.0])));
    assert!(!upsert(&index, 2, "text", None));
    assert!(!is_found(&index, "text"));
    assert!(upsert(&index, 3, "text", None));
    assert!(is_found(&index, "text"));
    assert_eq!(index.sizes().removals, 0);
}

#[test]
fn a_removal_that_arrives_before_its_upsert_takes_effect() {
    let index = Index::new();
    assert!(!index.remove("a", 2).unwrap());
    assert!(!upsert(&index, 1, "text", None));
    assert_eq!(index.sizes().facts, 0);
}

#[test]
fn an_older_removal_changes_nothing() {
    let index = Index::new();
    assert!(upsert(&index, 3, "text", None));
    assert!(!index.remove("a", 2).unwrap());
    assert!(is_found(&index, "text"));
    assert!(index.remove("a", 3).unwrap());
}

#[test]
fn only_the_last_removals_are_remembered() {
    let index = Index::new();
    assert!(!index.remove("a", 2).unwrap());
    for number in 0..REMOVALS {
        index.remove(&number.to_string(), 1).unwrap();
    }
    assert_eq!(index.sizes().removals, REMOVALS);
    assert!(upsert(&index, 1, "text", None));
}

#[test]
fn the_stored_revision_is_returned() {
    let index = Index::new();
    assert_eq!(index.revision("a"), None);
    upsert(&index, 5, "text", None);
    upsert(&index, 4, "older", None);
    assert_eq!(index.revision("a"), Some(5));
    assert!(index.remove("a", 5).unwrap());
    assert_eq!(index.revision("a"), None);
}
