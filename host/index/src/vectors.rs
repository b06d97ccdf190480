//! Exact nearest-neighbour search over the vectors of the facts.
//!
//! A query is compared with every vector: first with the 8-bit copies, which reads a quarter of
//! the memory, then in full precision with only those vectors whose bounds allow them to be in the
//! result. The bounds are proven, so the result equals that of a full-precision scan, ties
//! included; the cost is that many near-equal vectors are all compared twice. No index has to be
//! built or trained, and a removal moves one row. Beyond about 100,000 vectors a graph index such
//! as HNSW answers queries faster, at a hundred times the cost of a write.

use fixedbitset::FixedBitSet;

use crate::error::IndexError;
use crate::kernels::{Block, Codes, Kernel};
use crate::limits::CHUNK_ROWS;
use crate::quantized::{Lane, Quantization, QuantizedVector, cosine};
use crate::top_k::Scored;

/// Marks a slot without a vector in `Vectors::rows`.
const NO_ROW: u32 = u32::MAX;

/// One row per vector, without gaps, in chunks so that growing never copies much.
#[derive(Debug)]
pub(crate) struct Vectors {
    dimensions: Option<usize>,
    /// The row of each slot, or [`NO_ROW`].
    rows: Vec<u32>,
    chunks: Vec<Chunk>,
    count: usize,
    kernel: Kernel,
}

/// Up to [`CHUNK_ROWS`] rows, stored column-wise. Only the last chunk may have fewer.
#[derive(Debug, Default)]
struct Chunk {
    codes: Vec<Block>,
    lanes: Vec<Lane>,
    quantizations: Vec<Quantization>,
    slots: Vec<u32>,
}

/// A row that may be in the result, with the bounds of its cosine.
struct Bounded {
    row: u32,
    lower: f32,
    upper: f32,
}

impl Vectors {
    pub(crate) fn new(dimensions: Option<usize>) -> Self {
        let kernel = Kernel::best();
        Self { dimensions, rows: Vec::new(), chunks: Vec::new(), count: 0, kernel }
    }

    /// Number of vectors.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// # Errors
    /// Fails if `vector` has another number of dimensions than the stored vectors.
    pub(crate) fn check_dimensions(&self, vector: &QuantizedVector) -> Result<(), IndexError> {
        match self.dimensions {
            Some(expected) if expected != vector.dimensions => {
                Err(IndexError::Dimensions { expected, got: vector.dimensions })
            }
            _ => Ok(()),
        }
    }

    /// Adds a slot without a vector.
    pub(crate) fn push(&mut self) {
        self.rows.push(NO_ROW);
    }

    /// Sets or replaces the vector of `slot`. The caller has called `check_dimensions`.
    pub(crate) fn set(&mut self, slot: u32, vector: &QuantizedVector) {
        self.dimensions = Some(vector.dimensions);
        let row = self.rows[slot as usize];
        if row != NO_ROW {
            let (chunk, at) = position(row);
            self.chunks[chunk].replace(at, vector);
            return;
        }
        if self.count == self.chunks.len() * CHUNK_ROWS {
            self.chunks.push(Chunk::default());
        }
        if let Some(chunk) = self.chunks.last_mut() {
            chunk.push(slot, vector);
        }
        self.rows[slot as usize] = self.count as u32;
        self.count += 1;
    }

    pub(crate) fn has(&self, slot: u32) -> bool {
        self.rows[slot as usize] != NO_ROW
    }

    /// Takes the vector of `slot` away, if it has one. The last row moves to its place.
    pub(crate) fn unset(&mut self, slot: u32) {
        let row = std::mem::replace(&mut self.rows[slot as usize], NO_ROW);
        if row == NO_ROW {
            return;
        }
        let Some((moved, vector)) = self.pop() else {
            return;
        };
        if moved != slot {
            let (chunk, at) = position(row);
            self.chunks[chunk].slots[at] = moved;
            self.chunks[chunk].replace(at, &vector);
            self.rows[moved as usize] = row;
        }
    }

