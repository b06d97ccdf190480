//! Listing: order, limits, and that every fact is listed exactly once.

use super::{fill, logic, pointer, timeout};
use crate::error::Backend;
use crate::fact::FactPage;
use crate::ports::{Allowance, Level};
use crate::testing::{Call, Memory};
use crate::{Error, Logic};

const PLENTY: Allowance =
    Allowance { milliseconds: 5_000, fuel: 1_000_000, host_calls: 1_000, bytes: 4 << 20 };
const FREE: Allowance = Allowance { milliseconds: 0, fuel: 0, host_calls: 0, bytes: 0 };

fn ids(page: &FactPage) -> Vec<String> {
    page.facts.iter().map(|fact| fact.id.clone()).collect()
}

/// The ids of a whole listing, and how many pages it took.
fn walk(logic: &Logic<Memory>, containing: Option<&str>, limit: u32) -> (Vec<String>, usize) {
    let (mut all, mut cursor) = (Vec::new(), None);
    for pages in 1..1_000 {
        let page = logic.list(containing, limit, cursor.as_deref()).expect("a page");
        assert!(page.facts.len() <= limit as usize);
        all.extend(ids(&page));
        cursor = page.cursor;
        if cursor.is_none() {
            return (all, pages);
        }
    }
    panic!("the listing does not end");
}

/// `f<from>` down to `f<to>`.
fn down(from: usize, to: usize) -> Vec<String> {
    (to..=from).rev().map(|n| format!("f{n:03}")).collect()
}

#[test]
fn facts_are_listed_newest_first() {
    let logic = logic();
    fill(&logic, 3, |n| format!("text {n}"));
    let page = logic.list(None, 100, None).expect("a page");
    assert_eq!(ids(&page), ["f002", "f001", "f000"]);
    assert_eq!(page.facts[0].text, "text 2");
    assert_eq!(page.cursor, None);
    assert_eq!(walk(&Logic::new(Memory::default()), None, 10), (vec![], 1));
}

#[test]
fn a_limit_of_1_to_1000_is_accepted() {
    let logic = logic();
    fill(&logic, 3, |_| "text".into());
    assert_eq!(logic.list(None, 1, None).map(|page| page.facts.len()), Ok(1));
    assert_eq!(logic.list(None, 1_000, None).map(|page| page.facts.len()), Ok(3));
}

#[test]
fn a_limit_outside_1_to_1000_is_rejected() {
    assert_eq!(pointer(logic().list(None, 0, None)), "/limit");
    assert_eq!(pointer(logic().list(None, 1_001, None)), "/limit");
}

#[test]
fn storage_rejects_an_invalid_cursor() {
    assert_eq!(pointer(logic().list(None, 10, Some("mine"))), "/cursor");
}

#[test]
fn every_page_size_lists_every_fact_exactly_once() {
    let logic = logic();
    fill(&logic, 230, |n| format!("{} {n}", if n % 3 == 0 { "Fizz" } else { "other" }));
    let is_third = |id: &String| id[1..].parse::<usize>().is_ok_and(|n| n % 3 == 0);
    let thirds: Vec<_> = down(229, 0).into_iter().filter(is_third).collect();
    for limit in (1..40).chain([77, 99, 100, 101, 229, 230, 231, 1_000]) {
        assert_eq!(walk(&logic, None, limit).0, down(229, 0), "limit {limit}");
        assert_eq!(walk(&logic, Some("fizz"), limit).0, thirds, "limit {limit}");
    }
}

#[test]
fn truncated_reads_and_full_pages_list_every_fact_exactly_once() {
    let logic = logic();
    fill(&logic, 150, |n| format!("{} {}", n % 2, "x".repeat(n * 37 % 1_000)));
    for bytes in [2_000, 3_000, 5_000, 17_000] {
        logic.ports().truncate_reads(bytes);
        logic.ports().allow(Allowance { bytes: bytes as u64 + 400, ..PLENTY }, FREE);
        for limit in [1, 7, 100, 1_000] {
            let (all, pages) = walk(&logic, None, limit);
            assert_eq!(all, down(149, 0), "{bytes} bytes, limit {limit}");
            assert!(pages >= 150_000 / 4 / bytes);
            assert_eq!(walk(&logic, Some("1 "), limit).0.len(), 75);
        }
    }
}

