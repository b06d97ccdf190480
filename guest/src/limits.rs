//! Every constant of the logic, with its unit and its origin.

/// A limit that a caller can exceed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Its name in the documentation.
    pub name: &'static str,
    /// The maximum.
    pub allowed: u64,
}

impl Limit {
    const fn new(name: &'static str, allowed: u64) -> Self {
        Self { name, allowed }
    }

    /// Checks `used` against this limit.
    ///
    /// # Errors
    /// [`Error::TooLarge`](crate::Error::TooLarge) if `used` exceeds it.
    pub fn check(self, used: usize) -> crate::Result<()> {
        if used as u64 > self.allowed {
            return Err(crate::Error::too_large(self, used));
        }
        Ok(())
    }
}

/// Bytes of UTF-8 in a fact's text.
pub const FACT_TEXT_BYTES: Limit = Limit::new("fact_text_bytes", 256 * 1024);
/// Bytes of JSON text in a fact's metadata.
pub const FACT_METADATA_BYTES: Limit = Limit::new("fact_metadata_bytes", 64 * 1024);
/// Facts in one call, and therefore in one round trip to storage or the embedder.
pub const FACTS_PER_CALL: Limit = Limit::new("facts_per_call", 100);
/// Bytes of ASCII in a fact's id.
pub const FACT_ID_BYTES: usize = 128;
/// Maximum number of facts in one page of a listing.
pub const PAGE_FACTS: u32 = 1_000;
/// Maximum number of hits of one search.
pub const TOP_K: u32 = 1_000;

/// Ids in the first storage page of a listing that looks for a text. Later pages double in
/// size up to [`PAGE_FACTS`]: most such listings end early, and long ones need few pages.
pub const FIRST_SCAN_IDS: u32 = 100;

/// How many smaller storage pages a listing requests to find an end inside a storage page
/// while facts are stored and deleted.
pub const PAGE_END_ATTEMPTS: u32 = 4;
/// How often a listing starts such a page before it gives up.
pub const PAGE_ATTEMPTS: u32 = 3;

/// Candidates requested from each retriever of a hybrid search, per requested hit. A fact
/// that only one retriever ranks within `top_k` can still win by its sum.
pub const POOL_PER_HIT: u32 = 4;
/// Minimum number of candidates from each retriever of a hybrid search. The spread by which scores
/// are standardised is that of so many of the best of each: with fewer it would be unreliable.
pub const POOL_MIN: u32 = 50;
/// Maximum number of candidates from each retriever.
pub const POOL_MAX: u32 = 1_000;
/// Candidates beyond `top_k` when only one retriever is asked. They replace facts that were
/// deleted but are still in the index.
pub const SPARE_CANDIDATES: u32 = 10;

/// The k of reciprocal rank fusion: Cormack, Clarke and Büttcher, "Reciprocal Rank
/// Fusion outperforms Condorcet and individual Rank Learning Methods", SIGIR 2009.
pub const RANK_FUSION_K: f64 = 60.0;
/// Weight of the vector retriever when scores are fused; the text retriever has the rest.
/// `docs/SEARCH.md` says on what the weights were tuned, and how much each matters.
pub const VECTOR_WEIGHT: f64 = 0.65;
/// If the fact with the most words of the query has less than this share of their weight, the text
/// scores count less. Of questions in other words than the facts', the best has 0.1 to 0.3, of
/// others mostly 0.4 to 1.
pub const TRUSTED_COVERAGE: f64 = 0.4;
/// What a fact gains that has all words of the query. Shares are in weighted standard deviations,
/// of which the best candidate has 2 to 4.
pub const COVERAGE_WEIGHT: f64 = 0.6;
/// What it gains in addition if no other fact has one of them: enough to outdo any similarity.
pub const EXACT_WEIGHT: f64 = 3.0;
/// A fact that alone has a word of the query is among so many first hits: as many as people and
/// agents usually look at.
pub const EXACT_RANK: usize = 10;
/// Maximum number of facts that are moved there. On judged sets, 1 to 3 make no difference.
pub const EXACT_KEPT: usize = 2;

/// The fraction of `remaining.bytes` that a result or an argument list is planned to use.
/// The rest is a margin for what the size estimates ignore.
pub const PLANNED_BYTES: (u64, u64) = (3, 4);
/// Bytes of a fact besides its strings: its records, lists, and field names.
pub const FACT_OVERHEAD_BYTES: usize = 384;
/// Bytes of one contribution in an explanation.
pub const CONTRIBUTION_BYTES: usize = 64;
/// A call returns what it has once less than this percentage of its initial fuel is left.
pub const LOW_FUEL_PERCENT: u64 = 15;
/// The same for time: less than this, or less than a quarter of the initial time if that is
/// shorter.
pub const LOW_MILLISECONDS: u64 = 250;
/// The same for host calls. One more step of a listing takes a page, a read, a check of the
/// budget, and up to [`PAGE_END_ATTEMPTS`] pages to find its end.
pub const LOW_HOST_CALLS: u32 = 8;

const _: () = assert!(POOL_MIN <= POOL_MAX && TOP_K <= POOL_MAX);
const _: () = assert!(EXACT_KEPT <= EXACT_RANK);
const _: () = assert!(PAGE_END_ATTEMPTS + 3 < LOW_HOST_CALLS);
const _: () = assert!(FIRST_SCAN_IDS <= PAGE_FACTS && TOP_K + SPARE_CANDIDATES <= 10_000);
