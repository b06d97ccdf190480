//! `/v1/facts`: store, get, list, change, delete.

mod bodies;

use std::sync::Arc;

use axum::extract::State;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::answer::{Reply, is_zero, reply};
use super::body::Json;
use super::id::Id;
use super::matching::{self, Parameters};
use super::openapi::{
    Conflict, DimensionMismatch, ErrorBody, FactId, FactInPath, IdempotencyKey, Metadata, NotFound,
    Rejected, Success, TooLarge, examples,
};
use crate::http::App;
use crate::http::auth::Who;
use crate::kb::{Selection, StoreMode, StoreOutcome};
pub(super) use bodies::{Batch, FactChange, FactMergePatch, NewFact};
use kenning_core::error::{Code, Error};
use kenning_runtime::wit::Fact;

const IDEMPOTENCY_KEY: &str = "idempotency-key";
const IDEMPOTENCY_KEY_BYTES: usize = 255;

/// The namespace of ids made from idempotency keys (RFC 9562, section 5.5).
const KEY_NAMESPACE: Uuid = Uuid::from_u128(0x6b65_6e6e_696e_4760_9a2b_1d64_6b65_7973);

const LIST_LIMIT: u32 = 100;

/// A stored fact.
#[derive(Serialize, ToSchema)]
#[schema(as = Fact, examples(json!(examples::fact())))]
pub(super) struct FactAnswer {
    #[schema(value_type = FactId)]
    id: String,
    /// What the fact says.
    content: String,
    #[schema(value_type = Metadata)]
    metadata: Box<RawValue>,
    /// When the fact was first stored: RFC 3339 with an offset. A fact that another program wrote
    /// may have an ISO 8601 time without one.
    timestamp: String,
}

impl TryFrom<Fact> for FactAnswer {
    type Error = Error;

    fn try_from(fact: Fact) -> Result<Self, Error> {
        let Fact { id, text, metadata, timestamp } = fact;
        Ok(Self { id, content: text, metadata: object(metadata)?, timestamp })
    }
}

/// Metadata from the logic, which must be a JSON object.
pub(super) fn object(metadata: String) -> Result<Box<RawValue>, Error> {
    match RawValue::from_string(metadata) {
        Ok(object) if object.get().starts_with('{') => Ok(object),
        _ => Err(Error::new(Code::GuestInvalid, "the logic gave metadata that is no JSON object")),
    }
}

/// Store a fact
///
/// The fact is durable when the answer arrives. Its embedding is waited for only briefly: see
/// `indexed`. Where the id is taken, `mode` says what happens; an upsert or an update keeps the
/// time at which the fact was first stored.
#[utoipa::path(
    post,
    path = "/v1/facts",
    operation_id = "storeFact",
    tag = "facts",
    params(IdempotencyKey),
    request_body(content((
        NewFact = "application/json",
        examples(
            ("plain" = (value = json!({ "text": "Ada prefers tea." }))),
            ("with_metadata" = (value = json!({
                "text": "The staging server listens on port 7171.",
                "metadata": examples::metadata(),
                "fact_id": "port-7",
            }))),
            ("upsert" = (value = json!({
                "content": "The staging server listens on port 7272.",
                "id": "port-7",
                "mode": "upsert",
            }))),
        ),
    ))),
    responses(
        (
            status = 201,
            description = "Stored.",
            body = Stored,
            examples(
                ("stored" = (value = json!(examples::stored("Fact stored successfully")))),
                ("split" = (value = json!({
                    "status": "success",
                    "message": "Fact stored successfully",
                    "id": "note-1",
                    "fact_id": "note-1",
                    "indexed": false,
                    "fact_ids": ["note-1", "note-2"],
                }))),
            ),
        ),
        (
            status = 200,
            description = "Changed: an upsert or an update of a fact that was there.",
            body = Stored,
            example = json!(examples::stored("Fact updated successfully")),
        ),
        (status = 404, response = NotFound),
        (status = 409, response = Conflict),
        (status = 413, response = TooLarge),
        (status = 422, response = Rejected),
    ),
)]
pub(super) async fn store(
    State(app): State<Arc<App>>,
    who: Who,
    headers: HeaderMap,
    Json(fact, _held): Json<NewFact>,
) -> Reply {
    let submission = fact.into_submission(id_from_key(&headers)?, StoreMode::default())?;
    let answered = app.kb.store(&who.within(app.limits.call), vec![Ok(submission)]).await?;
    let status = match &answered.value[..] {
        [Ok(outcome)] if outcome.replaced => StatusCode::OK,
        _ => StatusCode::CREATED,
    };
    reply(status, answered, |outcomes| {
        let outcome = outcomes.into_iter().next();
        let outcome = outcome.unwrap_or_else(|| Err(Error::internal("no outcome for a draft")));
        outcome.map(Stored::from)
    })
}

