//! Every number this crate enforces, in one place.

/// Most dimensions a vector may have.
///
/// Far above today's models (384 to 4,096), and far below 2^31 / 127^2 = 133,144, where the
/// 32-bit sums of 8-bit products could overflow.
pub const DIMENSIONS: usize = 8_192;

/// Most facts one index holds: slots and places are kept in 32 bits.
pub const FACTS: usize = 1 << 24;

/// Removals an index remembers, so that a late, older upsert does not bring a fact back.
///
/// A removal has to be remembered for as long as an upsert that began before it can still be
/// under way: one embedding call, 10 s. The embedded storage acknowledges at most about 8,000
/// durable writes a second, so this covers 8 s of nothing but removals at full speed. Costs
/// about 150 bytes each, 10 MB at most.
pub const REMOVALS: usize = 65_536;

/// Characters of one word that count. The rest of a longer word is cut, in facts and queries
/// alike, so a hash is found by its beginning and a hostile word costs nothing.
pub const WORD_CHARS: usize = 64;

/// Different words of one query that count: the first ones. Bounds the work of one query.
pub const QUERY_WORDS: usize = 1_024;

/// AND, OR and NOT inside each other in one filter.
pub const FILTER_DEPTH: usize = 16;

/// Conditions in one filter. Each costs at most writing down every fact once.
pub const FILTER_CONDITIONS: usize = 256;

/// Conditions with `contains` or `icontains` in one filter. Each looks through every text of its
/// field, a hundred times the cost of another condition when all texts are different.
pub const FILTER_SCANS: usize = 16;

/// Values in the list of one `in` or `nin`.
pub const FILTER_VALUES: usize = 1_024;

/// The pointer into a filter that a refusal gives: about what it may take. A longer one is cut to
/// the place around, so that a hostile name does not fill the answer.
pub const FILTER_POINTER_BYTES: usize = 1_024;

/// Objects and lists inside each other in metadata, as the JSON parser has it.
pub const METADATA_DEPTH: usize = 127;

/// Vectors in one block of memory: growing copies at most one block, 2 MB at 384 dimensions.
pub(crate) const CHUNK_ROWS: usize = 1_024;

const _: () = assert!(DIMENSIONS * 127 * 127 < i32::MAX as usize);
const _: () = assert!(FACTS < u32::MAX as usize);
