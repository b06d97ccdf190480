//! Facts that are longer than what the model reads at once: every part of them is found by meaning.

use std::path::Path;

use anyhow::{Context, Result};
use kenning_tests::{
    Backend, Caller, FakeEmbedder, Mood, RedisServer, Server, Setup, all_indexed, on_both_backends,
    until,
};
use serde_json::{Value, json};

on_both_backends!(
    every_part_of_a_long_fact_is_found_and_a_restart_keeps_that,
    what_is_beyond_the_last_window_is_said_and_counted,
);

const FILLER: &str = "The harbour log notes calm water, light wind and no arrivals. ";

/// A text of at least so many characters that ends with `end`.
fn long(characters: usize, end: &str) -> String {
    FILLER.repeat(characters / FILLER.len() + 1) + end
}

/// The same for the `hash` embedder, which counts words: of words that are all different.
fn words(characters: usize, end: &str) -> String {
    let word = |n: u32| format!("{:08x} ", n.wrapping_mul(2_654_435_761));
    (1..).map(word).take(characters / 9 + 1).chain([end.into()]).collect()
}

async fn stats(caller: &Caller) -> Result<Value> {
    Ok(caller.get("/v1/stats").await?.json)
}

async fn first(caller: &Caller, query: &str, mode: &str) -> Result<Option<String>> {
    let found = caller.search(json!({ "query": query, "mode": mode, "top_k": 3 })).await?;
    Ok(found.into_iter().next())
}

async fn similarity(caller: &Caller, query: &str) -> Result<f64> {
    let query = json!({ "query": query, "mode": "vector", "top_k": 1 });
    let answer = caller.post("/v1/search", query).await?;
    answer.json["results"][0]["score"].as_f64().context("no score")
}

async fn every_part_of_a_long_fact_is_found_and_a_restart_keeps_that(
    backend: &Backend,
) -> Result<()> {
    let server = backend.serve().await?;
    let ends = [
        (3_000, "log", "Mirabel keeps seventeen brass compasses in the cellar."),
        (30_000, "annals", "Quentin painted the observatory door turquoise."),
    ];
    for (characters, id, end) in ends {
        server.store(json!({ "fact_id": id, "text": words(characters, end) })).await?;
    }
    for n in 0..20 {
        let text = format!("Note {n} of the gardener about roses, tulips and weeds.");
        server.store(json!({ "fact_id": format!("n{n}"), "text": text })).await?;
    }
    let before = all_indexed(&server).await?["index"].clone();
    let windows = before["windows"].as_u64().context("no windows")?;
    assert!(windows > 20 + 33_000 / 1_024 && windows < 20 + 33_000 / 600, "{before}");
    assert_eq!((&before["vectors"], &before["partly_embedded"]), (&json!(22), &json!(0)));
    server.stop().await?;

    let server = backend.serve().await?;
    until("ready", async || Ok((server.get("/readyz").await?.status == 200).then_some(()))).await?;
    let after = stats(&server).await?;
    assert_eq!(after["pending"], 0, "nothing is embedded again");
    assert_eq!(after["index"]["windows"], before["windows"]);
    for (_, id, end) in ends {
        for mode in ["vector", "hybrid"] {
            assert_eq!(first(&server, end, mode).await?.as_deref(), Some(id), "{mode}");
        }
    }

    // Another text drops the windows of the old one.
    let (_, _, end) = ends[0];
    assert!(similarity(&server, end).await? > 0.15);
    server.patch("/v1/facts/log", json!({ "text": "empty now" })).await?;
    let changed = all_indexed(&server).await?["index"].clone();
    assert!(changed["windows"].as_u64() < Some(windows - 2), "{changed}");
    assert_ne!(first(&server, end, "vector").await?.as_deref(), Some("log"));
    server.delete("/v1/facts/annals").await?;
    assert_eq!(stats(&server).await?["index"]["windows"], 21);
    Ok(())
}

