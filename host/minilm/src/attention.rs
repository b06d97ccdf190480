//! Self-attention, one sequence at a time. As sequences are not padded, only the unused lanes of a
//! sequence's last panel are masked.
//!
//! For each head, keys are transposed into panels of [`LANES`] tokens, so that scores and context
//! are computed by the same small matrix product, whose sums stay in registers. A few rows of
//! scores are computed at a time, and stay in the L1 cache between the two products.

use crate::isa::{Isa, Kernel, LANES, Lanes};
use crate::{DIMENSIONS, MAX_TOKENS};

const HEADS: usize = 12;
const HEAD_WIDTH: usize = DIMENSIONS / HEADS;
const _: () = assert!(HEAD_WIDTH == LANES, "a head is one Lanes wide");

const MAX_PANELS: usize = MAX_TOKENS.div_ceil(LANES);

/// Rows of scores computed together where there are 32 vector registers: as many as leave room for
/// the operands.
const WIDE_ROWS: usize = 12;
/// The same for 16 vector registers of 256 bits.
const NARROW_ROWS: usize = 3;

/// One head of one sequence, in the layouts that the products read. Padding is zero.
#[derive(Debug, Default)]
pub(crate) struct Head {
    /// Token by token, divided by the square root of the head's width.
    queries: Vec<Lanes>,
    /// Panel by panel; within a panel dimension by dimension, with one lane per token.
    keys: Vec<Lanes>,
    /// Token by token.
    values: Vec<Lanes>,
}

/// Computes `context` (tokens by [`DIMENSIONS`]) from `projected` (tokens by 3 * [`DIMENSIONS`]:
/// the query, key and value of each token), for at most [`MAX_TOKENS`] tokens.
pub(crate) struct Attend<'a> {
    pub(crate) projected: &'a [f32],
    pub(crate) context: &'a mut [f32],
    /// Scratch space.
    pub(crate) head: &'a mut Head,
}

impl Kernel for Attend<'_> {
    #[inline(always)]
    fn run<I: Isa>(self) {
        if I::WIDE {
            attend::<I, WIDE_ROWS>(self);
        } else {
            attend::<I, NARROW_ROWS>(self);
        }
    }
}

#[inline(always)]
fn attend<I: Isa, const ROWS: usize>(pass: Attend<'_>) {
    let (projected, _) = pass.projected.as_chunks::<{ 3 * DIMENSIONS }>();
    let (context, _) = pass.context.as_chunks_mut::<DIMENSIONS>();
    pass.head.clear(projected.len(), ROWS);
    let mut scores = [[Lanes::ZERO; ROWS]; MAX_PANELS];
    for head in 0..HEADS {
        pass.head.fill(projected, head);
        let (queries, _) = pass.head.queries.as_chunks::<ROWS>();
        for (queries, context) in queries.iter().zip(context.chunks_mut(ROWS)) {
            let rows = attend_rows::<I, ROWS>(pass.head, queries, projected.len(), &mut scores);
            for (row, target) in rows.iter().zip(context) {
                target[head * HEAD_WIDTH..][..HEAD_WIDTH].copy_from_slice(&row.0);
            }
        }
    }
}

impl Head {
    /// Resizes the buffers for a sequence and zeroes them, so that the padding is zero.
    #[inline(always)]
    fn clear(&mut self, tokens: usize, rows: usize) {
        let padded = tokens.next_multiple_of(LANES);
        let sizes = [tokens.next_multiple_of(rows), padded, padded];
        let buffers = [&mut self.queries, &mut self.keys, &mut self.values];
        for (buffer, size) in buffers.into_iter().zip(sizes) {
            buffer.clear();
            buffer.resize(size, Lanes::ZERO);
        }
    }

