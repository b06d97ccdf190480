//! The vectors of the facts, and which of them are nearest to a query.
//!
//! Exact, by comparing the query with every vector: in 8 bits first, which reads a quarter of
//! the memory, and then in full precision with those alone whose bounds say that they can be
//! among the best. The bounds are proven, so this finds what a plain scan finds, ties included;
//! the price is that many near-equal vectors are all compared twice. There is nothing to build
//! or to train, and removing is moving one row. Beyond about 100,000 vectors a graph index is
//! faster for a query, at a hundred times the cost of a write.

use fixedbitset::FixedBitSet;

use crate::best::Scored;
use crate::error::IndexError;
use crate::kernels::{Block, Codes, Kernel};
use crate::limits::CHUNK_ROWS;
use crate::unit::{Coding, Lane, UnitVector, cosine};

/// In place of a row: the slot has no vector.
const NO_ROW: u32 = u32::MAX;

/// One row for each vector, without gaps, in chunks so that growing never copies much.
#[derive(Debug)]
pub(crate) struct Vectors {
    dimensions: Option<usize>,
    /// The row of each slot.
    rows: Vec<u32>,
    chunks: Vec<Chunk>,
    count: usize,
    kernel: Kernel,
}

/// Up to [`CHUNK_ROWS`] rows, by columns. Only the last chunk is not full.
#[derive(Debug, Default)]
struct Chunk {
    codes: Vec<Block>,
    lanes: Vec<Lane>,
    codings: Vec<Coding>,
    slots: Vec<u32>,
}

/// A row that can be among the best, with the bounds of its cosine.
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

    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// # Errors
    /// When `vector` has other dimensions than those in here.
    pub(crate) fn check(&self, vector: &UnitVector) -> Result<(), IndexError> {
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

    /// Gives `slot` the vector, which was checked, in place of the one it has.
    pub(crate) fn set(&mut self, slot: u32, vector: &UnitVector) {
        self.dimensions = Some(vector.dimensions);
        let row = self.rows[slot as usize];
        if row != NO_ROW {
            let (chunk, place) = place(row);
            self.chunks[chunk].replace(place, vector);
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
            let (chunk, place) = place(row);
            self.chunks[chunk].slots[place] = moved;
            self.chunks[chunk].replace(place, &vector);
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
            let (chunk, place) = place(row);
            self.chunks[chunk].slots[place] = slot;
        }
    }

    fn pop(&mut self) -> Option<(u32, UnitVector)> {
        let chunk = self.chunks.last_mut()?;
        let popped = chunk.pop(self.dimensions?)?;
        self.count -= 1;
        if chunk.slots.is_empty() {
            self.chunks.pop();
        }
        Some(popped)
    }

    /// Every slot that can be among the `limit` with the highest cosine, with its exact cosine.
    ///
    /// These are at least `limit` (or all there are); all that tie with the last one are among
    /// them. With `allowed`, only those slots are looked at.
    pub(crate) fn nearest(
        &self,
        query: &UnitVector,
        allowed: Option<&FixedBitSet>,
        limit: usize,
    ) -> Vec<Scored> {
        if limit == 0 {
            return Vec::new();
        }
        let mut shortlist = Shortlist::new(limit);
        match allowed {
            Some(allowed) if allowed.count_ones(..) < self.count / 3 => {
                self.scan_some(query, allowed, &mut shortlist);
            }
            _ => self.scan(query, allowed, &mut shortlist),
        }
        self.compare(query, shortlist.into_rows(), limit)
    }

    fn scan(&self, query: &UnitVector, allowed: Option<&FixedBitSet>, shortlist: &mut Shortlist) {
        let allows = |slot: u32| allowed.is_none_or(|allowed| allowed.contains(slot as usize));
        let mut products = [0; CHUNK_ROWS];
        for (number, chunk) in self.chunks.iter().enumerate() {
            let products = &mut products[..chunk.slots.len()];
            self.kernel.multiply(&query.codes, &chunk.codes, products);
            let first = (number * CHUNK_ROWS) as u32;
            for ((place, &product), &coding) in products.iter().enumerate().zip(&chunk.codings) {
                if allows(chunk.slots[place]) {
                    let (lower, upper) = query.bounds(product, coding);
                    shortlist.push(first + place as u32, lower, upper);
                }
            }
        }
    }

    /// Row by row, which takes about three times as long for each.
    fn scan_some(&self, query: &UnitVector, allowed: &FixedBitSet, shortlist: &mut Shortlist) {
        let stride = query.codes.blocks().len();
        let mut product = [0];
        for slot in allowed.ones() {
            let row = self.rows[slot];
            if row == NO_ROW {
                continue;
            }
            let (chunk, place) = place(row);
            let chunk = &self.chunks[chunk];
            let codes = &chunk.codes[place * stride..][..stride];
            self.kernel.multiply(&query.codes, codes, &mut product);
            let (lower, upper) = query.bounds(product[0], chunk.codings[place]);
            shortlist.push(row, lower, upper);
        }
    }

    /// Compares in full precision: first the `limit` most promising, whose worst is a bar that
    /// most of the others cannot reach.
    fn compare(&self, query: &UnitVector, mut rows: Vec<Bounded>, limit: usize) -> Vec<Scored> {
        if rows.len() <= limit {
            return rows.iter().map(|bounded| self.exact(query, bounded.row)).collect();
        }
        rows.select_nth_unstable_by(limit - 1, |l, r| r.upper.total_cmp(&l.upper));
        let (first, rest) = rows.split_at(limit);
        let mut found: Vec<_> = first.iter().map(|b| self.exact(query, b.row)).collect();
        let bar = found.iter().fold(f32::INFINITY, |bar, scored| bar.min(scored.score));
        let reaching = rest.iter().filter(|bounded| bounded.upper >= bar);
        found.extend(reaching.map(|bounded| self.exact(query, bounded.row)));
        found
    }

    fn exact(&self, query: &UnitVector, row: u32) -> Scored {
        let stride = query.lanes.len();
        let (chunk, place) = place(row);
        let chunk = &self.chunks[chunk];
        let score = cosine(&query.lanes, &chunk.lanes[place * stride..][..stride]);
        Scored { score, slot: chunk.slots[place] }
    }

    /// What the vectors take, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let chunks: usize = self.chunks.iter().map(Chunk::bytes).sum();
        chunks + self.rows.capacity() * size_of::<u32>()
    }
}

