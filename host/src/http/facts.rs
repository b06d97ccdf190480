//! `/v1/facts`: store, get, list, change, delete.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Path, Query, State};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use uuid::Uuid;

use super::answer::{Refusal, Reply, reply};
use super::body::{Json, metadata};
use crate::http::App;
use crate::http::auth::Who;
use crate::kb::{Response, StoreOutcome};
use kenning_core::error::{Code, Error};
use kenning_runtime::wit::{Change, Draft, Fact};

const IDEMPOTENCY_KEY: &str = "idempotency-key";
const IDEMPOTENCY_KEY_BYTES: usize = 255;

/// The namespace of ids made from idempotency keys (RFC 9562, section 5.5).
const KEY_NAMESPACE: Uuid = Uuid::from_u128(0x6b65_6e6e_696e_4760_9a2b_1d64_6b65_7973);

const LIST_LIMIT: u32 = 100;

/// A fact as a caller sends it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub(super) struct NewFact {
    text: Option<String>,
    metadata: Option<Box<RawValue>>,
    fact_id: Option<String>,
}

impl NewFact {
    pub(super) fn into_draft(self) -> Result<Draft, Error> {
        Ok(Draft {
            id: self.fact_id,
            text: self.text.ok_or_else(|| Error::invalid("/text", "text is required"))?,
            metadata: metadata(self.metadata)?.unwrap_or_else(|| "{}".into()),
            timestamp: None,
        })
    }
}

/// The id in a path; what an id may be is the logic's to say.
pub(super) struct Id(String);

impl FromRequestParts<Arc<App>> for Id {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Refusal> {
        match Path::from_request_parts(parts, app).await {
            Ok(Path(id)) => Ok(Self(id)),
            Err(error) => Err(Error::invalid("/fact_id", error.body_text()).into()),
        }
    }
}

/// A fact as a caller sees it.
#[derive(Serialize)]
pub(super) struct FactAnswer {
    id: String,
    content: String,
    metadata: Box<RawValue>,
    timestamp: String,
}

impl TryFrom<Fact> for FactAnswer {
    type Error = Error;

    fn try_from(fact: Fact) -> Result<Self, Error> {
        let Fact { id, text, metadata, timestamp } = fact;
        Ok(Self { id, content: text, metadata: object(metadata)?, timestamp })
    }
}

/// The logic's metadata, which must be a JSON object.
pub(super) fn object(metadata: String) -> Result<Box<RawValue>, Error> {
    match RawValue::from_string(metadata) {
        Ok(object) if object.get().starts_with('{') => Ok(object),
        _ => Err(Error::new(Code::GuestLimit, "the logic gave metadata that is no JSON object")),
    }
}

/// `POST /v1/facts`
pub(super) async fn store(
    State(app): State<Arc<App>>,
    who: Who,
    headers: HeaderMap,
    Json(fact, _held): Json<NewFact>,
) -> Reply {
    let mut draft = fact.into_draft()?;
    if draft.id.is_none() {
        draft.id = id_from_key(&headers)?;
    }
    let response = app.kb.store(&who.within(app.limits.call), vec![Ok(draft)]).await?;
    let served_by = response.served_by;
    let outcome = response.value.into_iter().next();
    let outcome = outcome.unwrap_or_else(|| Err(Error::internal("no outcome for a draft")));
    let outcome = outcome.map_err(|error| error.from_guests(served_by.clone()))?;
    Ok(reply(StatusCode::CREATED, Response { value: success(&outcome), served_by }))
}

fn success(outcome: &StoreOutcome) -> Value {
    let mut answer = json!({
        "status": "success",
        "message": "Fact stored successfully",
        "fact_id": outcome.ids.first(),
        "indexed": outcome.indexed,
    });
    if outcome.ids.len() > 1 {
        // An extension split the draft.
        answer["fact_ids"] = json!(outcome.ids);
    }
    answer
}

