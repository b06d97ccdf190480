//! One server as the seed's users run it: on a Redis of its own, laid out flat.

use std::collections::BTreeSet;
use std::ops::Deref;

use anyhow::{Context, Result, ensure};
use http::Method;
use kenning_storage::StorageLimits;
use kenning_tests::{Answer, Caller, RedisServer, Server, Setup, all_indexed, send, until};
use serde_json::{Value, json};

/// A server and its Redis.
pub(super) struct Seed {
    pub(super) redis: RedisServer,
    pub(super) server: Server,
}

impl Deref for Seed {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        &self.server
    }
}

impl Seed {
    pub(super) async fn start() -> Result<Self> {
        Self::on(RedisServer::start()).await
    }

    /// A server on what `redis` has. It is patient: a machine may be so busy that a Redis
    /// that answers, or refuses, passes for one that hangs.
    pub(super) async fn on(redis: RedisServer) -> Result<Self> {
        let setup = Setup { layout: Some("flat"), ..patient() };
        Self::with(redis, setup).await
    }

    /// The same, and its Redis is away already.
    pub(super) async fn without_redis() -> Result<Self> {
        let mut redis = RedisServer::start();
        redis.kill();
        Self::on(redis).await
    }

    /// A server with the limits of a release, for a Redis that is to hang.
    pub(super) async fn hasty(redis: RedisServer) -> Result<Self> {
        let setup = Setup { layout: Some("flat"), ..Setup::default() };
        Self::with(redis, setup).await
    }

    /// A server with `setup`, but on `redis`.
    pub(super) async fn with(redis: RedisServer, setup: Setup) -> Result<Self> {
        let storage = Some(redis.url());
        let server = Server::start_with(Setup { storage, ..setup }).await?;
        Ok(Self { redis, server })
    }

    /// A new process in place of this one, on the same Redis.
    pub(super) async fn restart_server(self) -> Result<Self> {
        self.server.kill().await?;
        Self::on(self.redis).await
    }

    /// Stores a fact on a hasty server, on however busy a machine.
    pub(super) async fn store_surely(&self, id: &str, text: &str) -> Result<()> {
        until("a fact is stored", async || {
            let answer = self.post("/v1/facts", json!({ "text": text, "fact_id": id })).await?;
            Ok((answer.status == 201).then_some(()))
        })
        .await
    }

    /// Waits until every connection for small commands is made. Calls go over them in turn, and
    /// only what was sent can be in doubt.
    pub(super) async fn connected(&self) -> Result<()> {
        let mut answered = 0;
        until("some calls are answered", async || {
            answered += usize::from(self.get("/v1/facts/none").await?.status == 404);
            Ok((answered == 8).then_some(()))
        })
        .await
    }

    /// Waits until nothing of what was stored is still being done.
    pub(super) async fn settled(&self) -> Result<()> {
        all_indexed(self).await?;
        until("every vector is stored", async || {
            let pending = self.redis.command(&["ZCARD", "kenning:{default}:pending"]);
            Ok((pending == ":0\r\n").then_some(()))
        })
        .await
    }

    /// The hash of a fact as another program sees it.
    pub(super) fn field(&self, id: &str, field: &str) -> Result<String> {
        let answer = self.redis.command(&["HGET", &format!("fact:{id}"), field]);
        Ok(bulk(&answer).with_context(|| format!("{field} of {id}"))?.to_string())
    }

    /// The keys that the seed would take for facts.
    pub(super) fn fact_keys(&self) -> BTreeSet<String> {
        let answer = self.redis.command(&["KEYS", "fact:*"]);
        answer.lines().filter(|line| line.starts_with("fact:")).map(str::to_string).collect()
    }

    /// How many connections Redis has taken since it began.
    pub(super) fn connections_taken(&self) -> Result<usize> {
        let answer = self.redis.command(&["INFO", "stats"]);
        let taken =
            answer.lines().find_map(|line| line.strip_prefix("total_connections_received:"));
        Ok(taken.context("no count of connections")?.parse()?)
    }

    /// Asserts that since `taken` the server made no more connections than it may have.
    pub(super) fn assert_shared_connections(&self, taken: usize) -> Result<()> {
        // One was for asking.
        let made = self.connections_taken()? - taken - 1;
        let limits = StorageLimits::default();
        let allowed = limits.small_connections + limits.bulk_connections;
        assert!(made <= allowed, "{made} connections made, and {allowed} are enough");
        Ok(())
    }

