//! Indexes are loaded where they are used, dropped where they are not, and stay within a budget.

use anyhow::{Context, Result, ensure};
use kenning_tests::{
    Answer, Backend, Caller, FakeEmbedder, Mood, Server, Setup, all_indexed, on_both_backends,
    spelled, until,
};
use serde_json::{Value, json};

on_both_backends!(
    an_idle_index_is_dropped_and_the_next_search_gives_the_same_answers,
    many_tenants_over_a_small_budget_are_answered_right_and_memory_stays_below_it,
    a_fact_that_is_stored_while_its_index_loads_is_found_and_the_server_is_ready,
    pending_facts_of_a_tenant_that_nobody_uses_get_their_vectors,
    a_tenant_beyond_its_limit_is_refused_by_name_until_it_is_smaller,
);

/// On `backend`, with some `[limits]`: nothing is loaded before it is used.
async fn serve(backend: &Backend, limits: &str) -> Result<Server> {
    let config = Setup::patient_but(&format!("index_warm_bytes = 0\n{limits}")).config;
    Server::start_with(Setup { config, ..backend.setup() }).await
}

async fn import(caller: &Caller, facts: usize) -> Result<()> {
    let line = |n| {
        let text = format!("{} of the harbour", spelled("lamp", n));
        json!({ "fact_id": format!("f{n}"), "text": text }).to_string()
    };
    let lines: Vec<String> = (0..facts).map(line).collect();
    let imported = caller.post_raw("/v1/import", lines.join("\n")).await?;
    ensure!(imported.status == 200 && imported.json["failed"] == 0, "{}", imported.text);
    Ok(())
}

async fn search(caller: &Caller, query: &str, mode: &str) -> Result<Answer> {
    let query = json!({ "query": query, "mode": mode, "top_k": 5, "explain": true });
    let answer = caller.post("/v1/search", query).await?;
    ensure!(answer.status == 200, "not searched: {}", answer.text);
    Ok(answer)
}

/// The hits of several searches, which must miss nothing.
async fn answers(caller: &Caller, facts: usize) -> Result<Vec<Value>> {
    let mut answers = Vec::new();
    for mode in ["text", "vector", "hybrid"] {
        for n in [0, facts / 2, facts - 1] {
            let answer = search(caller, &spelled("lamp", n), mode).await?;
            assert_eq!(answer.json["degraded"], json!([]), "{}", answer.text);
            assert_eq!(answer.json["results"][0]["id"], format!("f{n}"), "{}", answer.text);
            answers.push(answer.json["results"].clone());
        }
    }
    Ok(answers)
}

async fn stats(caller: &Caller) -> Result<Value> {
    let stats = caller.get("/v1/stats").await?;
    ensure!(stats.status == 200, "no statistics: {}", stats.text);
    Ok(stats.json)
}

async fn an_idle_index_is_dropped_and_the_next_search_gives_the_same_answers(
    backend: &Backend,
) -> Result<()> {
    const FACTS: usize = 60;
    let server = serve(backend, "index_idle_ms = 1").await?;
    assert_eq!(stats(&server).await?["index"]["state"], "not_loaded");
    import(&server, FACTS).await?;
    all_indexed(&server).await?;
    let before = answers(&server, FACTS).await?;
    for _ in 0..2 {
        let dropped = until("the index is dropped", async || {
            let stats = stats(&server).await?;
            Ok((stats["index"]["state"] == "not_loaded").then_some(stats))
        })
        .await?;
        let index = &dropped["index"];
        assert_eq!((&index["facts"], &index["bytes"]), (&json!(0), &json!(0)));
        assert_eq!((&dropped["indexed"], &dropped["pending"]), (&json!(FACTS), &json!(0)));
        assert_eq!(dropped["indexes"]["bytes"], 0);
        assert_eq!(answers(&server, FACTS).await?, before);
    }
    let stats = stats(&server).await?;
    assert!(stats["indexes"]["loads"].as_u64() >= Some(3), "{stats}");
    assert!(stats["indexes"]["drops"].as_u64() >= Some(2), "{stats}");
    let metrics = server.get("/metrics").await?.text;
    let counts = |line: &&str| line.starts_with("kenning_index_drops_total ");
    let drops = metrics.lines().find(counts).and_then(|line| line.split(' ').nth(1));
    assert!(drops.context("no such metric")?.parse::<u64>()? >= 2, "{metrics}");
    Ok(())
}

async fn many_tenants_over_a_small_budget_are_answered_right_and_memory_stays_below_it(
    backend: &Backend,
) -> Result<()> {
    // More than are written before an index is measured: otherwise that comes a second later.
    const FACTS: usize = 100;
    const BUDGET: u64 = 1_500_000;
    let server = serve(backend, &format!("index_bytes = {BUDGET}")).await?;
    let tenants: Vec<Caller> = (0..12).map(|n| server.tenant(&format!("tenant{n}"))).collect();
    let mut most = 0;
    let mut before = Vec::new();
    for tenant in &tenants {
        import(tenant, FACTS).await?;
        all_indexed(tenant).await?;
        before.push(answers(tenant, FACTS).await?);
    }
    for _ in 0..2 {
        for (tenant, before) in tenants.iter().zip(&before) {
            assert_eq!(answers(tenant, FACTS).await?, *before);
            let stats = stats(tenant).await?;
            let bytes = stats["indexes"]["bytes"].as_u64().context("no bytes")?;
            assert!(bytes <= BUDGET, "{stats}");
            most = most.max(bytes);
        }
    }
    let stats = stats(&server).await?;
    assert_eq!(stats["indexes"]["budget_bytes"], BUDGET);
    assert!(most > BUDGET / 2, "the budget is used: {most}");
    assert!(stats["indexes"]["drops"].as_u64() >= Some(12), "{stats}");
    let metrics = server.get("/metrics").await?.text;
    assert!(metrics.contains(&format!("kenning_index_budget_bytes {BUDGET}\n")), "{metrics}");
    Ok(())
}

