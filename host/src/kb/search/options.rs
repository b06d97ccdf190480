//! What a search is asked for, beyond what the logic is asked.

use std::sync::Arc;

use kenning_runtime::wit::Query;
use kenning_runtime::{ExtensionOptions, RequestContext};

/// The least hits that the logic is asked for when the host chooses among them.
const POOL: usize = 100;

/// How many times the wanted hits it is asked for then, if that is more.
const POOL_PER_HIT: usize = 2;

/// A search: the query for the logic, and what the host does with the hits.
#[derive(Clone, Debug)]
pub struct Search {
    /// What the logic is asked.
    pub query: Query,
    /// What the host does.
    pub options: Options,
}

/// What the host does with the logic's hits.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Hits of a lower relevance are left out; 0 to 1.
    pub min_relevance: Option<f64>,
    /// How much a hit that repeats another loses; 0 (nothing) to 1.
    pub diversity: f64,
    /// How much old facts lose.
    pub recency: Option<Recency>,
    /// The metadata fields whose values are counted.
    pub facets: Vec<String>,
    /// Whether each hit has passages with the query's words.
    pub highlights: bool,
    /// The query's vector, in a tenant whose callers give them.
    pub vector: Option<Vec<f32>>,
    /// Where the page begins, as an earlier answer said.
    pub cursor: Option<String>,
    /// What the request says to single extensions.
    pub extensions: ExtensionOptions,
}

/// How much old facts lose.
#[derive(Clone, Debug, PartialEq)]
pub struct Recency {
    /// After so many seconds, half of the freshness is left.
    pub half_life: f64,
    /// The metadata field that holds the fact's time; `None` for when the fact was stored.
    pub field: Option<String>,
    /// What a fact without any freshness loses, 0 (nothing) to 1 (everything).
    pub weight: f64,
}

impl From<Query> for Search {
    fn from(query: Query) -> Self {
        Self { query, options: Options::default() }
    }
}

impl Search {
    /// The request as the guests of this search may know it.
    pub(in crate::kb) fn asked(&self, request: RequestContext) -> RequestContext {
        let query = Some(Arc::new(self.query.clone()));
        RequestContext { query, options: self.options.extensions.clone(), ..request }
    }

    /// Bytes of text in the request.
    pub(in crate::kb) fn bytes(&self) -> usize {
        let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let Options { facets, cursor, recency, vector, extensions, .. } = &self.options;
        let extensions = extensions.iter().map(|(name, options)| name.len() + options.len());
        let field = recency.as_ref().map_or(0, |recency| length(&recency.field));
        let facets: usize = facets.iter().map(String::len).sum();
        let vector = vector.as_ref().map_or(0, |vector| size_of_val(&vector[..]));
        vector
            + self.query.text.len()
            + length(&self.query.filter)
            + facets
            + length(cursor)
            + field
            + extensions.sum::<usize>()
    }
}

impl Options {
    /// How many hits to ask the logic for, so that `wanted` can be chosen among them.
    pub(super) fn depth(&self, wanted: usize) -> usize {
        if self.chooses() {
            return POOL.max(wanted.saturating_mul(POOL_PER_HIT));
        }
        // One more tells whether there is another page. The first page does without it: its hits
        // are then the same whether or not anyone turns it.
        wanted + usize::from(self.cursor.is_some())
    }

    /// Whether the order or the choice of hits is not the logic's.
    fn chooses(&self) -> bool {
        self.min_relevance.is_some() || self.diversity > 0.0 || self.recency.is_some()
    }
}