async fn what_is_beyond_the_last_window_is_said_and_counted(backend: &Backend) -> Result<()> {
    let limit = |windows: usize| Setup {
        config: Setup::patient_but(&format!("fact_windows = {windows}")).config,
        ..backend.setup()
    };
    let end = "Mirabel keeps seventeen brass compasses.";
    let server = Server::start_with(limit(4)).await?;
    let text = words(8_000, end);
    let stored = server.post("/v1/facts", json!({ "fact_id": "long", "text": text })).await?;
    let embedded = stored.json["embedded_bytes"].as_u64().context("not said")?;
    assert!((2_000..4 * 1_024).contains(&embedded), "{embedded}");
    let fits = server.post("/v1/facts", json!({ "fact_id": "fits", "text": "tea" })).await?;
    assert!(fits.json.get("embedded_bytes").is_none(), "{}", fits.text);
    let facts = json!({ "facts": [{ "fact_id": "long", "text": text }, { "text": "coffee" }] });
    let batch = server.post("/v1/facts/batch", facts).await?.json["results"].clone();
    assert_eq!(batch[0]["embedded_bytes"], embedded, "{batch}");
    assert!(batch[1].get("embedded_bytes").is_none(), "{batch}");
    assert_eq!(all_indexed(&server).await?["index"]["partly_embedded"], 1);
    let query = json!({ "query": "Mirabel compasses", "mode": "text" });
    assert_eq!(server.search(query).await?, ["long"], "all of it is found by its words");
    server.stop().await?;

    let server = Server::start_with(limit(4)).await?;
    until("ready", async || Ok((server.get("/readyz").await?.status == 200).then_some(()))).await?;
    let kept = stats(&server).await?;
    assert_eq!((&kept["pending"], &kept["index"]["partly_embedded"]), (&json!(0), &json!(1)));
    let again = json!({ "fact_id": "long", "text": text });
    let again = server.post("/v1/facts", again).await?;
    assert_eq!(again.json["embedded_bytes"], embedded, "{}", again.text);
    server.stop().await?;

    // With a higher limit it is embedded again, whole.
    let server = Server::start_with(limit(100)).await?;
    let whole = all_indexed(&server).await?;
    assert_eq!(whole["index"]["partly_embedded"], 0);
    assert_eq!(first(&server, end, "vector").await?.as_deref(), Some("long"));
    let changed = server.patch("/v1/facts/long", json!({ "text": words(30_000, end) })).await?;
    assert!(changed.json.get("embedded_bytes").is_none(), "{}", changed.text);
    Ok(())
}

/// What the release before windows wrote, with one vector for each fact: `short`, `medium`, which
/// has one window, and `long`, whose end it did not embed on its own.
async fn assert_embedded_again(setup: Setup) -> Result<()> {
    let server = Server::start_with(setup).await?;
    let index = all_indexed(&server).await?["index"].clone();
    assert_eq!((&index["vectors"], &index["windows"]), (&json!(3), &json!(6)), "{index}");
    Ok(())
}

#[tokio::test]
async fn a_long_fact_of_an_earlier_release_is_embedded_again() -> Result<()> {
    let home = tempfile::tempdir()?;
    let data_dir = home.path().join("data");
    std::fs::create_dir_all(data_dir.join("facts"))?;
    std::fs::copy(fixture("facts.redb"), data_dir.join("facts/facts.redb"))?;
    assert_embedded_again(Setup { data_dir: Some(data_dir), ..Setup::patient() }).await
}

#[tokio::test]
async fn a_long_fact_of_an_earlier_release_in_redis_is_embedded_again() -> Result<()> {
    let directory = tempfile::tempdir()?;
    std::fs::copy(fixture("dump.rdb"), directory.path().join("dump.rdb"))?;
    let path = directory.path().display().to_string();
    let options = ["--appendonly", "no", "--dir", &path, "--dbfilename", "dump.rdb"];
    let redis = RedisServer::start_with_options(&options);
    assert_embedded_again(Setup { storage: Some(redis.url()), ..Setup::patient() }).await
}

fn fixture(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/one-vector").join(name)
}

