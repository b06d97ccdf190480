//! Another model, another space.

use anyhow::Result;
use kenning_tests::{Backend, FakeEmbedder, Mood, Server, all_indexed, on_both_backends};
use serde_json::json;

use super::support::{assert_found_by_words, best, search};

on_both_backends!(another_model_makes_all_vectors_again_and_never_mixes_them);

async fn another_model_makes_all_vectors_again_and_never_mixes_them(
    backend: &Backend,
) -> Result<()> {
    let mut fake = FakeEmbedder::start()?;
    let with = |fake: &FakeEmbedder, model| fake.embeds_for(backend.setup(), "ollama", model);
    let server = Server::start_with(with(&fake, "one")).await?;
    for n in 0..40 {
        let fact = json!({ "fact_id": format!("f{n}"), "text": format!("number{n}") });
        server.store(fact).await?;
    }
    all_indexed(&server).await?;
    server.stop().await?;

    // The new model makes vectors of the same length, so that only the name tells.
    fake.go().await?;
    let server = Server::start_with(with(&fake, "two")).await?;
    let stats = server.get("/v1/stats").await?.json;
    assert_eq!((&stats["facts"], &stats["indexed"]), (&json!(40), &json!(0)), "none of the old");
    assert_found_by_words(&server, "number7", "f7").await?;
    fake.come()?;
    let stats = all_indexed(&server).await?;
    assert_eq!(stats["embedding"]["profile"], "ollama:two/384/1");
    assert!(fake.asked().iter().any(|asked| asked.body["model"] == "two"));
    assert_eq!(best(&server, "number7", "vector").await?, "f7");
    server.kill().await?;

    fake.be(Mood::Dimensions(64));
    let server = Server::start_with(with(&fake, "three")).await?;
    let stats = all_indexed(&server).await?;
    assert_eq!((&stats["indexed"], &stats["dimensions"]), (&json!(40), &json!(64)));
    assert_eq!(search(&server, "number7", "hybrid").await?.json["degraded"], json!([]));
    assert_eq!(best(&server, "number7", "vector").await?, "f7");
    Ok(())
}
