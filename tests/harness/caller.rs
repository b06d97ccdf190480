//! Speaks HTTP to a server.

use anyhow::{Context, Result, ensure};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;

/// What a server answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    /// `Null` when the body is not JSON.
    pub json: Value,
    pub text: String,
}

impl Answer {
    /// The error's code, for asserting.
    pub fn code(&self) -> &str {
        self.json["code"].as_str().unwrap_or_default()
    }

    /// The error's JSON pointer, for asserting.
    pub fn pointer(&self) -> &str {
        self.json["details"]["pointer"].as_str().unwrap_or_default()
    }

    /// Asserts an error in the one form that all errors have.
    #[track_caller]
    pub fn assert_error(&self, status: u16, code: &str) {
        assert_eq!((self.status, self.code()), (status, code), "{}", self.text);
        assert_eq!(self.header("content-type"), "application/json", "{}", self.text);
        assert_ne!(self.header("x-request-id"), "", "{}", self.text);
        assert_error_body(&self.json);
    }

    /// Asserts that the request was wrong at `pointer`.
    #[track_caller]
    pub fn assert_invalid(&self, pointer: &str) {
        self.assert_error(400, "invalid_request");
        assert_eq!(self.json["details"]["pointer"], pointer, "{}", self.text);
    }

    /// A header's text, empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// Asserts the form of an error, in an answer of its own or within another.
#[track_caller]
pub fn assert_error_body(error: &Value) {
    assert_eq!(error_body_fault(error), None, "{error}");
}

/// What is missing or malformed in an error.
pub fn error_body_fault(error: &Value) -> Option<&'static str> {
    let message = error["message"].as_str().unwrap_or_default();
    let blame = error["blame"].as_str().unwrap_or_default();
    if error["status"] != "error" {
        Some("status")
    } else if message.is_empty() || message.contains("struct ") {
        Some("message")
    } else if !error["retryable"].is_boolean() {
        Some("retryable")
    } else if !["caller", "guest", "backend", "host"].contains(&blame) {
        Some("blame")
    } else {
        None
    }
}

/// One tenant's way to a server.
#[derive(Clone)]
pub struct Caller {
    client: Client,
    url: String,
    tenant: Option<String>,
    key: Option<String>,
}

impl Caller {
    /// A caller of the server at `url`, as the tenant `default`.
    pub fn new(url: &str) -> Self {
        kenning_model::install_tls_provider();
        // A server that takes in an import slowly does not read the rest for longer than the 30 s
        // that a client waits by default.
        let client = Client::builder().tcp_user_timeout(None).build().unwrap_or_default();
        Self { client, url: url.to_string(), tenant: None, key: None }
    }

    /// The same server, as another tenant.
    #[must_use]
    pub fn tenant(&self, name: &str) -> Self {
        Self { tenant: Some(name.to_string()), ..self.clone() }
    }

    /// The same server, with a key.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        Self { key: Some(key.to_string()), ..self.clone() }
    }

    /// The same server, over another client.
    #[must_use]
    pub fn over(&self, client: Client) -> Self {
        Self { client, ..self.clone() }
    }

    /// The server's address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A request that is not sent yet.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let sends = ![Method::GET, Method::DELETE].contains(&method);
        let request = self.client.request(method, format!("{}{path}", self.url));
        let request =
            if sends { request.header(CONTENT_TYPE, content_type(path)) } else { request };
        let request = match &self.tenant {
            Some(tenant) => request.header("x-kenning-tenant", tenant),
            None => request,
        };
        match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    }

    pub async fn get(&self, path: &str) -> Result<Answer> {
        send(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Result<Answer> {
        send(self.request(Method::POST, path).json(&body)).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Result<Answer> {
        send(self.request(Method::PATCH, path).json(&body)).await
    }

    pub async fn delete(&self, path: &str) -> Result<Answer> {
        send(self.request(Method::DELETE, path)).await
    }

    /// Stores a fact, which must be taken; gives its id.
    pub async fn store(&self, fact: Value) -> Result<String> {
        let answer = self.post("/v1/facts", fact).await?;
        ensure!(answer.status == 201, "not stored: {}", answer.text);
        Ok(answer.json["fact_id"].as_str().context("no fact_id")?.to_string())
    }

    /// Searches, which must succeed; gives the ids of the hits, best first.
    pub async fn search(&self, query: Value) -> Result<Vec<String>> {
        let answer = self.post("/v1/search", query).await?;
        ensure!(answer.status == 200, "not searched: {}", answer.text);
        let hits = answer.json["results"].as_array().context("no results")?;
        Ok(hits.iter().filter_map(|hit| Some(hit["doc_id"].as_str()?.to_string())).collect())
    }

    /// All that the tenant has, as the export gives it.
    pub async fn export(&self) -> Result<String> {
        let answer = self.get("/v1/export").await?;
        ensure!(answer.status == 200, "not exported: {}", answer.text);
        Ok(answer.text)
    }

    /// A body as it stands, for what is no JSON.
    pub async fn post_raw(&self, path: &str, body: impl Into<reqwest::Body>) -> Result<Answer> {
        send(self.request(Method::POST, path).body(body)).await
    }
}

/// What a route takes, for bodies that are sent as they stand.
fn content_type(path: &str) -> &'static str {
    if path.starts_with("/v1/import") {
        "application/x-ndjson"
    } else if path.starts_with("/v1/admin/logic") || path.contains("/extensions/") {
        "application/wasm"
    } else {
        "application/json"
    }
}

/// Sends a request and reads its answer.
pub async fn send(request: RequestBuilder) -> Result<Answer> {
    let response = request.send().await.context("no answer")?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await.context("the answer broke off")?;
    let json = serde_json::from_str(&text).unwrap_or(Value::Null);
    Ok(Answer { status, headers, json, text })
}
