//! An index that is loaded, dropped and loaded again on one host, while another host writes.

use anyhow::Result;
use kenning_tests::{RedisServer, Setup, spelled, until};
use serde_json::json;

use super::{host_with, ids, revision, search, words};

/// An index that nobody uses is dropped by each look of the task that does so.
fn forgetful() -> Setup {
    Setup::patient_but("index_warm_bytes = 0\nindex_idle_ms = 1")
}

#[tokio::test]
async fn what_is_written_between_two_loads_is_found_by_its_revision() -> Result<()> {
    let redis = RedisServer::start();
    let one = host_with(&redis, forgetful()).await?;
    let two = host_with(&redis, forgetful()).await?;
    for round in 0..4 {
        let (old, new) = (spelled("alpha", round), spelled("beta", round));
        let stored = one.post("/v1/facts", json!({ "text": format!("a {old}") })).await?;
        let id = stored.json["fact_id"].as_str().unwrap_or_default().to_owned();
        let found = search(&two, words(&old), Some(revision(&stored)?)).await?;
        assert_eq!(ids(&found)?, std::slice::from_ref(&id), "round {round}");
        until("the other host drops the index", async || {
            let stats = two.get("/v1/stats").await?;
            Ok((stats.json["index"]["state"] == "not_loaded").then_some(()))
        })
        .await?;
        let changed = one.patch(&format!("/v1/facts/{id}"), json!({ "text": new })).await?;
        let after = Some(revision(&changed)?);
        assert_eq!(ids(&search(&two, words(&new), after).await?)?, std::slice::from_ref(&id));
        assert!(ids(&search(&two, words(&old), after).await?)?.is_empty());
        let deleted = one.delete(&format!("/v1/facts/{id}")).await?;
        let found = search(&two, words(&new), Some(revision(&deleted)?)).await?;
        assert!(ids(&found)?.is_empty());
    }
    Ok(())
}

/// Loads and drops happen at any moment of these calls.
#[tokio::test]
async fn no_write_is_lost_between_an_index_and_the_next() -> Result<()> {
    let redis = RedisServer::start();
    let one = host_with(&redis, forgetful()).await?;
    let two = host_with(&redis, forgetful()).await?;
    let write = async |host: &kenning_tests::Caller, from: usize| {
        for n in from..from + 150 {
            let text = format!("{} common", spelled("word", n));
            let fact = json!({ "fact_id": format!("f{n}"), "text": text });
            let stored = host.post("/v1/facts", fact);
            let after = Some(revision(&stored.await?)?);
            let found = search(host, words(&spelled("word", n)), after).await?;
            assert_eq!(ids(&found)?, [format!("f{n}")]);
            tokio::time::sleep(std::time::Duration::from_millis(n as u64 % 20)).await;
        }
        anyhow::Ok(())
    };
    tokio::try_join!(write(&one, 0), write(&two, 1_000), write(&one, 2_000))?;
    for host in [&one, &two] {
        let query = json!({ "query": "common", "mode": "text", "top_k": 1000 });
        until("all are found", async || {
            Ok((ids(&search(host, query.clone(), None).await?)?.len() == 450).then_some(()))
        })
        .await?;
    }
    Ok(())
}