    /// Removes `slot`; the last slot takes its number.
    pub(crate) fn swap_remove(&mut self, slot: u32) {
        self.unset(slot);
        self.rows.swap_remove(slot as usize);
        let Some(&row) = self.rows.get(slot as usize) else {
            return;
        };
        if row != NO_ROW {
            let (chunk, at) = position(row);
            self.chunks[chunk].slots[at] = slot;
        }
    }

    fn pop(&mut self) -> Option<(u32, QuantizedVector)> {
        let chunk = self.chunks.last_mut()?;
        let popped = chunk.pop(self.dimensions?)?;
        self.count -= 1;
        if chunk.slots.is_empty() {
            self.chunks.pop();
        }
        Some(popped)
    }

    /// A superset of the `limit` slots with the highest cosine, each with its exact cosine, in no
    /// order.
    ///
    /// It holds at least `limit` slots, if there are as many, and every slot that ties with the
    /// last of them. If `allowed` is given, other slots are skipped.
    pub(crate) fn nearest(
        &self,
        query: &QuantizedVector,
        allowed: Option<&FixedBitSet>,
        limit: usize,
    ) -> Vec<Scored> {
        if limit == 0 {
            return Vec::new();
        }
        let mut shortlist = Shortlist::new(limit);
        match allowed {
            Some(allowed) if allowed.count_ones(..) < self.count / 3 => {
                self.scan_selected(query, allowed, &mut shortlist);
            }
            _ => self.scan(query, allowed, &mut shortlist),
        }
        self.rescore(query, shortlist.into_rows(), limit)
    }

    fn scan(
        &self,
        query: &QuantizedVector,
        allowed: Option<&FixedBitSet>,
        shortlist: &mut Shortlist,
    ) {
        let allows = |slot: u32| allowed.is_none_or(|allowed| allowed.contains(slot as usize));
        let mut products = [0; CHUNK_ROWS];
        for (number, chunk) in self.chunks.iter().enumerate() {
            let products = &mut products[..chunk.slots.len()];
            self.kernel.multiply(&query.codes, &chunk.codes, products);
            let first = (number * CHUNK_ROWS) as u32;
            for ((at, &product), &quantization) in
                products.iter().enumerate().zip(&chunk.quantizations)
            {
                if allows(chunk.slots[at]) {
                    let (lower, upper) = query.bounds(product, quantization);
                    shortlist.push(first + at as u32, lower, upper);
                }
            }
        }
    }

    /// Scans the rows of `allowed` one by one, which takes about three times as long per row.
    fn scan_selected(
        &self,
        query: &QuantizedVector,
        allowed: &FixedBitSet,
        shortlist: &mut Shortlist,
    ) {
        let stride = query.codes.blocks().len();
        let mut product = [0];
        for slot in allowed.ones() {
            let row = self.rows[slot];
            if row == NO_ROW {
                continue;
            }
            let (chunk, at) = position(row);
            let chunk = &self.chunks[chunk];
            let codes = &chunk.codes[at * stride..][..stride];
            self.kernel.multiply(&query.codes, codes, &mut product);
            let (lower, upper) = query.bounds(product[0], chunk.quantizations[at]);
            shortlist.push(row, lower, upper);
        }
    }

    /// Computes exact cosines: first for the `limit` rows with the highest upper bounds, whose
    /// lowest cosine then rules out most of the other rows.
    fn rescore(
        &self,
        query: &QuantizedVector,
        mut rows: Vec<Bounded>,
        limit: usize,
    ) -> Vec<Scored> {
        if rows.len() <= limit {
            return rows.iter().map(|bounded| self.exact(query, bounded.row)).collect();
        }
        rows.select_nth_unstable_by(limit - 1, |l, r| r.upper.total_cmp(&l.upper));
        let (first, rest) = rows.split_at(limit);
        let mut found: Vec<_> = first.iter().map(|b| self.exact(query, b.row)).collect();
        let threshold = found.iter().fold(f32::INFINITY, |lowest, scored| lowest.min(scored.score));
        let reaching = rest.iter().filter(|bounded| bounded.upper >= threshold);
        found.extend(reaching.map(|bounded| self.exact(query, bounded.row)));
        found
    }

