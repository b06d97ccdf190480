//! What happens to a generation that turns bad after its promotion.

use anyhow::Result;
use kenning_tests::{Server, Setup, noted, until};
use serde_json::json;

use super::{asked, generation, hostile, promoted};

#[tokio::test]
async fn a_logic_that_turns_bad_is_rolled_back_by_itself() -> Result<()> {
    let server = Server::start_with(Setup::patient_but("watch_ms = 600000")).await?;
    asked(&server, &[]).await?;
    promoted(&server.swap_logic(hostile()?, "?force=true").await?, 2);
    until("it is rolled back", async || {
        server.post("/v1/search", json!({ "query": "trap" })).await?;
        Ok((generation(&server).await? == "1").then_some(()))
    })
    .await?;
    let listed = server.get("/v1/admin/logic").await?;
    let events = listed.json["events"].as_array().cloned().unwrap_or_default();
    let last = events.last().cloned().unwrap_or_default();
    assert_eq!(last["what"], "rolled_back_by_itself", "{}", listed.text);
    assert!(last["why"].as_str().is_some_and(|why| why.contains("failed")), "{}", listed.text);
    assert_eq!(server.post("/v1/search", json!({ "query": "trap" })).await?.status, 200);
    let metrics = server.get("/metrics").await?.text;
    assert!(metrics.contains("kenning_rollbacks_total"), "{metrics}");
    Ok(())
}

/// To the logic before it, `work` is a word.
#[tokio::test]
async fn a_logic_that_is_much_slower_is_rolled_back_by_itself() -> Result<()> {
    let server = Server::start_with(Setup::patient_but("watch_ms = 600000")).await?;
    let slow = "work 50";
    asked(&server, &[slow; 25]).await?;
    promoted(&server.swap_logic(hostile()?, "?force=true").await?, 2);
    until("it is rolled back", async || {
        let answer = server.post("/v1/search", json!({ "query": slow, "mode": "text" })).await?;
        assert_eq!(answer.status, 200, "it answers: {}", answer.text);
        Ok((answer.header("x-kenning-generation") == "1").then_some(()))
    })
    .await?;
    let listed = server.get("/v1/admin/logic").await?;
    let events = listed.json["events"].as_array().cloned().unwrap_or_default();
    let last = events.last().cloned().unwrap_or_default();
    assert_eq!(last["what"], "rolled_back_by_itself", "{}", listed.text);
    let why = last["why"].as_str().unwrap_or_default();
    assert!(why.contains("watch_time_percent"), "{}", listed.text);
    Ok(())
}

#[tokio::test]
async fn an_extension_that_turns_bad_is_rolled_back_by_itself() -> Result<()> {
    let server = Server::start_with(Setup::patient_but("watch_ms = 600000")).await?;
    let hooks = std::fs::read(kenning_tests::component("hooks")?)?;
    for (number, note) in [(1, "a"), (2, "b")] {
        let answer = server.install("default", "hooks", noted(&hooks, note), "").await?;
        promoted(&answer, number);
    }
    until("it is rolled back", async || {
        server.post("/v1/facts", json!({ "text": "trap-on-store" })).await?;
        let answer = server.get("/v1/facts").await?;
        Ok((answer.header("x-kenning-extensions") == "hooks=1").then_some(()))
    })
    .await?;
    let listed = server.get("/v1/admin/tenants/default/extensions").await?;
    let events = listed.json["extensions"][0]["events"].as_array().cloned().unwrap_or_default();
    assert_eq!(events.last().cloned().unwrap_or_default()["what"], "rolled_back_by_itself");
    Ok(())
}

/// Nobody watches any more; the calls that must not succeed are all there are.
#[tokio::test]
async fn a_logic_that_only_fails_is_rolled_back_long_after_its_promotion() -> Result<()> {
    let server = Server::start_with(Setup::patient_but("watch_ms = 1")).await?;
    asked(&server, &[]).await?;
    promoted(&server.swap_logic(hostile()?, "?force=true").await?, 2);
    let trap = json!({ "query": "trap" });
    let good = until("it is rolled back", async || {
        let answer = server.post("/v1/search", trap.clone()).await?;
        Ok((answer.status == 200).then_some(answer))
    })
    .await?;
    assert_eq!(good.header("x-kenning-generation"), "1");
    let listed = server.get("/v1/admin/logic").await?;
    let events = listed.json["events"].as_array().cloned().unwrap_or_default();
    let happened: Vec<_> = events.iter().map(|event| event["what"].as_str()).collect();
    let expected = ["promoted", "quarantined", "rolled_back_by_itself"].map(Some);
    assert_eq!(happened, expected, "{}", listed.text);
    Ok(())
}

/// The others keep what works for them; a rollback by hand never goes forward again.
#[tokio::test]
async fn a_tenant_on_which_a_logic_always_traps_goes_back_alone() -> Result<()> {
    let server = Server::start_with(Setup::patient_but("watch_ms = 1")).await?;
    let (bad, other) = (server.tenant("bad"), server.tenant("other"));
    asked(&other, &[]).await?;
    promoted(&server.swap_logic(hostile()?, "?force=true").await?, 2);
    let trap = json!({ "query": "trap" });
    let good = until("it goes back for this tenant", async || {
        let answer = bad.post("/v1/search", trap.clone()).await?;
        Ok((answer.status == 200).then_some(answer))
    })
    .await?;
    assert_eq!(good.header("x-kenning-generation"), "1");
    assert_eq!((generation(&bad).await?, generation(&other).await?), ("1".into(), "2".into()));
    let listed = server.get("/v1/admin/logic?tenant=bad").await?.json;
    assert_eq!(listed["pinned"], json!({ "from": 2, "to": 1 }), "{listed}");
    // Now several fail.
    until("it goes back for all", async || {
        let answer = other.post("/v1/search", trap.clone()).await?;
        Ok((answer.status == 200).then_some(()))
    })
    .await?;
    assert_eq!(generation(&server.tenant("third")).await?, "1");
    promoted(&server.swap_logic(super::logic("fixed")?, "").await?, 3);
    assert_eq!(generation(&bad).await?, "3", "it follows the others again");
    let back = server.post("/v1/admin/logic/rollback", json!({})).await?.json;
    assert_eq!((&back["from"], &back["to"]), (&json!(3), &json!(1)), "not to the second: {back}");
    Ok(())
}

/// It is not its doing that the server's logic is swapped.
#[tokio::test]
async fn the_tenant_that_a_logic_is_tried_for_may_have_its_own() -> Result<()> {
    let server = Server::start_with(Setup::patient_but("watch_ms = 1")).await?;
    asked(&server, &["cat"]).await?;
    promoted(&server.swap_logic(super::logic("own")?, "?tenant=default").await?, 2);
    promoted(&server.swap_logic(super::logic("own again")?, "?tenant=default").await?, 3);
    let answer = server.swap_logic(super::logic("everybody's")?, "").await?;
    promoted(&answer, 2);
    assert_eq!(answer.json["previous"], 1, "{}", answer.text);
    assert_eq!(
        (generation(&server).await?, generation(&server.tenant("b")).await?),
        ("3".into(), "2".into())
    );
    Ok(())
}

#[tokio::test]
async fn a_logic_that_does_well_stays() -> Result<()> {
    let server = Server::start_with(Setup::patient_but("watch_time_percent = 1000000")).await?;
    asked(&server, &[]).await?;
    promoted(&server.swap_logic(super::logic("a")?, "").await?, 2);
    for _ in 0..40 {
        server.search(json!({ "query": "cat", "mode": "text" })).await?;
    }
    assert_eq!(generation(&server).await?, "2");
    Ok(())
}
