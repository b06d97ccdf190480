//! `POST /v1/search`.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::answer::{Reply, reply};
use super::auth::Who;
use super::body::Json;
use super::facts::object;
use crate::http::App;
use crate::kb::Response;
use kenning_core::error::Error;
use kenning_core::limits::Limits;
use kenning_runtime::wit::{Explanation, Fusion, Hit, Mode, Query};

const TOP_K: i64 = 10;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub(super) struct Request {
    query: Option<String>,
    top_k: Option<i64>,
    #[serde(default)]
    mode: ModeWord,
    #[serde(default)]
    fusion: FusionWord,
    filter: Option<Box<RawValue>>,
    #[serde(default)]
    explain: bool,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ModeWord {
    #[default]
    Hybrid,
    Vector,
    Text,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
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

#[derive(Serialize)]
struct HitAnswer {
    doc_id: String,
    content: String,
    metadata: Box<RawValue>,
    score: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    explain: Option<Value>,
}

/// `POST /v1/search`
pub(super) async fn search(
    State(app): State<Arc<App>>,
    who: Who,
    Json(request, _held): Json<Request>,
) -> Reply {
    let begun = Instant::now();
    let query = request.into_query(&app.limits)?;
    let response = app.kb.search(&who.within(app.limits.search), query).await?;
    let (answer, served_by) = (response.value, response.served_by);
    let results: Result<Vec<_>, Error> = answer.hits.into_iter().map(hit_answer).collect();
    let results = results.map_err(|error| error.from_guests(served_by.clone()))?;
    let took_ms = (begun.elapsed().as_secs_f64() * 1e6).round() / 1e3;
    let value = json!({ "results": results, "degraded": answer.degraded, "took_ms": took_ms });
    Ok(reply(StatusCode::OK, Response { value, served_by }))
}

fn hit_answer(hit: Hit) -> Result<HitAnswer, Error> {
    Ok(HitAnswer {
        doc_id: hit.fact.id,
        content: hit.fact.text,
        metadata: object(hit.fact.metadata)?,
        score: hit.score,
        explain: hit.explanation.map(explain),
    })
}

fn explain(explanation: Explanation) -> Value {
    let legs = explanation
        .legs
        .into_iter()
        .map(|leg| (leg.name, json!({ "rank": leg.rank, "score": leg.score, "share": leg.share })));
    Value::Object(Map::from_iter(legs))
}
