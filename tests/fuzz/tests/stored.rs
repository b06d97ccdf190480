//! Every target's bounded run. `component` has a process of its own, because it counts memory.

use kenning_fuzz::{Verdict, body, cursor, filter, import, keys, rows, stored};

/// Mutations of each corpus: some seconds together.
const MUTATIONS: usize = 50_000;

/// Of both kinds of bytes, those that are taken and those that are refused.
const ENOUGH: usize = 100;

/// Runs a target, and sees that the run said something of both what is taken and what is not.
#[track_caller]
fn holds(name: &str, target: fn(&[u8]) -> Verdict) {
    let counts = stored::run(name, target, MUTATIONS);
    assert!(counts.taken > ENOUGH && counts.refused > ENOUGH, "{counts:?}");
}

#[test]
fn bodies_are_read_or_refused_in_their_place() {
    holds("body", body::run);
}

#[test]
fn a_cursor_leads_to_its_place_and_anything_else_is_refused() {
    holds("cursor", cursor::run);
}

#[test]
fn filters_answer_and_an_index_agrees() {
    holds("filter", filter::run);
}

#[test]
fn an_imports_lines_do_not_depend_on_where_it_is_cut() {
    holds("import", import::run);
}

#[test]
fn two_facts_keys_meet_only_where_they_should() {
    holds("keys", keys::run);
}

#[test]
fn a_fact_survives_its_bytes_and_other_bytes_are_corrupt() {
    holds("rows", rows::run);
}
