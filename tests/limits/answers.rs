//! What a guest answers: the host checks it before it leaves.

use anyhow::Result;
use kenning_tests::{Answer, Server};
use serde_json::json;

use super::support::{assert_done, assert_guest_broke, hostile, serves_on, tell};

#[track_caller]
fn assert_refused(answer: &Answer, message: &str) {
    answer.assert_error(502, "guest_limit");
    assert_eq!(answer.json["blame"], "guest");
    assert_eq!(answer.json["message"], message);
    assert_eq!(answer.header("x-kenning-generation"), "1");
}

/// A server with facts, so that there is something to answer with.
async fn with_facts(count: usize) -> Result<Server> {
    let server = hostile("").await?;
    for number in 0..count {
        let id = format!("fact-{number}");
        server.store(json!({ "fact_id": id, "text": format!("the fact {number}") })).await?;
    }
    Ok(server)
}

#[tokio::test]
async fn search_hits_is_obeyed_by_the_guest() -> Result<()> {
    let server = with_facts(10).await?;
    let answer = tell(&server, "answer-hits 10").await?;
    assert_done(&answer);
    assert_eq!(answer.json["results"].as_array().map(Vec::len), Some(10));
    Ok(())
}

#[tokio::test]
async fn search_hits_violated_by_the_guest() -> Result<()> {
    let server = with_facts(11).await?;
    let answer = tell(&server, "answer-one-more-hit").await?;
    assert_guest_broke(&answer, "guest_limit", "search_hits", 10);
    assert_eq!(answer.json["details"]["used"], 11);
    serves_on(&server).await
}

#[tokio::test]
async fn page_facts_is_obeyed_by_the_guest() -> Result<()> {
    let server = with_facts(6).await?;
    let answer = server.get("/v1/facts?query=answer-facts+5&limit=5").await?;
    assert_done(&answer);
    assert_eq!(answer.json["facts"].as_array().map(Vec::len), Some(5));
    Ok(())
}

#[tokio::test]
async fn page_facts_violated_by_the_guest() -> Result<()> {
    let server = with_facts(6).await?;
    let answer = server.get("/v1/facts?query=answer-facts+6&limit=5").await?;
    assert_guest_broke(&answer, "guest_limit", "page_facts", 5);
    assert_eq!(answer.json["details"]["used"], 6);
    serves_on(&server).await
}

