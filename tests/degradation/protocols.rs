//! What is said to a far embedder, in three protocols.

use anyhow::Result;
use kenning_tests::{FakeEmbedder, Mood, Server, Setup, all_indexed, command, run};
use serde_json::{Value, json};

use super::support::{MODEL, assert_unavailable, best, search, serve, store};

/// The protocols, their paths, and the most texts in one request.
const PROTOCOLS: [(&str, &str, usize); 3] =
    [("openai", "/v1/embeddings", 64), ("ollama", "/api/embed", 32), ("tei", "/embed", 32)];

#[tokio::test]
async fn each_protocol_is_spoken() -> Result<()> {
    for (protocol, path, most) in PROTOCOLS {
        let fake = FakeEmbedder::start()?;
        let server = Server::start_with(fake.embeds_for(Setup::patient(), protocol, MODEL)).await?;
        assert!(store(&server, "tea", "Tea is hot.").await?);
        assert_eq!(best(&server, "Tea is hot.", "vector").await?, "tea");
        let lines: String = (0..200).map(|n| format!("{{\"text\":\"line{n}\"}}\n")).collect();
        server.post_raw("/v1/import", lines).await?;
        let stats = all_indexed(&server).await?;
        assert_eq!(
            (&stats["embedding"]["kind"], &stats["model"]),
            (&json!(protocol), &json!(MODEL))
        );
        assert_eq!((&stats["indexed"], &stats["dimensions"]), (&json!(201), &json!(384)));
        for asked in fake.asked() {
            assert_eq!(asked.path, path);
            assert!((1..=most).contains(&asked.texts.len()), "{}", asked.texts.len());
            let model = if protocol == "tei" { Value::Null } else { json!(MODEL) };
            assert_eq!(asked.body["model"], model);
            assert_eq!((asked.authorization, &asked.body["dimensions"]), (None, &Value::Null));
        }
    }
    Ok(())
}

#[tokio::test]
async fn vectors_are_put_where_their_index_says() -> Result<()> {
    let fake = FakeEmbedder::start()?;
    fake.be(Mood::Shuffled);
    let server = serve(&fake).await?;
    let facts: Vec<Value> = (0..20)
        .map(|n| json!({ "fact_id": format!("f{n}"), "text": format!("number{n}") }))
        .collect();
    server.post("/v1/facts/batch", json!({ "facts": facts })).await?;
    for n in 0..20 {
        assert_eq!(best(&server, &format!("number{n}"), "vector").await?, format!("f{n}"));
    }
    Ok(())
}

/// Longer than what some models read, which refuse such a text.
#[tokio::test]
async fn a_long_text_is_sent_in_windows() -> Result<()> {
    let fake = FakeEmbedder::start()?;
    let server = serve(&fake).await?;
    let text = format!("beginning {} end", "middle ".repeat(2_000));
    store(&server, "long", &text).await?;
    all_indexed(&server).await?;
    let texts: Vec<String> = fake.asked().into_iter().flat_map(|asked| asked.texts).collect();
    assert!(texts.iter().all(|text| text.len() <= 2 * 1024), "embedding_window_bytes");
    assert!(texts.iter().any(|text| text.ends_with("end")), "all of it is embedded");
    Ok(())
}

#[tokio::test]
async fn the_key_is_sent_and_shown_nowhere() -> Result<()> {
    let fake = FakeEmbedder::start()?;
    let directory = tempfile::tempdir()?;
    let log = directory.path().join("log");
    let mut setup = fake.embeds_for(Setup::patient(), "openai", MODEL);
    setup.environment.push(("KENNING_EMBEDDING_KEY", "correct-horse".into()));
    setup.log = Some((log.clone(), "trace"));
    let server = Server::start_with(setup).await?;
    assert!(store(&server, "tea", "Tea is hot.").await?);
    for asked in fake.asked() {
        assert_eq!(asked.authorization.as_deref(), Some("Bearer correct-horse"));
    }
    let mut said = server.get("/v1/stats").await?.text;
    for mood in [Mood::Status(401, None), Mood::HangsUp, Mood::Broken] {
        fake.be(mood);
        let answer = search(&server, "a question", "vector").await?;
        assert_unavailable(&answer);
        said += &answer.text;
    }
    server.stop().await?;
    said += &std::fs::read_to_string(&log)?;
    assert!(said.contains("embedder"), "something was logged");
    assert!(!said.contains("horse"), "{said}");
    Ok(())
}

/// It speaks TLS, and says what is wrong where the far side does not.
#[tokio::test]
async fn https_is_spoken_to_who_says_https() -> Result<()> {
    let fake = FakeEmbedder::start()?;
    let mut setup = fake.embeds_for(Setup::patient(), "tei", MODEL);
    let address = fake.spec("tei").replace("http:", "https:");
    setup.environment.push(("KENNING_EMBEDDER", address));
    let server = Server::start_with(setup).await?;
    assert!(!store(&server, "tea", "Tea is hot.").await?);
    assert_unavailable(&search(&server, "a question", "vector").await?);
    assert!(fake.asked().is_empty(), "no text went unencrypted");
    Ok(())
}

#[tokio::test]
async fn what_names_no_embedder_is_refused_before_anything_is_served() -> Result<()> {
    let home = tempfile::tempdir()?;
    let far = "openai:https://embedder.example/v1";
    for (arguments, says) in [
        (vec!["--embedder", "magic"], "openai:BASE_URL"),
        (vec!["--embedder", "openai:embedder.example"], "http or https address"),
        (vec!["--embedder", "tei:http://me:secret@embedder.example"], "KENNING_EMBEDDING_KEY"),
        (vec!["--embedder", far], "--embedding-model"),
        (vec!["--embedder", far, "--embedding-model", ""], "--embedding-model"),
        (vec!["--embedding-model", "m"], "remote embedder"),
        (
            vec!["--embedder", far, "--embedding-model", "m", "--embedding-dimensions", "0"],
            "1 to 8192",
        ),
    ] {
        let ran = run(command(home.path(), &[&["serve"], &arguments[..]].concat())?, b"").await?;
        assert_ne!(ran.code, Some(0), "{arguments:?}");
        assert!(ran.err.contains(says) && !ran.err.contains("secret"), "{}", ran.err);
    }
    Ok(())
}
