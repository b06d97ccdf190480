//! The embedder answers, and wrongly.

use anyhow::Result;
use kenning_tests::{
    Backend, FakeEmbedder, Mood, Server, Setup, all_indexed, on_both_backends, until,
};
use serde_json::json;

use super::support::{
    MODEL, assert_found_by_words, assert_ready, assert_unavailable, best, indexed, search, serve,
    setup, store,
};

/// Everything that is no answer with as many vectors as texts.
const WRONG: [Mood; 13] = [
    Mood::HangsUp,
    Mood::Truncated,
    Mood::Status(500, None),
    Mood::Status(503, None),
    Mood::Status(401, None),
    Mood::Status(307, None),
    Mood::OneShort,
    Mood::Number("NaN"),
    Mood::Number("null"),
    Mood::Number("1e39"),
    Mood::Zeros,
    Mood::Endless,
    Mood::Broken,
];

async fn nothing_wrong_gets_into_the_index(protocol: &str) -> Result<()> {
    let fake = FakeEmbedder::start()?;
    let server = Server::start_with(fake.embeds_for(Setup::patient(), protocol, MODEL)).await?;
    assert!(store(&server, "before", "what was before").await?);
    for (n, mood) in WRONG.into_iter().enumerate() {
        fake.be(mood.clone());
        let (id, text) = (format!("f{n}"), format!("number{n}"));
        assert!(!store(&server, &id, &text).await?, "{mood:?}");
        assert_found_by_words(&server, &text, &id).await?;
        assert_unavailable(&search(&server, &text, "vector").await?);
        assert_ready(&server).await?;
        assert_eq!(server.get("/v1/stats").await?.json["indexed"], n + 1, "{mood:?}");
        fake.be(Mood::Well);
        indexed(&server, n as u64 + 2).await?;
        until("searches by meaning are answered", async || {
            let answer = search(&server, &text, "vector").await?;
            Ok((answer.status == 200).then(|| {
                assert_eq!(answer.json["results"][0]["doc_id"], id, "{mood:?}");
            }))
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn nothing_wrong_gets_into_the_index_from_openai() -> Result<()> {
    nothing_wrong_gets_into_the_index("openai").await
}

#[tokio::test]
async fn nothing_wrong_gets_into_the_index_from_ollama() -> Result<()> {
    nothing_wrong_gets_into_the_index("ollama").await
}

#[tokio::test]
async fn nothing_wrong_gets_into_the_index_from_tei() -> Result<()> {
    nothing_wrong_gets_into_the_index("tei").await
}

on_both_backends!(
    vectors_of_other_dimensions_are_refused_and_both_are_named,
    other_dimensions_at_a_start_make_all_vectors_again,
);

async fn vectors_of_other_dimensions_are_refused_and_both_are_named(
    backend: &Backend,
) -> Result<()> {
    let fake = FakeEmbedder::start()?;
    let server = Server::start_with(setup(backend, &fake)).await?;
    assert!(store(&server, "red", "the colour red").await?);
    fake.be(Mood::Dimensions(512));
    assert!(!store(&server, "blue", "the colour blue").await?);
    assert_found_by_words(&server, "blue", "blue").await?;
    assert_ready(&server).await?;
    let refused = search(&server, "the colour", "vector").await?;
    refused.assert_error(409, "dimension_mismatch");
    for profile in ["openai:fake-model/384/1", "openai:fake-model/512/1"] {
        assert!(refused.text.contains(profile), "{}", refused.text);
    }
    assert!(refused.text.contains("--embedding-dimensions"), "{}", refused.text);
    assert_eq!(server.get("/v1/stats").await?.json["dimensions"], 384);
    fake.be(Mood::Well);
    all_indexed(&server).await?;
    assert_eq!(best(&server, "the colour blue", "vector").await?, "blue");
    Ok(())
}

async fn other_dimensions_at_a_start_make_all_vectors_again(backend: &Backend) -> Result<()> {
    let fake = FakeEmbedder::start()?;
    let server = Server::start_with(setup(backend, &fake)).await?;
    for id in ["red", "blue"] {
        assert!(store(&server, id, &format!("the colour {id}")).await?);
    }
    server.stop().await?;
    fake.be(Mood::Dimensions(100));
    let mut asked = setup(backend, &fake);
    asked.environment.push(("KENNING_EMBEDDING_DIMENSIONS", "100".into()));
    for setup in [setup(backend, &fake), asked] {
        let server = Server::start_with(setup).await?;
        let stats = all_indexed(&server).await?;
        assert_eq!((&stats["indexed"], &stats["dimensions"]), (&json!(2), &json!(100)));
        assert_eq!(best(&server, "the colour blue", "vector").await?, "blue");
        server.stop().await?;
    }
    Ok(())
}

/// What a far side says of an error may hold the text or the key, so nobody sees it.
#[tokio::test]
async fn what_the_embedder_says_of_its_errors_is_not_passed_on() -> Result<()> {
    let fake = FakeEmbedder::start()?;
    let server = serve(&fake).await?;
    fake.be(Mood::Status(401, None));
    let answer = search(&server, "anything", "vector").await?;
    assert_unavailable(&answer);
    assert!(answer.text.contains("401") && answer.text.contains("KENNING_EMBEDDING_KEY"));
    assert!(!answer.text.contains("told to"), "{}", answer.text);
    Ok(())
}
