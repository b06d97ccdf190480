//! What a guest answers: the host checks it before it leaves.

use anyhow::Result;
use kenning_tests::Answer;
use serde_json::json;

use super::support::{assert_done, assert_guest_broke, hostile, serves_on, tell};

#[track_caller]
fn assert_refused(answer: &Answer, message: &str) {
    answer.assert_error(502, "guest_limit");
    assert_eq!(answer.json["blame"], "guest");
    assert_eq!(answer.json["message"], message);
    assert_eq!(answer.header("x-kenning-generation"), "1");
}

#[tokio::test]
async fn search_hits_is_obeyed_by_the_guest() -> Result<()> {
    let server = hostile("").await?;
    let answer = tell(&server, "answer-hits 10").await?;
    assert_done(&answer);
    assert_eq!(answer.json["results"].as_array().map(Vec::len), Some(10));
    Ok(())
}

#[tokio::test]
async fn search_hits_violated_by_the_guest() -> Result<()> {
    let server = hostile("").await?;
    let answer = tell(&server, "answer-one-more-hit").await?;
    assert_guest_broke(&answer, "guest_limit", "search_hits", 10);
    assert_eq!(answer.json["details"]["used"], 11);
    serves_on(&server).await
}

#[tokio::test]
async fn page_facts_is_obeyed_by_the_guest() -> Result<()> {
    let server = hostile("").await?;
    let answer = server.get("/v1/facts?query=answer-facts+5&limit=5").await?;
    assert_done(&answer);
    assert_eq!(answer.json["facts"].as_array().map(Vec::len), Some(5));
    Ok(())
}

#[tokio::test]
async fn page_facts_violated_by_the_guest() -> Result<()> {
    let server = hostile("").await?;
    let answer = server.get("/v1/facts?query=answer-facts+6&limit=5").await?;
    assert_guest_broke(&answer, "guest_limit", "page_facts", 5);
    assert_eq!(answer.json["details"]["used"], 6);
    serves_on(&server).await
}

#[tokio::test]
async fn a_score_that_is_no_number_is_the_guests_fault() -> Result<()> {
    let server = hostile("").await?;
    for deed in ["answer-nan", "answer-infinity"] {
        let answer = tell(&server, deed).await?;
        assert_refused(&answer, "the logic gave a score that is no number");
        serves_on(&server).await?;
    }
    Ok(())
}

#[tokio::test]
async fn metadata_that_is_no_json_object_is_the_guests_fault() -> Result<()> {
    let server = hostile("").await?;
    let no_object = "the logic gave metadata that is no JSON object";
    for metadata in ["{", "[]", "", "{} {}", "null", "{\"a\":1}}"] {
        let answer = tell(&server, &format!("answer-metadata {metadata}")).await?;
        assert_refused(&answer, no_object);
    }
    let fact = json!({ "fact_id": "odd", "text": "answer-metadata nonsense" });
    server.store(fact).await?;
    assert_refused(&server.get("/v1/facts/odd").await?, no_object);
    assert_refused(&server.get("/v1/facts").await?, no_object);
    assert_refused(&server.get("/v1/export").await?, no_object);
    serves_on(&server).await
}

#[tokio::test]
async fn outcomes_that_are_not_one_for_each_draft_are_the_guests_fault() -> Result<()> {
    let server = hostile("").await?;
    for (deed, used) in [("answer-no-outcome", 0), ("answer-one-more-outcome", 2)] {
        let answer = server.post("/v1/facts", json!({ "fact_id": deed, "text": deed })).await?;
        answer.assert_error(502, "guest_limit");
        let details = &answer.json["details"];
        assert_eq!((&details["allowed"], &details["used"]), (&json!(1), &json!(used)));
        assert_eq!(details["outcome"], "unknown", "{}", answer.text);
        serves_on(&server).await?;
    }
    Ok(())
}