/// Repeating a request with its key stores the same id again, which the logic
/// takes as done; so a key needs no memory of its own and never expires.
fn id_from_key(headers: &HeaderMap) -> Result<Option<String>, Error> {
    let Some(key) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    match key.as_bytes().len() {
        1..=IDEMPOTENCY_KEY_BYTES => {
            Ok(Some(Uuid::new_v5(&KEY_NAMESPACE, key.as_bytes()).to_string()))
        }
        used => Err(Error::invalid(
            "/headers/idempotency-key",
            format!("Idempotency-Key has 1 to {IDEMPOTENCY_KEY_BYTES} bytes, not {used}"),
        )),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub(super) struct Batch {
    facts: Vec<Box<RawValue>>,
}

impl Batch {
    /// Each fact by itself, unless there are none or too many.
    pub(super) fn drafts(&self, allowed: usize) -> Result<Vec<Result<Draft, Error>>, Error> {
        match self.facts.len() {
            0 => Err(Error::invalid("/facts", "facts holds at least one fact")),
            used if used > allowed => {
                Err(Error::too_large("batch_facts", allowed as u64, used as u64))
            }
            _ => Ok(self.facts.iter().map(|fact| to_draft(fact)).collect()),
        }
    }
}

/// `POST /v1/facts/batch`: each fact has its own outcome.
pub(super) async fn store_batch(
    State(app): State<Arc<App>>,
    who: Who,
    Json(batch, _held): Json<Batch>,
) -> Reply {
    let drafts = batch.drafts(app.limits.batch_facts)?;
    let caller = who.within(app.limits.call);
    let response = app.kb.store(&caller, drafts).await?;
    let results: Vec<Value> = response.value.iter().map(outcome).collect();
    let value = json!({ "results": results });
    Ok(reply(StatusCode::OK, Response { value, served_by: response.served_by }))
}

fn to_draft(fact: &RawValue) -> Result<Draft, Error> {
    let fact: NewFact = super::body::parse(fact.get().as_bytes())?;
    fact.into_draft()
}

fn outcome(outcome: &Result<StoreOutcome, Error>) -> Value {
    match outcome {
        Ok(outcome) => success(outcome),
        Err(error) => error.body(),
    }
}

/// `GET /v1/facts/{id}`
pub(super) async fn get(State(app): State<Arc<App>>, who: Who, Id(id): Id) -> Reply {
    let response = app.kb.get(&who.within(app.limits.call), id).await?;
    let served_by = response.served_by;
    let fact = FactAnswer::try_from(response.value);
    let value = fact.map_err(|error| error.from_guests(served_by.clone()))?;
    Ok(reply(StatusCode::OK, Response { value, served_by }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub(super) struct ListParameters {
    query: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

/// `GET /v1/facts`
pub(super) async fn list(
    State(app): State<Arc<App>>,
    who: Who,
    parameters: Result<Query<ListParameters>, axum::extract::rejection::QueryRejection>,
) -> Reply {
    let Query(parameters) = parameters.map_err(|error| Error::invalid("", error.body_text()))?;
    let limit = list_limit(parameters.limit.as_deref(), app.limits.page_facts)?;
    let containing = parameters.query.filter(|query| !query.is_empty());
    let caller = who.within(app.limits.call);
    let response = app.kb.list(&caller, containing, limit, parameters.cursor).await?;
    let (page, served_by) = (response.value, response.served_by);
    let facts: Result<Vec<_>, Error> = page.facts.into_iter().map(FactAnswer::try_from).collect();
    let facts = facts.map_err(|error| error.from_guests(served_by.clone()))?;
    let value = json!({ "facts": facts, "next_cursor": page.cursor });
    Ok(reply(StatusCode::OK, Response { value, served_by }))
}

fn list_limit(limit: Option<&str>, most: usize) -> Result<u32, Error> {
    let Some(limit) = limit else { return Ok(LIST_LIMIT.min(most as u32)) };
    match limit.parse::<u32>() {
        Ok(limit) if (1..=most).contains(&(limit as usize)) => Ok(limit),
        _ => Err(Error::invalid("/limit", format!("limit is a whole number from 1 to {most}"))),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub(super) struct FactChange {
    text: Option<String>,
    metadata: Option<Box<RawValue>>,
}

impl FactChange {
    pub(super) fn into_change(self) -> Result<Change, Error> {
        Ok(Change { text: self.text, metadata: metadata(self.metadata)? })
    }
}

/// `PATCH /v1/facts/{id}`
pub(super) async fn update(
    State(app): State<Arc<App>>,
    who: Who,
    Id(id): Id,
    Json(change, _held): Json<FactChange>,
) -> Reply {
    let change = change.into_change()?;
    let response = app.kb.update(&who.within(app.limits.call), id, change).await?;
    let value = json!({
        "status": "success",
        "message": "Fact updated successfully",
        "fact_id": response.value.id,
        "indexed": response.value.indexed,
    });
    Ok(reply(StatusCode::OK, Response { value, served_by: response.served_by }))
}

/// `DELETE /v1/facts/{id}`
pub(super) async fn delete(State(app): State<Arc<App>>, who: Who, Id(id): Id) -> Reply {
    let response = app.kb.delete(&who.within(app.limits.call), id.clone()).await?;
    let value = json!({
        "status": "success",
        "message": "Fact deleted successfully",
        "fact_id": id,
    });
    Ok(reply(StatusCode::OK, Response { value, served_by: response.served_by }))
}
