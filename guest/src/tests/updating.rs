//! Updating and deleting.

use super::{draft, get, limit, logic, pointer, store, timeout, unavailable, with_metadata};
use crate::Error;
use crate::error::Backend;
use crate::fact::{Change, Stored};
use crate::ports::Level;
use crate::testing::Call;

fn text(text: &str) -> Change {
    Change { text: Some(text.into()), metadata: None }
}

fn metadata(metadata: &str) -> Change {
    Change { text: None, metadata: Some(metadata.into()) }
}

fn changed(indexed: bool) -> crate::Result<Stored> {
    Ok(Stored { id: "a".into(), indexed })
}

#[test]
fn a_change_of_text_keeps_metadata_timestamp_and_order() {
    let logic = logic();
    store(&logic, with_metadata("a", "old", r#"{"a":1}"#)).expect("stored");
    let (before, order) = (get(&logic, "a").expect("a fact"), logic.ports().order("a"));
    assert_eq!(logic.update("a", &text("new")), changed(true));
    let after = get(&logic, "a").expect("a fact");
    assert_eq!((after.text.as_str(), &after.metadata), ("new", &before.metadata));
    assert_eq!((after.timestamp, logic.ports().order("a")), (before.timestamp, order));
    let indexed = logic.ports().indexed("a");
    assert_eq!(indexed, Some(("new".into(), r#"{"a":1}"#.into(), true)));
}

#[test]
fn a_change_of_metadata_replaces_it_and_is_indexed() {
    let logic = logic();
    store(&logic, with_metadata("a", "text", r#"{"a":1,"b":2}"#)).expect("stored");
    assert_eq!(logic.update("a", &metadata(r#"{"a":3}"#)), changed(true));
    assert_eq!(get(&logic, "a").map(|fact| fact.metadata), Some(r#"{"a":3}"#.into()));
    let indexed = logic.ports().indexed("a");
    assert_eq!(indexed, Some(("text".into(), r#"{"a":3}"#.into(), true)));
}

#[test]
fn a_change_keeps_other_fields_of_the_hash() {
    let logic = logic();
    logic.ports().state().put("a", 1, &[("content", "theirs"), ("colour", "red")]);
    assert_eq!(logic.update("a", &text("ours")), changed(true));
    assert_eq!(logic.ports().field("a", "colour").as_deref(), Some("red"));
    assert_eq!(logic.ports().field("a", "metadata"), None);
}

#[test]
fn an_invalid_change_is_rejected_with_a_pointer() {
    let logic = logic();
    store(&logic, draft("a", "text")).expect("stored");
    assert_eq!(pointer(logic.update("a", &Change::default())), "");
    assert_eq!(pointer(logic.update("a", &text(" "))), "/text");
    assert_eq!(pointer(logic.update("a", &metadata("7"))), "/metadata");
    assert_eq!(limit(logic.update("a", &text(&"x".repeat(262_145)))), "fact_text_bytes");
    assert_eq!(get(&logic, "a").map(|fact| fact.text), Some("text".into()));
}

#[test]
fn an_unknown_fact_is_not_found() {
    let logic = logic();
    logic.ports().state().put("side", 1, &[("origin", "session")]);
    for id in ["nobody", "side"] {
        assert_eq!(logic.update(id, &text("new")), Err(Error::NotFound(id.into())));
    }
    assert_eq!(logic.ports().field("side", "content"), None);
    assert_eq!(logic.delete("nobody"), Err(Error::NotFound("nobody".into())));
}

#[test]
fn a_fact_deleted_just_before_the_write_is_not_found_and_stays_deleted() {
    let logic = logic();
    store(&logic, draft("a", "text")).expect("stored");
    logic.ports().before(Call::Write, |state| state.remove_fact("a"));
    assert_eq!(logic.update("a", &text("new")), Err(Error::NotFound("a".into())));
    assert_eq!(get(&logic, "a"), None);
}

#[test]
fn the_index_gets_what_storage_holds_after_the_write() {
    let logic = logic();
    store(&logic, draft("a", "old")).expect("stored");
    let theirs = [("content", "old"), ("metadata", r#"{"theirs":1}"#)];
    logic.ports().before(Call::Write, move |state| state.put("a", 1, &theirs));
    assert_eq!(logic.update("a", &text("new")), changed(true));
    let indexed = logic.ports().indexed("a");
    assert_eq!(indexed, Some(("new".into(), r#"{"theirs":1}"#.into(), true)));
}

#[test]
fn a_change_is_durable_whatever_the_embedder_and_the_index_do() {
    for (call, lines) in [(Call::Embed, 0), (Call::Upsert, 1)] {
        let logic = logic();
        store(&logic, draft("a", "old")).expect("stored");
        logic.ports().fail(call, timeout(Backend::Embedding));
        assert_eq!(logic.update("a", &text("new")), changed(false));
        assert_eq!(get(&logic, "a").map(|fact| fact.text), Some("new".into()));
        assert_eq!(logic.ports().lines(Level::Warn).len(), lines);
    }
}

#[test]
fn a_change_that_cannot_be_read_back_is_durable() {
    let logic = logic();
    store(&logic, draft("a", "old")).expect("stored");
    logic.ports().fail_after(1, Call::Read, timeout(Backend::Storage));
    assert_eq!(logic.update("a", &text("new")), changed(false));
    assert_eq!(logic.ports().field("a", "content").as_deref(), Some("new"));
    assert_eq!(logic.ports().lines(Level::Warn).len(), 1);
}

#[test]
fn a_storage_failure_fails_the_call() {
    for call in [Call::Read, Call::Write] {
        let logic = logic();
        store(&logic, draft("a", "old")).expect("stored");
        logic.ports().fail(call, unavailable(Backend::Storage));
        assert_eq!(logic.update("a", &text("new")), Err(unavailable(Backend::Storage)));
    }
    let logic = logic();
    logic.ports().fail(Call::Delete, timeout(Backend::Storage));
    assert_eq!(logic.delete("a"), Err(timeout(Backend::Storage)));
}

#[test]
fn a_deleted_fact_is_gone_from_storage_and_index() {
    let logic = logic();
    store(&logic, draft("a", "text")).expect("stored");
    assert_eq!(logic.delete("a"), Ok(()));
    assert_eq!(get(&logic, "a"), None);
    assert_eq!(logic.ports().indexed("a"), None);
    assert_eq!(logic.delete("a"), Err(Error::NotFound("a".into())));
}

#[test]
fn a_fact_is_deleted_even_if_the_index_fails() {
    let logic = logic();
    store(&logic, draft("a", "text")).expect("stored");
    logic.ports().fail(Call::Remove, unavailable(Backend::Storage));
    assert_eq!(logic.delete("a"), Ok(()));
    assert_eq!(get(&logic, "a"), None);
    assert_eq!(logic.ports().lines(Level::Warn).len(), 1);
}
