//! `POST /v1/search/batch`.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::State;
use axum::response::IntoResponse;
use futures::{StreamExt, stream};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::answer::SearchAnswer;
use super::request::Request;
use crate::http::App;
use crate::http::answer::{Reply, name_guests};
use crate::http::auth::Who;
use crate::http::body::{Json, parse};
use crate::http::openapi::{ErrorBody, TooLarge};
use crate::kb::Caller;
use kenning_core::error::Error;
use kenning_core::provenance::ServedBy;

/// Searches of one batch that run at once.
const AT_ONCE: usize = 4;

/// Several searches.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = SearchBatch, examples(json!({ "searches": [
    { "query": "where does staging listen?", "top_k": 3 },
    { "query": "who prefers tea?", "min_relevance": 0.3 },
] })))]
pub(in crate::http) struct Batch {
    #[schema(value_type = Vec<Request>, min_items = 1, max_items = 20)]
    searches: Vec<Box<RawValue>>,
}

/// What each search of a batch found.
#[derive(Serialize, ToSchema)]
struct SearchBatchAnswer {
    /// One for each search, in their order.
    #[schema(max_items = 20)]
    results: Vec<SearchResult>,
}

/// What one search found, or why it failed.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum SearchResult {
    Found(SearchAnswer),
    Failed(ErrorBody),
}

/// What one search found, and who served it.
type Searched = Result<(SearchAnswer, ServedBy), Error>;

impl Batch {
    fn searches(self, allowed: usize) -> Result<Vec<Box<RawValue>>, Error> {
        match self.searches.len() {
            0 => Err(Error::invalid("/searches", "searches holds at least one search")),
            used if used > allowed => {
                Err(Error::too_large("batch_searches", allowed as u64, used as u64))
            }
            _ => Ok(self.searches),
        }
    }
}

/// Run up to 20 searches
///
/// Each succeeds or fails on its own, with the answer or the error that it would have alone. They
/// share one deadline, and each counts as a request.
#[utoipa::path(
    post,
    path = "/v1/search/batch",
    operation_id = "searchBatch",
    tag = "search",
    request_body = Batch,
    responses(
        (
            status = 200,
            description = "The outcome of each, in their order.",
            body = SearchBatchAnswer,
        ),
        (status = 413, response = TooLarge),
    ),
)]
pub(in crate::http) async fn search_batch(
    State(app): State<Arc<App>>,
    who: Who,
    Json(batch, _held): Json<Batch>,
) -> Reply {
    let searches = batch.searches(app.limits.batch_searches)?;
    let caller = who.within(app.limits.search);
    let searching = searches.into_iter().enumerate().map(|(number, search)| {
        let (app, caller) = (app.clone(), caller.clone());
        async move {
            // The first one was counted when the request was admitted.
            if number > 0 {
                app.kb.tenants().count_request(&caller.tenant, caller.deadline).await?;
            }
            search_one(&app, &caller, &search).await
        }
    });
    let outcomes: Vec<Searched> = stream::iter(searching).buffered(AT_ONCE).collect().await;
    Ok(answer(outcomes))
}

async fn search_one(app: &App, caller: &Caller, search: &RawValue) -> Searched {
    let begun = Instant::now();
    let request: Request = parse(search.get().as_bytes())?;
    let answered = app.kb.search(caller, request.into_search(&app.limits)?).await?;
    let (withheld, served_by) = (answered.withheld, answered.served_by);
    Ok((SearchAnswer::new(answered.value, withheld, begun)?, served_by))
}

/// The outcomes as a response that names the guests of the first search that was served.
fn answer(outcomes: Vec<Searched>) -> axum::response::Response {
    let served_by = outcomes.iter().flatten().map(|(_, served_by)| served_by.clone()).next();
    let result = |outcome: Searched| match outcome {
        Ok((found, _)) => SearchResult::Found(found),
        Err(error) => SearchResult::Failed(ErrorBody::from(&error)),
    };
    let results = outcomes.into_iter().map(result).collect();
    let answer = axum::Json(SearchBatchAnswer { results });
    let mut response = (StatusCode::OK, answer).into_response();
    if let Some(served_by) = served_by {
        name_guests(&mut response, &served_by);
    }
    response
}