#[test]
fn a_page_stays_below_three_quarters_of_the_bytes() {
    let logic = logic();
    fill(&logic, 50, |_| "x".repeat(1_000));
    logic.ports().allow(Allowance { bytes: 20_000, ..PLENTY }, FREE);
    let page = logic.list(None, 50, None).expect("a page");
    let text: usize = page.facts.iter().map(|fact| fact.text.len()).sum();
    assert!((8_000..15_000).contains(&text), "{text}");
    assert!(page.cursor.is_some());
}

#[test]
fn a_low_budget_ends_a_page_without_losing_facts() {
    let logic = logic();
    fill(&logic, 500, |n| format!("text {n}"));
    logic.ports().truncate_reads(300);
    let costs = [
        Allowance { fuel: 150_000, ..FREE },
        Allowance { milliseconds: 1_500, ..FREE },
        Allowance { host_calls: 250, ..FREE },
    ];
    for cost in costs {
        let (mut all, mut cursor, mut pages) = (Vec::new(), None, 0);
        loop {
            logic.ports().allow(PLENTY, cost);
            let page = logic.list(Some("text 1"), 1_000, cursor.as_deref()).expect("a page");
            all.extend(ids(&page));
            (cursor, pages) = (page.cursor, pages + 1);
            if cursor.is_none() {
                break;
            }
        }
        let begin_with_1 = |id: &String| id[1..].trim_start_matches('0').starts_with('1');
        let expected: Vec<_> = down(499, 0).into_iter().filter(begin_with_1).collect();
        assert_eq!(all, expected);
        assert!(pages > 10, "{pages}");
    }
}

#[test]
fn a_page_makes_progress_even_if_the_budget_is_low_from_the_start() {
    let logic = logic();
    fill(&logic, 20, |_| "text".into());
    logic.ports().truncate_reads(300);
    logic.ports().allow(Allowance { fuel: 0, host_calls: 1, milliseconds: 0, bytes: 1_000 }, FREE);
    assert_eq!(walk(&logic, None, 20).0, down(19, 0));
    assert_eq!(walk(&logic, Some("nowhere"), 20).0, [""; 0]);
}

#[test]
fn a_storage_page_without_a_match_is_followed_by_the_next_in_the_same_call() {
    let logic = logic();
    fill(&logic, 300, |n| if n == 0 { "needle".into() } else { "hay".into() });
    let page = logic.list(Some("NEEDLE"), 10, None).expect("a page");
    assert_eq!(ids(&page), ["f000"]);
    assert_eq!(page.cursor, None);
    assert_eq!(logic.ports().calls(Call::Page), [100, 200]);
}

#[test]
fn one_page_costs_one_storage_page_and_one_read() {
    let logic = logic();
    fill(&logic, 300, |_| "text".into());
    assert_eq!(logic.list(None, 100, None).map(|page| page.facts.len()), Ok(100));
    assert_eq!(logic.ports().calls(Call::Page), [100]);
    assert_eq!(logic.ports().calls(Call::Read), [100]);
}

#[test]
fn facts_stored_during_a_page_do_not_duplicate_others() {
    for stored in [1, 3, 30] {
        let logic = logic();
        fill(&logic, 40, |_| "text".into());
        logic.ports().before(Call::Read, move |state| {
            for n in 0..stored {
                state.put(&format!("new{n}"), u64::MAX - n, &[("content", "text")]);
            }
        });
        let (mut all, _) = walk(&logic, Some("text"), 10);
        all.retain(|id| !id.starts_with("new"));
        assert_eq!(all, down(39, 0), "{stored} stored");
    }
}

#[test]
fn facts_deleted_during_a_page_do_not_hide_others() {
    let logic = logic();
    fill(&logic, 40, |_| "text".into());
    logic.ports().before(Call::Read, |state| {
        ["f039", "f035", "f031", "f030", "f029"].iter().for_each(|id| state.remove_fact(id));
    });
    let gone = |id: &String| !["f039", "f035", "f031", "f030", "f029"].contains(&id.as_str());
    let expected: Vec<_> = down(39, 0).into_iter().filter(gone).collect();
    assert_eq!(walk(&logic, Some("text"), 10).0, expected);
}

