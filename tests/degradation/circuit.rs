//! A far embedder that is down is asked now and then; one that asks for a pause gets it.

use std::time::Duration;

use anyhow::Result;
use kenning_tests::{Caller, FakeEmbedder, Mood, Server, Setup, all_indexed, until};

use super::support::{MODEL, assert_unavailable, best, search, serve, store};

async fn is_broken(caller: &Caller) -> Result<bool> {
    let metrics = caller.get("/metrics").await?.text;
    Ok(metrics.lines().any(|line| line == "kenning_embedder_broken 1"))
}

#[tokio::test]
async fn the_circuit_breaks_while_the_embedder_is_down_and_closes_when_it_is_back() -> Result<()> {
    let mut fake = FakeEmbedder::start()?;
    let server = serve(&fake).await?;
    assert!(store(&server, "tea", "Tea is hot.").await?);
    // A question that was answered is answered from memory.
    for question in ["one question", "another question"] {
        assert!(!is_broken(&server).await?);
        fake.go().await?;
        until("the embedder is left alone", async || {
            let answer = search(&server, question, "vector").await?;
            assert_unavailable(&answer);
            Ok(answer.text.contains("is not called for now").then_some(()))
        })
        .await?;
        assert!(is_broken(&server).await?);
        fake.come()?;
        until("the embedder is asked again", async || {
            let answer = search(&server, question, "vector").await?;
            Ok((answer.status == 200).then_some(()))
        })
        .await?;
    }
    Ok(())
}

/// Answers that are errors come quickly; there is nothing to be spared.
#[tokio::test]
async fn an_embedder_that_answers_with_errors_is_asked_each_time() -> Result<()> {
    let fake = FakeEmbedder::start()?;
    let server = serve(&fake).await?;
    fake.be(Mood::Status(422, None));
    for n in 0..10 {
        assert_unavailable(&search(&server, &format!("question{n}"), "vector").await?);
        assert!(fake.was_asked_for(&format!("question{n}")));
    }
    assert!(!is_broken(&server).await?);
    Ok(())
}

#[tokio::test]
async fn a_pause_that_fits_is_waited_for() -> Result<()> {
    let fake = FakeEmbedder::start()?;
    let server = serve(&fake).await?;
    fake.be(Mood::Status(429, Some("1")));
    let caller = server.clone();
    let storing = tokio::spawn(async move { store(&caller, "tea", "Tea is hot.").await });
    until("the embedder is asked", async || Ok(fake.was_asked_for("Tea").then_some(()))).await?;
    fake.be(Mood::Well);
    assert!(storing.await??, "the vector came after the pause");
    let asked = fake.asked();
    let times: Vec<_> = asked.iter().filter(|a| a.texts == ["Tea is hot."]).map(|a| a.at).collect();
    let [.., before, last] = times[..] else { panic!("asked once: {asked:?}") };
    assert!(last - before >= Duration::from_secs(1), "not before it may");
    Ok(())
}

#[tokio::test]
async fn a_pause_that_is_too_long_is_said_at_once_and_kept() -> Result<()> {
    let fake = FakeEmbedder::start()?;
    // No test waits for as long as the pause takes.
    let setup = Setup::patient_but("store_embedding_ms = 5000");
    let server = Server::start_with(fake.embeds_for(setup, "tei", MODEL)).await?;
    fake.be(Mood::Status(429, Some("3600")));
    assert_unavailable(&search(&server, "a question", "vector").await?);
    let asked = fake.asked().len();
    fake.be(Mood::Well);
    for _ in 0..3 {
        let answer = search(&server, "a question", "vector").await?;
        assert_unavailable(&answer);
        assert!(answer.text.contains("asked for a pause"), "{}", answer.text);
        assert!(!store(&server, "tea", "Tea is hot.").await?);
        assert_eq!(best(&server, "tea", "text").await?, "tea");
        server.delete("/v1/facts/tea").await?;
    }
    assert_eq!(fake.asked().len(), asked);
    Ok(())
}

/// A store in a hurry says nothing about the embedder.
#[tokio::test]
async fn callers_without_time_do_not_break_the_circuit_for_others() -> Result<()> {
    let fake = FakeEmbedder::start()?;
    let setup = Setup::patient_but("store_embedding_ms = 20");
    let server = Server::start_with(fake.embeds_for(setup, "openai", MODEL)).await?;
    fake.be(Mood::Slow);
    for n in 0..10 {
        assert!(!store(&server, &format!("f{n}"), "in a hurry").await?);
    }
    assert!(!is_broken(&server).await?);
    fake.be(Mood::Well);
    all_indexed(&server).await?;
    Ok(())
}
