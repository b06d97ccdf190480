//! No request notices a swap.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, ensure};
use kenning_tests::{Backend, Caller, on_both_backends};
use serde_json::json;
use tokio::task::JoinSet;

use super::{asked, generation, hostile, logic, promoted};

on_both_backends!(
    no_request_fails_while_the_logic_is_swapped,
    what_is_promoted_survives_a_restart,
    a_tenant_has_a_logic_of_its_own,
    any_generation_that_is_kept_can_be_gone_back_to,
);

/// Callers who search and store until they are told to stop; each gives the pairs of
/// generation and digest that it saw.
struct Callers {
    stop: Arc<AtomicBool>,
    calling: JoinSet<Result<HashSet<(String, String)>>>,
}

impl Callers {
    fn start(caller: &Caller, count: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut calling = JoinSet::new();
        for number in 0..count {
            let (caller, stop) = (caller.clone(), stop.clone());
            calling.spawn(async move {
                let mut seen = HashSet::new();
                for turn in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let id = format!("c{number}-{turn}");
                    let fact = json!({ "text": format!("word{number}"), "fact_id": id });
                    let query = json!({ "query": "sleeps", "mode": "text", "top_k": 1 });
                    for answer in [
                        caller.post("/v1/facts", fact).await?,
                        caller.post("/v1/search", query).await?,
                    ] {
                        ensure!(answer.status < 300, "failed during a swap: {}", answer.text);
                        seen.insert((
                            answer.header("x-kenning-generation").to_string(),
                            answer.header("x-kenning-digest").to_string(),
                        ));
                    }
                }
                Ok(seen)
            });
        }
        Self { stop, calling }
    }

    async fn stop(mut self) -> Result<HashSet<(String, String)>> {
        self.stop.store(true, Ordering::Relaxed);
        let mut seen = HashSet::new();
        while let Some(one) = self.calling.join_next().await {
            seen.extend(one??);
        }
        Ok(seen)
    }
}

async fn no_request_fails_while_the_logic_is_swapped(backend: &Backend) -> Result<()> {
    let server = backend.serve().await?;
    asked(&server, &["cat"]).await?;
    let callers = Callers::start(&server, 8);
    let mut digests = HashMap::new();
    for number in 2..=7 {
        let note = if number % 2 == 0 { "even" } else { "odd" };
        let answer = server.swap_logic(logic(note)?, "?max_time_percent=1000000").await?;
        promoted(&answer, number);
        digests.insert(number.to_string(), answer.json["digest"].clone());
    }
    let seen = callers.stop().await?;
    ensure!(seen.len() > 1, "the callers saw no swap: {seen:?}");
    for (generation, digest) in seen {
        if let Some(promoted) = digests.get(&generation) {
            assert_eq!(*promoted, digest, "generation {generation}");
        }
    }
    Ok(())
}

async fn what_is_promoted_survives_a_restart(backend: &Backend) -> Result<()> {
    let server = backend.serve().await?;
    for (number, note) in [(2, "a"), (3, "b")] {
        promoted(&server.swap_logic(logic(note)?, "").await?, number);
    }
    server.kill().await?;
    let server = backend.serve().await?;
    assert_eq!(generation(&server).await?, "3");
    let rollback = "/v1/admin/logic/rollback";
    assert_eq!(server.post(rollback, json!({})).await?.json["generation"], 2);
    server.kill().await?;
    let server = backend.serve().await?;
    assert_eq!(generation(&server).await?, "2");
    let listed = server.get("/v1/admin/logic").await?;
    assert_eq!(listed.json["active"], 2, "{}", listed.text);
    let what: Vec<_> = listed.json["events"].as_array().context("events")?.iter().collect();
    assert_eq!(what.last().context("an event")?["what"], "rolled_back");
    // Back to what came with the server.
    let back = server.post(rollback, json!({})).await?.json;
    assert_eq!((&back["from"], &back["to"]), (&json!(2), &json!(1)), "{back}");
    Ok(())
}

async fn a_tenant_has_a_logic_of_its_own(backend: &Backend) -> Result<()> {
    let server = backend.serve().await?;
    let (own, other) = (server.tenant("own"), server.tenant("other"));
    let answer = server.swap_logic(hostile()?, "?tenant=own").await?;
    promoted(&answer, 2);
    // A command to the one, words to the other.
    own.post("/v1/search", json!({ "query": "trap" })).await?.assert_error(502, "guest_trapped");
    assert_eq!(other.post("/v1/search", json!({ "query": "trap" })).await?.status, 200);
    let named = [
        own.get("/v1/facts").await?,
        own.get("/v1/stats").await?,
        own.post_raw("/v1/import", "{\"text\":\"tea\"}\n").await?,
    ];
    for said in &named {
        assert_eq!(said.header("x-kenning-digest"), answer.json["digest"]);
    }
    assert_eq!(named[1].json["digest"], answer.json["digest"]);
    assert_eq!(generation(&other).await?, "1");
    // A new one for everybody is not theirs.
    promoted(&server.swap_logic(logic("a")?, "").await?, 2);
    assert_eq!(own.get("/v1/facts").await?.header("x-kenning-digest"), answer.json["digest"]);
    let rolled = server.post("/v1/admin/logic/rollback?tenant=own", json!({})).await?;
    assert_eq!(rolled.status, 200, "{}", rolled.text);
    assert_eq!(own.post("/v1/search", json!({ "query": "trap" })).await?.status, 200);
    Ok(())
}

/// Also to the logic that comes with the server, and from there to the others.
async fn any_generation_that_is_kept_can_be_gone_back_to(backend: &Backend) -> Result<()> {
    let server = backend.serve().await?;
    let nowhere = server.post("/v1/admin/logic/rollback", json!({})).await?;
    nowhere.assert_error(409, "conflict");
    for (number, note) in [(2, "a"), (3, "b")] {
        promoted(&server.swap_logic(logic(note)?, "").await?, number);
    }
    for (asked, now) in [("?generation=1", "1"), ("?generation=3", "3"), ("", "2"), ("", "1")] {
        let answer = server.post(&format!("/v1/admin/logic/rollback{asked}"), json!({})).await?;
        assert_eq!(answer.status, 200, "{asked}: {}", answer.text);
        assert_eq!(
            (answer.json["generation"].to_string(), generation(&server).await?),
            (now.into(), now.into()),
            "{asked}"
        );
    }
    let answer = server.post("/v1/admin/logic/rollback?generation=7", json!({})).await?;
    answer.assert_error(404, "not_found");
    assert_eq!(answer.json["details"]["generations"], json!([1, 2, 3]));

    let own = server.tenant("own");
    for (number, note) in [(2, "c"), (3, "d")] {
        promoted(&server.swap_logic(logic(note)?, "?tenant=own").await?, number);
    }
    let back = server.post("/v1/admin/logic/rollback?tenant=own&generation=1", json!({})).await?;
    assert_eq!(back.status, 200, "{}", back.text);
    let digest = |answer: kenning_tests::Answer| answer.header("x-kenning-digest").to_string();
    let (own, servers) = (own.get("/v1/facts").await?, server.get("/v1/facts").await?);
    assert_eq!(digest(own), digest(servers));
    Ok(())
}
