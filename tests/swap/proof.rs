//! What a candidate must show before it is promoted.

use std::path::Path;

use anyhow::{Context, Result, bail};
use kenning_logic::limits::VECTOR_WEIGHT;
use kenning_tests::{Server, Setup, component};
use reqwest::Method;
use reqwest::header::ACCEPT;
use serde_json::{Value, json};

use super::{asked, generation, hostile, logic, promoted};

/// How long a replay takes must not decide a test.
const ANY_TIME: &str = "proof_time_percent = 1000000\nproof_ms = 60000";

async fn serve() -> Result<Server> {
    Server::start_with(Setup::patient_but(ANY_TIME)).await
}

#[tokio::test]
async fn a_candidate_that_answers_the_same_is_promoted() -> Result<()> {
    let server = serve().await?;
    asked(&server, &["cat", "sleeps", "boiling water"]).await?;
    let answer = server.swap_logic(logic("a")?, "").await?;
    promoted(&answer, 2);
    assert_eq!(answer.json["previous"], 1);
    let proof = &answer.json["proof"];
    assert_eq!((&proof["worse"], &proof["overlap"]), (&json!(0), &json!(1.0)), "{proof}");
    assert!(proof["requests"].as_u64() >= Some(6), "stores and searches: {proof}");
    assert_eq!(generation(&server).await?, "2");
    Ok(())
}

#[tokio::test]
async fn a_rehearsal_writes_nothing() -> Result<()> {
    let server = serve().await?;
    asked(&server, &["cat"]).await?;
    server.delete("/v1/facts/cat").await?;
    let before = server.export().await?;
    // The store of the cat is asked again, and would happen.
    promoted(&server.swap_logic(logic("a")?, "").await?, 2);
    assert_eq!(server.export().await?, before);
    let stats = server.get("/v1/stats").await?.json;
    assert_eq!((&stats["facts"], &stats["index"]["facts"]), (&json!(2), &json!(2)), "{stats}");
    Ok(())
}

#[tokio::test]
async fn a_candidate_that_fails_where_the_live_one_does_not_is_refused() -> Result<()> {
    let server = serve().await?;
    // To the built-in logic it is a word like any other.
    asked(&server, &["cat", "trap", "dog"]).await?;
    let answer = server.swap_logic(hostile()?, "?min_overlap_percent=0").await?;
    answer.assert_error(422, "incompatible_component");
    let details = &answer.json["details"];
    assert!(details["proof"]["worse"].as_u64() >= Some(1), "{}", answer.text);
    assert!(answer.text.contains("guest_trapped"), "{}", answer.text);
    assert_eq!(generation(&server).await?, "1");
    let lenient = "?min_overlap_percent=0&max_errors_percent=100&max_fuel_percent=400";
    let answer = server.swap_logic(hostile()?, lenient).await?;
    promoted(&answer, 2);
    Ok(())
}

#[tokio::test]
async fn a_candidate_that_needs_much_more_fuel_is_refused() -> Result<()> {
    let server = serve().await?;
    asked(&server, &["work 100"; 3]).await?;
    let answer = server.swap_logic(hostile()?, "?min_overlap_percent=0").await?;
    answer.assert_error(422, "incompatible_component");
    assert!(answer.text.contains("generation's fuel"), "{}", answer.text);
    assert_eq!(generation(&server).await?, "1");
    Ok(())
}

/// The hostile logic finds by words alone, and `answer-hits` makes its answers up.
#[tokio::test]
async fn a_candidate_that_ranks_worse_is_refused_unless_it_is_forced() -> Result<()> {
    let server = serve().await?;
    asked(&server, &["answer-hits 3 cat sleeps"; 5]).await?;
    let parameters = "?max_fuel_percent=1000000";
    let answer = server.swap_logic(hostile()?, parameters).await?;
    answer.assert_error(422, "incompatible_component");
    assert!(answer.text.contains("overlap"), "{}", answer.text);
    assert_eq!(generation(&server).await?, "1");

    let answer = server.swap_logic(hostile()?, &format!("{parameters}&dry_run=true")).await?;
    assert_eq!((answer.status, &answer.json["promoted"]), (200, &json!(false)), "{}", answer.text);
    let failed = answer.json["checks"].as_array().into_iter().flatten();
    assert!(failed.clone().any(|check| check["check"] == "overlap" && check["passed"] == false));

    let answer = server.swap_logic(hostile()?, &format!("{parameters}&force=true")).await?;
    promoted(&answer, 2);
    assert_eq!(answer.json["forced"], true);
    let listed = server.get("/v1/admin/logic").await?;
    assert!(listed.json["generations"][0]["forced_by"].is_string(), "{}", listed.text);
    let why = listed.json["events"][0]["why"].as_str().unwrap_or_default();
    assert!(why.contains("overlap"), "{}", listed.text);
    Ok(())
}

