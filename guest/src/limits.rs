//! Every number the logic knows, with its unit and where it comes from.

/// A limit that a caller can meet, under the name the documentation gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// As in the documentation.
    pub name: &'static str,
    /// The most that is allowed.
    pub allowed: u64,
}

impl Limit {
    const fn new(name: &'static str, allowed: u64) -> Self {
        Self { name, allowed }
    }

    /// An error if `used` is more than this limit allows.
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
/// Facts in one call, and so in one round trip to storage or to the embedder.
pub const FACTS_PER_CALL: Limit = Limit::new("facts_per_call", 100);
/// Bytes of ASCII in a fact's id.
pub const FACT_ID_BYTES: usize = 128;
/// The most facts a page of a listing can be asked to hold.
pub const PAGE_FACTS: u32 = 1_000;
/// The most hits a search can be asked for.
pub const TOP_K: u32 = 1_000;

/// Ids in the first page of a listing that looks for a text. Later pages double up to
/// [`PAGE_FACTS`]: most such listings end early, and the others should not page often.
pub const FIRST_SCAN_IDS: u32 = 100;

/// How often a listing that must end inside a page of storage asks for a smaller one, when
/// facts are stored and deleted meanwhile.
pub const LISTING_ENDS: u32 = 4;
/// How often it begins such a page at all, when none of those ends it.
pub const LISTING_TRIES: u32 = 3;

/// Candidates asked of each half of a hybrid search, for each hit that is wanted. A fact
/// that only one half would have in its first `top_k` can still win through both.
pub const POOL_PER_HIT: u32 = 4;
/// The fewest candidates of each half of a hybrid search, so that the mean and spread
/// its scores are standardised with mean something.
pub const POOL_LEAST: u32 = 50;
/// The most candidates of each half.
pub const POOL_MOST: u32 = 1_000;
/// Candidates beyond `top_k` when one half is asked alone: they stand in for facts that
/// were deleted since the index saw them.
pub const SPARE_CANDIDATES: u32 = 10;

/// The k of reciprocal rank fusion: Cormack, Clarke and Büttcher, "Reciprocal Rank
/// Fusion outperforms Condorcet and individual Rank Learning Methods", SIGIR 2009.
pub const RANK_FUSION_K: f64 = 60.0;
/// What the vector half weighs against the text half's 0.3, when scores are fused.
/// Measured over nine judged sets with all-MiniLM-L6-v2 and plain BM25.
pub const VECTOR_WEIGHT: f64 = 0.7;

/// The part of `remaining.bytes` that an answer or an argument is planned for, as a
/// fraction. The rest is for what the plan's estimate leaves out.
pub const PLANNED_BYTES: (u64, u64) = (3, 4);
/// What a fact takes besides its strings: its records, lists, and field names.
pub const FACT_OVERHEAD_BYTES: usize = 384;
/// What one half's part of an explanation takes.
pub const EXPLAINED_LEG_BYTES: usize = 64;
/// Under this percentage of the fuel a call began with, it answers with what it has.
pub const LOW_FUEL_PERCENT: u64 = 15;
/// Under this time, too; or under a quarter of the time the call began with.
pub const LOW_MILLISECONDS: u64 = 250;
/// Under this number of host calls, too: what is begun takes a page, a read, a look at the
/// budget, and up to [`LISTING_ENDS`] pages to end.
pub const LOW_HOST_CALLS: u32 = 8;

const _: () = assert!(POOL_LEAST <= POOL_MOST && TOP_K <= POOL_MOST);
const _: () = assert!(LISTING_ENDS + 3 < LOW_HOST_CALLS);
const _: () = assert!(FIRST_SCAN_IDS <= PAGE_FACTS && TOP_K + SPARE_CANDIDATES <= 10_000);
