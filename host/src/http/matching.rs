//! What a filter does besides a search: `GET /v1/count` and `DELETE /v1/facts`, and reading the
//! parameter `filter`, which lists and exports take, too.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequestParts, Query, State};
use http::StatusCode;
use http::request::Parts;
use kenning_index::Filter;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use super::answer::{Refusal, Reply, is_zero, reply};
use super::auth::Who;
use super::openapi::ErrorBody;
use crate::http::App;
use crate::kb::{Deletion, Rest};
use kenning_core::error::{Code, Error};

/// The parameters of a request's query.
pub(super) struct Parameters<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<Arc<App>> for Parameters<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Refusal> {
        let read = Query::from_request_parts(parts, app).await;
        let invalid = |error: QueryRejection| Error::invalid("", error.body_text());
        let Query(parameters) = read.map_err(invalid)?;
        Ok(Self(parameters))
    }
}

/// Reads the parameter `filter`.
pub(crate) fn filter(text: &str) -> Result<Arc<Filter>, Error> {
    Filter::parse_text(text).map(Arc::new).map_err(|error| {
        let pointer = format!("/filter{}", error.pointer);
        Error::new(Code::InvalidFilter, error.message).with_details(json!({ "pointer": pointer }))
    })
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[into_params(parameter_in = Query)]
pub(super) struct CountParameters {
    /// Only facts that match: a `Filter`, as JSON.
    #[param(nullable = false, example = r#"{"topic":"network"}"#)]
    filter: Option<String>,
}

/// How many facts there are.
#[derive(Serialize, ToSchema)]
#[schema(examples(json!({ "count": 128 })))]
struct Count {
    #[schema(minimum = 0)]
    count: u64,
    /// Facts that are not counted because a guest returned them spoilt. Only if there are any.
    #[serde(skip_serializing_if = "is_zero")]
    #[schema(required = false, minimum = 1)]
    withheld: u64,
}

/// Count facts
///
/// As many as a listing with this filter has, read from storage: extensions that hide facts or
/// change their metadata do so here, too. Counting that takes longer than a call may take is a
/// `timeout` whose `details` name `call_ms`.
#[utoipa::path(
    get,
    path = "/v1/count",
    operation_id = "countFacts",
    tag = "facts",
    params(CountParameters),
    responses((status = 200, description = "The number of facts.", body = Count)),
)]
pub(super) async fn count(
    State(app): State<Arc<App>>,
    who: Who,
    Parameters(parameters): Parameters<CountParameters>,
) -> Reply {
    let filter = parameters.filter.as_deref().map(filter).transpose()?;
    let answered = app.kb.count(&who.within(app.limits.call), filter).await?;
    let withheld = answered.withheld;
    reply(StatusCode::OK, answered, |count| Ok(Count { count, withheld }))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[into_params(parameter_in = Query)]
pub(super) struct DeletionParameters {
    /// Which facts to delete: a `Filter`, as JSON. Not `{}`: to delete every fact, say so with
    /// `{"$timestamp":{"exists":true}}`, or delete the tenant.
    #[param(
        required = true,
        nullable = false,
        value_type = String,
        example = r#"{"topic":"network"}"#
    )]
    filter: Option<String>,
    /// `next_cursor` of the answer before.
    #[param(nullable = false)]
    cursor: Option<String>,
}

/// What a deletion by filter did.
#[derive(Serialize, ToSchema)]
#[schema(examples(
    json!({ "deleted": 128, "complete": true, "next_cursor": null }),
    json!({ "deleted": 900, "complete": false, "next_cursor": "AQAGSo5e7h0AbGFzdA" }),
))]
struct FactsDeleted {
    /// Facts that this request is known to have deleted.
    #[schema(minimum = 0)]
    deleted: u64,
    /// Whether no fact that matches is left, of those that were there when the request began. If
    /// not, repeat it.
    complete: bool,
    /// Where to go on: facts before it need not be read again. Null if the deletion is complete, or
    /// begins again at the newest fact.
    #[schema(required)]
    next_cursor: Option<String>,
    /// Why it ended early, unless its time was up.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    error: Option<ErrorBody>,
    /// Facts that are not deleted because a guest returned them spoilt. Only if there are any.
    #[serde(skip_serializing_if = "is_zero")]
    #[schema(required = false, minimum = 1)]
    withheld: u64,
}

impl FactsDeleted {
    fn new(deletion: Deletion, withheld: u64) -> Self {
        let Deletion { deleted, rest } = deletion;
        let complete = rest.is_none();
        let (cursor, error) = rest.map_or((None, None), |Rest { cursor, stopped_by }| {
            (cursor, stopped_by.as_ref().map(ErrorBody::from))
        });
        Self { deleted, complete, next_cursor: cursor, error, withheld }
    }
}

/// Delete the facts that a filter matches
///
/// Newest first, each as `DELETE /v1/facts/{id}` does. Only facts that a listing with this filter
/// has are deleted, by what they say when they are read: an extension that hides a fact keeps it.
/// The answer comes within a call's deadline; if `complete` is false, repeat the request, best with
/// `next_cursor` as its `cursor`.
#[utoipa::path(
    delete,
    path = "/v1/facts",
    operation_id = "deleteFacts",
    tag = "facts",
    params(DeletionParameters),
    responses((status = 200, description = "How many were deleted.", body = FactsDeleted)),
)]
pub(super) async fn delete(
    State(app): State<Arc<App>>,
    who: Who,
    Parameters(parameters): Parameters<DeletionParameters>,
) -> Reply {
    let filter = some_condition(parameters.filter.as_deref())?;
    let caller = who.within(app.limits.call);
    let answered = app.kb.delete_matching(&caller, filter, parameters.cursor).await?;
    let withheld = answered.withheld;
    reply(StatusCode::OK, answered, |deletion| Ok(FactsDeleted::new(deletion, withheld)))
}

/// The filter of a deletion, which has a condition.
fn some_condition(text: Option<&str>) -> Result<Arc<Filter>, Error> {
    let Some(text) = text else {
        return Err(Error::invalid("/filter", "filter is required: it says what to delete"));
    };
    let filter = filter(text)?;
    if !filter.is_empty() {
        return Ok(filter);
    }
    let message = "an empty filter matches every fact, which is not deleted by accident: use \
                   {\"$timestamp\":{\"exists\":true}} to delete every fact, or delete the tenant \
                   (kenning tenant delete)";
    Err(Error::new(Code::InvalidFilter, message).with_details(json!({ "pointer": "/filter" })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deletion_needs_a_condition() {
        for (text, code) in [
            (None, Code::InvalidRequest),
            (Some(""), Code::InvalidFilter),
            (Some("null"), Code::InvalidFilter),
            (Some(" {} "), Code::InvalidFilter),
            (Some("{\"AND\":[]}"), Code::InvalidFilter),
            (Some("{\"a\":1,\"a\":2}"), Code::InvalidFilter),
        ] {
            let error = some_condition(text).unwrap_err();
            assert_eq!(error.code, code, "{text:?}");
            let pointer = &error.details.unwrap()["pointer"];
            assert!(pointer.as_str().unwrap().starts_with("/filter"), "{text:?}: {pointer}");
        }
        assert!(some_condition(Some("{\"$timestamp\":{\"exists\":true}}")).is_ok());
    }
}
