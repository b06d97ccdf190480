//! Storing: validation, repetition, races, and failures on the way.

use super::{draft, get, limit, logic, pointer, store, timeout, unavailable, with_metadata};
use crate::Error;
use crate::error::Backend;
use crate::fact::{Draft, Stored};
use crate::ports::{Allowance, Level};
use crate::testing::Call;

fn stored(id: &str, indexed: bool) -> crate::Result<Stored> {
    Ok(Stored { id: id.into(), indexed })
}

#[test]
fn a_stored_fact_is_read_back_as_it_was_given() {
    let logic = logic();
    let metadata = r#"{ "emoji": "🦀", "nested": {"quote": "\"\\"} }"#;
    let given = Draft {
        timestamp: Some("2025-01-02T03:04:05+01:00".into()),
        ..with_metadata("a", " text\n", metadata)
    };
    assert_eq!(store(&logic, given), stored("a", true));
    let fact = get(&logic, "a").expect("a fact");
    assert_eq!((fact.text.as_str(), fact.metadata.as_str()), (" text\n", metadata));
    assert_eq!(fact.timestamp, "2025-01-02T03:04:05.000000+01:00");
    assert_eq!(logic.ports().order("a"), Some(1_735_783_445_000_000));
}

#[test]
fn a_hash_has_exactly_the_four_fields() {
    let logic = logic();
    store(&logic, draft("a", "text")).expect("stored");
    let hash = crate::ports::Storage::read(logic.ports(), &["a"]).expect("a hash").remove(0);
    let mut names: Vec<_> = hash.expect("a hash").fields.into_iter().map(|f| f.0).collect();
    names.sort();
    assert_eq!(names, ["content", "id", "metadata", "timestamp"]);
    assert_eq!(logic.ports().field("a", "id").as_deref(), Some("a"));
}

#[test]
fn a_draft_without_id_or_timestamp_gets_them() {
    let logic = logic();
    let outcomes = logic.store(vec![Draft::new("one"), Draft::new("two")]).expect("stored");
    assert_eq!(outcomes, [stored("fresh-1", true), stored("fresh-2", true)]);
    let fact = get(&logic, "fresh-1").expect("a fact");
    assert_eq!(fact.timestamp, "2023-11-14T22:13:20.000001+00:00");
    assert_eq!(logic.ports().order("fresh-1"), Some(1_700_000_000_000_001));
}

#[test]
fn random_ids_are_uuids_of_version_4() {
    let (one, other) = (crate::ports::id_of_random(1, 2), crate::ports::id_of_random(2, 1));
    assert_ne!(one, other);
    assert_eq!((one.len(), &one[14..15]), (36, "4"));
    assert_eq!(crate::fact::validate_id(&one), Ok(()));
}

#[test]
fn each_invalid_draft_is_rejected_with_a_pointer_and_the_others_are_stored() {
    let logic = logic();
    let drafts = vec![
        draft("a", "good"),
        draft("b", " \n"),
        draft("fact:c", "bad id"),
        with_metadata("d", "bad metadata", "[]"),
        Draft { timestamp: Some("yesterday".into()), ..draft("e", "bad time") },
        draft("f", "good"),
    ];
    let outcomes = logic.store(drafts).expect("the store");
    assert_eq!(outcomes[0], stored("a", true));
    let pointers: Vec<_> = outcomes[1..5].iter().map(|outcome| pointer(outcome.clone())).collect();
    assert_eq!(pointers, ["/text", "/fact_id", "/metadata", "/timestamp"]);
    assert_eq!(outcomes[5], stored("f", true));
    assert_eq!(logic.ports().calls(Call::Write), [2]);
    assert_eq!(logic.ports().calls(Call::Embed), [2]);
    assert_eq!(logic.ports().calls(Call::Upsert), [2]);
    assert_eq!(logic.ports().calls(Call::Read), [0; 0]);
}

#[test]
fn a_text_and_metadata_of_the_maximum_size_are_accepted() {
    let logic = logic();
    let metadata = format!("{{\"a\":\"{}\"}}", "x".repeat(65_536 - 8));
    let largest = with_metadata("a", &"x".repeat(262_144), &metadata);
    assert_eq!(store(&logic, largest), stored("a", true));
    assert_eq!(logic.store(vec![draft("a", " "); 100]).map(|outcomes| outcomes.len()), Ok(100));
}

