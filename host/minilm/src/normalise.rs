//! Layer normalisation of hidden states, and the pooling that turns them into one vector.

use crate::DIMENSIONS;
use crate::isa::{Isa, LANES, Lanes, Pass};

/// `layer_norm_eps` of the model's `config.json`.
const EPSILON: f32 = 1e-12;

/// Gain and offset of one layer normalisation, [`DIMENSIONS`] floats each.
#[derive(Debug)]
pub(crate) struct Norm {
    pub(crate) weight: Vec<f32>,
    pub(crate) bias: Vec<f32>,
}

/// `hidden = normalise(hidden + residual)`, row by row of [`DIMENSIONS`].
pub(crate) struct AddNormalise<'a> {
    pub(crate) hidden: &'a mut [f32],
    pub(crate) residual: &'a [f32],
    pub(crate) norm: &'a Norm,
}

impl Pass for AddNormalise<'_> {
    #[inline(always)]
    fn run<I: Isa>(self) {
        let (rows, _) = self.hidden.as_chunks_mut::<DIMENSIONS>();
        let (residuals, _) = self.residual.as_chunks::<DIMENSIONS>();
        for (row, residual) in rows.iter_mut().zip(residuals) {
            add_normalise::<I>(row, residual, self.norm);
        }
    }
}

/// Each step is a loop over plain rows: fused, the compiler would turn them into gathers.
#[inline(always)]
fn add_normalise<I: Isa>(row: &mut [f32; DIMENSIONS], residual: &[f32; DIMENSIONS], norm: &Norm) {
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

/// Sums a row by `add(value, sum)`, in as many parts as there are lanes.
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

/// The mean of a sequence's hidden states, scaled to length one.
pub(crate) fn pool(hidden: &[f32], vector: &mut [f32]) {
    for row in hidden.chunks_exact(DIMENSIONS) {
        for (sum, value) in vector.iter_mut().zip(row) {
            *sum += value;
        }
    }
    // The sum points where the mean does, so the division by the row count cancels out.
    let length = vector.iter().map(|v| v * v).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
    for value in vector {
        *value /= length;
    }
}
