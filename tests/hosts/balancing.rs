//! The configurations in `deploy/`: nginx and haproxy send each tenant's calls to one host, which
//! alone has the tenant's index, and a host that is down is replaced by the others.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use kenning_storage::testing::free_port;
use kenning_tests::{Caller, Proxy, RedisServer, Server, Setup, send, until};
use reqwest::Method;
use serde_json::json;

use super::{host_with, ids, search, words};

const ADMIN: &str = "an-admin-key-for-tests-only";

const TENANTS: usize = 16;

/// How often each tenant searches.
const SEARCHES: usize = 5;

/// `file` of `deploy/`, with the addresses of `hosts` and of the proxy in place of its own.
fn deployed(file: &str, hosts: &[Server], port: u16) -> Result<String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/");
    let mut text = std::fs::read_to_string(format!("{folder}{file}"))?;
    for (own, host) in ["127.0.0.1:7171", "127.0.0.1:7172", "127.0.0.1:7173"].iter().zip(hosts) {
        ensure!(text.contains(own), "no {own} in {file}");
        text = text.replace(own, host.url().strip_prefix("http://").context("an address")?);
    }
    let listens = [("listen 8080;", "listen"), ("bind :8080", "bind")];
    let (own, word) = listens.into_iter().find(|(own, _)| text.contains(own)).context("no port")?;
    let end = if own.ends_with(';') { ";" } else { "" };
    Ok(text.replace(own, &format!("{word} 127.0.0.1:{port}{end}")))
}

async fn nginx(hosts: &[Server], port: u16) -> Result<Proxy> {
    let http = deployed("nginx.conf", hosts, port)?;
    Proxy::nginx(tempfile::tempdir()?, &http, &[port]).await
}

async fn haproxy(hosts: &[Server], port: u16) -> Result<Proxy> {
    let configuration = deployed("haproxy.cfg", hosts, port)?;
    Proxy::haproxy(tempfile::tempdir()?, &configuration, &[port]).await
}

/// Hosts that load only what is used, on one Redis.
async fn hosts(redis: &RedisServer) -> Result<Vec<Server>> {
    let mut hosts = Vec::new();
    for _ in 0..3 {
        let limits = Setup::patient_but("index_warm_bytes = 0\nguests = 16");
        let setup = Setup { admin_key: Some(ADMIN), ..limits };
        hosts.push(host_with(redis, setup).await?);
    }
    Ok(hosts)
}

/// Callers of as many tenants, with their keys. Every other one names the tenant too.
async fn callers(hosts: &[Server], through: &Caller) -> Result<Vec<(Caller, String)>> {
    let admin = hosts[0].key(ADMIN);
    let mut callers = Vec::new();
    for number in 0..TENANTS {
        let name = format!("tenant{number}");
        let created = admin.post("/v1/admin/tenants", json!({ "name": name })).await?;
        ensure!(created.status == 201, "not created: {}", created.text);
        let key = created.json["key"].as_str().context("no key")?.to_owned();
        let caller = through.key(&key);
        callers.push((if number % 2 == 0 { caller } else { caller.tenant(&name) }, key));
    }
    Ok(callers)
}

/// How many searches each host has answered.
async fn searches(hosts: &[Server]) -> Result<Vec<u64>> {
    let mut counts = Vec::new();
    for host in hosts {
        let metrics = host.get("/metrics").await?.text;
        let lines = metrics.lines().filter(|line| {
            line.starts_with("kenning_http_requests_total{")
                && line.contains("route=\"/v1/search\"")
        });
        let values = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
        counts.push(values.sum());
    }
    Ok(counts)
}

/// The hosts that have this tenant's index.
async fn with_index(hosts: &[Server], key: &str) -> Result<Vec<usize>> {
    let mut found = Vec::new();
    for (number, host) in hosts.iter().enumerate() {
        let host = host.key(key);
        let stats = until("the key is known", async || {
            let stats = host.get("/v1/stats").await?;
            Ok((stats.status == 200).then_some(stats))
        })
        .await?;
        if stats.json["index"]["state"] != "not_loaded" {
            found.push(number);
        }
    }
    Ok(found)
}

async fn each_tenant_has_a_host(mut hosts: Vec<Server>, port: u16) -> Result<()> {
    let through = Caller::new(&format!("http://127.0.0.1:{port}"));
    let callers = callers(&hosts, &through).await?;
    let mut used = BTreeSet::new();
    for (number, (caller, key)) in callers.iter().enumerate() {
        // A key that another host has just made may be unknown here for a moment.
        let fact = json!({ "fact_id": "f", "text": format!("harbour lights {number}") });
        until("the key is known", async || {
            let stored = caller.post("/v1/facts", fact.clone()).await?;
            Ok((stored.status == 201).then_some(()))
        })
        .await?;
        let before = searches(&hosts).await?;
        for _ in 0..SEARCHES {
            assert_eq!(ids(&search(caller, words("harbour"), None).await?)?, ["f"]);
        }
        if number % 2 == 0 {
            // The same key in the other header.
            let request = through.request(Method::POST, "/v1/search").json(&words("harbour"));
            assert_eq!(ids(&send(request.header("x-api-key", key)).await?)?, ["f"]);
        }
        let after = searches(&hosts).await?;
        let asked: Vec<usize> = (0..hosts.len()).filter(|&n| after[n] > before[n]).collect();
        assert_eq!(asked.len(), 1, "tenant {number} is on {asked:?}");
        assert_eq!(with_index(&hosts, key).await?, asked, "tenant {number}");
        used.extend(asked);
    }
    assert!(used.len() > 1, "all are on {used:?}");

    let first = used.first().copied().context("no host")?;
    hosts.remove(first).kill().await?;
    for (caller, _) in &callers {
        until("the others answer", async || {
            let found = search(caller, words("harbour"), None).await?;
            Ok((found.status == 200 && ids(&found)? == ["f"]).then_some(()))
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn through_nginx_each_tenant_has_a_host_and_another_when_that_is_gone() -> Result<()> {
    let redis = RedisServer::start();
    let (hosts, port) = (hosts(&redis).await?, free_port());
    let _proxy = nginx(&hosts, port).await?;
    each_tenant_has_a_host(hosts, port).await
}

#[tokio::test]
async fn through_haproxy_each_tenant_has_a_host_and_another_when_that_is_gone() -> Result<()> {
    let redis = RedisServer::start();
    let (hosts, port) = (hosts(&redis).await?, free_port());
    let _proxy = haproxy(&hosts, port).await?;
    each_tenant_has_a_host(hosts, port).await
}
