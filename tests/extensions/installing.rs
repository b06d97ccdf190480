//! How extensions come, change and go.

use anyhow::{Context, Result};
use kenning_tests::{Backend, Server, Setup, noted, on_both_backends, until};
use serde_json::json;

use super::{hooks, installed, serve};

on_both_backends!(what_is_installed_survives_a_restart, another_host_follows_what_one_decided,);

#[tokio::test]
async fn the_answer_names_what_was_checked() -> Result<()> {
    let server = Server::start().await?;
    let answer = installed(&server, "default", "hooks", "").await?;
    assert_eq!((&answer.json["generation"], &answer.json["previous"]), (&json!(1), &json!(null)));
    assert!(answer.json["digest"].as_str().is_some_and(|digest| digest.starts_with("sha256:")));
    assert_eq!(answer.json["promoted"], true);
    let checks: Vec<&str> = answer.json["checks"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|check| check["check"].as_str())
        .collect();
    for check in ["component", "imports", "exports", "linked", "started", "self-test", "replay"] {
        assert!(checks.contains(&check), "{checks:?}");
    }
    Ok(())
}

/// A new one is there to change and to refuse; only its own failures speak against it.
#[tokio::test]
async fn a_new_extension_may_refuse_what_was_let_through_and_not_fail_at_it() -> Result<()> {
    let server = Server::start().await?;
    server.store(json!({ "text": "refuse", "fact_id": "a" })).await?;
    server.search(json!({ "query": "refuse" })).await?;
    let report = installed(&server, "default", "hooks", "").await?.json;
    let proof = &report["proof"];
    assert_eq!((&proof["requests"], &proof["worse"]), (&json!(2), &json!(0)), "{proof}");
    // What it is expected to cost is known before it answers anybody.
    let mut costs = report["costs"].as_array().into_iter().flatten();
    let cost = costs.find(|cost| cost["hook"] == "on-store").context("a cost")?;
    assert!(cost["fuel_p50"].as_u64() > Some(0) && cost["calls"] == 1, "{cost}");
    assert_eq!(cost["quota_percent"], json!(null));
    let other = server.tenant("other");
    other.store(json!({ "text": "trap-on-store", "fact_id": "a" })).await?;
    let answer = server.install("other", "hooks", hooks()?, "").await?;
    answer.assert_error(422, "incompatible_component");
    Ok(())
}

#[tokio::test]
async fn a_dry_run_changes_nothing() -> Result<()> {
    let server = Server::start().await?;
    let answer = installed(&server, "default", "hooks", "?dry_run=true").await?;
    assert_eq!((&answer.json["promoted"], &answer.json["dry_run"]), (&json!(false), &json!(true)));
    let listed = server.get("/v1/admin/tenants/default/extensions").await?;
    assert_eq!(listed.json["extensions"], json!([]));
    Ok(())
}

#[tokio::test]
async fn an_extension_can_be_rolled_back_and_removed() -> Result<()> {
    let server = serve().await?;
    let generation = async || {
        let answer = server.get("/v1/facts").await?;
        anyhow::Ok(answer.header("x-kenning-extensions").to_string())
    };
    let rollback = "/v1/admin/tenants/default/extensions/hooks/rollback";
    server.post(rollback, json!({})).await?.assert_error(409, "conflict");
    for note in ["two", "three"] {
        server.install("default", "hooks", noted(&hooks()?, note), "").await?;
    }
    assert_eq!(generation().await?, "hooks=3");
    let answer = server.post(rollback, json!({})).await?;
    assert_eq!((answer.status, &answer.json["generation"]), (200, &json!(2)), "{}", answer.text);
    assert_eq!(generation().await?, "hooks=2");
    let answer = server.post(&format!("{rollback}?generation=1"), json!({})).await?;
    assert_eq!(answer.json["generation"], 1);
    let answer = server.post(&format!("{rollback}?generation=9"), json!({})).await?;
    answer.assert_error(404, "not_found");

    let path = "/v1/admin/tenants/default/extensions/hooks";
    assert_eq!(server.delete(path).await?.status, 200);
    assert_eq!(generation().await?, "");
    server.delete(path).await?.assert_error(404, "not_found");
    let answer = installed(&server, "default", "hooks", "").await?;
    assert_eq!(answer.json["generation"], 4, "a number is never used twice");
    Ok(())
}

