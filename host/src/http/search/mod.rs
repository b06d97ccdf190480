//! `POST /v1/search` and `POST /v1/search/batch`.

mod answer;
mod batch;
mod request;
mod span;

use std::sync::Arc;
use std::time::Instant;

use axum::extract::State;
use http::StatusCode;

use super::answer::{Reply, reply};
use super::auth::Who;
use super::body::Json;
use super::openapi::{DimensionMismatch, Rejected, TooLarge, examples};
use crate::http::App;
use answer::SearchAnswer;
pub(in crate::http) use answer::{Explanation, explain};
pub(super) use batch::{__path_search_batch, search_batch};
pub(crate) use request::Request;

/// Search facts by meaning and by words
///
/// A half of the search that fails is left out and named in `degraded`; the search fails only if
/// no half is left to answer.
#[utoipa::path(
    post,
    path = "/v1/search",
    operation_id = "search",
    tag = "search",
    request_body(content((
        Request = "application/json",
        examples(
            ("plain" = (value = json!({ "query": "where does staging listen?" }))),
            ("filtered" = (value = json!({
                "query": "where does staging listen?",
                "top_k": 3,
                "mode": "hybrid",
                "fusion": "score",
                "filter": { "topic": { "in": ["network", "staging"] }, "year": { "gte": 2025 } },
                "explain": true,
            }))),
            ("arranged" = (value = json!({
                "query": "where does staging listen?",
                "min_relevance": 0.3,
                "diversity": 0.3,
                "recency": { "half_life": "30d", "field": "checked", "weight": 0.5 },
                "facets": ["topic"],
                "highlights": true,
            }))),
        ),
    ))),
    responses(
        (
            status = 200,
            description = "Hits, best first.",
            body = SearchAnswer,
            examples(
                ("explained" = (value = json!({
                    "results": [{
                        "id": "port-7",
                        "doc_id": "port-7",
                        "content": "The staging server listens on port 7171.",
                        "metadata": examples::metadata(),
                        "score": 1.62,
                        "similarity": 0.71,
                        "relevance": 0.83,
                        "explain": {
                            "vector": { "rank": 1, "score": 0.71, "share": 1.02 },
                            "text": { "rank": 2, "score": 4.35, "share": 0.6 },
                        },
                    }],
                    "degraded": [],
                    "next_cursor": null,
                    "took_ms": 3,
                }))),
                ("arranged" = (value = json!({
                    "results": [{
                        "id": "port-7",
                        "doc_id": "port-7",
                        "content": "The staging server listens on port 7171.",
                        "metadata": examples::metadata(),
                        "score": 0.79,
                        "similarity": 0.71,
                        "relevance": 0.83,
                        "highlights": [{
                            "text": "The staging server listens on port 7171.",
                            "start": 0,
                            "matches": [{ "start": 4, "end": 11 }, { "start": 19, "end": 26 }],
                        }],
                    }],
                    "degraded": [],
                    "facets": {
                        "topic": { "values": [{ "value": "network", "count": 12 }], "distinct": 1 },
                    },
                    "next_cursor": null,
                    "took_ms": 4,
                }))),
                ("degraded" = (value = json!({
                    "results": [{
                        "id": "port-7",
                        "doc_id": "port-7",
                        "content": "The staging server listens on port 7171.",
                        "metadata": examples::metadata(),
                        "score": 4.35,
                        "relevance": 0.64,
                    }],
                    "degraded": ["Embedding not available: connection refused"],
                    "next_cursor": null,
                    "took_ms": 5,
                }))),
            ),
        ),
        (status = 409, response = DimensionMismatch),
        (status = 413, response = TooLarge),
        (status = 422, response = Rejected),
    ),
)]
pub(super) async fn search(
    State(app): State<Arc<App>>,
    who: Who,
    Json(request, _held): Json<Request>,
) -> Reply {
    let begun = Instant::now();
    let search = request.into_search(&app.limits)?;
    let answered = app.kb.search(&who.within(app.limits.search), search).await?;
    let withheld = answered.withheld;
    reply(StatusCode::OK, answered, |found| SearchAnswer::new(found, withheld, begun))
}
