//! Connections that break while a call is under way, and batches of which a part happens.

use anyhow::Result;
use kenning_tests::{Answer, Fault, Setup, all_indexed};
use serde_json::{Value, json};

use super::support::World;

/// What only commands for the facts of `default` hold.
const FACTS: &str = "kenning:{default}:";

#[tokio::test]
async fn cut_in_the_middle_of_a_reply() -> Result<()> {
    let mut world = World::behind_proxy(Setup::patient()).await?;
    // A read that broke is read again, so it fails only if it breaks twice.
    world.proxy.set(Fault::CutReply);
    world.fails_with(&["timeout", "storage_unavailable"]).await?;
    world.proxy.heal();
    world.recovers().await
}

#[tokio::test]
async fn cut_between_a_command_and_its_reply() -> Result<()> {
    let mut world = World::behind_proxy(Setup::patient()).await?;
    world.proxy.set(Fault::LoseReply);
    let tally = world.fails_with(&["timeout", "storage_unavailable"]).await?;
    assert!(tally.errors.contains_key("unknown outcome"), "{tally:#?}");
    world.proxy.heal();
    world.recovers().await
}

/// A read has no effect, so a lost one is asked again and its caller sees nothing of it.
#[tokio::test]
async fn a_read_whose_reply_was_lost_is_read_again() -> Result<()> {
    let world = World::behind_proxy(Setup::patient()).await?;
    world.proxy.count_only(FACTS);
    let id = world.server.store(json!({ "text": "here" })).await?;
    for fault in [Fault::LoseReply, Fault::CutReply] {
        world.proxy.set_for(fault, 0..1);
        let answer = world.server.get(&format!("/v1/facts/{id}")).await?;
        assert_eq!((answer.status, &answer.json["content"]), (200, &json!("here")));
    }
    Ok(())
}

#[tokio::test]
async fn hung_up_on_and_let_in_again() -> Result<()> {
    let mut world = World::behind_proxy(Setup::patient()).await?;
    for _ in 0..2 {
        world.proxy.set(Fault::HangUp);
        world.fails_with(&["timeout", "storage_unavailable"]).await?;
        world.proxy.heal();
        world.recovers().await?;
    }
    Ok(())
}

fn batch(facts: usize) -> Value {
    let fact = |n: usize| json!({ "fact_id": format!("b{n}"), "text": format!("batched {n}") });
    json!({ "facts": (0..facts).map(fact).collect::<Vec<_>>() })
}

#[track_caller]
fn assert_in_doubt(answer: &Answer) {
    answer.assert_error(504, "timeout");
    assert_eq!(answer.json["details"]["outcome"], "unknown", "{}", answer.text);
}

/// Repeated, the batch comes to exactly its facts.
async fn completes(world: &World, facts: usize) -> Result<()> {
    for _ in 0..2 {
        let answer = world.server.post("/v1/facts/batch", batch(facts)).await?;
        let results = answer.json["results"].as_array().cloned().unwrap_or_default();
        assert_eq!((answer.status, results.len()), (200, facts), "{}", answer.text);
        assert!(results.iter().all(|result| result["status"] == "success"), "{}", answer.text);
    }
    assert_eq!(world.server.export().await?.lines().count(), facts);
    all_indexed(&world.server).await?;
    for n in [0, facts / 2, facts - 1] {
        let query = json!({ "query": n.to_string(), "mode": "text" });
        assert_eq!(world.server.search(query).await?, [format!("b{n}")]);
    }
    Ok(())
}

#[tokio::test]
async fn a_batch_of_which_redis_refuses_a_part() -> Result<()> {
    let mut world = World::behind_proxy(Setup::patient()).await?;
    world.proxy.count_only(FACTS);
    // A later refusal does not undo the writes before it.
    world.proxy.set_for(Fault::Answer("OOM command not allowed"), 30..usize::MAX);
    let answer = world.server.post("/v1/facts/batch", batch(50)).await?;
    assert_in_doubt(&answer);
    assert!(answer.text.contains("out of memory (maxmemory) (OOM"), "{}", answer.text);
    world.proxy.heal();
    let written = world.server.export().await?.lines().count();
    assert!(0 < written && written < 50, "{written} of 50 were written");
    completes(&world, 50).await?;
    world.recovers().await
}

#[tokio::test]
async fn a_batch_of_which_redis_refuses_all_did_not_happen() -> Result<()> {
    let world = World::start(Setup::patient()).await?;
    world.redis.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let answer = world.server.post("/v1/facts/batch", batch(50)).await?;
    answer.assert_error(503, "storage_unavailable");
    assert_eq!(answer.json["details"], json!(null), "{}", answer.text);
    assert_eq!(world.server.export().await?, "");
    world.redis.command(&["CONFIG", "SET", "maxmemory", "0"]);
    completes(&world, 50).await
}

#[tokio::test]
async fn a_batch_whose_connection_breaks_in_its_middle() -> Result<()> {
    for fault in [Fault::CutReply, Fault::LoseReply] {
        let mut world = World::behind_proxy(Setup::patient()).await?;
        world.proxy.count_only(FACTS);
        world.proxy.set_for(fault, 20..21);
        assert_in_doubt(&world.server.post("/v1/facts/batch", batch(50)).await?);
        world.proxy.heal();
        completes(&world, 50).await?;
        world.recovers().await?;
    }
    Ok(())
}

/// One fact's key is another program's: the others are stored, and the answer says which is not.
#[tokio::test]
async fn a_batch_with_a_key_that_holds_something_else() -> Result<()> {
    let world = World::start(Setup::patient()).await?;
    world.redis.command(&["SET", "kenning:{default}:fact:b7", "a text"]);
    let answer = world.server.post("/v1/facts/batch", batch(10)).await?;
    let results = answer.json["results"].as_array().cloned().unwrap_or_default();
    for (n, result) in results.iter().enumerate() {
        let expected = if n == 7 { "conflict" } else { "" };
        assert_eq!(result["code"].as_str().unwrap_or_default(), expected, "{}", answer.text);
    }
    assert_eq!((answer.status, results.len()), (200, 10), "{}", answer.text);
    assert_eq!(world.redis.command(&["DEL", "kenning:{default}:fact:b7"]), ":1\r\n");
    completes(&world, 10).await
}
