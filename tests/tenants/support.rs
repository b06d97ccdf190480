//! Servers with keys.

use anyhow::{Context, Result, ensure};
use kenning_tests::{Answer, Backend, Caller, Server, Setup, component};
use serde_json::{Value, json};

pub(super) const ADMIN: &str = "an-admin-key-for-tests-only";

/// Fuel and time for as long as a test lasts.
const FOREVER: &str = "call_ms = 600000\nsearch_ms = 600000\n\
                       fuel_base = 1000000000000000\nfuel_max = 1000000000000000";

/// What serves `backend` to callers with keys.
pub(super) fn setup(backend: &Backend) -> Setup {
    Setup { admin_key: Some(ADMIN), ..backend.setup() }
}

/// A patient server on `backend` that asks for keys, and its operator.
pub(super) async fn serve(backend: &Backend) -> Result<(Server, Caller)> {
    let server = Server::start_with(setup(backend)).await?;
    let admin = server.key(ADMIN);
    Ok((server, admin))
}

/// The same with the logic that misbehaves on request, for as long as it likes.
pub(super) async fn serve_hostile(backend: &Backend) -> Result<(Server, Caller)> {
    let config = Setup::patient_but(FOREVER).config;
    let logic = Some(component("hostile")?);
    let server = Server::start_with(Setup { config, logic, ..setup(backend) }).await?;
    let admin = server.key(ADMIN);
    Ok((server, admin))
}

/// Creates a tenant; gives its key.
pub(super) async fn create(admin: &Caller, name: &str, limits: Value) -> Result<String> {
    let body = json!({ "name": name, "limits": limits });
    let created = admin.post("/v1/admin/tenants", body).await?;
    ensure!(created.status == 201, "not created: {}", created.text);
    key_in(&created)
}

/// Creates a tenant; gives a caller with its key.
pub(super) async fn tenant(admin: &Caller, name: &str, limits: Value) -> Result<Caller> {
    Ok(admin.key(&create(admin, name, limits).await?))
}

pub(super) fn key_in(answer: &Answer) -> Result<String> {
    Ok(answer.json["key"].as_str().context("no key")?.to_string())
}

/// Asserts that no key, or no good one, was shown.
#[track_caller]
pub(super) fn assert_unauthorized(answer: &Answer) {
    answer.assert_error(401, "unauthorized");
    assert!(answer.header("www-authenticate").starts_with("Bearer"), "{:?}", answer.headers);
}

/// Asserts that a quota is used up.
#[track_caller]
pub(super) fn assert_exceeded(answer: &Answer, limit: &str, allowed: u64) {
    answer.assert_error(429, "quota_exceeded");
    let details = &answer.json["details"];
    assert_eq!((&details["limit"], &details["allowed"]), (&json!(limit), &json!(allowed)));
    let used = details["used"].as_u64().expect("how much is used");
    let message = answer.json["message"].as_str().unwrap_or_default();
    let said = format!("this tenant's {limit} are limited to {allowed}, and {used} are used");
    assert!(message.contains(&said), "{message}");
    let is_of_stored = ["facts", "bytes", "extensions"].contains(&limit);
    let left = format!("; the {} that are left do not suffice", allowed.saturating_sub(used));
    assert_eq!(message.contains(&left), is_of_stored && used < allowed, "{message}");
    assert_eq!(answer.json["retryable"], true);
    let after: u64 = answer.header("retry-after").parse().expect("Retry-After in seconds");
    assert!((1..=60).contains(&after), "{after}");
}