#[test]
fn a_larger_text_or_metadata_is_rejected() {
    let logic = logic();
    let text = store(&logic, draft("a", &"x".repeat(262_145)));
    assert!(matches!(&text, Err(Error::TooLarge(e)) if e.allowed == 262_144 && e.used == 262_145));
    assert_eq!(limit(text), "fact_text_bytes");
    let metadata = format!("{{\"a\":\"{}\"}}", "x".repeat(65_536 - 7));
    let metadata = store(&logic, with_metadata("a", "text", &metadata));
    assert!(matches!(&metadata, Err(Error::TooLarge(e)) if e.used == 65_537));
    assert_eq!(limit(metadata), "fact_metadata_bytes");
    assert_eq!(limit(logic.store(vec![draft("a", "x"); 101])), "facts_per_call");
    assert_eq!(get(&logic, "a"), None);
}

#[test]
fn without_a_valid_draft_no_port_is_called() {
    let logic = logic();
    assert_eq!(logic.store(vec![]), Ok(vec![]));
    assert!(store(&logic, draft("a", "")).is_err());
    for call in [Call::Write, Call::Read, Call::Embed, Call::Upsert] {
        assert_eq!(logic.ports().calls(call), [0; 0]);
    }
}

#[test]
fn repeating_a_store_succeeds_and_changes_nothing() {
    let logic = logic();
    store(&logic, with_metadata("a", "text", r#"{"a":1,"b":2}"#)).expect("stored");
    let before = get(&logic, "a");
    let repeated = store(&logic, with_metadata("a", "text", r#"{"b": 2, "a": 1}"#));
    assert_eq!(repeated, stored("a", true));
    assert_eq!(get(&logic, "a"), before);
    assert_eq!(logic.ports().calls(Call::Upsert), [1]);
}

#[test]
fn an_id_with_different_content_is_a_conflict_and_changes_nothing() {
    let logic = logic();
    store(&logic, draft("a", "text")).expect("stored");
    let before = get(&logic, "a");
    let others = vec![draft("a", "other"), with_metadata("a", "text", r#"{"a":1}"#)];
    let conflict = Err(Error::Conflict("a".into()));
    assert_eq!(logic.store(others), Ok(vec![conflict.clone(), conflict]));
    assert_eq!(get(&logic, "a"), before);
}

#[test]
fn an_id_whose_hash_is_not_a_fact_is_a_conflict() {
    let logic = logic();
    logic.ports().state().put("side", 1, &[("origin", "session")]);
    assert_eq!(store(&logic, draft("side", "text")), Err(Error::Conflict("side".into())));
}

#[test]
fn drafts_with_the_same_id_behave_as_if_stored_one_after_the_other() {
    let logic = logic();
    let drafts = vec![
        draft("a", ""),
        draft("a", "first"),
        draft("a", "second"),
        draft("b", "other"),
        with_metadata("a", "first", " {} "),
    ];
    let outcomes = logic.store(drafts).expect("the store");
    assert_eq!(pointer(outcomes[0].clone()), "/text");
    let conflict = Err(Error::Conflict("a".into()));
    assert_eq!(outcomes[1..], [stored("a", true), conflict, stored("b", true), stored("a", true)]);
    assert_eq!(get(&logic, "a").map(|fact| fact.text), Some("first".into()));
    assert_eq!(logic.ports().calls(Call::Write), [2]);
}

#[test]
fn drafts_with_the_same_taken_id_are_all_compared_with_the_existing_fact() {
    let logic = logic();
    store(&logic, draft("a", "there")).expect("stored");
    let conflict = Err(Error::Conflict("a".into()));
    let outcomes = logic.store(vec![draft("a", "new"), draft("a", "there"), draft("a", "new")]);
    assert_eq!(outcomes, Ok(vec![conflict.clone(), stored("a", true), conflict]));
}

#[test]
fn existing_facts_are_read_in_as_many_reads_as_it_takes() {
    let logic = logic();
    let drafts: Vec<_> = (0..9).map(|n| draft(&format!("f{n}"), &"x".repeat(1_000))).collect();
    logic.store(drafts.clone()).expect("stored");
    logic.ports().truncate_reads(2_500);
    let again = logic.store(drafts).expect("stored");
    assert!(again.iter().all(Result::is_ok));
    assert_eq!(logic.ports().calls(Call::Read), [9, 7, 5, 3, 1]);
}

#[test]
fn a_store_is_durable_whatever_the_embedder_does() {
    let too_large = Error::too_large(crate::limits::FACT_TEXT_BYTES, 0);
    let failures = [timeout(Backend::Embedding), unavailable(Backend::Embedding), too_large];
    for failure in failures {
        let logic = logic();
        logic.ports().fail(Call::Embed, failure);
        assert_eq!(store(&logic, draft("a", "text")), stored("a", false));
        assert_eq!(get(&logic, "a").map(|fact| fact.text), Some("text".into()));
        let indexed = logic.ports().indexed("a");
        assert_eq!(indexed, Some(("text".into(), "{}".into(), false)));
    }
}

#[test]
fn drafts_with_the_same_id_agree_on_whether_it_is_indexed() {
    let logic = logic();
    logic.ports().fail(Call::Embed, timeout(Backend::Embedding));
    let outcomes = logic.store(vec![draft("a", "text"), draft("a", "text")]);
    assert_eq!(outcomes, Ok(vec![stored("a", false), stored("a", false)]));
}

#[test]
fn a_store_is_durable_whatever_the_index_does() {
    let logic = logic();
    logic.ports().fail(Call::Upsert, unavailable(Backend::Storage));
    assert_eq!(store(&logic, draft("a", "secret text")), stored("a", false));
    let lines = logic.ports().lines(Level::Warn);
    assert_eq!(lines, ["facts were stored but not indexed: the backend is down"]);
}

#[test]
fn after_a_profile_mismatch_the_words_are_indexed_without_vectors() {
    let logic = logic();
    logic.ports().fail_once(Call::Upsert, Error::ProfileMismatch("old, new".into()));
    assert_eq!(store(&logic, draft("a", "text")), stored("a", false));
    assert_eq!(logic.ports().indexed("a"), Some(("text".into(), "{}".into(), false)));
}

#[test]
fn a_write_that_fails_fails_the_call() {
    for failure in [timeout(Backend::Storage), unavailable(Backend::Storage)] {
        let logic = logic();
        logic.ports().fail(Call::Write, failure.clone());
        assert_eq!(logic.store(vec![draft("a", "text"), draft("b", "")]), Err(failure));
        assert_eq!(logic.ports().calls(Call::Embed), [0; 0]);
    }
}

#[test]
fn a_taken_id_that_cannot_be_read_fails_only_its_own_draft() {
    let logic = logic();
    store(&logic, draft("a", "text")).expect("stored");
    logic.ports().fail(Call::Read, timeout(Backend::Storage));
    let outcomes = logic.store(vec![draft("a", "text"), draft("b", "text")]);
    assert_eq!(outcomes, Ok(vec![Err(timeout(Backend::Storage)), stored("b", true)]));
}

#[test]
fn drafts_too_large_for_one_argument_list_are_written_in_batches() {
    let logic = logic();
    let bytes = Allowance { milliseconds: 5_000, fuel: 1 << 30, host_calls: 100, bytes: 4_000 };
    logic.ports().allow(bytes, Allowance { milliseconds: 0, fuel: 0, host_calls: 0, bytes: 0 });
    let drafts: Vec<_> = (0..5).map(|n| draft(&format!("f{n}"), &"x".repeat(1_000))).collect();
    let outcomes = logic.store(drafts.clone()).expect("stored");
    assert!(outcomes.iter().all(|outcome| outcome.as_ref().is_ok_and(|stored| stored.indexed)));
    assert_eq!(logic.ports().calls(Call::Write), [2, 2, 1]);
    assert_eq!(logic.ports().calls(Call::Upsert), [2, 2, 1]);
}

#[test]
fn drafts_written_before_a_batch_failed_are_reported_as_stored() {
    let logic = logic();
    let bytes = Allowance { milliseconds: 5_000, fuel: 1 << 30, host_calls: 100, bytes: 4_000 };
    logic.ports().allow(bytes, Allowance { milliseconds: 0, fuel: 0, host_calls: 0, bytes: 0 });
    logic.ports().fail_after(1, Call::Write, timeout(Backend::Storage));
    let drafts: Vec<_> = (0..4).map(|n| draft(&format!("f{n}"), &"x".repeat(1_000))).collect();
    let failed = Err(timeout(Backend::Storage));
    let outcomes = logic.store(drafts).expect("some stored");
    assert_eq!(outcomes, [stored("f0", true), stored("f1", true), failed.clone(), failed]);
}
