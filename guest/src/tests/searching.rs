//! Searching: modes, degradation, filters, deleted facts, and explanations.

use super::{draft, fill, logic, pointer, store, timeout, unavailable, with_metadata};
use crate::error::{Backend, Problem};
use crate::fusion::Retriever;
use crate::ports::{Allowance, Level};
use crate::search::{Answer, Fusion, Mode, Query};
use crate::testing::{Call, Memory};
use crate::{Error, Logic};

const PLENTY: Allowance =
    Allowance { milliseconds: 5_000, fuel: 1_000_000, host_calls: 1_000, bytes: 4 << 20 };
const FREE: Allowance = Allowance { milliseconds: 0, fuel: 0, host_calls: 0, bytes: 0 };

fn ids(answer: &Answer) -> Vec<&str> {
    answer.hits.iter().map(|hit| hit.fact.id.as_str()).collect()
}

fn query(mode: Mode) -> Query {
    Query { mode, ..Query::new("redis database", 10) }
}

fn search(logic: &Logic<Memory>, query: &Query) -> Answer {
    logic.search(query).expect("an answer")
}

/// Three facts: about databases, about Redis as a database, about bread.
fn three_facts() -> Logic<Memory> {
    let logic = logic();
    for (id, text) in [
        ("both", "redis is a database"),
        ("some", "postgres is another database for rows"),
        ("none", "bread needs flour"),
    ] {
        store(&logic, with_metadata(id, text, &format!("{{\"is\":\"{id}\"}}"))).expect("stored");
    }
    logic
}

#[test]
fn each_mode_asks_its_retrievers() {
    let asked = [
        (Mode::Hybrid, [Call::Examine, Call::Embed, Call::Retrieve].as_slice()),
        (Mode::Vector, &[Call::Examine, Call::Embed, Call::Nearest]),
        (Mode::Text, &[Call::Matching]),
    ];
    for (mode, asked) in asked {
        let logic = three_facts();
        let count = |call| logic.ports().calls(call).len();
        let calls = [Call::Examine, Call::Embed, Call::Nearest, Call::Matching, Call::Retrieve];
        let before = calls.map(count);
        let answer = search(&logic, &query(mode));
        assert_eq!(ids(&answer)[..2], ["both", "some"], "{mode:?}");
        assert_eq!(answer.degraded, [""; 0]);
        for (call, before) in calls.into_iter().zip(before) {
            assert_eq!(count(call) - before, usize::from(asked.contains(&call)), "{call:?}");
        }
    }
}

#[test]
fn a_single_retriever_keeps_its_scores() {
    let logic = three_facts();
    logic.ports().set_candidates(Call::Nearest, &[("some", 0.25), ("none", -0.5)]);
    let answer = search(&logic, &query(Mode::Vector));
    let scores: Vec<_> = answer.hits.iter().map(|hit| hit.score).collect();
    assert_eq!((ids(&answer), scores), (vec!["some", "none"], vec![0.25, -0.5]));
    let answer = search(&logic, &query(Mode::Text));
    assert_eq!(answer.hits[0].score, 2.0);
}

#[test]
fn a_blank_query_is_rejected() {
    for text in ["", " \n\u{a0}"] {
        let query = Query::new(text, 10);
        assert_eq!(pointer(logic().search(&query)), "/query");
    }
}

#[test]
fn a_top_k_of_1_to_1000_is_accepted() {
    let logic = three_facts();
    for mode in [Mode::Hybrid, Mode::Vector, Mode::Text] {
        let of = |top_k| Query { top_k, ..query(mode) };
        assert_eq!(search(&logic, &of(1)).hits.len(), 1);
        assert!(search(&logic, &of(1_000)).hits.len() >= 2);
    }
}

#[test]
fn a_top_k_outside_1_to_1000_is_rejected() {
    for top_k in [0, 1_001, u32::MAX] {
        assert_eq!(pointer(logic().search(&Query::new("text", top_k))), "/top_k");
    }
}

