//! Servers with small limits, and what their answers must say.

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Result, ensure};
use kenning_tests::{Answer, Caller, Server, Setup, component, spelled};
use serde_json::json;

/// A server with the built-in logic under these lines of `[limits]`.
pub(super) async fn limited(limits: &str) -> Result<Server> {
    Server::start_with(limits_of(limits)).await
}

/// The same with the logic that misbehaves on request.
pub(super) async fn hostile(limits: &str) -> Result<Server> {
    let logic = Some(component("hostile")?);
    Server::start_with(Setup { logic, ..limits_of(limits) }).await
}

pub(super) fn limits_of(limits: &str) -> Setup {
    Setup { config: Some(format!("[limits]\n{limits}\n")), ..Setup::default() }
}

/// Tells the hostile logic what to do, in a search.
pub(super) async fn tell(server: &Caller, command: &str) -> Result<Answer> {
    server.post("/v1/search", json!({ "query": command })).await
}

/// Stores a fact and finds it, each at the first try.
pub(super) async fn serves_on(server: &Caller) -> Result<()> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let word = spelled("honest", NEXT.fetch_add(1, Ordering::Relaxed));
    let id = server.store(json!({ "fact_id": word, "text": word })).await?;
    let found = server.search(json!({ "query": word, "mode": "text" })).await?;
    ensure!(found == [id], "stored {word} and found {found:?}");
    Ok(())
}

/// The guest did as it was told, and the call came to its end.
#[track_caller]
pub(super) fn assert_done(answer: &Answer) {
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.header("x-kenning-generation"), "1");
}

/// What an import answered to the guest, as the guest passed it on.
#[track_caller]
pub(super) fn note(answer: &Answer) -> String {
    assert_done(answer);
    answer.json["degraded"][0].as_str().unwrap_or_default().to_string()
}

/// The guest went beyond `limit`, and the answer says so.
#[track_caller]
pub(super) fn assert_guest_broke(answer: &Answer, code: &str, limit: &str, allowed: u64) {
    answer.assert_error(502, code);
    assert_eq!(answer.json["blame"], "guest", "{}", answer.text);
    assert_eq!(answer.json["retryable"], false, "{}", answer.text);
    assert_eq!(answer.header("x-kenning-generation"), "1");
    assert_limit(answer, limit, allowed);
    assert!(answer.json["details"]["used"].as_u64() >= Some(allowed), "{}", answer.text);
    assert_eq!(answer.json["details"]["component"], "logic", "{}", answer.text);
}

/// The caller went beyond `limit`: no guest ran, and the answer says what it was.
#[track_caller]
pub(super) fn assert_too_large(answer: &Answer, limit: &str, allowed: u64, used: u64) {
    answer.assert_error(413, "too_large");
    assert_eq!(answer.json["blame"], "caller", "{}", answer.text);
    assert_limit(answer, limit, allowed);
    assert_eq!(answer.json["details"]["used"], used, "{}", answer.text);
    assert_eq!(answer.header("x-kenning-generation"), "");
}

#[track_caller]
pub(super) fn assert_limit(answer: &Answer, limit: &str, allowed: u64) {
    assert_eq!(answer.json["details"]["limit"], limit, "{}", answer.text);
    assert_eq!(answer.json["details"]["allowed"], allowed, "{}", answer.text);
}
