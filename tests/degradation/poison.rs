//! Texts that the embedder always fails at.

use anyhow::Result;
use kenning_tests::{Backend, Caller, FakeEmbedder, Mood, Server, all_indexed, on_both_backends};
use serde_json::json;

use super::support::{assert_found_by_words, best, indexed, serve, setup};

on_both_backends!(a_poisonous_fact_keeps_no_other_from_its_vector);

const WORD: &str = "poison";

/// `facts` facts, of which each of `poisonous` holds the word.
async fn import(caller: &Caller, facts: usize, poisonous: &[usize]) -> Result<()> {
    let line = |n: usize| {
        let word = if poisonous.contains(&n) { WORD } else { "wholesome" };
        json!({ "fact_id": format!("f{n}"), "text": format!("number{n} {word}") }).to_string()
            + "\n"
    };
    let answer = caller.post_raw("/v1/import", (0..facts).map(line).collect::<String>()).await?;
    assert!(answer.text.contains(&format!("\"imported\":{facts}")), "{}", answer.text);
    Ok(())
}

async fn a_poisonous_fact_keeps_no_other_from_its_vector(backend: &Backend) -> Result<()> {
    let fake = FakeEmbedder::start()?;
    fake.be(Mood::StatusFor(500, WORD));
    let server = Server::start_with(setup(backend, &fake)).await?;
    let (one, other) = (server.tenant("one"), server.tenant("other"));
    import(&one, 120, &[0, 77]).await?;
    import(&other, 40, &[39]).await?;
    assert_eq!(indexed(&one, 118).await?["pending"], 2);
    assert_eq!(indexed(&other, 39).await?["pending"], 1);
    for (caller, id) in [(&one, 0), (&one, 77), (&other, 39)] {
        let (query, id) = (format!("number{id}"), format!("f{id}"));
        assert_eq!(best(caller, &query, "text").await?, id);
    }
    assert_eq!(best(&one, "number78 wholesome", "vector").await?, "f78");
    // They were never given up.
    fake.be(Mood::Well);
    all_indexed(&one).await?;
    all_indexed(&other).await?;
    Ok(())
}

/// The way to the embedder breaks on them, which looks like an embedder that is down.
#[tokio::test]
async fn a_fact_that_crashes_the_embedder_keeps_no_other_from_its_vector() -> Result<()> {
    let fake = FakeEmbedder::start()?;
    fake.be(Mood::HangsUpFor(WORD));
    let server = serve(&fake).await?;
    import(&server, 60, &[0, 30]).await?;
    indexed(&server, 58).await?;
    fake.be(Mood::Well);
    all_indexed(&server).await?;
    Ok(())
}

/// One tenant with nothing but poison.
#[tokio::test]
async fn a_tenant_full_of_poison_holds_up_no_other() -> Result<()> {
    let fake = FakeEmbedder::start()?;
    fake.be(Mood::StatusFor(400, WORD));
    let server = serve(&fake).await?;
    let (bad, good) = (server.tenant("bad"), server.tenant("good"));
    import(&bad, 100, &(0..100).collect::<Vec<_>>()).await?;
    import(&good, 100, &[]).await?;
    assert_eq!(all_indexed(&good).await?["indexed"], 100);
    assert_eq!(bad.get("/v1/stats").await?.json["indexed"], 0);
    assert_found_by_words(&bad, WORD, &best(&bad, WORD, "text").await?).await
}
