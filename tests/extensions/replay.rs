//! A call in which a guest failed runs again on its author's machine.

use std::os::unix::fs::PermissionsExt;

use anyhow::{Context, Result};
use kenning_tests::{
    Answer, Author, MISBEHAVIOURS, SOON, Server, Setup, command, component, run, send,
};
use serde_json::json;

use super::{hooks, installed, serve};

fn id(answer: &Answer) -> &str {
    answer.header("x-request-id")
}

#[tokio::test]
async fn a_call_that_failed_in_any_way_is_replayed_with_the_same_error_and_fuel() -> Result<()> {
    let logic = Some(component("hostile")?);
    let server = Server::start_with(Setup { logic, ..Setup::patient_but(SOON) }).await?;
    let author = Author::of(&server)?;
    for kind in MISBEHAVIOURS {
        author.provoke(&server, kind).await?;
    }
    let half = json!({ "facts": [{ "text": "write-one-then-trap" }, { "text": "b" }] });
    let failed = server.post("/v1/facts/batch", half).await?;
    let replayed = author.replay_failed(&failed).await?;
    let trace = replayed["trace"][0].as_str().context("a call of an import")?;
    assert!(trace.starts_with("storage-write.write(") && trace.contains("-> Ok("), "{trace}");
    Ok(())
}

#[tokio::test]
async fn a_hook_that_was_left_out_is_replayed_and_a_mended_one_does_not_fail() -> Result<()> {
    let server = serve().await?;
    server.store(json!({ "text": "a fact of tea" })).await?;
    let answer = server.post("/v1/search", json!({ "query": "tea say panic-rerank" })).await?;
    assert!(answer.json["degraded"][0].as_str().is_some(), "{}", answer.text);
    let (author, request) = (Author::of(&server)?, id(&answer).to_owned());
    let ran = author.replay(&[&request, "--save", "project"]).await?;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for part in [
        "rerank of hooks generation 1",
        "as recorded",
        "(replayed): the same",
        "cannot handle",
        "lib.rs:",
    ] {
        assert!(ran.out.contains(part), "{part}: {}", ran.out);
    }
    // As `make test` in that project does: it fails as long as the build does.
    let saved = format!("project/replays/{request}.json");
    let mode = std::fs::metadata(author.home().join(&saved))?.permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let build = |name| Ok::<_, anyhow::Error>(component(name)?.display().to_string());
    let failing = author.replay(&[&saved, "--with", &build("hooks")?]).await?;
    assert_eq!(failing.code, Some(0), "the same bytes, and so as recorded: {failing:?}");
    let mended = author.replay(&[&saved, "--with", &build("passing")?]).await?;
    assert_eq!(mended.code, Some(0), "{mended:?}");
    assert!(mended.out.contains("another build, which does not fail"), "{}", mended.out);
    let other = author.replay(&[&saved, "--with", &build("refuser")?]).await?;
    let is_said = other.err.contains("does not export rerank");
    assert_eq!((other.code, is_said), (Some(1), true), "{other:?}");
    Ok(())
}

#[tokio::test]
async fn what_is_not_there_is_said_in_a_sentence() -> Result<()> {
    let server = serve().await?;
    let author = Author::of(&server)?;
    let unknown = author.replay(&["unknown"]).await?;
    assert_eq!(unknown.code, Some(3), "{unknown:?}");
    assert!(unknown.err.contains("nothing is recorded of this request"), "{}", unknown.err);

    let failed = server.post("/v1/facts", json!({ "text": "trap-on-store" })).await?;
    failed.assert_error(502, "guest_trapped");
    server.delete("/v1/admin/tenants/default/extensions/hooks").await?;
    let gone = author.replay(&[id(&failed)]).await?;
    assert_eq!(gone.code, Some(3), "{gone:?}");
    assert!(gone.err.contains("is not in storage any more") && gone.err.contains("--with"));
    let file = component("hooks")?.display().to_string();
    let with = author.replay(&[id(&failed), "--with", &file]).await?;
    assert_eq!(with.code, Some(0), "{with:?}");

    let path = format!("/v1/admin/requests/{}/replay", id(&failed));
    let recording = server.get(&path).await?;
    let older = recording.text.replacen(env!("CARGO_PKG_VERSION"), "0.0.1", 1);
    let saved = author.home().join("older.json");
    std::fs::write(&saved, older)?;
    let older = author.replay(&["older.json", "--with", &file]).await?;
    assert_eq!(older.code, Some(1), "{older:?}");
    assert!(older.err.contains("recorded by Kenning 0.0.1"), "{}", older.err);

    std::fs::write(author.home().join("saved.json"), &recording.text)?;
    assert_eq!(server.delete(&path).await?.json["dropped"], 1);
    let alone = author.replay(&["saved.json"]).await?;
    assert_eq!(alone.code, Some(3), "{alone:?}");
    assert!(alone.err.contains("is not at hand") && alone.err.contains("--with"), "{alone:?}");
    server.get(&path).await?.assert_error(404, "not_found");
    Ok(())
}

