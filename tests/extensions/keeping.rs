//! What an extension keeps from one call to the next: the grant `state`.

use anyhow::{Context, Result};
use http::Method;
use kenning_tests::{
    Backend, Caller, Server, Setup, command, component, on_both_backends, run, send,
};
use serde_json::{Value, json};

on_both_backends!(
    an_extension_keeps_keys_of_any_bytes_from_call_to_call,
    state_goes_with_its_extension_unless_it_is_kept,
);

pub(crate) async fn install(server: &Caller, tenant: &str, parameters: &str) -> Result<()> {
    let keeping = std::fs::read(component("keeping")?)?;
    let installed = server.install(tenant, "keeping", keeping, parameters).await?;
    assert_eq!(installed.status, 200, "{}", installed.text);
    Ok(())
}

/// What the extension says of a command.
pub(crate) async fn ask(caller: &Caller, asked: Value) -> Result<Value> {
    let refused = caller.post("/v1/search", json!({ "query": asked.to_string() })).await?;
    refused.assert_error(422, "rejected");
    Ok(serde_json::from_str(refused.json["message"].as_str().context("a message")?)?)
}

async fn ok(caller: &Caller, asked: Value) -> Result<Value> {
    let said = ask(caller, asked).await?;
    said.get("ok").cloned().with_context(|| format!("not ok: {said}"))
}

async fn error(caller: &Caller, asked: Value) -> Result<String> {
    let said = ask(caller, asked).await?;
    Ok(said["error"].as_str().with_context(|| format!("no error: {said}"))?.to_string())
}

async fn remove(server: &Caller, parameters: &str) -> Result<()> {
    let path = format!("/v1/admin/tenants/default/extensions/keeping{parameters}");
    let removed = send(server.request(Method::DELETE, &path)).await?;
    assert_eq!(removed.status, 200, "{}", removed.text);
    Ok(())
}

async fn an_extension_keeps_keys_of_any_bytes_from_call_to_call(backend: &Backend) -> Result<()> {
    let limits = "state_keys = 4\nstate_bytes = 1000\nstate_value_bytes = 900";
    let setup = || Setup { config: Setup::patient_but(limits).config, ..backend.setup() };
    let server = Server::start_with(setup()).await?;
    install(&server, "default", "?grant=state").await?;
    let wild = json!([0, 255, 123, 58, 125, 42]);
    let version = ok(&server, json!({ "do": "set", "key": wild, "value": "tea" })).await?;
    assert_eq!(ok(&server, json!({ "do": "get", "key": [0, 255] })).await?, Value::Null);
    for sum in [1, 2] {
        assert_eq!(ok(&server, json!({ "do": "add", "key": "n" })).await?, sum);
    }
    assert_eq!(ok(&server, json!({ "do": "list", "key": "" })).await?, json!([wild, "n"]));

    let cas = json!({ "do": "cas", "key": wild, "value": "ice" });
    let lost = error(&server, cas.clone()).await?;
    assert_eq!(
        lost,
        format!(
            "the key has version {version}, and none was expected: it was changed meanwhile; read \
             it again"
        )
    );
    let mut won = cas;
    won["expected"] = version.clone();
    assert!(ok(&server, won.clone()).await?.as_u64() > version.as_u64());
    assert!(error(&server, won).await?.contains(&format!("version {version} was expected")));
    let text = error(&server, json!({ "do": "add", "key": wild })).await?;
    assert!(text.contains("no number in decimal digits"), "{text}");

    let set = |key: &str, size: usize| json!({ "do": "set", "key": key, "size": size });
    for (asked, sentence) in [
        (set("", 1), "a key has at least one byte (at \"/key\")"),
        (set(&"k".repeat(513), 1), "state_key_bytes is limited to 512, and this call has 513"),
        (set("k", 901), "state_value_bytes is limited to 900, and this call has 901"),
    ] {
        assert_eq!(error(&server, asked).await?, sentence);
    }
    ok(&server, set("a", 900)).await?;
    // The wild key and its value, the number and its key.
    let used = 6 + 3 + 2 + 901 + 1 + 900;
    let over = format!("state_bytes is limited to 1000, and this call has {used}");
    assert_eq!(error(&server, set("b", 900)).await?, over);
    ok(&server, set("b", 1)).await?;
    let over = "state_keys is limited to 4, and this call has 5";
    assert_eq!(error(&server, set("c", 1)).await?, over);

    server.kill().await?;
    let server = Server::start_with(setup()).await?;
    let read = ok(&server, json!({ "do": "get", "key": wild })).await?;
    assert_eq!(read["value"], "ice", "after a restart");
    Ok(())
}