#[tokio::test]
async fn a_score_that_is_no_number_is_the_guests_fault() -> Result<()> {
    let server = hostile("").await?;
    for command in ["answer-nan", "answer-infinity"] {
        let answer = tell(&server, command).await?;
        assert_guest_broke(&answer, "guest_limit", "answer_not_finite", 0);
        assert_eq!(answer.json["details"]["used"], 1);
        serves_on(&server).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_fact_that_comes_twice_is_the_guests_fault() -> Result<()> {
    let server = with_facts(2).await?;
    let found = tell(&server, "answer-twice").await?;
    let listed = server.get("/v1/facts?query=answer-twice").await?;
    for (answer, used) in [(found, 1), (listed, 2)] {
        assert_guest_broke(&answer, "guest_limit", "answer_duplicates", 0);
        assert_eq!(answer.json["details"]["used"], used);
    }
    serves_on(&server).await
}

#[tokio::test]
async fn a_fact_that_storage_did_not_give_is_the_guests_fault() -> Result<()> {
    let server = with_facts(1).await?;
    let found = tell(&server, "answer-invented 3").await?;
    let listed = server.get("/v1/facts?query=answer-invented").await?;
    let got = server.get("/v1/facts/made-up-0").await?;
    for (answer, used) in [(found, 3), (listed, 1), (got, 1)] {
        assert_guest_broke(&answer, "guest_limit", "answer_invented_facts", 0);
        assert_eq!(answer.json["details"]["used"], used);
    }
    serves_on(&server).await
}

#[tokio::test]
async fn a_store_that_wrote_nothing_is_not_acknowledged() -> Result<()> {
    let server = hostile("").await?;
    let draft = json!({ "fact_id": "lost", "text": "acknowledge-unwritten" });
    let answer = server.post("/v1/facts", draft).await?;
    assert_guest_broke(&answer, "guest_limit", "answer_invented_facts", 0);
    assert_eq!(server.get("/v1/facts/lost").await?.status, 404);
    serves_on(&server).await
}

#[tokio::test]
async fn another_fact_than_asked_for_is_the_guests_fault() -> Result<()> {
    let server = with_facts(1).await?;
    server.store(json!({ "fact_id": "asked", "text": "answer-other-fact fact-0" })).await?;
    let got = server.get("/v1/facts/asked").await?;
    let draft = json!({ "fact_id": "chosen", "text": "answer-other-outcome" });
    let stored = server.post("/v1/facts", draft).await?;
    for answer in [&got, &stored] {
        assert_guest_broke(answer, "guest_limit", "answer_other_facts", 0);
        assert_eq!(answer.json["details"]["used"], 1);
    }
    assert_eq!(stored.json["details"]["outcome"], "unknown", "{}", stored.text);
    serves_on(&server).await
}

#[tokio::test]
async fn more_or_fewer_facts_than_ids_are_the_guests_fault() -> Result<()> {
    let server = hostile("").await?;
    for (command, used) in [("answer-no-fact", 0), ("answer-two-facts", 2)] {
        server.store(json!({ "fact_id": command, "text": command })).await?;
        let answer = server.get(&format!("/v1/facts/{command}")).await?;
        let message = format!("the logic gave {used} results for 1 requested (read_facts)");
        assert_refused(&answer, &message);
        let details = &answer.json["details"];
        assert_eq!((&details["limit"], &details["used"]), (&json!("read_facts"), &json!(used)));
        serves_on(&server).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_failure_of_the_guests_own_is_blamed_on_it_and_not_told() -> Result<()> {
    let server = with_facts(1).await?;
    let answer = server.patch("/v1/facts/fact-0", json!({ "text": "changed" })).await?;
    answer.assert_error(500, "internal");
    assert_eq!(answer.json["blame"], "guest", "{}", answer.text);
    assert!(!answer.text.contains("hostile"), "{}", answer.text);
    serves_on(&server).await
}

#[tokio::test]
async fn metadata_that_is_no_json_object_is_the_guests_fault() -> Result<()> {
    let server = with_facts(1).await?;
    for metadata in ["{", "[]", "", "{} {}", "null", "{\"a\":1}}"] {
        let answer = tell(&server, &format!("answer-metadata {metadata}")).await?;
        assert_eq!((answer.status, &answer.json["withheld"]), (200, &json!(1)), "{}", answer.text);
        assert_eq!(answer.json["results"], json!([]), "{metadata}");
    }
    let fact = json!({ "fact_id": "odd", "text": "answer-metadata nonsense" });
    server.store(fact).await?;
    let answer = server.get("/v1/facts/odd").await?;
    answer.assert_error(502, "guest_invalid");
    let details = &answer.json["details"];
    assert_eq!((&details["component"], &details["generation"]), (&json!("logic"), &json!(1)));
    let listed = server.get("/v1/facts").await?;
    assert_eq!((listed.status, &listed.json["withheld"]), (200, &json!(1)), "{}", listed.text);
    assert!(server.export().await?.ends_with("\n{\"withheld\":1}\n"));
    serves_on(&server).await
}

#[tokio::test]
async fn outcomes_that_are_not_one_for_each_draft_are_the_guests_fault() -> Result<()> {
    let server = hostile("").await?;
    for (command, used) in [("answer-no-outcome", 0), ("answer-one-more-outcome", 2)] {
        let answer =
            server.post("/v1/facts", json!({ "fact_id": command, "text": command })).await?;
        answer.assert_error(502, "guest_limit");
        let details = &answer.json["details"];
        assert_eq!((&details["allowed"], &details["used"]), (&json!(1), &json!(used)));
        assert_eq!(details["outcome"], "unknown", "{}", answer.text);
        serves_on(&server).await?;
    }
    Ok(())
}
