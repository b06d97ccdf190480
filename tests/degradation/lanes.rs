//! Many ask at once.

use anyhow::Result;
use kenning_tests::{FakeEmbedder, Mood, Server, Setup, until};
use serde_json::json;
use tokio::task::JoinSet;

use super::support::{MODEL, best, search, serve, store};

#[tokio::test]
async fn embedding_requests_is_obeyed_and_everyone_is_answered() -> Result<()> {
    let fake = FakeEmbedder::start()?;
    let limits = "embedding_requests = 3\nembedding_ms = 60000";
    let setup = fake.embeds_for(Setup::patient_but(limits), "openai", MODEL);
    let server = Server::start_with(setup).await?;
    assert!(store(&server, "tea", "Tea is hot.").await?);
    fake.be(Mood::Slow);
    let before = fake.asked().len();
    let mut searching = JoinSet::new();
    for n in 0..20 {
        let caller = server.clone();
        searching
            .spawn(async move { search(&caller, &format!("tea question{n}"), "vector").await });
    }
    until("as many as may ask", async || Ok((fake.asked().len() >= before + 3).then_some(())))
        .await?;
    fake.be(Mood::Well);
    for answer in searching.join_all().await {
        let answer = answer?;
        assert_eq!(answer.json["results"][0]["doc_id"], "tea", "{}", answer.text);
    }
    assert_eq!(fake.most_at_once(), 3);
    Ok(())
}

/// While stores and imports wait for the embedder, a search still reaches it.
#[tokio::test]
async fn a_query_is_not_behind_a_bulk() -> Result<()> {
    let fake = FakeEmbedder::start()?;
    let server = serve(&fake).await?;
    assert!(store(&server, "tea", "Tea is hot.").await?);
    fake.be(Mood::Slow);
    let mut storing = JoinSet::new();
    for n in 0..30 {
        let caller = server.clone();
        storing.spawn(async move { caller.store(json!({ "text": format!("bulk{n}") })).await });
    }
    until("stores have all they may have", async || {
        let asked = fake.asked();
        let bulks = asked.iter().filter(|asked| asked.texts[0].starts_with("bulk"));
        Ok((bulks.count() == 6).then_some(()))
    })
    .await?;
    let caller = server.clone();
    let searching = tokio::spawn(async move { best(&caller, "something hot", "vector").await });
    until("the query is asked", async || Ok(fake.was_asked_for("something hot").then_some(())))
        .await?;
    fake.be(Mood::Well);
    searching.await??;
    for stored in storing.join_all().await {
        stored?;
    }
    Ok(())
}
