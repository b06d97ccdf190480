//! What a search is asked for.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::span::Span;
use crate::http::openapi::{HalfLife, TopK, WholeFilter};
use crate::http::whole::Whole;
use crate::kb::{Options, Recency, Search};
use kenning_core::error::Error;
use kenning_core::limits::Limits;
use kenning_runtime::ExtensionOptions;
use kenning_runtime::wit::{Fusion, Mode, Query};

/// How much a fact without any freshness loses if the request does not say.
const RECENCY_WEIGHT: f64 = 0.5;

/// The name of a fact's own time in filters.
const TIMESTAMP: &str = "$timestamp";

const TOP_K: i64 = 10;

/// The text of a query that has a vector alone, as extensions see it.
const VECTOR_ALONE: &str = "(vector)";

/// What to search for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = Query)]
pub(crate) struct Request {
    /// What is searched for, in words. Not blank; at most 65,536 bytes of UTF-8. Required, except
    /// with `vector`, which alone is a search by meaning.
    #[schema(min_length = 1, max_length = 65536, pattern = r"\S")]
    query: Option<String>,
    /// The vector to search near, in a tenant that was created with the embedder `given`: as many
    /// finite numbers as its `dimensions`, of any length but zero.
    #[schema(min_items = 1, max_items = 4096)]
    vector: Option<Vec<f32>>,
    /// How many hits at most.
    #[schema(value_type = Option<TopK>)]
    top_k: Option<Whole>,
    #[serde(default)]
    mode: ModeWord,
    #[serde(default)]
    fusion: FusionWord,
    #[schema(value_type = WholeFilter, required = false)]
    filter: Option<Box<RawValue>>,
    /// Whether each hit explains its rank; false if left out.
    #[serde(default)]
    explain: bool,
    /// Leaves out hits of a lower `relevance`, so that an answer to a question that no fact
    /// answers is empty. 0 to 1; nothing is left out without it.
    #[schema(minimum = 0, maximum = 1)]
    min_relevance: Option<f64>,
    /// How much a hit loses that repeats a better one: 0 (nothing) to 1; 0 if left out.
    #[schema(minimum = 0, maximum = 1)]
    diversity: Option<f64>,
    recency: Option<RecencyRequest>,
    /// Metadata fields, named as in a filter, whose values are counted over all facts that match
    /// the filter. Not available where an extension decides what is read of a fact.
    #[schema(max_items = 10)]
    facets: Option<Vec<String>>,
    /// Whether each hit has `highlights`; false if left out.
    #[serde(default)]
    highlights: bool,
    /// `next_cursor` of the page before; the search must be the same, but for `top_k`, `explain`,
    /// `facets` and `highlights`.
    #[schema(max_length = 16384)]
    cursor: Option<String>,
    /// Options for the tenant's extensions, by their names: what each takes is its author's choice.
    /// At most 16,384 bytes as JSON.
    #[serde(default)]
    #[schema(value_type = Option<BTreeMap<String, Value>>)]
    extension_options: Option<BTreeMap<String, Box<RawValue>>>,
}

/// How much older facts lose. A hit keeps `1 - weight * (1 - freshness)` of its score, where the
/// freshness is 1 for a new fact and halves with each half-life. A fact without a time has none.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = Recency)]
struct RecencyRequest {
    #[schema(required, nullable = false, value_type = HalfLife)]
    half_life: Option<Span>,
    /// The metadata field that holds the fact's time, named as in a filter; when the fact was
    /// stored if left out.
    field: Option<String>,
    /// How much a fact without any freshness loses: 0 (nothing) to 1 (everything); 0.5 if left out.
    #[schema(minimum = 0, maximum = 1)]
    weight: Option<f64>,
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
    /// The search, if it is within the limits.
    ///
    /// # Errors
    /// Names the member that is missing or out of its range.
    pub(crate) fn into_search(self, limits: &Limits) -> Result<Search, Error> {
        let options = self.options(limits)?;
        Ok(Search { query: self.into_query(limits)?, options })
    }

    fn options(&self, limits: &Limits) -> Result<Options, Error> {
        let facets = self.facets.clone().unwrap_or_default();
        if facets.len() > limits.search_facets {
            let (allowed, used) = (limits.search_facets as u64, facets.len() as u64);
            return Err(Error::too_large("search_facets", allowed, used));
        }
        let recency = self.recency.as_ref().map(RecencyRequest::read).transpose()?;
        Ok(Options {
            min_relevance: fraction("/min_relevance", self.min_relevance)?,
            diversity: fraction("/diversity", self.diversity)?.unwrap_or(0.0),
            recency,
            facets,
            highlights: self.highlights,
            vector: self.vector.clone(),
            cursor: self.cursor.clone(),
            extensions: self.extension_options(limits)?,
        })
    }

    fn extension_options(&self, limits: &Limits) -> Result<ExtensionOptions, Error> {
        let options = self.extension_options.iter().flatten();
        let options: BTreeMap<String, String> =
            options.map(|(name, options)| (name.clone(), options.get().to_string())).collect();
        let used: usize = options.iter().map(|(name, text)| name.len() + text.len()).sum();
        if used > limits.extension_option_bytes {
            let allowed = limits.extension_option_bytes as u64;
            return Err(Error::too_large("extension_option_bytes", allowed, used as u64));
        }
        Ok(options.into())
    }

    fn into_query(self, limits: &Limits) -> Result<Query, Error> {
        let (text, mode) = match (self.query, self.mode, &self.vector) {
            (Some(text), mode, _) => (text, mode),
            // The contract has no query without a text.
            (None, ModeWord::Hybrid | ModeWord::Vector, Some(_)) => {
                (VECTOR_ALONE.to_owned(), ModeWord::Vector)
            }
            (None, ..) => return Err(Error::invalid("/query", "query is required")),
        };
        if text.len() > limits.query_bytes {
            let (allowed, used) = (limits.query_bytes as u64, text.len() as u64);
            return Err(Error::too_large("query_bytes", allowed, used));
        }
        let most = limits.search_hits as i64;
        let top_k = self.top_k.map_or(TOP_K.min(most), |whole| whole.0);
        if !(1..=most).contains(&top_k) {
            let message = format!("top_k is a whole number from 1 to {most}");
            return Err(Error::invalid("/top_k", message));
        }
        Ok(Query {
            text,
            top_k: top_k as u32,
            mode: match mode {
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

impl RecencyRequest {
    fn read(&self) -> Result<Recency, Error> {
        let half_life = self.half_life.ok_or_else(|| {
            Error::invalid("/recency/half_life", "half_life is required, such as \"7d\"")
        })?;
        let weight = fraction("/recency/weight", self.weight)?.unwrap_or(RECENCY_WEIGHT);
        // The fact's own time has this name in filters.
        let field = self.field.clone().filter(|field| field != TIMESTAMP);
        Ok(Recency { half_life: half_life.seconds(), field, weight })
    }
}

/// A number from 0 to 1.
fn fraction(pointer: &str, given: Option<f64>) -> Result<Option<f64>, Error> {
    match given {
        Some(number) if !(0.0..=1.0).contains(&number) => {
            let name = pointer.rsplit('/').next().unwrap_or_default();
            Err(Error::invalid(pointer, format!("{name} is a number from 0 to 1")))
        }
        _ => Ok(given),
    }
}
