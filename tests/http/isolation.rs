//! Tenants: what one has, no route shows another.

use anyhow::Result;
use kenning_tests::{Backend, Caller, all_indexed, on_both_backends};
use serde_json::json;

on_both_backends!(
    tenants_with_the_same_ids_see_their_own_facts_only,
    names_that_would_meet_when_joined_do_not,
    a_tenant_nobody_created_exists_from_its_first_fact,
);

/// Everything a tenant can see, in one text.
async fn all_that_is_seen(caller: &Caller) -> Result<String> {
    let mut seen = String::new();
    for path in
        ["/v1/facts", "/v1/facts?query=secret", "/v1/facts/shared", "/v1/export", "/v1/stats"]
    {
        seen += &caller.get(path).await?.text;
    }
    for mode in ["hybrid", "vector", "text"] {
        let query = json!({ "query": "the secret of", "mode": mode, "top_k": 100 });
        seen += &caller.post("/v1/search", query).await?.text;
    }
    Ok(seen)
}

async fn tenants_with_the_same_ids_see_their_own_facts_only(backend: &Backend) -> Result<()> {
    let server = backend.serve().await?;
    let (one, two) = (server.tenant("one"), server.tenant("two"));
    for (caller, word) in [(&one, "alphaword"), (&two, "betaword")] {
        for id in ["shared", "second"] {
            let text = format!("the secret of {id} is {word}");
            caller.store(json!({ "text": text, "fact_id": id, "metadata": { "w": word } })).await?;
        }
        all_indexed(caller).await?;
    }
    let seen = all_that_is_seen(&one).await?;
    assert!(seen.contains("alphaword") && !seen.contains("betaword"), "{seen}");
    let seen = all_that_is_seen(&two).await?;
    assert!(seen.contains("betaword") && !seen.contains("alphaword"), "{seen}");
    let seen = all_that_is_seen(&server).await?;
    assert!(!seen.contains("word"), "a third sees neither: {seen}");

    let before = two.export().await?;
    server.kill().await?;
    let server = backend.serve().await?;
    let (one, two) = (server.tenant("one"), server.tenant("two"));
    let seen = all_that_is_seen(&one).await?;
    assert!(seen.contains("alphaword") && !seen.contains("betaword"), "restarted: {seen}");
    one.patch("/v1/facts/shared", json!({ "text": "changed" })).await?;
    one.delete("/v1/facts/second").await?;
    assert_eq!(two.export().await?, before, "nor does what one does touch the other");
    let query = json!({ "query": "the secret of second is betaword", "top_k": 1 });
    assert_eq!(two.search(query).await?, ["second"]);
    Ok(())
}

async fn names_that_would_meet_when_joined_do_not(backend: &Backend) -> Result<()> {
    let server = backend.serve().await?;
    let pairs =
        [("a", "b.c"), ("a.b", "c"), ("a.b.c", "c"), ("a-b", "c"), ("a", "b-c"), ("A", "b.c")];
    for (tenant, id) in pairs {
        let text = format!("{tenant} and {id}");
        server.tenant(tenant).store(json!({ "text": text, "fact_id": id })).await?;
    }
    for (tenant, id) in pairs {
        let fact = server.tenant(tenant).get(&format!("/v1/facts/{id}")).await?;
        assert_eq!(fact.json["content"], format!("{tenant} and {id}"));
        let own = pairs.iter().filter(|(other, _)| *other == tenant).count();
        assert_eq!(server.tenant(tenant).export().await?.lines().count(), own, "{tenant}");
    }
    Ok(())
}

async fn a_tenant_nobody_created_exists_from_its_first_fact(backend: &Backend) -> Result<()> {
    let server = backend.serve().await?;
    let new = server.tenant("new");
    assert_eq!(new.export().await?, "");
    assert_eq!(new.get("/v1/stats").await?.json["facts"], 0);
    new.store(json!({ "text": "x", "fact_id": "a" })).await?;
    assert_eq!(new.export().await?.lines().count(), 1);
    let named = server.tenant("default");
    named.store(json!({ "text": "y", "fact_id": "b" })).await?;
    assert_eq!(server.export().await?, named.export().await?, "who names none is `default`");
    Ok(())
}
