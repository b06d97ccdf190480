//! Exact nearest-neighbour search over the vectors of the facts.
//!
//! A query is compared with every vector: first with the 8-bit copies, which reads a quarter of
//! the memory, then in full precision with only those vectors whose bounds allow them to be in the
//! result. The bounds are proven, so the result equals that of a full-precision scan, ties
//! included; the cost is that many near-equal vectors are all compared twice. No index has to be
//! built or trained, and a removal moves one row. Beyond about 100,000 vectors a graph index such
//! as HNSW answers queries faster, at a hundred times the cost of a write.
//!
//! A fact has a vector for each window of its text, and its best one counts. Nearly all facts have
//! one, so only those with several take memory for where the others are.

use std::collections::HashMap;

use fixedbitset::FixedBitSet;

use crate::error::IndexError;
use crate::kernels::{Block, Codes, Kernel};
use crate::limits::CHUNK_ROWS;
use crate::quantized::{Lane, Quantization, QuantizedVector, cosine};
use crate::shortlist::{Bounded, Shortlist, best_of_slots, lowest};
use crate::top_k::Scored;
use crate::work::Work;

/// Marks a slot without a vector in `Vectors::rows`.
const NO_ROW: u32 = u32::MAX;

/// Set in `Vectors::rows` for a slot with several rows.
const SEVERAL: u32 = 1 << 31;

/// One row per vector, without gaps, in chunks so that growing never copies much.
#[derive(Debug)]
pub(crate) struct Vectors {
    dimensions: Option<usize>,
    /// The first row of each slot, marked if there are [`SEVERAL`]; or [`NO_ROW`].
    rows: Vec<u32>,
    /// The other rows of the slots that have several.
    others: HashMap<u32, Vec<u32>>,
    chunks: Vec<Chunk>,
    /// Number of rows.
    count: usize,
    /// Number of slots with a row.
    slots: usize,
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

impl Vectors {
    pub(crate) fn new(dimensions: Option<usize>) -> Self {
        let kernel = Kernel::best();
        let (rows, others, chunks) = Default::default();
        Self { dimensions, rows, others, chunks, count: 0, slots: 0, kernel }
    }

    /// Number of slots with a vector.
    pub(crate) fn slots(&self) -> usize {
        self.slots
    }

    /// Number of vectors.
    pub(crate) fn windows(&self) -> usize {
        self.count
    }

