//! `POST /v1/admin/tenants/{t}/preview`: a search with other guests than the live ones.

use std::sync::Arc;
use std::time::Instant;

use axum::Json as JsonAnswer;
use axum::extract::{Query, State};
use axum::response::IntoResponse;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use super::Admin;
use super::extensions::tenant;
use super::parameters::{Parameters, Path};
use crate::http::App;
use crate::http::answer::Reply;
use crate::http::body::Json;
use crate::http::openapi::{FactId, NotFound, TenantInPath, TooLarge, parameter_names};
use crate::http::search::Request as SearchRequest;
use crate::http::search::{Explanation, explain};
use crate::kb::FoundHit;

/// Which guests search.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "`Parameters` reads them by their names")]
struct GuestParameters {
    /// A generation of the logic that the tenant uses: its own, or the server's. The live one if
    /// it is left out.
    #[param(nullable = false)]
    generation: Option<u64>,
    /// Extensions that are left out, separated by commas.
    #[param(nullable = false)]
    without: Option<String>,
}

/// What a search would find. Without texts and metadata, which are the tenant's.
#[derive(Serialize, ToSchema)]
struct Preview {
    /// Best first.
    #[schema(max_items = 1000)]
    results: Vec<PreviewHit>,
    /// As in the answer of a search.
    degraded: Vec<String>,
    /// The logic's generation that searched.
    #[schema(minimum = 1)]
    generation: u64,
    #[schema(minimum = 0)]
    took_ms: f64,
}

/// A fact that would be found.
#[derive(Serialize, ToSchema)]
struct PreviewHit {
    #[schema(value_type = FactId)]
    id: String,
    score: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = -1, maximum = 1)]
    similarity: Option<f64>,
    #[schema(minimum = 0, maximum = 1)]
    relevance: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Explanation>, nullable = false)]
    explain: Option<Map<String, Value>>,
}

/// Search as if other guests were live
///
/// With another generation of the logic, or without some extensions. Nothing is recorded, and
/// nobody is served by it. The answer has ids and figures; the facts themselves take the tenant's
/// key.
#[utoipa::path(
    post,
    path = "/v1/admin/tenants/{t}/preview",
    operation_id = "previewSearch",
    tag = "admin",
    params(TenantInPath, GuestParameters),
    request_body(content((SearchRequest = "application/json"))),
    responses(
        (status = 200, description = "What would be found.", body = Preview),
        (status = 404, response = NotFound),
        (status = 413, response = TooLarge),
    ),
)]
pub(in crate::http) async fn search(
    State(app): State<Arc<App>>,
    _admin: Admin,
    Path(name): Path<String>,
    parameters: Query<Vec<(String, String)>>,
    Json(request, _held): Json<SearchRequest>,
) -> Reply {
    let begun = Instant::now();
    let tenant = tenant(&name)?;
    let parameters = Parameters::new(parameters.0, &parameter_names::<GuestParameters>())?;
    let without = parameters.text("without").unwrap_or_default().split(',').map(str::trim);
    let without: Vec<&str> = without.filter(|name| !name.is_empty()).collect();
    let search = request.into_search(&app.limits)?;
    let snapshot = app.swapper.variant(&tenant, parameters.number("generation")?, &without).await?;
    let answered = app.kb.preview(&tenant, snapshot, search).await?;
    let found = answered.value;
    let preview = Preview {
        results: found.hits.into_iter().map(PreviewHit::from).collect(),
        degraded: found.degraded,
        generation: answered.served_by.logic.number,
        took_ms: (begun.elapsed().as_secs_f64() * 1e6).round() / 1e3,
    };
    Ok(JsonAnswer(preview).into_response())
}

impl From<FoundHit> for PreviewHit {
    fn from(found: FoundHit) -> Self {
        let FoundHit { hit, similarity, relevance, .. } = found;
        Self {
            id: hit.fact.id,
            score: hit.score,
            similarity,
            relevance,
            explain: hit.explanation.map(explain),
        }
    }
}