#[tokio::test]
async fn a_replay_never_shows_a_secret() -> Result<()> {
    const SECRET: &str = "s3cret-of-asking";
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("key");
    std::fs::write(&file, SECRET)?;
    let place = format!("file:{}", file.display());
    let config = Setup::patient().config.unwrap_or_default();
    let config = Some(format!("[secrets]\n\"default/asking/key\" = {place:?}\n{config}"));
    let server = Server::start_with(Setup { config, ..Setup::patient() }).await?;
    let asking = std::fs::read(component("asking")?)?;
    assert_eq!(server.install("default", "asking", asking, "").await?.status, 200);
    let query = json!({ "query": "confide key", "mode": "text" });
    let failed = server.post("/v1/search", query).await?;
    failed.assert_error(502, "guest_trapped");
    let recording = server.get(&format!("/v1/admin/requests/{}/replay", id(&failed))).await?;
    assert_eq!(recording.json["secrets"], json!(["key"]), "{}", recording.text);
    let author = Author::of(&server)?;
    let ran = author.replay(&[id(&failed), "--trace"]).await?;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.out.contains("the secret key") && ran.out.contains("[secret]"), "{}", ran.out);
    for shown in [recording.text, ran.out, ran.err] {
        assert!(!shown.contains(SECRET), "{shown}");
    }
    Ok(())
}

#[tokio::test]
async fn nothing_is_kept_of_a_tenant_that_wants_nothing_kept() -> Result<()> {
    let server = serve().await?;
    let tenant = server.post("/v1/admin/tenants", json!({ "name": "default" })).await?;
    assert_eq!(tenant.status, 201, "{}", tenant.text);
    let quota = json!({ "limits": { "proof_requests": 0 } });
    let request = server.request(http::Method::PATCH, "/v1/admin/tenants/default");
    assert_eq!(send(request.json(&quota)).await?.status, 200);
    let failed = server.post("/v1/facts", json!({ "text": "trap-on-store" })).await?;
    failed.assert_error(502, "guest_trapped");
    let path = format!("/v1/admin/requests/{}/replay", id(&failed));
    server.get(&path).await?.assert_error(404, "not_found");
    Ok(())
}

#[tokio::test]
async fn what_a_hook_costs_is_shown_by_hook_and_in_metrics_where_that_is_wanted() -> Result<()> {
    let config =
        format!("metrics_by_extension = true\n{}", Setup::patient().config.unwrap_or_default());
    let server = Server::start_with(Setup { config: Some(config), ..Setup::patient() }).await?;
    installed(&server, "default", "hooks", "").await?;
    for text in ["tea", "coffee"] {
        server.store(json!({ "text": text })).await?;
    }
    server.post("/v1/facts", json!({ "text": "trap-on-store" })).await?;
    server.post("/v1/facts", json!({ "text": "nothing" })).await?;
    let path = "/v1/admin/tenants/default/extensions/hooks/stats";
    let cost = &server.get(path).await?.json["hooks"][0];
    assert_eq!((&cost["hook"], &cost["calls"]), (&json!("on-store"), &json!(4)), "{cost}");
    assert_eq!(cost["errors"], json!({ "invalid_answer": 1, "trapped": 1 }), "{cost}");
    assert!(cost["fuel"].as_u64() > Some(0) && cost["p99_ms"].as_f64() > Some(0.0), "{cost}");
    let metrics = server.get("/metrics").await?.text;
    let labels = "tenant=\"default\",extension=\"hooks\",hook=\"on-store\"";
    let calls = format!("kenning_extension_calls_total{{{labels}}} 4");
    assert!(metrics.contains(&calls), "{metrics}");
    // A new generation goes on counting.
    server.install("default", "hooks", hooks()?, "?force=true&settings=%7B%22a%22%3A1%7D").await?;
    assert_eq!(server.get(path).await?.json["hooks"][0]["calls"], 4);
    let home = tempfile::tempdir()?;
    let mut shown = command(home.path(), &["extension", "stats", "hooks"])?;
    shown.env("KENNING_SERVER", server.url());
    let shown = run(shown, b"").await?;
    assert!(shown.out.starts_with("on-store\tcalls 4\terrors invalid_answer 1, trapped 1\t"));
    let quiet = serve().await?;
    quiet.store(json!({ "text": "tea" })).await?;
    let metrics = quiet.get("/metrics").await?.text;
    assert!(!metrics.contains("kenning_extension_calls_total{"), "names are told unasked");
    Ok(())
}