#[test]
fn a_hybrid_search_asks_for_more_candidates_than_hits() {
    for (top_k, pool) in [(1, 50), (13, 52), (250, 1_000), (1_000, 1_000)] {
        let logic = logic();
        search(&logic, &Query::new("text", top_k));
        assert_eq!(logic.ports().calls(Call::Retrieve), [pool]);
    }
}

#[test]
fn a_failing_vector_retriever_is_left_out_and_named() {
    for call in [Call::Embed, Call::Retrieve] {
        let logic = three_facts();
        logic.ports().fail_once(call, timeout(Backend::Embedding));
        let answer = search(&logic, &query(Mode::Hybrid));
        assert_eq!(ids(&answer), ["both", "some"], "only by words");
        assert_eq!(answer.degraded, ["vector: the backend timed out"]);
    }
}

#[test]
fn a_profile_mismatch_degrades_a_hybrid_search_and_fails_a_vector_search() {
    let logic = three_facts();
    let mismatch = Error::ProfileMismatch("old is not new".into());
    logic.ports().fail_once(Call::Retrieve, mismatch.clone());
    let answer = search(&logic, &query(Mode::Hybrid));
    assert_eq!(answer.degraded, ["vector: old is not new"]);
    logic.ports().fail(Call::Nearest, mismatch.clone());
    assert_eq!(logic.search(&query(Mode::Vector)), Err(mismatch));
}

#[test]
fn a_search_fails_if_all_its_retrievers_fail() {
    let logic = three_facts();
    logic.ports().fail(Call::Embed, timeout(Backend::Embedding));
    logic.ports().fail(Call::Retrieve, unavailable(Backend::Storage));
    logic.ports().fail(Call::Matching, unavailable(Backend::Storage));
    assert_eq!(logic.search(&query(Mode::Hybrid)), Err(timeout(Backend::Embedding)));
    assert_eq!(logic.search(&query(Mode::Vector)), Err(timeout(Backend::Embedding)));
    assert_eq!(logic.search(&query(Mode::Text)), Err(unavailable(Backend::Storage)));
}

#[test]
fn a_query_of_which_the_model_knows_nothing_is_searched_for_by_words_only() {
    let sentence = "vector: the embedding model knows none of the query's words";
    let logic = three_facts();
    let embedded = logic.ports().calls(Call::Embed);
    logic.ports().set_known_share(Some(0.0));
    let answer = search(&logic, &query(Mode::Hybrid));
    assert_eq!(ids(&answer), ["both", "some"]);
    assert_eq!(answer.degraded, [sentence]);
    let answer = search(&logic, &query(Mode::Vector));
    assert_eq!(ids(&answer), [""; 0]);
    assert_eq!(answer.degraded, [sentence]);
    assert_eq!(logic.ports().calls(Call::Embed), embedded, "its vector would say nothing");
    for known in [Some(0.01), Some(1.0), None] {
        logic.ports().set_known_share(known);
        let answer = search(&logic, &query(Mode::Hybrid));
        assert_eq!(answer.hits.len(), 3, "{known:?}");
        assert_eq!(answer.degraded, [""; 0]);
    }
}

#[test]
fn where_nothing_has_a_vector_the_words_rank_as_they_do_alone() {
    let logic = logic();
    logic.ports().fail(Call::Embed, timeout(Backend::Embedding));
    fill(&logic, 20, |n| format!("redis {}", "database ".repeat(n % 7)));
    logic.ports().clear_faults();
    let alone = search(&logic, &Query { top_k: 20, ..query(Mode::Text) });
    for fusion in [Fusion::Score, Fusion::Rank] {
        let both = search(&logic, &Query { top_k: 20, fusion, ..query(Mode::Hybrid) });
        assert_eq!(ids(&both), ids(&alone));
    }
}

