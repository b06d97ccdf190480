//! Layer normalization of hidden states, and mean pooling into one vector.

use crate::DIMENSIONS;
use crate::isa::{Isa, Kernel, LANES, Lanes};

/// `layer_norm_eps` of the model's `config.json`.
const EPSILON: f32 = 1e-12;

/// Weight and bias of one layer normalization, [`DIMENSIONS`] floats each.
#[derive(Debug)]
pub(crate) struct LayerNorm {
    pub(crate) weight: Vec<f32>,
    pub(crate) bias: Vec<f32>,
}

/// Computes `hidden = layer_norm(hidden + residual)` for each row of [`DIMENSIONS`] floats.
pub(crate) struct AddLayerNorm<'a> {
    pub(crate) hidden: &'a mut [f32],
    pub(crate) residual: &'a [f32],
    pub(crate) norm: &'a LayerNorm,
}

impl Kernel for AddLayerNorm<'_> {
    #[inline(always)]
    fn run<I: Isa>(self) {
        let (rows, _) = self.hidden.as_chunks_mut::<DIMENSIONS>();
        let (residuals, _) = self.residual.as_chunks::<DIMENSIONS>();
        for (row, residual) in rows.iter_mut().zip(residuals) {
            add_layer_norm::<I>(row, residual, self.norm);
        }
    }
}

/// Each step is a loop of its own: if they are fused, the compiler emits gathers.
#[inline(always)]
fn add_layer_norm<I: Isa>(
    row: &mut [f32; DIMENSIONS],
    residual: &[f32; DIMENSIONS],
    norm: &LayerNorm,
) {
    for (value, residual) in row.iter_mut().zip(residual) {
        *value += residual;
    }
    let mean = sum(row, |value, sum| value + sum) / DIMENSIONS as f32;
    for value in row.iter_mut() {
        *value -= mean;
    }
    let variance = sum(row, |value, sum| I::mul_add(value, value, sum)) / DIMENSIONS as f32;
    let inverse = 1.0 / (variance + EPSILON).sqrt();
    for ((value, weight), bias) in row.iter_mut().zip(&norm.weight).zip(&norm.bias) {
        *value = I::mul_add(*value * inverse, *weight, *bias);
    }
}

/// Reduces a row by `add(value, sum)`, with one partial sum per lane.
#[inline(always)]
fn sum(row: &[f32; DIMENSIONS], add: impl Fn(f32, f32) -> f32) -> f32 {
    let mut sums = Lanes::ZERO;
    for chunk in row.as_chunks::<LANES>().0 {
        for (sum, value) in sums.0.iter_mut().zip(chunk) {
            *sum = add(*value, *sum);
        }
    }
    sums.reduce(|a, b| a + b)
}

/// Writes the mean of a sequence's hidden states, scaled to unit length, to `vector`, which must be
/// zero.
pub(crate) fn pool(hidden: &[f32], vector: &mut [f32]) {
    for row in hidden.chunks_exact(DIMENSIONS) {
        for (sum, value) in vector.iter_mut().zip(row) {
            *sum += value;
        }
    }
    // The sum has the direction of the mean, so dividing by the number of rows is unnecessary.
    let length = vector.iter().map(|v| v * v).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
    for value in vector {
        *value /= length;
    }
}