/// What a write did.
#[derive(Serialize, ToSchema)]
pub(super) struct Stored {
    status: Success,
    message: &'static str,
    #[schema(value_type = FactId)]
    id: String,
    /// The same as `id`.
    #[schema(value_type = FactId)]
    fact_id: String,
    /// Whether the fact can be found by meaning already. If not, text search finds it now, and
    /// its vector follows without another request.
    indexed: bool,
    /// How many bytes of the text can be found by meaning, from its beginning, where that is not
    /// all of it: a fact has at most `fact_windows` vectors. All of it is found by its words. Of
    /// the first such fact, where an extension split the draft.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 1)]
    embedded_bytes: Option<usize>,
    /// All ids, where an extension split the draft.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<FactId>>, nullable = false, min_items = 2)]
    fact_ids: Option<Vec<String>>,
}

impl From<StoreOutcome> for Stored {
    fn from(outcome: StoreOutcome) -> Self {
        let StoreOutcome { ids, indexed, embedded_bytes, replaced } = outcome;
        let id = ids.first().cloned().unwrap_or_default();
        let message =
            if replaced { "Fact updated successfully" } else { "Fact stored successfully" };
        Self {
            status: Success::Success,
            message,
            id: id.clone(),
            fact_id: id,
            indexed,
            embedded_bytes,
            fact_ids: (ids.len() > 1).then_some(ids),
        }
    }
}

/// The id that an idempotency key stands for. A request repeated with its key stores the same id
/// again, which the logic accepts; so keys need no storage of their own and never expire.
fn id_from_key(headers: &HeaderMap) -> Result<Option<String>, Error> {
    let Some(key) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    match key.as_bytes().len() {
        1..=IDEMPOTENCY_KEY_BYTES => Ok(Some(id_of_key(key.as_bytes()))),
        used => Err(Error::invalid(
            "/headers/idempotency-key",
            format!("Idempotency-Key has 1 to {IDEMPOTENCY_KEY_BYTES} bytes, not {used}"),
        )),
    }
}

/// The id that an idempotency key stands for.
pub(crate) fn id_of_key(key: &[u8]) -> String {
    Uuid::new_v5(&KEY_NAMESPACE, key).to_string()
}

/// Store up to 100 facts
///
/// Each fact is stored or refused on its own. The whole body is at most 5,242,880 bytes.
#[utoipa::path(
    post,
    path = "/v1/facts/batch",
    operation_id = "storeFacts",
    tag = "facts",
    request_body = Batch,
    responses(
        (status = 200, description = "The outcome of each, in their order.", body = BatchAnswer),
        (status = 409, response = DimensionMismatch),
        (status = 413, response = TooLarge),
        (status = 422, response = Rejected),
    ),
)]
pub(super) async fn store_batch(
    State(app): State<Arc<App>>,
    who: Who,
    Json(batch, _held): Json<Batch>,
) -> Reply {
    let submissions = batch.submissions(app.limits.batch_facts)?;
    let caller = who.within(app.limits.call);
    let answered = app.kb.store(&caller, submissions).await?;
    reply(StatusCode::OK, answered, |outcomes| {
        Ok(BatchAnswer { results: outcomes.into_iter().map(BatchResult::from).collect() })
    })
}

