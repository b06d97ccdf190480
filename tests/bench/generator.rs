//! Requests of one kind, each different from all others.

use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use fastrand::Rng;
use hyper::{Method, Request, header};
use kenning_tests::{Caller, all_indexed};
use serde_json::{Value, json};

use crate::load::{Body, Requests};
use crate::texts::{Texts, metadata};

/// The tenant that is written to while it is measured, so that the one that is searched stays as
/// it is.
const WRITTEN: &str = "written";

/// Facts stored by one request while a tenant is filled.
const BATCH: usize = 100;

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Verb {
    Store,
    Read,
    Search,
}

pub(crate) const VERBS: [Verb; 3] = [Verb::Read, Verb::Search, Verb::Store];

impl Verb {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Read => "get by id",
            Self::Search => "search",
        }
    }

    /// The label of its route in the server's metrics.
    pub(crate) fn route(self) -> &'static str {
        match self {
            Self::Store => "/v1/facts",
            Self::Read => "/v1/facts/{id}",
            Self::Search => "/v1/search",
        }
    }

    /// The label of its export in the server's metrics.
    pub(crate) fn operation(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Read => "get",
            Self::Search => "search",
        }
    }
}

/// Makes requests.
pub(crate) struct Generator {
    verb: Verb,
    texts: Texts,
    /// Facts to read.
    ids: Vec<String>,
    random: Mutex<Rng>,
}

impl Generator {
    /// `ids` are those of facts that are there; the seed is the generator's own, so that no two
    /// make the same texts.
    pub(crate) fn new(verb: Verb, ids: &[String], seed: u64) -> Result<Self> {
        let random = Mutex::new(Rng::with_seed(seed));
        Ok(Self { verb, texts: Texts::new()?, ids: ids.to_vec(), random })
    }
}

impl Requests for Generator {
    fn request(&self) -> Result<Request<Body>> {
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        match self.verb {
            Verb::Read => {
                let id = &self.ids[random.usize(..self.ids.len())];
                request(Method::GET, &format!("/v1/facts/{id}"), None)
            }
            Verb::Search => {
                let body = json!({ "query": self.texts.query(&mut random) });
                request(Method::POST, "/v1/search", Some(body))
            }
            Verb::Store => {
                let body = fact(&self.texts, &mut random);
                let mut request = request(Method::POST, "/v1/facts", Some(body))?;
                request.headers_mut().insert("x-kenning-tenant", WRITTEN.parse()?);
                Ok(request)
            }
        }
    }
}

/// A request as all callers here send it.
pub(crate) fn request(method: Method, path: &str, body: Option<Value>) -> Result<Request<Body>> {
    let body = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "localhost")
        .header(header::CONTENT_TYPE, "application/json");
    Ok(request.body(Body::new(body))?)
}

fn fact(texts: &Texts, random: &mut Rng) -> Value {
    json!({ "text": texts.fact(random), "metadata": metadata(random) })
}

/// Stores `count` facts, waits until all can be found by meaning, and gives their ids.
pub(crate) async fn fill(caller: &Caller, count: usize, seed: u64) -> Result<Vec<String>> {
    let (texts, mut random) = (Texts::new()?, Rng::with_seed(seed));
    fill_with(caller, count, || fact(&texts, &mut random)).await
}

/// The same with facts as `make` makes them.
pub(crate) async fn fill_with(
    caller: &Caller,
    count: usize,
    mut make: impl FnMut() -> Value,
) -> Result<Vec<String>> {
    let mut ids = Vec::with_capacity(count);
    while ids.len() < count {
        let most = BATCH.min(count - ids.len());
        let facts: Vec<_> = (0..most).map(|_| make()).collect();
        let answer = caller.post("/v1/facts/batch", json!({ "facts": facts })).await?;
        ensure!(answer.status == 200, "{}", answer.text);
        let stored = answer.json["results"].as_array().context("no results")?;
        for outcome in stored {
            ids.push(outcome["fact_id"].as_str().context("a fact without an id")?.to_string());
        }
    }
    all_indexed(caller).await?;
    Ok(ids)
}
