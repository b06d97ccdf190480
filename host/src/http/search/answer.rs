//! What a search answers.

use std::collections::BTreeMap;
use std::time::Instant;

use kenning_index::{Facet, FacetValue};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::http::answer::is_zero;
use crate::http::facts::object;
use crate::http::openapi::{FactId, Metadata, Scalar};
use crate::kb::{Found, FoundHit, Highlight};
use kenning_core::error::Error;
use kenning_runtime::wit;

/// What a search found.
#[derive(Serialize, ToSchema)]
pub(super) struct SearchAnswer {
    /// Best first.
    #[schema(max_items = 1000)]
    results: Vec<Hit>,
    /// One sentence for each part that failed or was left out, such as facts that have no vector
    /// yet: vector search cannot find them. Empty when the answer is complete.
    degraded: Vec<String>,
    /// Hits that are left out because a guest returned them spoilt: with metadata that is no JSON
    /// or nests too deep, or over a limit. Only if there are any.
    #[serde(skip_serializing_if = "is_zero")]
    #[schema(required = false, minimum = 1)]
    withheld: u64,
    /// The values of each field in the request's `facets`, by the field's name; only if there are
    /// any.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    facets: Option<BTreeMap<String, FacetAnswer>>,
    /// Where the next page begins; `null` if there are no more hits.
    #[schema(required)]
    next_cursor: Option<String>,
    #[schema(minimum = 0)]
    took_ms: f64,
}

/// How often the values of a field occur in the facts that match the filter.
#[derive(Serialize, ToSchema)]
#[schema(as = Facet)]
struct FacetAnswer {
    /// The most frequent ones. A fact whose field is a list counts for each of its elements.
    #[schema(max_items = 100)]
    values: Vec<FacetValueAnswer>,
    /// How many different values there are.
    #[schema(minimum = 0)]
    distinct: u64,
}

/// A value of a field, and how many facts have it.
#[derive(Serialize, ToSchema)]
#[schema(as = FacetValue)]
struct FacetValueAnswer {
    #[schema(value_type = Scalar)]
    value: Value,
    #[schema(minimum = 1)]
    count: u64,
}

/// A fact that a search found.
#[derive(Serialize, ToSchema)]
struct Hit {
    #[schema(value_type = FactId)]
    id: String,
    /// The same as `id`.
    #[schema(value_type = FactId)]
    doc_id: String,
    content: String,
    #[schema(value_type = Metadata)]
    metadata: Box<RawValue>,
    /// Larger is better; comparable within one answer only.
    score: f64,
    /// Cosine similarity of the query's vector and the fact's. Left out if one of them has none:
    /// in a text search, while the embedder fails, and until the fact is embedded.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = -1, maximum = 1)]
    similarity: Option<f64>,
    /// How likely the fact answers the query, from 0 to 1; comparable between answers.
    #[schema(minimum = 0, maximum = 1)]
    relevance: f64,
    /// Passages of `content` with words of the query, in their order; only on request.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, max_items = 3)]
    highlights: Option<Vec<HighlightAnswer>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Explanation>, nullable = false)]
    explain: Option<Map<String, Value>>,
}

/// A passage of a hit's content. Places count characters (Unicode code points) from 0.
#[derive(Serialize, ToSchema)]
#[schema(as = Highlight)]
struct HighlightAnswer {
    /// The passage, at most 200 characters.
    text: String,
    /// Where it begins in `content`.
    #[schema(minimum = 0)]
    start: u64,
    /// Words of the query in `text`, in their order; empty if it has none.
    matches: Vec<MatchAnswer>,
}

/// A word of the query in a passage.
#[derive(Serialize, ToSchema)]
#[schema(as = Match)]
struct MatchAnswer {
    /// The place of its first character.
    #[schema(minimum = 0)]
    start: u64,
    /// The place behind its last character.
    #[schema(minimum = 1)]
    end: u64,
}

/// What each half of the search said of the hit; a half that did not find it is left out.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what the built-in logic names; another may name more")]
pub(in crate::http) struct Explanation {
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

impl SearchAnswer {
    /// What was found, `withheld` facts less, in a search that began at `begun`.
    pub(super) fn new(found: Found, withheld: u64, begun: Instant) -> Result<Self, Error> {
        let Found { hits, degraded, facets, next_cursor } = found;
        let results: Result<_, Error> = hits.into_iter().map(Hit::try_from).collect();
        let facets = facets.into_iter().map(|(field, facet)| (field, FacetAnswer::from(facet)));
        let facets: BTreeMap<_, _> = facets.collect();
        let facets = (!facets.is_empty()).then_some(facets);
        let took_ms = (begun.elapsed().as_secs_f64() * 1e6).round() / 1e3;
        Ok(Self { results: results?, degraded, withheld, facets, next_cursor, took_ms })
    }
}

impl From<Facet> for FacetAnswer {
    fn from(facet: Facet) -> Self {
        let value = |FacetValue { value, count }| FacetValueAnswer { value, count };
        let values = facet.values.into_iter().map(value).collect();
        Self { values, distinct: facet.distinct as u64 }
    }
}

impl From<Highlight> for HighlightAnswer {
    fn from(highlight: Highlight) -> Self {
        let range = |(start, end)| MatchAnswer { start: start as u64, end: end as u64 };
        let matches = highlight.matches.into_iter().map(range).collect();
        Self { text: highlight.text, start: highlight.start as u64, matches }
    }
}

impl TryFrom<FoundHit> for Hit {
    type Error = Error;

    fn try_from(found: FoundHit) -> Result<Self, Error> {
        let FoundHit { hit, similarity, relevance, highlights } = found;
        let highlights = highlights.map(|all| all.into_iter().map(HighlightAnswer::from).collect());
        Ok(Self {
            similarity,
            relevance,
            highlights,
            id: hit.fact.id.clone(),
            doc_id: hit.fact.id,
            content: hit.fact.text,
            metadata: object(hit.fact.metadata)?,
            score: hit.score,
            explain: hit.explanation.map(explain),
        })
    }
}

/// What each half said, by its name.
pub(in crate::http) fn explain(explanation: wit::Explanation) -> Map<String, Value> {
    let legs = explanation.legs.into_iter().map(|leg| {
        let wit::Leg { name, rank, score, share } = leg;
        (name, json!(Leg { rank, score, share }))
    });
    legs.collect()
}