/// The outcomes of a batch.
#[derive(Serialize, ToSchema)]
#[schema(examples(json!({ "results": [
    {
        "status": "success",
        "message": "Fact stored successfully",
        "id": "7f6c1f0e-5a0b-4c38-9a55-0d6e7a3f2b11",
        "fact_id": "7f6c1f0e-5a0b-4c38-9a55-0d6e7a3f2b11",
        "indexed": true,
    },
    Error::new(Code::Conflict, "the fact `port-7` exists with other content").body(),
] })))]
struct BatchAnswer {
    /// One for each draft, in their order.
    #[schema(max_items = 100)]
    results: Vec<BatchResult>,
}

/// What became of one draft of a batch.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum BatchResult {
    Stored(Stored),
    Refused(ErrorBody),
}

impl From<Result<StoreOutcome, Error>> for BatchResult {
    fn from(outcome: Result<StoreOutcome, Error>) -> Self {
        match outcome {
            Ok(outcome) => Self::Stored(outcome.into()),
            Err(error) => Self::Refused(ErrorBody::from(&error)),
        }
    }
}

/// Read a fact
#[utoipa::path(
    get,
    path = "/v1/facts/{id}",
    operation_id = "getFact",
    tag = "facts",
    params(FactInPath),
    responses(
        (status = 200, description = "The fact.", body = FactAnswer),
        (status = 404, response = NotFound),
    ),
)]
pub(super) async fn get(State(app): State<Arc<App>>, who: Who, Id(id): Id) -> Reply {
    let answered = app.kb.get(&who.within(app.limits.call), id).await?;
    reply(StatusCode::OK, answered, FactAnswer::try_from)
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[into_params(parameter_in = Query)]
pub(super) struct ListParameters {
    /// Only facts whose content contains this, ignoring case. Empty is the same as left out.
    #[param(nullable = false, example = "staging")]
    query: Option<String>,
    /// Only facts that match: a `Filter`, as JSON. It reads what the page shows.
    #[param(nullable = false, example = r#"{"topic":"network"}"#)]
    filter: Option<String>,
    /// How many facts the page holds at most.
    #[param(value_type = Option<u32>, nullable = false, minimum = 1, maximum = 1000, default = 100)]
    limit: Option<String>,
    /// `next_cursor` of the page before.
    #[param(nullable = false)]
    cursor: Option<String>,
}

/// One page of facts.
#[derive(Serialize, ToSchema)]
#[schema(examples(json!({ "facts": [examples::fact()], "next_cursor": null })))]
struct FactPage {
    #[schema(max_items = 1000)]
    facts: Vec<FactAnswer>,
    /// Opaque; null after the last page. A page may hold fewer facts than were asked for, even
    /// none, and still have a cursor.
    #[schema(required)]
    next_cursor: Option<String>,
    /// Facts of this page that are left out because a guest returned them spoilt: with metadata
    /// that is no JSON or nests too deep, or over a limit. Only if there are any; reading one of
    /// them says what is wrong.
    #[serde(skip_serializing_if = "is_zero")]
    #[schema(required = false, minimum = 1)]
    withheld: u64,
}

/// List facts, newest first
///
/// A fact that exists from the first page to the last is listed exactly once; one that is stored or
/// deleted meanwhile may be listed or not. A page with `filter` ends early after 10,000 facts or
/// half of the call's time; a cursor goes on with whatever `query` and `filter` come with it.
#[utoipa::path(
    get,
    path = "/v1/facts",
    operation_id = "listFacts",
    tag = "facts",
    params(ListParameters),
    responses((status = 200, description = "A page.", body = FactPage)),
)]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    who: Who,
    Parameters(parameters): Parameters<ListParameters>,
) -> Reply {
    let limit = list_limit(parameters.limit.as_deref(), app.limits.page_facts)?;
    let filter = parameters.filter.as_deref().map(matching::filter).transpose()?;
    let containing = parameters.query.filter(|query| !query.is_empty());
    let (caller, cursor) = (who.within(app.limits.call), parameters.cursor);
    let answered = match filter {
        None => app.kb.list(&caller, containing, limit, cursor).await?,
        Some(filter) => {
            let selection = Selection { containing, filter };
            app.kb.list_matching(&caller, selection, limit, cursor).await?
        }
    };
    let withheld = answered.withheld;
    reply(StatusCode::OK, answered, |page| {
        let facts: Result<_, Error> = page.facts.into_iter().map(FactAnswer::try_from).collect();
        Ok(FactPage { facts: facts?, next_cursor: page.cursor, withheld })
    })
}