/// The chunk of a row and its place there.
fn place(row: u32) -> (usize, usize) {
    (row as usize / CHUNK_ROWS, row as usize % CHUNK_ROWS)
}

impl Chunk {
    fn push(&mut self, slot: u32, vector: &UnitVector) {
        self.codes.extend_from_slice(vector.codes.blocks());
        self.lanes.extend_from_slice(&vector.lanes);
        self.codings.push(vector.coding);
        self.slots.push(slot);
    }

    fn replace(&mut self, place: usize, vector: &UnitVector) {
        let (codes, lanes) = (vector.codes.blocks().len(), vector.lanes.len());
        self.codes[place * codes..][..codes].copy_from_slice(vector.codes.blocks());
        self.lanes[place * lanes..][..lanes].copy_from_slice(&vector.lanes);
        self.codings[place] = vector.coding;
    }

    fn pop(&mut self, dimensions: usize) -> Option<(u32, UnitVector)> {
        let (slot, coding) = (self.slots.pop()?, self.codings.pop()?);
        let rows = self.slots.len();
        let codes = self.codes.split_off(self.codes.len() / (rows + 1) * rows);
        let lanes = self.lanes.split_off(self.lanes.len() / (rows + 1) * rows);
        Some((slot, UnitVector { dimensions, lanes, codes: Codes::new(codes), coding }))
    }

    fn bytes(&self) -> usize {
        self.codes.capacity() * size_of::<Block>()
            + self.lanes.capacity() * size_of::<Lane>()
            + self.codings.capacity() * size_of::<Coding>()
            + self.slots.capacity() * size_of::<u32>()
    }
}

/// The rows that can still be among the `limit` best, as a scan goes on.
///
/// The bar is the `limit`-th highest *lower* bound so far: a row whose upper bound does not
/// reach it has `limit` rows above it, whatever the exact cosines are.
struct Shortlist {
    limit: usize,
    bar: f32,
    rows: Vec<Bounded>,
    /// How many rows make the next cut worth its time.
    full: usize,
}

impl Shortlist {
    fn new(limit: usize) -> Self {
        let full = limit.saturating_mul(2).max(256);
        Self { limit, bar: f32::NEG_INFINITY, rows: Vec::new(), full }
    }

    #[inline]
    fn push(&mut self, row: u32, lower: f32, upper: f32) {
        if upper >= self.bar {
            self.rows.push(Bounded { row, lower, upper });
            if self.rows.len() >= self.full {
                self.cut();
                // Near-equal vectors all stay: doubling keeps the cuts linear in their number.
                self.full = self.full.max(self.rows.len().saturating_mul(2));
            }
        }
    }

    fn cut(&mut self) {
        if self.rows.len() > self.limit {
            let highest = |l: &Bounded, r: &Bounded| r.lower.total_cmp(&l.lower);
            let (_, last, _) = self.rows.select_nth_unstable_by(self.limit - 1, highest);
            self.bar = last.lower;
            let bar = self.bar;
            self.rows.retain(|bounded| bounded.upper >= bar);
        }
    }

    fn into_rows(mut self) -> Vec<Bounded> {
        self.cut();
        self.rows
    }
}