async fn a_fact_that_is_stored_while_its_index_loads_is_found_and_the_server_is_ready(
    backend: &Backend,
) -> Result<()> {
    const FACTS: usize = 3_000;
    let server = serve(backend, "").await?;
    import(&server, FACTS).await?;
    all_indexed(&server).await?;
    server.stop().await?;

    let server = serve(backend, "index_wait_ms = 0").await?;
    let early = search(&server, "harbour", "text").await?;
    assert!(early.json["degraded"].to_string().contains("still being built"), "{}", early.text);
    let stored = json!({ "fact_id": "new", "text": "a lighthouse", "metadata": { "new": true } });
    server.store(stored).await?;
    assert_eq!(server.get("/readyz").await?.status, 200);
    server.delete("/v1/facts/f7").await?;
    server.patch("/v1/facts/f8", json!({ "text": "a mooring" })).await?;
    for (word, id) in [("lighthouse", "new"), ("mooring", "f8")] {
        let found = search(&server, word, "text").await?;
        assert_eq!(found.json["results"][0]["id"], id, "{}", found.text);
    }
    until("the index is loaded", async || {
        Ok((stats(&server).await?["index"]["state"] == "ready").then_some(()))
    })
    .await?;
    assert_eq!(stats(&server).await?["index"]["facts"], FACTS);
    for (word, id) in [("lighthouse", json!("new")), ("mooring", json!("f8"))] {
        assert_eq!(search(&server, word, "text").await?.json["results"][0]["id"], id);
    }
    for gone in [7, 8] {
        let found = search(&server, &spelled("lamp", gone), "text").await?;
        assert_eq!(found.json["results"], json!([]), "{}", found.text);
    }
    Ok(())
}

async fn pending_facts_of_a_tenant_that_nobody_uses_get_their_vectors(
    backend: &Backend,
) -> Result<()> {
    let fake = FakeEmbedder::start()?;
    let setup = || {
        let config = Setup::patient_but("index_warm_bytes = 0\nstore_embedding_ms = 100").config;
        fake.embeds_for(Setup { config, ..backend.setup() }, "openai", "m")
    };
    let server = Server::start_with(setup()).await?;
    fake.be(Mood::Status(503, None));
    for n in 0..40 {
        let fact = json!({ "fact_id": format!("f{n}"), "text": spelled("lamp", n) });
        let stored = server.tenant("acme").post("/v1/facts", fact).await?;
        assert_eq!((stored.status, &stored.json["indexed"]), (201, &json!(false)));
    }
    server.kill().await?;
    fake.be(Mood::Well);
    let server = Server::start_with(setup()).await?;
    let acme = server.tenant("acme");
    let stats = all_indexed(&acme).await?;
    assert_eq!(stats["index"]["state"], "not_loaded");
    let found = search(&acme, &spelled("lamp", 33), "vector").await?;
    assert_eq!(found.json["degraded"], json!([]), "{}", found.text);
    assert_eq!(found.json["results"][0]["id"], "f33");
    Ok(())
}

async fn a_tenant_beyond_its_limit_is_refused_by_name_until_it_is_smaller(
    backend: &Backend,
) -> Result<()> {
    const LIMIT: u64 = 400_000;
    let server = serve(backend, &format!("index_tenant_bytes = {LIMIT}")).await?;
    let (large, small) = (server.tenant("large"), server.tenant("small"));
    import(&large, 400).await?;
    import(&small, 10).await?;
    let refused = until("it is refused", async || {
        let query = json!({ "query": "harbour", "mode": "text" });
        let answer = large.post("/v1/search", query).await?;
        Ok((answer.status != 200).then_some(answer))
    })
    .await?;
    refused.assert_error(413, "too_large");
    let details = &refused.json["details"];
    assert_eq!(details["limit"], "index_tenant_bytes");
    assert_eq!(details["allowed"], LIMIT);
    assert!(details["used"].as_u64() > Some(LIMIT) && refused.json["blame"] == "host");
    assert!(refused.text.contains("cannot be searched on this host"), "{}", refused.text);
    let stats = stats(&large).await?;
    assert_eq!((&stats["index"]["state"], &stats["facts"]), (&json!("refused"), &json!(400)));
    // The rest works, for it and for others.
    large.store(json!({ "fact_id": "more", "text": "one more" })).await?;
    assert_eq!(large.get("/v1/facts/f399").await?.status, 200);
    assert_eq!(large.get("/v1/count").await?.json["count"], 401);
    assert_eq!(search(&small, "harbour", "text").await?.json["degraded"], json!([]));

    for n in 0..390 {
        large.delete(&format!("/v1/facts/f{n}")).await?;
    }
    until("it is searched again", async || {
        let query = json!({ "query": spelled("lamp", 395), "mode": "text" });
        let answer = large.post("/v1/search", query).await?;
        Ok((answer.status == 200 && answer.json["results"][0]["id"] == "f395").then_some(()))
    })
    .await
}
