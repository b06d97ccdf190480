//! Reading by id, for callers and for the host's index.

use super::{draft, fill, get, limit, logic, store, unavailable};
use crate::error::Backend;
use crate::fact::Entry;
use crate::ports::{Allowance, Level};
use crate::testing::Call;

#[test]
fn facts_are_returned_in_the_order_of_their_ids_with_none_for_unknown_ones() {
    let logic = logic();
    fill(&logic, 3, |n| format!("text {n}"));
    let facts = logic.get(&["f002", "nobody", "f000"]).expect("the facts");
    let texts: Vec<_> = facts.iter().map(|fact| fact.as_ref().map(|f| f.text.as_str())).collect();
    assert_eq!(texts, [Some("text 2"), None, Some("text 0")]);
    assert_eq!(logic.get(&[]), Ok(vec![]));
}

#[test]
fn a_hundred_ids_are_accepted_and_one_more_is_rejected() {
    let logic = logic();
    let ids = vec!["a"; 101];
    assert_eq!(logic.get(&ids[..100]).map(|facts| facts.len()), Ok(100));
    assert_eq!(logic.entries(&ids[..100]).map(|entries| entries.len()), Ok(0));
    assert_eq!(limit(logic.get(&ids)), "facts_per_call");
    assert_eq!(limit(logic.entries(&ids)), "facts_per_call");
}

#[test]
fn a_read_truncated_by_storage_gives_a_truncated_result() {
    let logic = logic();
    fill(&logic, 5, |_| "x".repeat(1_000));
    logic.ports().truncate_reads(2_500);
    let ids = ["f000", "f001", "f002", "f003", "f004"];
    assert_eq!(logic.get(&ids).map(|facts| facts.len()), Ok(2));
}

#[test]
fn a_result_uses_at_most_three_quarters_of_the_bytes() {
    let logic = logic();
    fill(&logic, 5, |_| "x".repeat(1_000));
    let all = Allowance { milliseconds: 1_000, fuel: 1_000, host_calls: 100, bytes: 4_000 };
    logic.ports().allow(all, Allowance { milliseconds: 0, fuel: 0, host_calls: 0, bytes: 0 });
    let facts = logic.get(&["f000", "f001", "f002"]).expect("the facts");
    assert_eq!(facts.len(), 2);
    // The first fact is returned even if it is larger than planned for.
    logic.ports().allow(Allowance { bytes: 1_500, ..all }, all);
    assert_eq!(logic.get(&["f000", "f001"]).map(|facts| facts.len()), Ok(1));
}

#[test]
fn a_storage_failure_fails_the_call() {
    let logic = logic();
    logic.ports().fail(Call::Read, unavailable(Backend::Storage));
    assert_eq!(logic.get(&["a"]), Err(unavailable(Backend::Storage)));
    assert_eq!(logic.entries(&["a"]), Err(unavailable(Backend::Storage)));
}

#[test]
fn hashes_of_other_programs_do_not_fail_the_call() {
    let logic = logic();
    store(&logic, draft("ours", "our text")).expect("stored");
    logic.ports().state().put("odd", 1, &[("content", "theirs"), ("metadata", "{'a'")]);
    logic.ports().state().put("side", 2, &[("origin", "session")]);
    assert_eq!(get(&logic, "odd").map(|fact| fact.metadata), Some(r#"{"value":"{'a'"}"#.into()));
    assert_eq!(get(&logic, "side"), None);
    let entries = logic.entries(&["side", "odd", "ours"]).expect("the entries");
    let ids: Vec<_> = entries.into_iter().map(|entry| entry.map(|entry| entry.id)).collect();
    assert_eq!(ids, [Some("odd".into()), Some("ours".into())]);
}

#[test]
fn an_entry_holds_what_the_index_needs() {
    let logic = logic();
    fill(&logic, 1, |_| "the text".into());
    let timestamp = logic.ports().field("f000", "timestamp").expect("a time");
    let metadata = format!(r#"{{"$timestamp":"{timestamp}"}}"#);
    let entry = Entry { id: "f000".into(), text: "the text".into(), metadata };
    assert_eq!(logic.entries(&["f000"]), Ok(vec![Some(entry)]));
}

#[test]
fn truncated_entries_end_with_a_none_for_each_id_not_reached() {
    let logic = logic();
    fill(&logic, 4, |_| "x".repeat(1_000));
    logic.ports().truncate_reads(2_500);
    let ids = ["f000", "nobody", "f001", "f002", "f003"];
    let mut rest = &ids[..];
    let mut found = Vec::new();
    while !rest.is_empty() {
        let entries = logic.entries(rest).expect("the entries");
        let unreached = entries.iter().rev().take_while(|entry| entry.is_none()).count();
        assert!(unreached < rest.len());
        found.extend(entries.into_iter().flatten().map(|entry| entry.id));
        rest = &rest[rest.len() - unreached..];
    }
    assert_eq!(found, ["f000", "f001", "f002", "f003"]);
}

#[test]
fn a_hash_too_large_to_read_does_not_block_other_entries() {
    let logic = logic();
    fill(&logic, 2, |_| "small".into());
    logic.ports().state().put("huge", 1, &[("content", &"x".repeat(5_000))]);
    logic.ports().truncate_reads(4_000);
    assert_eq!(limit(logic.get(&["huge"])), "host_call_bytes");
    let entries = logic.entries(&["huge", "f000"]).expect("the entries");
    assert_eq!(entries, [None]);
    assert_eq!(logic.entries(&["f000"]).map(|entries| entries.len()), Ok(1));
    assert_eq!(logic.ports().lines(Level::Warn).len(), 1);
}