/// The fact is not found by a part of it that is embedded by chance: `indexed` waits for all.
#[tokio::test]
async fn a_fact_whose_windows_take_too_long_is_completed_later() -> Result<()> {
    let fake = FakeEmbedder::start()?;
    fake.be(Mood::StatusFor(400, "unembeddable"));
    let setup = Setup::patient_but("store_embedding_ms = 2000\n");
    let server = Server::start_with(fake.embeds_for(setup, "ollama", "one")).await?;
    let end = "unembeddable compasses of Mirabel";
    let facts = json!({ "facts": [
        { "fact_id": "long", "text": words(9_000, end) },
        { "fact_id": "short", "text": "a short neighbour" },
    ] });
    let stored = server.post("/v1/facts/batch", facts).await?.json["results"].clone();
    let indexed = [&stored[0]["indexed"], &stored[1]["indexed"]];
    assert_eq!(indexed, [&json!(false), &json!(true)], "{stored}");
    let stats = stats(&server).await?;
    assert_eq!((&stats["indexed"], &stats["pending"]), (&json!(1), &json!(1)));
    fake.be(Mood::Well);
    all_indexed(&server).await?;
    assert_eq!(first(&server, "Mirabel compasses", "vector").await?.as_deref(), Some("long"));
    Ok(())
}

async fn embedded_texts(server: &Caller) -> Result<usize> {
    let metrics = server.get("/metrics").await?.text;
    let count = metrics.lines().find_map(|line| line.strip_prefix("kenning_embedded_texts_total "));
    Ok(count.map_or(Ok(0), str::parse)?)
}

/// With the real model, whose windows are of tokens.
#[tokio::test]
async fn an_answer_at_the_end_of_a_long_fact_is_found_first() -> Result<()> {
    let backend = Backend::embedded()?;
    let setup = || Setup { embedder: Some("local"), ..backend.setup() };
    let server = Server::start_with(setup()).await?;
    let menu = "The canteen serves soup on Mondays, and cyclists park behind the gym. ";
    let facts = [
        ("log", long(3_000, "The spare key of the lighthouse hangs behind the barometer.")),
        (
            "minutes",
            menu.repeat(430) + "The committee chose Oslo as the place of the next meeting.",
        ),
    ];
    for (id, text) in &facts {
        let stored = server.post("/v1/facts", json!({ "fact_id": id, "text": text })).await?;
        assert!(stored.json.get("embedded_bytes").is_none(), "{}", stored.text);
    }
    for (n, text) in [
        "Roses need little water.",
        "A barometer measures the pressure of the air.",
        "Trains leave at noon.",
        "Meetings are planned by the office.",
        "Committees meet four times a year.",
        "Norway has long winters.",
    ]
    .iter()
    .enumerate()
    {
        server.store(json!({ "fact_id": format!("n{n}"), "text": text })).await?;
    }
    all_indexed(&server).await?;
    let questions = [
        ("log", "Where is the lighthouse's spare key?"),
        ("minutes", "Where did the committee choose to meet next, Oslo?"),
    ];
    for (id, question) in questions {
        for mode in ["vector", "hybrid"] {
            assert_eq!(first(&server, question, mode).await?.as_deref(), Some(id), "{mode}");
        }
    }
    let windows = stats(&server).await?["index"]["windows"].clone();
    server.stop().await?;

    let server = Server::start_with(setup()).await?;
    let kept = all_indexed(&server).await?;
    assert_eq!(kept["index"]["windows"], windows);
    assert_eq!(embedded_texts(&server).await?, 0, "nothing is embedded again");
    let (id, question) = questions[1];
    assert_eq!(first(&server, question, "vector").await?.as_deref(), Some(id));

    // More than there is time for while the caller waits.
    server.stop().await?;
    let config = Setup::patient_but("store_embedding_ms = 50\n").config;
    let server = Server::start_with(Setup { config, ..setup() }).await?;
    let text = menu.repeat(3_600) + "The end.";
    let stored = server.post("/v1/facts", json!({ "fact_id": "tome", "text": text })).await?;
    assert_eq!((stored.status, &stored.json["indexed"]), (201, &json!(false)));
    let embedded = stored.json["embedded_bytes"].as_u64().context("not said")? as usize;
    assert!((100_000..text.len()).contains(&embedded), "{embedded} of {}", text.len());
    assert_eq!(all_indexed(&server).await?["index"]["partly_embedded"], 1);
    Ok(())
}
