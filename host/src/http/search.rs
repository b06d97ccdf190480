//! `POST /v1/search`.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::answer::{Reply, reply};
use super::auth::Who;
use super::body::Json;
use super::facts::object;
use super::openapi::{
    DimensionMismatch, FactId, Filter, Metadata, Rejected, TooLarge, TopK, examples,
};
use crate::http::App;
use kenning_core::error::Error;
use kenning_core::limits::Limits;
use kenning_runtime::wit::{self, Fusion, Mode, Query};

const TOP_K: i64 = 10;

/// What to search for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = Query)]
pub(super) struct Request {
    /// What is searched for, in words. Not blank; at most 65,536 bytes of UTF-8.
    #[schema(
        required,
        nullable = false,
        value_type = String,
        min_length = 1,
        max_length = 65536,
        pattern = r"\S"
    )]
    query: Option<String>,
    /// How many hits at most.
    #[schema(value_type = Option<TopK>)]
    top_k: Option<i64>,
    #[serde(default)]
    mode: ModeWord,
    #[serde(default)]
    fusion: FusionWord,
    #[schema(value_type = Option<Filter>)]
    filter: Option<Box<RawValue>>,
    /// Whether each hit explains its rank; false if left out.
    #[serde(default)]
    explain: bool,
}

/// Which index to ask: by meaning (`vector`), by words (`text`), or both, fused.
#[derive(Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = Mode, default = "hybrid")]
enum ModeWord {
    #[default]
    Hybrid,
    Vector,
    Text,
}

/// How the two halves of a hybrid search become one order: by standardised scores, or by reciprocal
/// ranks (k = 60).
#[derive(Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = Fusion, default = "score")]
enum FusionWord {
    #[default]
    Score,
    Rank,
}

impl Request {
    pub(super) fn into_query(self, limits: &Limits) -> Result<Query, Error> {
        let text = self.query.ok_or_else(|| Error::invalid("/query", "query is required"))?;
        if text.len() > limits.query_bytes {
            let (allowed, used) = (limits.query_bytes as u64, text.len() as u64);
            return Err(Error::too_large("query_bytes", allowed, used));
        }
        let most = limits.search_hits as i64;
        let top_k = self.top_k.unwrap_or(TOP_K.min(most));
        if !(1..=most).contains(&top_k) {
            let message = format!("top_k is a whole number from 1 to {most}");
            return Err(Error::invalid("/top_k", message));
        }
        Ok(Query {
            text,
            top_k: top_k as u32,
            mode: match self.mode {
                ModeWord::Hybrid => Mode::Hybrid,
                ModeWord::Vector => Mode::Vector,
                ModeWord::Text => Mode::Text,
            },
            fusion: match self.fusion {
                FusionWord::Score => Fusion::Score,
                FusionWord::Rank => Fusion::Rank,
            },
            filter: self.filter.map(|filter| filter.get().to_string()),
            explain: self.explain,
        })
    }
}

/// What a search found.
#[derive(Serialize, ToSchema)]
struct SearchAnswer {
    /// Best first.
    #[schema(max_items = 1000)]
    results: Vec<Hit>,
    /// One sentence for each part that failed and was left out. Empty when the answer is complete.
    degraded: Vec<String>,
    #[schema(minimum = 0)]
    took_ms: f64,
}

/// A fact that a search found.
#[derive(Serialize, ToSchema)]
struct Hit {
    /// The fact's id.
    #[schema(value_type = FactId)]
    doc_id: String,
    content: String,
    #[schema(value_type = Metadata)]
    metadata: Box<RawValue>,
    /// Larger is better; comparable within one answer only.
    score: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Explanation>, nullable = false)]
    explain: Option<Map<String, Value>>,
}

/// What each half of the search said of the hit; a half that did not find it is left out.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what the built-in logic names; another may name more")]
struct Explanation {
    #[schema(nullable = false)]
    vector: Option<Leg>,
    #[schema(nullable = false)]
    text: Option<Leg>,
}

/// One half's view of a hit.
#[derive(Serialize, ToSchema)]
struct Leg {
    /// 1 is best.
    #[schema(minimum = 1)]
    rank: u32,
    /// As the index gave it: cosine similarity for `vector`, BM25 for `text`.
    score: f64,
    /// What it added to the hit's score.
    share: f64,
}

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
                        "doc_id": "port-7",
                        "content": "The staging server listens on port 7171.",
                        "metadata": examples::metadata(),
                        "score": 1.62,
                        "explain": {
                            "vector": { "rank": 1, "score": 0.71, "share": 1.02 },
                            "text": { "rank": 2, "score": 4.35, "share": 0.6 },
                        },
                    }],
                    "degraded": [],
                    "took_ms": 3,
                }))),
                ("degraded" = (value = json!({
                    "results": [{
                        "doc_id": "port-7",
                        "content": "The staging server listens on port 7171.",
                        "metadata": examples::metadata(),
                        "score": 4.35,
                    }],
                    "degraded": ["Embedding not available: connection refused"],
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
    let query = request.into_query(&app.limits)?;
    let answered = app.kb.search(&who.within(app.limits.search), query).await?;
    reply(StatusCode::OK, answered, |answer| {
        let results: Result<_, Error> = answer.hits.into_iter().map(Hit::try_from).collect();
        let (results, degraded) = (results?, answer.degraded);
        let took_ms = (begun.elapsed().as_secs_f64() * 1e6).round() / 1e3;
        Ok(SearchAnswer { results, degraded, took_ms })
    })
}

impl TryFrom<wit::Hit> for Hit {
    type Error = Error;

    fn try_from(hit: wit::Hit) -> Result<Self, Error> {
        Ok(Self {
            doc_id: hit.fact.id,
            content: hit.fact.text,
            metadata: object(hit.fact.metadata)?,
            score: hit.score,
            explain: hit.explanation.map(explain),
        })
    }
}

fn explain(explanation: wit::Explanation) -> Map<String, Value> {
    let legs = explanation.legs.into_iter().map(|leg| {
        let wit::Leg { name, rank, score, share } = leg;
        (name, json!(Leg { rank, score, share }))
    });
    legs.collect()
}
