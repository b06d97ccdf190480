//! What an extension is told of its call: who asks, and for what.

use anyhow::{Context, Result};
use http::Method;
use kenning_tests::{Backend, Caller, Server, Setup, component, on_both_backends, send};
use serde_json::{Value, json};

on_both_backends!(callers_of_one_tenant_see_different_facts_at_every_door);

const ADMIN: &str = "an-admin-key-for-tests-only";

/// A server with keys, its operator, and the tenant `acme` with the extension `name`.
async fn serve(setup: Setup, name: &str) -> Result<(Server, Caller)> {
    let server = Server::start_with(Setup { admin_key: Some(ADMIN), ..setup }).await?;
    let admin = server.key(ADMIN);
    let created = admin.post("/v1/admin/tenants", json!({ "name": "acme" })).await?;
    assert_eq!(created.status, 201, "{}", created.text);
    let installed = admin.install("acme", name, std::fs::read(component(name)?)?, "").await?;
    assert_eq!(installed.status, 200, "{}", installed.text);
    Ok((server, admin))
}

/// A caller with a new key of `acme` that has these attributes, and the key's text.
async fn holding(admin: &Caller, attributes: Value) -> Result<(Caller, String)> {
    let body = json!({ "attributes": attributes });
    let made = admin.post("/v1/admin/tenants/acme/rotate-key", body).await?;
    assert_eq!(made.status, 201, "{}", made.text);
    let key = made.json["key"].as_str().context("a key")?.to_string();
    Ok((admin.key(&key), key))
}