fn list_limit(limit: Option<&str>, most: usize) -> Result<u32, Error> {
    let Some(limit) = limit else { return Ok(LIST_LIMIT.min(most as u32)) };
    match limit.parse::<u32>() {
        Ok(limit) if (1..=most).contains(&(limit as usize)) => Ok(limit),
        _ => Err(Error::invalid("/limit", format!("limit is a whole number from 1 to {most}"))),
    }
}

/// Change a fact's text, its metadata, or both
///
/// The id and the timestamp stay. With the content type `application/merge-patch+json`, `metadata`
/// is merged into the fact's (RFC 7396), in one step with reading it: of two calls that merge at
/// once, both are in the fact.
#[utoipa::path(
    patch,
    path = "/v1/facts/{id}",
    operation_id = "updateFact",
    tag = "facts",
    params(FactInPath),
    request_body(content(
        (
            FactChange = "application/json",
            examples(
                ("text" = (value = json!({ "text": "The staging server listens on port 7272." }))),
                ("metadata" = (value = json!({
                    "metadata": { "topic": "network", "verified": false },
                }))),
            ),
        ),
        (
            FactMergePatch = "application/merge-patch+json",
            example = json!({ "metadata": { "verified": true, "draft": null } }),
        ),
    )),
    responses(
        (
            status = 200,
            description = "Changed.",
            body = Stored,
            example = json!(examples::stored("Fact updated successfully")),
        ),
        (status = 404, response = NotFound),
        (status = 409, response = Conflict),
        (status = 413, response = TooLarge),
        (status = 422, response = Rejected),
    ),
)]
pub(super) async fn update(
    State(app): State<Arc<App>>,
    who: Who,
    Id(id): Id,
    headers: HeaderMap,
    Json(change, _held): Json<FactChange>,
) -> Reply {
    let patch = change.into_patch(is_merge_patch(&headers))?;
    let answered = app.kb.update(&who.within(app.limits.call), id, patch).await?;
    reply(StatusCode::OK, answered, |updated| Ok(Stored::from(updated)))
}

fn is_merge_patch(headers: &HeaderMap) -> bool {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = media_type.and_then(|value| value.split(';').next()).unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/merge-patch+json")
}

/// What a deletion did.
#[derive(Serialize, ToSchema)]
#[schema(examples(json!({
    "status": "success",
    "message": "Fact deleted successfully",
    "id": "port-7",
    "fact_id": "port-7",
})))]
pub(super) struct Deleted {
    status: Success,
    message: &'static str,
    #[schema(value_type = FactId)]
    id: String,
    /// The same as `id`.
    #[schema(value_type = FactId)]
    fact_id: String,
}

/// Delete a fact
#[utoipa::path(
    delete,
    path = "/v1/facts/{id}",
    operation_id = "deleteFact",
    tag = "facts",
    params(FactInPath),
    responses(
        (status = 200, description = "Deleted.", body = Deleted),
        (status = 404, response = NotFound),
    ),
)]
pub(super) async fn delete(State(app): State<Arc<App>>, who: Who, Id(id): Id) -> Reply {
    let answered = app.kb.delete(&who.within(app.limits.call), id.clone()).await?;
    let message = "Fact deleted successfully";
    reply(StatusCode::OK, answered, |()| {
        Ok(Deleted { status: Success::Success, message, id: id.clone(), fact_id: id })
    })
}