#[tokio::test]
async fn extensions_is_obeyed_and_violated() -> Result<()> {
    let server = Server::start_with(Setup::patient_but("extensions = 2")).await?;
    for name in ["one", "two"] {
        installed(&server, "default", name, "").await?;
    }
    let answer = server.install("default", "three", hooks()?, "").await?;
    answer.assert_error(413, "too_large");
    assert_eq!(answer.json["details"], json!({ "limit": "extensions", "allowed": 2, "used": 3 }));
    installed(&server, "default", "two", "").await?;
    installed(&server, "other", "one", "").await?;
    Ok(())
}

async fn what_is_installed_survives_a_restart(backend: &Backend) -> Result<()> {
    let server = backend.serve().await?;
    installed(&server, "default", "hooks", "?order=3&on_failure=leave-out").await?;
    installed(&server, "other", "hooks", "").await?;
    server.kill().await?;
    let server = backend.serve().await?;
    // The first call of each already has them.
    server.store(json!({ "text": "mark", "fact_id": "a" })).await?;
    let fact = server.get("/v1/facts/a").await?;
    assert_eq!(fact.json["metadata"], json!({ "marked": true }));
    let other = server.tenant("other");
    let refused = other.post("/v1/search", json!({ "query": "refuse" })).await?;
    refused.assert_error(422, "rejected");
    let listed = server.get("/v1/admin/tenants/default/extensions").await?;
    let one = &listed.json["extensions"][0];
    assert_eq!((&one["order"], &one["hooks"]["on-store"]), (&json!(3), &json!("leave-out")));
    assert_eq!(one["events"][0]["what"], "promoted");
    Ok(())
}

/// Only hosts on the same Redis share anything; the other half is a restart again.
async fn another_host_follows_what_one_decided(backend: &Backend) -> Result<()> {
    let Some(storage) = backend.setup().storage else { return Ok(()) };
    let one = backend.serve().await?;
    let setup = Setup { storage: Some(storage), ..Setup::patient() };
    let other = Server::start_with(setup).await?;
    let generation = async || {
        let answer = other.get("/v1/facts").await?;
        anyhow::Ok(answer.header("x-kenning-extensions").to_string())
    };
    assert_eq!(generation().await?, "");
    for (number, note) in [(1, "first"), (2, "second")] {
        one.install("default", "hooks", noted(&hooks()?, note), "").await?;
        until("the other host has it", async || {
            Ok((generation().await? == format!("hooks={number}")).then_some(()))
        })
        .await?;
    }
    one.delete("/v1/admin/tenants/default/extensions/hooks").await?;
    until("the other host has it no more", async || {
        Ok((generation().await?.is_empty()).then_some(()))
    })
    .await
}

/// A thousand tenants' extensions are then compiled when they are needed, not all at a start.
#[tokio::test]
async fn compile_before_ready_ms_of_zero_leaves_compiling_to_the_first_call() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let data_dir = directory.path().join("data");
    let limits = "compile_before_ready_ms = 0";
    let setup =
        Setup { compile: true, data_dir: Some(data_dir.clone()), ..Setup::patient_but(limits) };
    let server = Server::start_with(setup.clone()).await?;
    server.store(json!({ "text": "secret", "fact_id": "a" })).await?;
    let digest = installed(&server, "default", "hooks", "").await?.json["digest"].clone();
    server.kill().await?;

    let compiled = data_dir.join("components");
    std::fs::remove_dir_all(&compiled)?;
    let server = Server::start_with(setup).await?;
    let digest = digest.as_str().unwrap_or_default().replace("sha256:", "");
    let is_compiled = || {
        let files = std::fs::read_dir(&compiled)?.collect::<std::io::Result<Vec<_>>>()?;
        anyhow::Ok(files.iter().any(|file| file.file_name().to_string_lossy().contains(&digest)))
    };
    assert!(!is_compiled()?, "the start, which built the index, compiled the extension");
    assert_eq!(server.get("/v1/facts/a").await?.json["content"], "[hidden]");
    assert!(is_compiled()?);
    Ok(())
}
