//! Quantizes activations to bytes, with a scale and a zero point per token.
//!
//! One scale for a whole batch would be cheaper, but a text's vector would then depend on the other
//! texts of the batch, and the error would be several times as large (mean cosine to the `f32`
//! vectors of 0.992 instead of 0.9986).

use crate::activation::ROUND;
use crate::isa::{Isa, Kernel, LANES, Lanes};

/// Quantized rows, one per token: `byte = round(value / scale) + zero`.
#[derive(Debug, Default)]
pub(crate) struct Quantized {
    /// Row by row, without gaps. Bytes after the last row are unspecified.
    pub(crate) bytes: Vec<u8>,
    /// One scale per row; their number is the number of rows.
    pub(crate) scales: Vec<f32>,
    /// One zero point per row.
    pub(crate) zeros: Vec<i32>,
}

impl Quantized {
    /// Makes room for `rows` rows of `width` values, whose contents are unspecified until filled.
    pub(crate) fn resize(&mut self, rows: usize, width: usize) {
        let bytes = self.bytes.len().max(rows * width);
        self.bytes.resize(bytes, 0);
        self.scales.resize(rows, 0.0);
        self.zeros.resize(rows, 0);
    }
}

/// Quantizes `rows`, each `width` values long (a multiple of [`LANES`]), into `target`, which must
/// already be resized.
pub(crate) struct QuantizeRows<'a> {
    pub(crate) rows: &'a [f32],
    pub(crate) width: usize,
    pub(crate) target: &'a mut Quantized,
}

impl Kernel for QuantizeRows<'_> {
    #[inline(always)]
    fn run<I: Isa>(self) {
        let rows = self.rows.chunks_exact(self.width);
        let bytes = self.target.bytes.chunks_exact_mut(self.width);
        let scales = self.target.scales.iter_mut().zip(&mut self.target.zeros);
        for ((row, bytes), (scale, zero)) in rows.zip(bytes).zip(scales) {
            let (low, high) = range(row);
            *scale = ((high - low) / 255.0).max(f32::MIN_POSITIVE);
            let shift = (-low / *scale).round_ties_even();
            *zero = shift as i32;
            fill::<I>(row, 1.0 / *scale, shift, bytes);
        }
    }
}

/// The least and the greatest value of the row and zero, which must be represented exactly.
#[inline(always)]
fn range(row: &[f32]) -> (f32, f32) {
    let less = |a: f32, b: f32| if a < b { a } else { b };
    let greater = |a: f32, b: f32| if a > b { a } else { b };
    let (mut low, mut high) = (Lanes::ZERO, Lanes::ZERO);
    for chunk in row.as_chunks::<LANES>().0 {
        for ((low, high), &value) in low.0.iter_mut().zip(&mut high.0).zip(chunk) {
            *low = less(value, *low);
            *high = greater(value, *high);
        }
    }
    (low.reduce(less), high.reduce(greater))
}

#[inline(always)]
fn fill<I: Isa>(row: &[f32], inverse: f32, shift: f32, bytes: &mut [u8]) {
    for (value, byte) in row.iter().zip(bytes) {
        let scaled = I::mul_add(*value, inverse, shift);
        let scaled = if scaled > 255.0 { 255.0 } else { scaled };
        let scaled = if scaled < 0.0 { 0.0 } else { scaled };
        *byte = (scaled + ROUND).to_bits() as u8;
    }
}
