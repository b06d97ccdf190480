//! Every limit that this crate enforces.

/// Maximum number of dimensions of a vector.
///
/// Far above current models (384 to 4,096), and far below 2^31 / 127^2 = 133,144, where the
/// 32-bit sums of 8-bit products could overflow.
pub const DIMENSIONS: usize = 8_192;

/// Maximum number of facts in one index: slots and positions are stored in 32 bits.
pub const FACTS: usize = 1 << 24;

/// Number of recent removals that an index remembers, so that an older upsert that arrives late
/// does not restore a removed fact.
///
/// A removal must be remembered for as long as an upsert that began before it can still be in
/// flight: one embedding call, 10 s. The embedded storage acknowledges at most about 8,000
/// durable writes per second, so this covers 8 s of removals only, at full speed. Each takes
/// about 150 bytes, 10 MB in total.
pub const REMOVALS: usize = 65_536;

/// Maximum number of characters of a term. Longer words are truncated, in facts and queries alike,
/// so a long hash is still found, and an extremely long word takes no more memory than others.
pub const TERM_CHARS: usize = 64;

/// Maximum number of distinct terms of a query; further ones are ignored. Bounds the work of one
/// query.
pub const QUERY_TERMS: usize = 1_024;

/// Maximum nesting depth of AND, OR and NOT in a filter.
pub const FILTER_DEPTH: usize = 16;

/// Maximum number of conditions in a filter. Each costs at most one pass over all facts.
pub const FILTER_CONDITIONS: usize = 256;

/// Maximum number of conditions with `contains` or `icontains` in a filter. Each tests every
/// distinct text of its field, which can cost a hundred times as much as another condition.
pub const FILTER_SCANS: usize = 16;

/// Maximum number of values in the list of one `in` or `nin`.
pub const FILTER_VALUES: usize = 1_024;

/// Maximum length of the JSON pointer in a [`FilterError`](crate::FilterError), in bytes. A longer
/// pointer is cut to an enclosing value, so that an extremely long name does not bloat the error.
pub const FILTER_POINTER_BYTES: usize = 1_024;

/// Maximum nesting depth of objects and lists in metadata, as enforced by the JSON parser.
pub const METADATA_DEPTH: usize = 127;

/// Vectors per chunk of memory: growing copies at most one chunk, 2 MB at 384 dimensions.
pub(crate) const CHUNK_ROWS: usize = 1_024;

const _: () = assert!(DIMENSIONS * 127 * 127 < i32::MAX as usize);
const _: () = assert!(FACTS < u32::MAX as usize);