#[test]
fn facts_that_stay_are_listed_exactly_once_despite_concurrent_stores_and_deletes() {
    // A fixed linear congruential generator makes every run the same.
    let mut seed = 7_u64;
    let mut random = move |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) % below
    };
    for round in 0..400 {
        let logic = logic();
        fill(&logic, 60, |_| "text".into());
        logic.ports().truncate_reads(400 + random(2_000) as usize);
        let mut gone = Vec::new();
        for n in 0..random(12) {
            let old: Vec<_> = (0..random(8)).map(|_| format!("f{:03}", random(60))).collect();
            gone.extend(old.clone());
            let places: Vec<_> = (0..random(8)).map(|_| random(60)).collect();
            let call = if random(2) == 0 { Call::Read } else { Call::Page };
            logic.ports().before(call, move |state| {
                old.iter().for_each(|id| state.remove_fact(id));
                for (m, place) in places.into_iter().enumerate() {
                    let order = state.newest() + 1 - place % 3 * place;
                    state.put(&format!("new{n}-{m}"), order, &[("content", "text")]);
                }
            });
        }
        let containing = ["text", "t"].get(round % 3).copied();
        let (mut all, _) = walk(&logic, containing, 1 + random(15) as u32);
        let stays = |id: &String| id.starts_with('f') && !gone.contains(id);
        all.retain(stays);
        let expected: Vec<_> = down(59, 0).into_iter().filter(stays).collect();
        assert_eq!(all, expected, "round {round}");
    }
}

#[test]
fn a_page_whose_facts_are_all_deleted_meanwhile_is_retried() {
    let logic = logic();
    fill(&logic, 20, |_| "text".into());
    logic.ports().before(Call::Read, |state| state.remove_fact("f018"));
    logic.ports().before(Call::Page, |_| ());
    logic.ports().before(Call::Page, |state| state.remove_fact("f019"));
    let page = logic.list(Some("text"), 1, None).expect("a page");
    assert_eq!(ids(&page), ["f017"]);
    assert_eq!(logic.list(None, 1, page.cursor.as_deref()).map(|p| ids(&p)), Ok(down(16, 16)));
}

#[test]
fn too_many_concurrent_stores_fail_the_page_instead_of_skipping_facts() {
    let logic = logic();
    fill(&logic, 20, |_| "text".into());
    for flood in 0..30 {
        logic.ports().before(Call::Page, move |state| {
            for n in 0..1_000 {
                let order = state.newest() + 1;
                state.put(&format!("new{flood}-{n}"), order, &[("content", "text")]);
            }
        });
    }
    let listed = logic.list(Some("text"), 5, None);
    assert!(matches!(listed, Err(Error::Unavailable(_))), "{listed:?}");
}

#[test]
fn hashes_that_are_not_facts_are_skipped() {
    let logic = logic();
    fill(&logic, 3, |_| "text".into());
    for n in 0..25 {
        logic.ports().state().put(&format!("side{n}"), u64::MAX - n, &[("origin", "session")]);
    }
    let page = logic.list(None, 3, None).expect("a page");
    assert_eq!(ids(&page), down(2, 0));
}

#[test]
fn a_hash_too_large_to_read_is_left_out_and_logged() {
    let logic = logic();
    fill(&logic, 10, |_| "text".into());
    let order = logic.ports().order("f005").expect("an order");
    logic.ports().state().put("huge", order, &[("content", &"x".repeat(10_000))]);
    logic.ports().truncate_reads(5_000);
    assert_eq!(walk(&logic, None, 100).0, down(9, 0));
    assert_eq!(logic.ports().lines(Level::Warn).len(), 1);
}

#[test]
fn a_fact_too_large_for_any_page_is_left_out_and_logged() {
    let logic = logic();
    fill(&logic, 10, |_| "text".into());
    let order = logic.ports().order("f005").expect("an order");
    // Not JSON. As a string inside an object, each byte is escaped as six.
    let metadata = "\u{1}".repeat(10_000);
    logic.ports().state().put("huge", order, &[("content", "x"), ("metadata", &metadata)]);
    logic.ports().allow(Allowance { bytes: 40_000, ..PLENTY }, FREE);
    assert_eq!(walk(&logic, None, 100).0, down(9, 0));
    assert_eq!(logic.ports().lines(Level::Warn).len(), 1);
}

#[test]
fn a_storage_failure_on_a_later_page_fails_the_call() {
    for call in [Call::Page, Call::Read] {
        let logic = logic();
        fill(&logic, 250, |_| "text".into());
        logic.ports().fail_after(1, call, timeout(Backend::Storage));
        assert_eq!(logic.list(Some("nowhere"), 10, None), Err(timeout(Backend::Storage)));
    }
}

#[test]
fn an_empty_text_to_contain_lists_every_fact() {
    let logic = logic();
    fill(&logic, 3, |_| "text".into());
    assert_eq!(logic.list(Some(""), 2, None), logic.list(None, 2, None));
}
