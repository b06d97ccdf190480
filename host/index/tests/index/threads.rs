//! Concurrent reads and writes.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};

use kenning_index::{Entry, FactIndex, Filter, Index};

const WRITERS: u64 = 3;
const ROUNDS: u64 = 400;

/// Writes one revision of a fact; removes it again if the revision is divisible by five.
fn write(index: &Index, writer: u64, revision: u64) {
    let id = format!("{writer}-{}", revision % 40);
    let text = format!("all {}", word(writer, revision));
    let metadata = format!(r#"{{"writer":{writer}}}"#);
    let vector = [1.0, writer as f32, revision as f32 / ROUNDS as f32];
    let entry =
        Entry { id: &id, revision, text: &text, metadata: &metadata, vector: Some(&vector) };
    assert!(index.upsert(&entry).unwrap());
    if revision.is_multiple_of(5) {
        assert!(index.remove(&id, revision).unwrap());
    }
}

/// A word of one revision, of which no part is in another.
fn word(writer: u64, revision: u64) -> String {
    format!("w{}", writer * ROUNDS + revision)
}

fn read(index: &Index, filter: &Filter) {
    for candidate in index.nearest(&[1.0, 1.0, 0.5], Some(filter), 10).unwrap() {
        assert!(candidate.id.starts_with("1-"), "{candidate:?}");
    }
    let found = index.matching("all", None, 1_000).unwrap();
    assert!(found.len() <= 40 * WRITERS as usize);
}

#[test]
fn concurrent_writes_and_searches_leave_the_last_revisions() {
    let index = Index::new();
    let filter = Filter::parse_text(r#"{"writer":1}"#).unwrap();
    let start = Barrier::new(WRITERS as usize + 2);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (index, start) = (&index, &start);
                scope.spawn(move || {
                    start.wait();
                    (1..=ROUNDS).for_each(|revision| write(index, writer, revision));
                })
            })
            .collect();
        for _ in 0..2 {
            scope.spawn(|| {
                start.wait();
                while !done.load(Ordering::Relaxed) {
                    read(&index, &filter);
                }
            });
        }
        let ended: Vec<_> = writers.into_iter().map(|writer| writer.join()).collect();
        done.store(true, Ordering::Relaxed);
        assert!(ended.iter().all(Result::is_ok));
    });
    // Of the last 40 revisions of each writer, every fifth was removed.
    assert_eq!(index.sizes().facts, (40 - 8) * WRITERS as usize);
    for writer in 0..WRITERS {
        assert_eq!(index.matching(&word(writer, ROUNDS - 1), None, 2).unwrap().len(), 1);
    }
}
