//! A caller who sends back the revision of its write finds the write on every host; others find it
//! a moment later.

use anyhow::Result;
use kenning_tests::{RedisServer, Server, Setup, send, spelled};
use reqwest::Method;
use serde_json::json;

use super::{MIN_REVISION, REVISION, host, ids, revision, search, until_found, words};

/// Steps of store, search, change, search, delete, search; each write on one host and its search on
/// the other.
const ROUNDS: usize = 40;

#[tokio::test]
async fn a_write_is_found_on_the_other_host_by_its_revision() -> Result<()> {
    let redis = RedisServer::start();
    let hosts = [host(&redis).await?, host(&redis).await?];
    let mut stale = Vec::new();
    for round in 0..ROUNDS {
        let (here, there) = (&hosts[round % 2], &hosts[(round + 1) % 2]);
        let (id, old, new) = (format!("f{round}"), spelled("alpha", round), spelled("beta", round));
        let fact = json!({ "fact_id": id, "text": format!("the {old} of a round") });
        let stored = here.post("/v1/facts", fact).await?;
        let found = search(there, words(&old), Some(revision(&stored)?)).await?;
        if ids(&found)? != [id.clone()] {
            stale.push(format!("stored {id}"));
        }
        let change = json!({ "text": format!("the {new} of a round") });
        let changed = there.patch(&format!("/v1/facts/{id}"), change).await?;
        let after = Some(revision(&changed)?);
        if ids(&search(here, words(&new), after).await?)? != [id.clone()]
            || !ids(&search(here, words(&old), after).await?)?.is_empty()
        {
            stale.push(format!("changed {id}"));
        }
        let deleted = here.delete(&format!("/v1/facts/{id}")).await?;
        let after = Some(revision(&deleted)?);
        if !ids(&search(there, words(&new), after).await?)?.is_empty() {
            stale.push(format!("deleted {id}"));
        }
    }
    assert!(stale.is_empty(), "{stale:?}");
    Ok(())
}

#[tokio::test]
async fn what_one_host_changes_the_others_find_soon() -> Result<()> {
    let redis = RedisServer::start();
    let (one, two) = (host(&redis).await?, host(&redis).await?);
    let acme = (one.tenant("acme"), two.tenant("acme"));
    let facts = json!([
        { "fact_id": "a", "text": "harbour lights" },
        { "fact_id": "b", "text": "harbour walls" },
        { "fact_id": "c", "text": "mountain huts" },
    ]);
    let stored = acme.0.post("/v1/facts/batch", json!({ "facts": facts })).await?;
    revision(&stored)?;
    until_found(&acme.1, "harbour", &["a".into(), "b".into()]).await?;
    acme.1.patch("/v1/facts/a", json!({ "text": "mountain lights" })).await?;
    until_found(&acme.0, "mountain", &["a".into(), "c".into()]).await?;
    acme.0.delete("/v1/facts/c").await?;
    until_found(&acme.1, "mountain", &["a".into()]).await?;
    let lines = (0..150).map(|n| format!("{{\"fact_id\":\"i{n}\",\"text\":\"imported {n}\"}}"));
    let imported = acme.0.post_raw("/v1/import", lines.collect::<Vec<_>>().join("\n")).await?;
    assert_eq!(imported.status, 200, "{}", imported.text);
    let query = json!({ "query": "imported", "mode": "text", "top_k": 1000 });
    let found = search(&acme.1, query, Some(revision(&imported)?)).await?;
    assert_eq!(ids(&found)?.len(), 150);
    let every = "/v1/facts?filter={\"$timestamp\":{\"exists\":true}}";
    let deleted = acme.0.delete(every).await?;
    assert_eq!(deleted.json["deleted"], 152, "{}", deleted.text);
    let found = search(&acme.1, words("imported"), Some(revision(&deleted)?)).await?;
    assert_eq!(ids(&found)?, [""; 0], "what a filter deleted");
    assert!(acme.0.delete(every).await?.headers.get(REVISION).is_none(), "nothing was left");
    assert!(
        search(&two.tenant("other"), words("harbour"), None).await?.json["results"]
            .as_array()
            .is_some_and(Vec::is_empty)
    );
    Ok(())
}

#[tokio::test]
async fn a_revision_that_does_not_come_is_a_timeout_that_says_how_far_the_host_is() -> Result<()> {
    let redis = RedisServer::start();
    for server in [host(&redis).await?, Server::start_with(Setup::patient()).await?] {
        let stored = server.post("/v1/facts", json!({ "text": "far away" })).await?;
        let last = revision(&stored)?;
        for (method, path) in
            [(Method::POST, "/v1/search"), (Method::GET, "/v1/facts"), (Method::GET, "/v1/facts/f")]
        {
            let ask = |revision: &str| {
                let request = server.request(method.clone(), path);
                let request = request.header(MIN_REVISION, revision);
                let request = request.header("x-kenning-timeout-ms", "300");
                match method {
                    Method::POST => request.json(&words("far")),
                    _ => request,
                }
            };
            let late = send(ask("1000000")).await?;
            late.assert_error(504, "timeout");
            assert!(late.text.contains("1000000"), "{}", late.text);
            let details = &late.json["details"];
            assert!(details["stored"].as_u64() >= Some(last), "{}", late.text);
            assert_eq!(details["asked"], 1_000_000);
            let malformed = send(ask("soon")).await?;
            malformed.assert_error(400, "invalid_request");
            let pointer = &malformed.json["details"]["pointer"];
            assert_eq!(pointer, "/headers/x-kenning-min-revision");
        }
        let found = search(&server, words("far"), Some(last)).await?;
        assert_eq!(ids(&found)?.len(), 1);
        assert!(found.headers.get(REVISION).is_none(), "only writes have a revision");
    }
    Ok(())
}