async fn state_goes_with_its_extension_unless_it_is_kept(backend: &Backend) -> Result<()> {
    let server = backend.serve().await?;
    let (get, set) = (json!({ "do": "get", "key": "k" }), json!({ "do": "set", "key": "k" }));
    install(&server, "default", "?grant=state").await?;
    let stats = "/v1/admin/tenants/default/extensions/keeping/stats";
    assert_eq!(server.get(stats).await?.json["state"], Value::Null);
    ok(&server, set.clone()).await?;
    let state = server.get(stats).await?.json["state"].clone();
    assert!(state["keys"] == 1 && state["bytes"].as_u64() > Some(0), "{state}");
    let home = tempfile::tempdir()?;
    let mut shown = command(home.path(), &["extension", "stats", "keeping"])?;
    shown.env("KENNING_SERVER", server.url());
    let shown = run(shown, b"").await?;
    assert!(shown.out.contains("\nstate\tkeys 1\tkept "), "{}", shown.out);
    install(&server, "other", "?grant=state").await?;
    let other = server.tenant("other");
    assert_eq!(ok(&other, get.clone()).await?, Value::Null, "of another tenant");

    remove(&server, "?keep_state=true").await?;
    install(&server, "default", "?grant=state").await?;
    assert_eq!(ok(&server, get.clone()).await?["value"], "");
    remove(&server, "").await?;
    install(&server, "default", "?grant=state").await?;
    assert_eq!(ok(&server, get.clone()).await?, Value::Null);

    // Where hosts share a storage, the name stays taken until no call of the tenant can be left.
    if backend.redis_server().is_some() {
        return Ok(());
    }
    ok(&server, set).await?;
    server.store(json!({ "text": "without a fact it is no tenant" })).await?;
    let deleted = send(server.request(Method::DELETE, "/v1/admin/tenants/default")).await?;
    assert_eq!(deleted.status, 200, "{}", deleted.text);
    install(&server, "default", "?grant=state").await?;
    assert_eq!(ok(&server, get).await?, Value::Null);
    Ok(())
}

#[tokio::test]
async fn state_needs_its_grant() -> Result<()> {
    let server = Server::start_with(Setup::patient()).await?;
    let keeping = std::fs::read(component("keeping")?)?;
    let refused = server.install("default", "keeping", keeping, "").await?;
    refused.assert_error(422, "incompatible_component");
    assert!(refused.text.contains("state"), "{}", refused.text);
    Ok(())
}

/// A proof runs what was asked again, and changes nothing.
#[tokio::test]
async fn a_proof_drops_what_a_candidate_keeps() -> Result<()> {
    let server = Server::start_with(Setup::patient()).await?;
    install(&server, "default", "?grant=state").await?;
    for sum in 1..=5 {
        assert_eq!(ok(&server, json!({ "do": "add", "key": "n" })).await?, sum);
    }
    let keeping = std::fs::read(component("keeping")?)?;
    let proven = server.install("default", "keeping", keeping, "?grant=state&dry_run=true").await?;
    assert!(proven.json["proof"]["requests"].as_u64() >= Some(5), "{}", proven.text);
    assert_eq!(ok(&server, json!({ "do": "add", "key": "n" })).await?, 6);
    Ok(())
}
