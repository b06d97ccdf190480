//! The embedder is away, and comes back.

use anyhow::Result;
use kenning_tests::{Backend, FakeEmbedder, Server, Setup, all_indexed, on_both_backends};
use serde_json::{Value, json};

use super::support::{
    assert_found_by_words, assert_ready, assert_unavailable, best, search, setup, store,
};

on_both_backends!(
    a_server_starts_without_its_embedder_and_finishes_when_it_comes,
    an_embedder_may_go_and_come_as_it_likes,
    vectors_in_storage_are_used_also_if_the_embedder_is_away_at_the_start,
);

async fn a_server_starts_without_its_embedder_and_finishes_when_it_comes(
    backend: &Backend,
) -> Result<()> {
    let mut fake = FakeEmbedder::away()?;
    let server = Server::start_with(setup(backend, &fake)).await?;
    assert_ready(&server).await?;
    let embedding = &server.get("/v1/stats").await?.json["embedding"];
    assert_eq!((&embedding["kind"], &embedding["model"]), (&json!("openai"), &json!("fake-model")));
    assert_eq!((&embedding["dimensions"], &embedding["profile"]), (&Value::Null, &Value::Null));
    for id in ["red", "green", "blue"] {
        for attempt in ["no vector yet", "nor when it is said again"] {
            assert!(!store(&server, id, &format!("the colour {id}")).await?, "{attempt}");
        }
        assert_found_by_words(&server, id, id).await?;
    }
    assert_unavailable(&search(&server, "red", "vector").await?);
    server.patch("/v1/facts/blue", json!({ "text": "the colour violet" })).await?;
    assert_found_by_words(&server, "violet", "blue").await?;
    assert_eq!(server.delete("/v1/facts/green").await?.status, 200);
    server.kill().await?;

    let server = Server::start_with(setup(backend, &fake)).await?;
    assert_ready(&server).await?;
    assert_found_by_words(&server, "violet", "blue").await?;
    assert_eq!(server.get("/v1/stats").await?.json["pending"], 2);
    fake.come()?;
    let stats = all_indexed(&server).await?;
    assert_eq!((&stats["facts"], &stats["indexed"]), (&json!(2), &json!(2)));
    assert_eq!(stats["embedding"]["profile"], "openai:fake-model/384/1");
    assert_eq!(stats["embedding"]["dimensions"], 384);
    assert_eq!(best(&server, "the colour violet", "vector").await?, "blue");
    assert_eq!(search(&server, "red", "hybrid").await?.json["degraded"], json!([]));
    assert!(store(&server, "grey", "the colour grey").await?, "vectors are there in time again");
    Ok(())
}

async fn an_embedder_may_go_and_come_as_it_likes(backend: &Backend) -> Result<()> {
    let mut fake = FakeEmbedder::start()?;
    let server = Server::start_with(setup(backend, &fake)).await?;
    let mut stored = 0;
    for round in 0..3 {
        fake.go().await?;
        // More than are embedded together.
        for n in 0..40 {
            let fact =
                json!({ "fact_id": format!("f{round}-{n}"), "text": format!("n{n} r{round}") });
            server.store(fact).await?;
        }
        stored += 40;
        assert_found_by_words(&server, &format!("n39 r{round}"), &format!("f{round}-39")).await?;
        assert_ready(&server).await?;
        fake.come()?;
        let stats = all_indexed(&server).await?;
        assert_eq!(stats["indexed"], stored);
        assert_eq!(best(&server, &format!("n7 r{round}"), "vector").await?, format!("f{round}-7"));
    }
    Ok(())
}

async fn vectors_in_storage_are_used_also_if_the_embedder_is_away_at_the_start(
    backend: &Backend,
) -> Result<()> {
    let mut fake = FakeEmbedder::start()?;
    let server = Server::start_with(setup(backend, &fake)).await?;
    for id in ["red", "blue"] {
        assert!(store(&server, id, &format!("the colour {id}")).await?);
    }
    server.stop().await?;
    fake.go().await?;
    let server = Server::start_with(setup(backend, &fake)).await?;
    let stats = all_indexed(&server).await?;
    assert_eq!((&stats["indexed"], &stats["dimensions"]), (&json!(2), &json!(384)));
    assert!(!store(&server, "late", "the colour late").await?);
    let before = fake.asked().len();
    fake.come()?;
    all_indexed(&server).await?;
    assert_eq!(best(&server, "the colour blue", "vector").await?, "blue");
    let asked = &fake.asked()[before..];
    let again = asked.iter().flat_map(|asked| &asked.texts).any(|text| text == "the colour red");
    assert!(!again, "what has its vector is not embedded again");
    Ok(())
}

/// An answer of the logic holds some of them, and the others come in the next.
#[tokio::test]
async fn large_facts_get_their_vectors_too() -> Result<()> {
    let (backend, mut fake) = (Backend::embedded()?, FakeEmbedder::away()?);
    let server = Server::start_with(setup(&backend, &fake)).await?;
    let filler = "filler ".repeat(30_000);
    for n in 0..24 {
        assert!(!store(&server, &format!("f{n}"), &format!("number{n} {filler}")).await?);
    }
    fake.come()?;
    assert_eq!(all_indexed(&server).await?["indexed"], 24);
    server.stop().await?;
    fake.go().await?;
    let server = Server::start_with(setup(&backend, &fake)).await?;
    assert_eq!(all_indexed(&server).await?["indexed"], 24, "they are in storage");
    Ok(())
}

/// An embedder that nobody ever reaches: everything but meaning works.
#[tokio::test]
async fn a_batch_and_an_import_are_taken_without_an_embedder() -> Result<()> {
    let fake = FakeEmbedder::away()?;
    let server = Server::start_with(fake.embeds_for(Setup::patient(), "tei", "m")).await?;
    let facts: Vec<Value> = (0..50).map(|n| json!({ "text": format!("batch{n}") })).collect();
    let batch = server.post("/v1/facts/batch", json!({ "facts": facts })).await?;
    let results = batch.json["results"].as_array().map_or(0, Vec::len);
    assert_eq!((batch.status, results), (200, 50), "{}", batch.text);
    let lines: String = (0..150).map(|n| format!("{{\"text\":\"line{n}\"}}\n")).collect();
    let import = server.post_raw("/v1/import", lines).await?;
    assert!(import.text.contains("\"imported\":150"), "{}", import.text);
    assert_eq!(server.export().await?.lines().count(), 200);
    let both = search(&server, "batch49", "hybrid").await?;
    let degraded = both.json["degraded"].as_array().map_or(&[][..], Vec::as_slice);
    assert!(
        degraded.contains(&json!("vector: 200 of 200 facts have no vector yet")),
        "{}",
        both.text
    );
    assert_eq!(search(&server, "batch49", "text").await?.json["degraded"], json!([]));
    let query = json!({ "query": "batch49 line149", "mode": "text", "top_k": 2 });
    let found = server.post("/v1/search", query).await?;
    let contents = [0, 1].map(|at| found.json["results"][at]["content"].clone());
    assert!(contents.contains(&json!("batch49")) && contents.contains(&json!("line149")));
    Ok(())
}
