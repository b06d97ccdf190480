//! `/v1/facts/batch` is two things: where batches are stored, and the path of the fact whose id is
//! `batch`. These routes are those of `/v1/facts/{id}`, for the id that the path itself is.

use std::sync::Arc;

use axum::extract::State;
use http::HeaderMap;

use super::answer::Reply;
use super::auth::Who;
use super::body::Json;
use super::facts::{self, Deleted, FactAnswer, FactChange, FactMergePatch, Stored};
use super::id::Id;
use super::openapi::{Conflict, NotFound, Rejected, TooLarge};
use crate::http::App;

/// Read the fact whose id is `batch`
///
/// As `GET /v1/facts/{id}`.
#[utoipa::path(
    get,
    path = "/v1/facts/batch",
    operation_id = "getFactBatch",
    tag = "facts",
    responses(
        (status = 200, description = "The fact.", body = FactAnswer),
        (status = 404, response = NotFound),
    ),
)]
pub(super) async fn get(app: State<Arc<App>>, who: Who, id: Id) -> Reply {
    facts::get(app, who, id).await
}

/// Change the fact whose id is `batch`
///
/// As `PATCH /v1/facts/{id}`.
#[utoipa::path(
    patch,
    path = "/v1/facts/batch",
    operation_id = "updateFactBatch",
    tag = "facts",
    request_body(content(
        (FactChange = "application/json"),
        (FactMergePatch = "application/merge-patch+json"),
    )),
    responses(
        (status = 200, description = "Changed.", body = Stored),
        (status = 404, response = NotFound),
        (status = 409, response = Conflict),
        (status = 413, response = TooLarge),
        (status = 422, response = Rejected),
    ),
)]
pub(super) async fn update(
    app: State<Arc<App>>,
    who: Who,
    id: Id,
    headers: HeaderMap,
    change: Json<FactChange>,
) -> Reply {
    facts::update(app, who, id, headers, change).await
}

/// Delete the fact whose id is `batch`
///
/// As `DELETE /v1/facts/{id}`.
#[utoipa::path(
    delete,
    path = "/v1/facts/batch",
    operation_id = "deleteFactBatch",
    tag = "facts",
    responses(
        (status = 200, description = "Deleted.", body = Deleted),
        (status = 404, response = NotFound),
    ),
)]
pub(super) async fn delete(app: State<Arc<App>>, who: Who, id: Id) -> Reply {
    facts::delete(app, who, id).await
}