    /// Copies one head out of `projected`.
    #[inline(always)]
    fn fill(&mut self, projected: &[[f32; 3 * DIMENSIONS]], head: usize) {
        let scale = 1.0 / (HEAD_WIDTH as f32).sqrt();
        let (panels, _) = self.keys.as_chunks_mut::<HEAD_WIDTH>();
        let rows = self.queries.iter_mut().zip(&mut self.values);
        for ((token, row), (query, value)) in projected.iter().enumerate().zip(rows) {
            let [queries, keys, values] = row.as_chunks::<DIMENSIONS>().0 else {
                continue;
            };
            let of_head = |part: &[f32; DIMENSIONS]| part.as_chunks::<HEAD_WIDTH>().0[head];
            query.0 = of_head(queries).map(|x| x * scale);
            value.0 = of_head(values);
            let panel = &mut panels[token / LANES];
            for (lanes, key) in panel.iter_mut().zip(of_head(keys)) {
                lanes.0[token % LANES] = key;
            }
        }
    }
}

/// The context of `ROWS` tokens. `scores` is scratch space.
#[inline(always)]
fn attend_rows<I: Isa, const ROWS: usize>(
    head: &Head,
    queries: &[Lanes; ROWS],
    tokens: usize,
    scores: &mut [[Lanes; ROWS]; MAX_PANELS],
) -> [Lanes; ROWS] {
    let scores = &mut scores[..tokens.div_ceil(LANES)];
    for (scores, keys) in scores.iter_mut().zip(head.keys.as_chunks::<HEAD_WIDTH>().0) {
        *scores = [Lanes::ZERO; ROWS];
        accumulate::<I, ROWS>(scores, queries, keys);
    }
    let mut factors = [0.0; ROWS];
    for (row, factor) in factors.iter_mut().enumerate() {
        *factor = 1.0 / exponentials::<I, ROWS>(scores, row, tokens);
    }
    let mut context = [Lanes::ZERO; ROWS];
    for (scores, values) in scores.iter().zip(head.values.as_chunks::<LANES>().0) {
        accumulate::<I, ROWS>(&mut context, scores, values);
    }
    for (row, factor) in context.iter_mut().zip(factors) {
        row.0 = row.0.map(|x| x * factor);
    }
    context
}

/// Computes `sums += left * right` for `ROWS` rows and a square matrix of [`LANES`] by [`LANES`].
#[inline(always)]
fn accumulate<I: Isa, const ROWS: usize>(
    sums: &mut [Lanes; ROWS],
    left: &[Lanes; ROWS],
    right: &[Lanes; LANES],
) {
    let mut local = *sums;
    for (k, right) in right.iter().enumerate() {
        for (sum, left) in local.iter_mut().zip(left) {
            for (sum, right) in sum.0.iter_mut().zip(right.0) {
                *sum = I::mul_add(left.0[k], right, *sum);
            }
        }
    }
    *sums = local;
}

/// Replaces one row of scores by `exp(score - greatest)`, the numerators of the softmax, and
/// returns their sum. The caller divides the context by it, which has fewer values.
#[inline(always)]
fn exponentials<I: Isa, const ROWS: usize>(
    scores: &mut [[Lanes; ROWS]],
    row: usize,
    tokens: usize,
) -> f32 {
    let tail = (tokens - 1) % LANES;
    if let Some(panel) = scores.last_mut() {
        for (j, score) in panel[row].0.iter_mut().enumerate() {
            *score = if j > tail { f32::NEG_INFINITY } else { *score };
        }
    }
    let greater = |a: f32, b: f32| if a > b { a } else { b };
    let mut greatest = Lanes([f32::NEG_INFINITY; LANES]);
    for panel in scores.iter() {
        for (greatest, score) in greatest.0.iter_mut().zip(panel[row].0) {
            *greatest = greater(score, *greatest);
        }
    }
    let greatest = greatest.reduce(greater);
    let mut sum = Lanes::ZERO;
    for panel in scores.iter_mut() {
        for (sum, score) in sum.0.iter_mut().zip(&mut panel[row].0) {
            *score = crate::activation::exp::<I>(*score - greatest);
            *sum += *score;
        }
    }
    sum.reduce(|a, b| a + b)
}