/// The lines of a file in `samples/`.
fn samples(file: &str) -> Result<Vec<Value>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples").join(file);
    let lines = std::fs::read_to_string(path)?;
    lines.lines().map(|line| serde_json::from_str(line).context("JSON")).collect()
}

/// The logic that comes with the server, with another weight of the vector retriever. The weight
/// of the words is computed from it.
fn weighing(vectors: f64) -> Result<Vec<u8>> {
    let mut logic = std::fs::read(component("logic")?)?;
    let usual = VECTOR_WEIGHT.to_le_bytes();
    let places: Vec<usize> =
        (0..logic.len() - 8).filter(|at| logic[*at..].starts_with(&usual)).collect();
    let [at] = places[..] else { bail!("the weight stands in the logic at {places:?}") };
    logic[at..at + 8].copy_from_slice(&vectors.to_le_bytes());
    Ok(logic)
}

/// On real texts and vectors, with what callers ask for: a few hits of a hybrid search.
#[tokio::test]
async fn the_logic_with_a_vector_weight_of_a_twentieth_is_refused() -> Result<()> {
    let setup = Setup { embedder: Some("local"), ..Setup::patient_but(ANY_TIME) };
    let server = Server::start_with(setup).await?;
    for facts in samples("facts.jsonl")?.chunks(100) {
        let answer = server.post("/v1/facts/batch", json!({ "facts": facts })).await?;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    for question in samples("questions.jsonl")? {
        let search = json!({ "query": question["query"], "top_k": 5 });
        let answer = server.post("/v1/search", search).await?;
        assert_eq!((answer.status, &answer.json["degraded"]), (200, &json!([])), "{}", answer.text);
    }
    let answer = server.swap_logic(weighing(0.05)?, "").await?;
    answer.assert_error(422, "incompatible_component");
    assert!(answer.text.contains("overlap: searches overlap by"), "{}", answer.text);
    // A weight that ranks nearly the same is none the worse.
    let answer = server.swap_logic(weighing(0.6)?, "").await?;
    promoted(&answer, 2);
    Ok(())
}

/// One of fifty.
#[tokio::test]
async fn a_candidate_that_errs_on_two_percent_of_requests_is_refused() -> Result<()> {
    let fifty = format!("{ANY_TIME}\nproof_requests = 50");
    let server = Server::start_with(Setup::patient_but(&fifty)).await?;
    let queries: Vec<String> = (0..50).map(|number| format!("sleeps {number}")).collect();
    let mut queries: Vec<&str> = queries.iter().map(String::as_str).collect();
    queries[20] = "trap";
    asked(&server, &queries).await?;
    let any = "?min_overlap_percent=0&max_fuel_percent=1000000";
    let answer = server.swap_logic(hostile()?, any).await?;
    answer.assert_error(422, "incompatible_component");
    let proof = &answer.json["details"]["proof"];
    assert_eq!((&proof["requests"], &proof["worse"]), (&json!(50), &json!(1)), "{}", answer.text);
    promoted(&server.swap_logic(hostile()?, &format!("{any}&max_errors_percent=2")).await?, 2);
    Ok(())
}

/// In a replay, the candidate of one tenant sleeps until its time is up.
#[tokio::test]
async fn a_proof_that_takes_long_delays_no_other_tenants_swap() -> Result<()> {
    let server = serve().await?;
    // To the built-in logic they are words like any others.
    asked(&server.tenant("slow"), &["sleep 3600"]).await?;
    asked(&server.tenant("other"), &["cat"]).await?;
    let swap = server.request(Method::POST, "/v1/admin/logic?tenant=slow");
    let mut swap = swap.header(ACCEPT, "text/event-stream").body(hostile()?).send().await?;
    let mut told = String::new();
    while !told.contains("proving") {
        let piece = swap.chunk().await?.with_context(|| format!("no proof in {told}"))?;
        told += std::str::from_utf8(&piece)?;
    }
    let answer = server.swap_logic(logic("other")?, "?tenant=other").await?;
    promoted(&answer, 2);
    assert!(answer.json["proof"]["requests"].as_u64() >= Some(4), "{}", answer.text);
    // The first swap is still in progress.
    let again = server.swap_logic(logic("slow")?, "?tenant=slow").await?;
    again.assert_error(409, "conflict");
    Ok(())
}

#[tokio::test]
async fn requests_are_not_kept_where_the_operator_says_so() -> Result<()> {
    let server = Server::start_with(Setup::patient_but("proof_requests = 0")).await?;
    asked(&server, &["cat"]).await?;
    let answer = server.swap_logic(logic("a")?, "").await?;
    promoted(&answer, 2);
    assert_eq!(answer.json["proof"]["requests"], 0, "{}", answer.text);
    Ok(())
}