    /// Whether so many more vectors cannot be numbered.
    pub(crate) fn is_full(&self, more: usize) -> bool {
        self.count + more >= SEVERAL as usize
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

    /// Sets or replaces the vectors of `slot`, at least one. The caller has called
    /// `check_dimensions` and `is_full`.
    pub(crate) fn set(&mut self, slot: u32, vectors: &[QuantizedVector]) {
        let Some(first) = vectors.first() else { return };
        self.dimensions = Some(first.dimensions);
        let row = self.rows[slot as usize];
        if row & SEVERAL == 0 && vectors.len() == 1 {
            let (chunk, at) = position(row);
            self.chunks[chunk].replace(at, first);
            return;
        }
        self.unset(slot);
        let first_row = self.count as u32;
        vectors.iter().for_each(|vector| self.push_row(slot, vector));
        self.rows[slot as usize] = first_row;
        if vectors.len() > 1 {
            self.rows[slot as usize] |= SEVERAL;
            self.others.insert(slot, (first_row + 1..self.count as u32).collect());
        }
        self.slots += 1;
    }

    fn push_row(&mut self, slot: u32, vector: &QuantizedVector) {
        if self.count == self.chunks.len() * CHUNK_ROWS {
            self.chunks.push(Chunk::default());
        }
        if let Some(chunk) = self.chunks.last_mut() {
            chunk.push(slot, vector);
        }
        self.count += 1;
    }

    pub(crate) fn has(&self, slot: u32) -> bool {
        self.rows[slot as usize] != NO_ROW
    }

    /// The cosine of the first vectors of two slots; `None` if one of them has none.
    pub(crate) fn between(&self, left: u32, right: u32) -> Option<f32> {
        Some(cosine(self.lanes(left)?, self.lanes(right)?))
    }

    fn lanes(&self, slot: u32) -> Option<&[Lane]> {
        let (chunk, at) = position(self.rows_of(slot).next()?);
        let chunk = &self.chunks[chunk];
        let stride = chunk.lanes.len() / chunk.slots.len();
        Some(&chunk.lanes[at * stride..][..stride])
    }

    /// The rows of `slot`.
    fn rows_of(&self, slot: u32) -> impl Iterator<Item = u32> {
        let row = self.rows[slot as usize];
        let first = (row != NO_ROW).then_some(row & !SEVERAL);
        let others: &[u32] = match row {
            NO_ROW => &[],
            row if row & SEVERAL == 0 => &[],
            _ => self.others.get(&slot).map_or(&[], Vec::as_slice),
        };
        first.into_iter().chain(others.iter().copied())
    }

    /// Takes the vectors of `slot` away, if it has any. The last rows move to their places.
    pub(crate) fn unset(&mut self, slot: u32) {
        let mut rows: Vec<u32> = self.rows_of(slot).collect();
        if rows.is_empty() {
            return;
        }
        self.rows[slot as usize] = NO_ROW;
        self.others.remove(&slot);
        self.slots -= 1;
        // From the last one down, so that what moves is a row of another slot.
        rows.sort_unstable_by(|left, right| right.cmp(left));
        rows.into_iter().for_each(|row| self.remove_row(row));
    }

    fn remove_row(&mut self, row: u32) {
        let Some((slot, vector)) = self.pop() else {
            return;
        };
        let last = self.count as u32;
        if row == last {
            return;
        }
        let (chunk, at) = position(row);
        self.chunks[chunk].slots[at] = slot;
        self.chunks[chunk].replace(at, &vector);
        let first = &mut self.rows[slot as usize];
        if *first & !SEVERAL == last {
            *first = row | (*first & SEVERAL);
            return;
        }
        let others = self.others.get_mut(&slot).into_iter().flatten();
        others.filter(|other| **other == last).for_each(|other| *other = row);
    }

    /// Removes `slot`; the last slot takes its number.
    pub(crate) fn swap_remove(&mut self, slot: u32) {
        self.unset(slot);
        self.rows.swap_remove(slot as usize);
        let moved = self.rows.len() as u32;
        if moved == slot {
            return;
        }
        if let Some(others) = self.others.remove(&moved) {
            self.others.insert(slot, others);
        }
        let rows: Vec<u32> = self.rows_of(slot).collect();
        for row in rows {
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

    /// A superset of the `limit` slots with the highest cosine, each once with the exact cosine of
    /// its best vector, in no order.
    ///
    /// It holds at least `limit` slots, if there are as many, and every slot that ties with the
    /// last of them. If `allowed` is given, other slots are skipped. If `work` is stopped, the
    /// result is not complete.
    pub(crate) fn nearest(
        &self,
        query: &QuantizedVector,
        allowed: Option<&FixedBitSet>,
        limit: usize,
        work: &Work<'_>,
    ) -> Vec<Scored> {
        if limit == 0 {
            return Vec::new();
        }
        let mut shortlist =
            Shortlist::new(limit, (!self.others.is_empty()).then_some(|row| self.slot(row)));
        match allowed {
            Some(allowed) if allowed.count_ones(..) < self.count / 3 => {
                self.scan_selected(query, allowed, &mut shortlist, work);
            }
            _ => self.scan(query, allowed, &mut shortlist, work),
        }
        let rows = shortlist.into_rows();
        if self.others.is_empty() {
            return self.rescore(query, rows, limit, work);
        }
        best_of_slots(self.rescore(query, rows, limit, work))
    }

    fn scan(
        &self,
        query: &QuantizedVector,
        allowed: Option<&FixedBitSet>,
        shortlist: &mut Shortlist<impl Fn(u32) -> u32>,
        work: &Work<'_>,
    ) {
        let allows = |slot: u32| allowed.is_none_or(|allowed| allowed.contains(slot as usize));
        let mut products = [0; CHUNK_ROWS];
        for (number, chunk) in self.chunks.iter().enumerate() {
            if !work.spend(row_units(query) * chunk.slots.len() as u64) {
                return;
            }
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
        shortlist: &mut Shortlist<impl Fn(u32) -> u32>,
        work: &Work<'_>,
    ) {
        let stride = query.codes.blocks().len();
        let mut product = [0];
        for row in allowed.ones().flat_map(|slot| self.rows_of(slot as u32)) {
            if !work.spend(3 * row_units(query)) {
                return;
            }
            let (chunk, at) = position(row);
            let chunk = &self.chunks[chunk];
            let codes = &chunk.codes[at * stride..][..stride];
            self.kernel.multiply(&query.codes, codes, &mut product);
            let (lower, upper) = query.bounds(product[0], chunk.quantizations[at]);
            shortlist.push(row, lower, upper);
        }
    }

    /// Computes exact cosines: first for the rows with the highest upper bounds, as many as it
    /// takes to have `limit` slots, whose lowest cosine then rules out most of the other rows.
    fn rescore(
        &self,
        query: &QuantizedVector,
        mut rows: Vec<Bounded>,
        limit: usize,
        work: &Work<'_>,
    ) -> Vec<Scored> {
        let exact = |bounded: &Bounded| {
            work.spend(similarity_units(query)).then(|| self.exact(query, bounded.row))
        };
        if rows.len() <= limit {
            return rows.iter().map_while(exact).collect();
        }
        let (first, rest) = match self.others.is_empty() {
            true => {
                rows.select_nth_unstable_by(limit - 1, |l, r| r.upper.total_cmp(&l.upper));
                rows.split_at(limit)
            }
            false => {
                rows.sort_unstable_by(|l, r| r.upper.total_cmp(&l.upper));
                rows.split_at(self.rows_with_slots(&rows, limit))
            }
        };
        let mut found: Vec<_> = first.iter().map_while(exact).collect();
        let threshold = match self.others.is_empty() {
            true => lowest(&found),
            false => lowest(&best_of_slots(found.clone())),
        };
        let reaching = rest.iter().filter(|bounded| bounded.upper >= threshold);
        found.extend(reaching.map_while(exact));
        found
    }

    /// How many of the first `rows` have `limit` different slots; all, if there are fewer slots.
    fn rows_with_slots(&self, rows: &[Bounded], limit: usize) -> usize {
        let mut slots = FixedBitSet::with_capacity(self.rows.len());
        let mut found = 0;
        for (number, bounded) in rows.iter().enumerate() {
            found += usize::from(!slots.put(self.slot(bounded.row) as usize));
            if found == limit {
                return number + 1;
            }
        }
        rows.len()
    }

    fn slot(&self, row: u32) -> u32 {
        let (chunk, at) = position(row);
        self.chunks[chunk].slots[at]
    }

    fn exact(&self, query: &QuantizedVector, row: u32) -> Scored {
        let stride = query.lanes.len();
        let (chunk, at) = position(row);
        let chunk = &self.chunks[chunk];
        let score = cosine(&query.lanes, &chunk.lanes[at * stride..][..stride]);
        Scored { score, slot: chunk.slots[at] }
    }

    /// The cosine of the best vector of `slot`, exactly as `nearest` gives it; `None` if it has
    /// none. The caller has called `check_dimensions`, and counts the units of
    /// [`Vectors::similarity_work`].
    pub(crate) fn similarity(&self, slot: u32, query: &QuantizedVector) -> Option<f32> {
        self.rows_of(slot).map(|row| self.exact(query, row).score).max_by(f32::total_cmp)
    }

    /// The work of [`Vectors::similarity`].
    pub(crate) fn similarity_work(&self, slot: u32, query: &QuantizedVector) -> u64 {
        self.rows_of(slot).count() as u64 * similarity_units(query)
    }

    /// Approximate memory use, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let chunks: usize = self.chunks.iter().map(Chunk::bytes).sum();
        let others: usize = self.others.values().map(|rows| rows.capacity() * 4).sum();
        let table = self.others.capacity() * (size_of::<(u32, Vec<u32>)>() + 1);
        chunks + self.rows.capacity() * size_of::<u32>() + others + table
    }
}

/// The work of comparing `query` with one row of codes.
fn row_units(query: &QuantizedVector) -> u64 {
    4 + query.dimensions as u64 / 16
}

/// The work of comparing `query` with one vector in full precision.
fn similarity_units(query: &QuantizedVector) -> u64 {
    4 * row_units(query)
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