async fn callers_of_one_tenant_see_different_facts_at_every_door(backend: &Backend) -> Result<()> {
    let (server, admin) = serve(backend.setup(), "row-access").await?;
    let (board, board_key) = holding(&admin, json!({ "groups": ["board"] })).await?;
    let (staff, _) = holding(&admin, json!({ "groups": ["staff", "guests"] })).await?;
    let (nobody, _) = holding(&admin, json!({})).await?;
    for (id, metadata) in [
        ("open", json!({ "visibility": "public" })),
        ("for-board", json!({ "readers": ["board"] })),
        ("for-staff", json!({ "readers": ["audit", "staff"] })),
        ("for-none", json!({})),
    ] {
        board.store(json!({ "text": "tea time", "id": id, "metadata": metadata })).await?;
    }
    let all = ["open", "for-board", "for-staff", "for-none"];
    for (caller, seen) in [
        (&board, &["open", "for-board"][..]),
        (&staff, &["open", "for-staff"]),
        (&nobody, &["open"]),
    ] {
        for id in all {
            let status = caller.get(&format!("/v1/facts/{id}")).await?.status;
            assert_eq!(status == 200, seen.contains(&id), "{id}: {status}");
        }
        let found = caller.search(json!({ "query": "tea", "mode": "text", "top_k": 2 })).await?;
        assert_eq!(found.len(), seen.len(), "the filter lets visible facts fill the answer");
        let listed = caller.get("/v1/facts").await?.text;
        let exported = caller.export().await?;
        let counted = caller.get("/v1/count").await?.json["count"].clone();
        assert_eq!(counted, json!(seen.len()));
        for out in [found.join(" "), listed, exported] {
            for id in all {
                assert_eq!(out.contains(id), seen.contains(&id), "{id} in {out}");
            }
        }
    }
    // Nothing that a caller sends makes it another.
    for (name, value) in [
        ("x-kenning-attributes", r#"{"groups":["board"]}"#),
        ("x-kenning-groups", "board"),
        ("x-kenning-key-id", &board_key[4..16]),
        ("x-request-id", "board"),
    ] {
        let sly = staff.request(Method::GET, "/v1/facts/for-board").header(name, value);
        send(sly).await?.assert_error(404, "not_found");
    }
    let two_keys =
        staff.request(Method::GET, "/v1/facts/for-board").header("x-api-key", &board_key);
    send(two_keys).await?.assert_error(401, "unauthorized");
    drop(server);
    Ok(())
}

#[tokio::test]
async fn an_extension_is_told_the_key_the_verb_the_request_and_the_query_as_asked() -> Result<()> {
    let (_server, admin) = serve(Setup::patient(), "asking").await?;
    let attributes = json!({ "team": "research", "level": 3 });
    let (caller, key) = holding(&admin, attributes.clone()).await?;
    let told = |verb: &str| {
        json!({
            "key": key.split('_').nth(1), "attributes": attributes, "verb": verb, "id": "r1",
            "subject": null, "scopes": [],
            "replay": false, "asked": null, "options": null, "note": null, "none": null,
            "settings": {},
        })
    };
    let ask = async |method: Method, path: &str, body: Value| {
        let request = caller.request(method, path).header("x-request-id", "r1").json(&body);
        send(request).await
    };
    let fact = json!({ "text": "green tea", "id": "a" });
    assert_eq!(ask(Method::POST, "/v1/facts", fact).await?.status, 201);
    let got = ask(Method::GET, "/v1/facts/a", json!({})).await?.json;
    assert_eq!(got["metadata"]["stored_by"], told("Store"));
    assert_eq!(got["metadata"]["read_by"], told("Get"));
    let change = json!({ "text": "black tea" });
    assert_eq!(ask(Method::PATCH, "/v1/facts/a", change).await?.status, 200);
    let listed = ask(Method::GET, "/v1/facts", json!({})).await?.json["facts"][0].clone();
    assert_eq!(listed["metadata"]["stored_by"]["verb"], "Update");
    assert_eq!(listed["metadata"]["read_by"], told("List"));
    let exported = caller.export().await?;
    assert!(exported.contains(r#""verb":"Export""#), "{exported}");
    caller.post_raw("/v1/import", "{\"text\":\"white tea\",\"id\":\"b\"}\n").await?;
    let imported = caller.get("/v1/facts/b").await?.json;
    assert_eq!(imported["metadata"]["stored_by"]["verb"], "Import");

    let options = json!({ "asking": { "first": "b" } });
    let query =
        json!({ "query": "green", "top_k": 2, "mode": "text", "extension_options": options });
    let found = ask(Method::POST, "/v1/search", query).await?.json;
    assert_eq!(found["results"][0]["id"], "b", "rerank has its options: {found}");
    let seen = &found["results"][0]["metadata"]["read_by"];
    assert_eq!(seen["verb"], "Search");
    assert_eq!(seen["asked"], json!(["green", 2]), "not as on-query changed it");
    assert_eq!(seen["options"], r#"{"first":"b"}"#);
    assert_eq!(seen["note"], "green of 2");
    Ok(())
}

#[tokio::test]
async fn notes_are_bounded_and_end_with_the_call() -> Result<()> {
    let (_server, admin) = serve(Setup::patient(), "asking").await?;
    let (caller, _) = holding(&admin, json!({})).await?;
    let refused = caller.post("/v1/search", json!({ "query": "overflow" })).await?;
    refused.assert_error(422, "rejected");
    assert_eq!(refused.json["message"], "fits: true, over: false");
    caller.store(json!({ "text": "tea", "id": "a" })).await?;
    caller.search(json!({ "query": "tea" })).await?;
    let read = caller.get("/v1/facts/a").await?.json["metadata"]["read_by"].clone();
    assert_eq!(read["note"], Value::Null, "a note of another call");
    Ok(())
}

#[tokio::test]
async fn options_are_for_installed_extensions_and_bounded() -> Result<()> {
    let (_server, admin) = serve(Setup::patient(), "asking").await?;
    let (caller, _) = holding(&admin, json!({})).await?;
    let ask = |options: Value| json!({ "query": "tea", "extension_options": options });
    let unknown = caller.post("/v1/search", ask(json!({ "other/one": 1 }))).await?;
    unknown.assert_invalid("/extension_options/other~1one");
    let long = caller.post("/v1/search", ask(json!({ "asking": "x".repeat(16 << 10) }))).await?;
    long.assert_error(413, "too_large");
    assert_eq!(long.json["details"]["limit"], "extension_option_bytes");
    caller.post("/v1/search", ask(json!([]))).await?.assert_invalid("/extension_options");
    Ok(())
}

/// The schema is the component's own, before a restart and after it.
#[tokio::test]
async fn options_that_their_schema_does_not_allow_are_refused_at_their_place() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let setup = Setup { data_dir: Some(folder.path().join("data")), ..Setup::patient() };
    let (server, admin) = serve(setup.clone(), "asking").await?;
    let (caller, key) = holding(&admin, json!({})).await?;
    let check = async |caller: &Caller| -> Result<()> {
        for (options, place) in [
            (json!({ "first": 1 }), "/first"),
            (json!({ "a/b": [1, 2.5] }), "/a~1b/1"),
            (json!({ "more": true }), ""),
            (json!("green"), ""),
            (json!(null), ""),
        ] {
            let query = json!({ "query": "tea", "extension_options": { "asking": options } });
            let refused = caller.post("/v1/search", query).await?;
            refused.assert_invalid(&format!("/extension_options/asking{place}"));
            let message = refused.json["message"].as_str().context("a message")?;
            assert!(message.contains("the schema of the extension asking"), "{message}");
            assert!(!message.contains("green"), "{message}");
        }
        let many = json!({ "a/b": vec![1; 8_000] });
        let query = json!({ "query": "tea", "extension_options": { "asking": many } });
        let refused = caller.post("/v1/search", query).await?;
        refused.assert_error(413, "too_large");
        assert_eq!(refused.json["details"]["limit"], "extension_option_values");
        let allowed = json!({ "query": "tea", "extension_options": { "asking": { "a/b": [1] } } });
        assert_eq!(caller.post("/v1/search", allowed).await?.status, 200);
        Ok(())
    };
    check(&caller).await?;
    server.kill().await?;
    let server = Server::start_with(Setup { admin_key: Some(ADMIN), ..setup }).await?;
    check(&server.key(&key)).await
}

#[tokio::test]
async fn a_schema_of_options_whose_cost_has_no_bound_is_not_installed() -> Result<()> {
    let (_server, admin) = serve(Setup::patient(), "passing").await?;
    let mut asking = std::fs::read(component("asking")?)?;
    let (place, reference) = (br#""first": { "type""#, br#""first": { "$ref""#);
    let at = asking.windows(place.len()).position(|bytes| bytes == place).context("its schema")?;
    asking[at..at + place.len()].copy_from_slice(reference);
    let refused = admin.install("acme", "asking", asking, "").await?;
    assert_eq!(refused.status, 422, "{}", refused.text);
    let message = refused.json["message"].as_str().context("a message")?;
    assert!(message.contains("$ref"), "{message}");
    let checks = refused.json["details"]["checks"].as_array().context("checks")?;
    let failed: Vec<_> = checks.iter().filter(|check| check["passed"] == json!(false)).collect();
    assert_eq!((failed.len(), &failed[0]["check"]), (1, &json!("options")), "{}", refused.text);
    let listed = admin.get("/v1/admin/tenants/acme/extensions").await?.text;
    assert!(!listed.contains("asking"), "{listed}");
    Ok(())
}

#[tokio::test]
async fn attributes_are_an_object_of_a_kilobyte_and_shown_to_the_operator() -> Result<()> {
    let (_server, admin) = serve(Setup::patient(), "asking").await?;
    let rotate = async |body: Value| admin.post("/v1/admin/tenants/acme/rotate-key", body).await;
    rotate(json!({ "attributes": ["a"] })).await?.assert_invalid("/attributes");
    let long = rotate(json!({ "attributes": { "a": "x".repeat(1024) } })).await?;
    long.assert_error(413, "too_large");
    assert_eq!(long.json["details"]["limit"], "key_attribute_bytes");
    holding(&admin, json!({ "team": "research" })).await?;
    let tenant = admin.get("/v1/admin/tenants/acme").await?.json;
    let keys = tenant["keys"].as_array().context("keys")?;
    assert_eq!(keys.len(), 2);
    assert_eq!(
        (&keys[0]["attributes"], &keys[1]["attributes"]["team"]),
        (&Value::Null, &json!("research"))
    );
    Ok(())
}

/// A proof replays a request as the caller who made it, so that a new generation is judged by what
/// that caller would see.
#[tokio::test]
async fn a_proof_replays_requests_as_their_callers() -> Result<()> {
    let (_server, admin) = serve(Setup::patient(), "row-access").await?;
    let (board, _) = holding(&admin, json!({ "groups": ["board"] })).await?;
    let metadata = json!({ "readers": ["board"] });
    board.store(json!({ "text": "tea time", "id": "a", "metadata": metadata })).await?;
    for _ in 0..5 {
        assert_eq!(board.get("/v1/facts/a").await?.status, 200);
    }
    // Without its caller's groups the live generation would show nothing to compare with.
    let passing = std::fs::read(component("passing")?)?;
    let quota = json!({ "limits": { "fuel_per_minute": 10_000_000 } });
    assert_eq!(admin.patch("/v1/admin/tenants/acme", quota).await?.status, 200);
    let proven = admin.install("acme", "row-access", passing, "?dry_run=true").await?;
    let proof = &proven.json["proof"];
    assert_eq!(proof["requests"], proof["answered_by_both"], "{}", proven.text);
    assert!(proof["requests"].as_u64() >= Some(5), "{}", proven.text);
    let costs = proven.json["costs"].as_array().context("costs")?;
    let read = costs.iter().find(|cost| cost["hook"] == "on-read").context("a cost")?;
    let fuel = read["fuel_p50"].as_f64().context("fuel")?;
    assert_eq!(read["quota_percent"], (fuel / 10.0).round() / 1e4, "{}", proven.text);
    assert!(proven.text.contains("% of fuel_per_minute"), "{}", proven.text);
    Ok(())
}