#[test]
fn a_filter_applies_to_both_retrievers() {
    let logic = three_facts();
    for mode in [Mode::Hybrid, Mode::Vector, Mode::Text] {
        let filtered = Query { filter: Some(r#"{"is":"some"}"#.into()), ..query(mode) };
        assert_eq!(ids(&search(&logic, &filtered)), ["some"]);
    }
}

#[test]
fn an_invalid_filter_is_rejected_before_anything_is_embedded() {
    let logic = three_facts();
    let embedded = logic.ports().calls(Call::Embed);
    let wrong = Query { filter: Some("7".into()), ..query(Mode::Hybrid) };
    assert!(matches!(logic.search(&wrong), Err(Error::InvalidFilter(_))));
    assert_eq!(logic.ports().calls(Call::Embed), embedded);
}

#[test]
fn an_invalid_filter_is_reported_whatever_else_fails() {
    let problem = Problem { pointer: "/filter".into(), message: "no such operator".into() };
    for (wrong, failing) in [(Call::Examine, Call::Retrieve), (Call::Retrieve, Call::Embed)] {
        let logic = three_facts();
        logic.ports().fail(wrong, Error::InvalidFilter(problem.clone()));
        logic.ports().fail(failing, timeout(Backend::Storage));
        let refused = Err(Error::InvalidFilter(problem.clone()));
        assert_eq!(logic.search(&query(Mode::Hybrid)), refused);
    }
}

#[test]
fn deleted_facts_are_replaced_by_the_next_candidates() {
    for mode in [Mode::Hybrid, Mode::Vector] {
        let logic = logic();
        fill(&logic, 12, |_| "redis".into());
        let found: Vec<_> = (0..12).map(|n| (format!("f{n:03}"), 1.0 - n as f32 / 100.0)).collect();
        let found: Vec<_> = found.iter().map(|(id, score)| (id.as_str(), *score)).collect();
        logic.ports().set_candidates(Call::Nearest, &found);
        logic.ports().set_candidates(Call::Matching, &[]);
        for id in ["f000", "f002", "f004"] {
            logic.ports().state().remove_fact(id);
        }
        logic.ports().state().put("f001", 1, &[("origin", "no longer a fact")]);
        let answer = search(&logic, &Query { top_k: 4, ..query(mode) });
        assert_eq!(ids(&answer), ["f003", "f005", "f006", "f007"], "{mode:?}");
        assert_eq!(answer.degraded, [""; 0]);
        assert_eq!(logic.ports().calls(Call::Read), [4, 3, 1]);
    }
}

#[test]
fn many_hits_are_read_in_batches_of_100_and_after_truncated_reads() {
    let logic = logic();
    fill(&logic, 250, |_| "redis".into());
    logic.ports().truncate_reads(6_000);
    let answer = search(&logic, &Query { top_k: 1_000, ..query(Mode::Text) });
    assert_eq!(answer.hits.len(), 250);
    assert!(logic.ports().calls(Call::Read).iter().all(|asked| *asked <= 100));
    assert_eq!(answer.degraded, [""; 0]);
}

#[test]
fn hits_that_do_not_fit_are_dropped_and_reported() {
    let logic = logic();
    fill(&logic, 20, |_| format!("redis {}", "x".repeat(1_000)));
    logic.ports().allow(Allowance { bytes: 10_000, ..PLENTY }, FREE);
    let answer = search(&logic, &query(Mode::Text));
    assert_eq!(answer.hits.len(), 5);
    assert_eq!(answer.degraded, ["hits: 5 of at most 10: the rest did not fit into the answer"]);
}

#[test]
fn a_search_with_a_low_budget_returns_what_it_has() {
    let logic = logic();
    fill(&logic, 50, |_| "redis".into());
    logic.ports().truncate_reads(100);
    logic.ports().allow(PLENTY, Allowance { milliseconds: 1_000, ..FREE });
    let answer = search(&logic, &query(Mode::Text));
    assert_eq!(answer.hits.len(), 4);
    let sentence = "hits: 4 of at most 10: the budget was nearly spent";
    assert_eq!(answer.degraded, [sentence]);
}

#[test]
fn unreadable_facts_fail_a_search_only_if_none_was_read() {
    let logic = logic();
    fill(&logic, 10, |_| "redis".into());
    logic.ports().truncate_reads(300);
    logic.ports().fail_after(1, Call::Read, timeout(Backend::Storage));
    let answer = search(&logic, &query(Mode::Text));
    assert!((1..10).contains(&answer.hits.len()));
    let sentence = format!("hits: {} of at most 10: the backend timed out", answer.hits.len());
    assert_eq!(answer.degraded, [sentence]);
    logic.ports().fail(Call::Read, timeout(Backend::Storage));
    assert_eq!(logic.search(&query(Mode::Text)), Err(timeout(Backend::Storage)));
}

#[test]
fn a_fact_too_large_for_any_answer_is_left_out_and_reported() {
    let logic = three_facts();
    logic.ports().state().put("both", 1, &[("content", &"x".repeat(20_000))]);
    logic.ports().allow(Allowance { bytes: 10_000, ..PLENTY }, FREE);
    let answer = search(&logic, &query(Mode::Text));
    assert_eq!(ids(&answer), ["some"]);
    assert_eq!(answer.degraded, ["hits: a fact too large for an answer was left out"]);
    assert_eq!(logic.ports().lines(Level::Warn).len(), 1);
}

#[test]
fn an_explanation_holds_the_contribution_of_each_retriever() {
    let logic = three_facts();
    logic.ports().set_candidates(Call::Nearest, &[("some", 0.75), ("both", 0.5)]);
    logic.ports().set_candidates(Call::Matching, &[("both", 3.0)]);
    for fusion in [Fusion::Score, Fusion::Rank] {
        let explained = Query { explain: true, fusion, ..query(Mode::Hybrid) };
        for hit in search(&logic, &explained).hits {
            let contributions = hit.explanation.expect("an explanation");
            assert_eq!(contributions.iter().map(|c| c.share).sum::<f64>(), hit.score);
            let actual: Vec<_> =
                contributions.iter().map(|c| (c.retriever, c.rank, c.score)).collect();
            let expected = match hit.fact.id.as_str() {
                "some" => vec![(Retriever::Vector, 1, 0.75)],
                _ => vec![(Retriever::Vector, 2, 0.5), (Retriever::Text, 1, 3.0)],
            };
            assert_eq!(actual, expected);
        }
    }
    let unexplained = search(&logic, &query(Mode::Hybrid));
    assert!(unexplained.hits.iter().all(|hit| hit.explanation.is_none()));
}

#[test]
fn ranks_and_scores_can_disagree() {
    let logic = three_facts();
    // By rank, `both` is second and first. By score, `some` is far ahead.
    logic.ports().set_candidates(Call::Nearest, &[("some", 0.9), ("both", 0.11), ("none", 0.1)]);
    logic.ports().set_candidates(Call::Matching, &[("both", 3.0), ("none", 2.9), ("some", 2.8)]);
    let by = |fusion| Query { fusion, ..query(Mode::Hybrid) };
    assert_eq!(ids(&search(&logic, &by(Fusion::Score)))[0], "some");
    assert_eq!(ids(&search(&logic, &by(Fusion::Rank)))[0], "both");
}

#[test]
fn malformed_candidates_give_finite_scores_without_duplicates() {
    let logic = three_facts();
    let odd = [("none", f32::NAN), ("both", f32::INFINITY), ("some", 0.1), ("some", f32::NAN)];
    logic.ports().set_candidates(Call::Nearest, &odd);
    logic
        .ports()
        .set_candidates(Call::Matching, &[("both", f32::NAN), ("", 1.0), ("nobody", f32::MAX)]);
    for fusion in [Fusion::Score, Fusion::Rank] {
        let answer = search(&logic, &Query { fusion, ..query(Mode::Hybrid) });
        assert!(answer.hits.iter().all(|hit| hit.score.is_finite()));
        assert_eq!(answer.hits.len(), 3);
    }
}

#[test]
fn a_fact_without_a_vector_is_found_by_its_words() {
    let logic = logic();
    logic.ports().fail(Call::Embed, timeout(Backend::Embedding));
    store(&logic, draft("late", "redis is late")).expect("stored");
    logic.ports().clear_faults();
    assert_eq!(ids(&search(&logic, &query(Mode::Vector))), [""; 0]);
    assert_eq!(ids(&search(&logic, &query(Mode::Hybrid))), ["late"]);
}