    fn exact(&self, query: &QuantizedVector, row: u32) -> Scored {
        let stride = query.lanes.len();
        let (chunk, at) = position(row);
        let chunk = &self.chunks[chunk];
        let score = cosine(&query.lanes, &chunk.lanes[at * stride..][..stride]);
        Scored { score, slot: chunk.slots[at] }
    }

    /// Approximate memory use, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let chunks: usize = self.chunks.iter().map(Chunk::bytes).sum();
        chunks + self.rows.capacity() * size_of::<u32>()
    }
}

/// The chunk of a row, and the row's index in that chunk.
fn position(row: u32) -> (usize, usize) {
    (row as usize / CHUNK_ROWS, row as usize % CHUNK_ROWS)
}

impl Chunk {
    fn push(&mut self, slot: u32, vector: &QuantizedVector) {
        self.codes.extend_from_slice(vector.codes.blocks());
        self.lanes.extend_from_slice(&vector.lanes);
        self.quantizations.push(vector.quantization);
        self.slots.push(slot);
    }

    fn replace(&mut self, at: usize, vector: &QuantizedVector) {
        let (codes, lanes) = (vector.codes.blocks().len(), vector.lanes.len());
        self.codes[at * codes..][..codes].copy_from_slice(vector.codes.blocks());
        self.lanes[at * lanes..][..lanes].copy_from_slice(&vector.lanes);
        self.quantizations[at] = vector.quantization;
    }

    fn pop(&mut self, dimensions: usize) -> Option<(u32, QuantizedVector)> {
        let (slot, quantization) = (self.slots.pop()?, self.quantizations.pop()?);
        let rows = self.slots.len();
        let codes = self.codes.split_off(self.codes.len() / (rows + 1) * rows);
        let lanes = self.lanes.split_off(self.lanes.len() / (rows + 1) * rows);
        Some((slot, QuantizedVector { dimensions, lanes, codes: Codes::new(codes), quantization }))
    }

    fn bytes(&self) -> usize {
        self.codes.capacity() * size_of::<Block>()
            + self.lanes.capacity() * size_of::<Lane>()
            + self.quantizations.capacity() * size_of::<Quantization>()
            + self.slots.capacity() * size_of::<u32>()
    }
}

/// The rows that may still be among the `limit` nearest during a scan.
///
/// The threshold is the `limit`-th highest *lower* bound so far: if the upper bound of a row is
/// below it, at least `limit` rows have a higher cosine.
struct Shortlist {
    limit: usize,
    threshold: f32,
    rows: Vec<Bounded>,
    /// Number of rows at which the next cut is made.
    capacity: usize,
}

impl Shortlist {
    fn new(limit: usize) -> Self {
        let capacity = limit.saturating_mul(2).max(256);
        Self { limit, threshold: f32::NEG_INFINITY, rows: Vec::new(), capacity }
    }

    #[inline]
    fn push(&mut self, row: u32, lower: f32, upper: f32) {
        if upper >= self.threshold {
            self.rows.push(Bounded { row, lower, upper });
            if self.rows.len() >= self.capacity {
                self.cut();
                // A cut may remove no row if all are nearly equal; doubling keeps the total cost
                // of the cuts linear in the number of rows.
                self.capacity = self.capacity.max(self.rows.len().saturating_mul(2));
            }
        }
    }

    fn cut(&mut self) {
        if self.rows.len() > self.limit {
            let highest = |l: &Bounded, r: &Bounded| r.lower.total_cmp(&l.lower);
            let (_, last, _) = self.rows.select_nth_unstable_by(self.limit - 1, highest);
            let threshold = last.lower;
            self.threshold = threshold;
            self.rows.retain(|bounded| bounded.upper >= threshold);
        }
    }

    fn into_rows(mut self) -> Vec<Bounded> {
        self.cut();
        self.rows
    }
}