    /// The connections that Redis has now, by its own numbers for them.
    pub(super) fn connections(&self) -> BTreeSet<String> {
        let answer = self.redis.command(&["CLIENT", "LIST"]);
        let others = answer.lines().filter(|line| !line.contains("cmd=client|list"));
        let number = |line: &str| line.strip_prefix("id=")?.split(' ').next().map(str::to_string);
        others.filter_map(number).collect()
    }
}

/// Limits that no machine is too slow for.
pub(super) fn patient() -> Setup {
    let limits = "[limits]\nstorage_operation_ms = 60000\ncall_ms = 60000\nsearch_ms = 60000\n";
    Setup { config: Some(limits.into()), ..Setup::default() }
}

/// The text of a bulk string in the Redis protocol.
fn bulk(answer: &str) -> Option<&str> {
    let (length, rest) = answer.strip_prefix('$')?.split_once("\r\n")?;
    rest.get(..length.parse().ok()?)
}

/// All facts of one page, which must be delivered.
pub(super) async fn listed(caller: &Caller, parameters: &str) -> Result<Vec<Value>> {
    facts(&caller.get(&format!("/v1/facts{parameters}")).await?)
}

pub(super) fn facts(answer: &Answer) -> Result<Vec<Value>> {
    ensure!(answer.status == 200, "not listed: {}", answer.text);
    Ok(answer.json["facts"].as_array().context("no facts")?.clone())
}

pub(super) fn ids(facts: &[Value]) -> BTreeSet<&str> {
    facts.iter().filter_map(|fact| fact["id"].as_str()).collect()
}

/// Stores with a deadline of its own.
pub(super) async fn store_within(caller: &Caller, timeout_ms: u32, text: String) -> Result<Answer> {
    let request = caller.request(Method::POST, "/v1/facts").json(&json!({ "text": text }));
    send(request.header("x-kenning-timeout-ms", timeout_ms)).await
}

/// Lists with a deadline of its own.
pub(super) async fn list_within(caller: &Caller, timeout_ms: u32) -> Result<Answer> {
    let request = caller.request(Method::GET, "/v1/facts");
    send(request.header("x-kenning-timeout-ms", timeout_ms)).await
}

pub(super) async fn ready(caller: &Caller) -> Result<()> {
    until("the server is ready", async || {
        Ok((caller.get("/readyz").await?.status == 200).then_some(()))
    })
    .await
}

pub(super) async fn assert_not_ready(caller: &Caller) -> Result<()> {
    assert_eq!(caller.get("/livez").await?.status, 200, "the process is well");
    let ready = caller.get("/readyz").await?;
    assert_eq!(ready.status, 503, "{}", ready.text);
    assert!(ready.json["reason"].as_str().is_some_and(|reason| !reason.is_empty()));
    Ok(())
}

/// The answer to what Redis did not answer in time.
#[track_caller]
pub(super) fn assert_timeout(answer: &Answer) {
    answer.assert_error(504, "timeout");
    let message = answer.json["message"].as_str().unwrap_or_default();
    assert!(message.starts_with("Redis operation timeout"), "{message}");
}

/// The same of a write, which may have happened.
#[track_caller]
pub(super) fn assert_in_doubt(answer: &Answer) {
    assert_timeout(answer);
    assert_eq!(answer.json["details"]["outcome"], "unknown", "{}", answer.text);
}

#[track_caller]
pub(super) fn assert_unavailable(answer: &Answer) {
    answer.assert_error(503, "storage_unavailable");
    let message = answer.json["message"].as_str().unwrap_or_default();
    assert!(message.starts_with("Redis not available"), "{message}");
}

#[track_caller]
pub(super) fn assert_all(answers: &[Answer], status: u16) {
    for answer in answers {
        assert_eq!(answer.status, status, "{}", answer.text);
    }
}

/// How many came in time; the others may only have been late.
#[track_caller]
pub(super) fn in_time(answers: &[Answer], status: u16) -> usize {
    let is_good = |answer: &&Answer| answer.status == status;
    for answer in answers.iter().filter(|answer| !is_good(answer)) {
        answer.assert_error(504, "timeout");
    }
    answers.iter().filter(is_good).count()
}
