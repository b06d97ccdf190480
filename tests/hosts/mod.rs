//! Several hosts on one Redis: what one of them changes, the others find.

mod balancing;
mod consistency;
mod embedding;
mod events;
mod gaps;
mod guests_in_force;
mod keys_in_force;
mod loading;
mod proxied;
mod quotas;

use anyhow::{Context, Result, ensure};
use kenning_tests::{Answer, Caller, RedisServer, Server, Setup, send, until};
use reqwest::Method;
use serde_json::{Value, json};

const REVISION: &str = "x-kenning-revision";
const MIN_REVISION: &str = "x-kenning-min-revision";

async fn host(redis: &RedisServer) -> Result<Server> {
    host_with(redis, Setup::patient()).await
}

async fn host_with(redis: &RedisServer, setup: Setup) -> Result<Server> {
    Server::start_with(Setup { storage: Some(redis.url()), ..setup }).await
}

/// The revision that a write was answered with.
fn revision(answer: &Answer) -> Result<u64> {
    ensure!(matches!(answer.status, 200 | 201), "not written: {}", answer.text);
    answer.header(REVISION).parse().with_context(|| format!("no revision: {:?}", answer.headers))
}

async fn search(caller: &Caller, query: Value, after: Option<u64>) -> Result<Answer> {
    let request = caller.request(Method::POST, "/v1/search").json(&query);
    let request = match after {
        Some(after) => request.header(MIN_REVISION, after.to_string()),
        None => request,
    };
    send(request).await
}

fn ids(answer: &Answer) -> Result<Vec<String>> {
    ensure!(answer.status == 200, "not searched: {}", answer.text);
    let hits = answer.json["results"].as_array().context("no results")?;
    Ok(hits.iter().filter_map(|hit| Some(hit["doc_id"].as_str()?.to_owned())).collect())
}

fn words(query: &str) -> Value {
    json!({ "query": query, "mode": "text", "top_k": 100 })
}

/// Waits until a search for `query` finds exactly `wanted`, in any order.
async fn until_found(caller: &Caller, query: &str, wanted: &[String]) -> Result<()> {
    let mut wanted = wanted.to_vec();
    wanted.sort();
    until(&format!("{query} finds {wanted:?}"), async || {
        let mut found = ids(&search(caller, words(query), None).await?)?;
        found.sort();
        Ok((found == wanted).then_some(()))
    })
    .await
}
