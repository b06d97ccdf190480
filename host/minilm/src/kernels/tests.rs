//! Compares all instruction sets that this CPU has, not only the one that is chosen, with plain
//! sums.

use pulp::Arch;

use super::{Cpu, Vnni, product_f32};
use crate::DIMENSIONS;
use crate::activation::Gelu;
use crate::attention::{Attend, Head};
use crate::layer_norm::{AddLayerNorm, LayerNorm};
use crate::linear::{Dense, Linear};
use crate::panel::F32_PANEL_WIDTH;
use crate::quantize::Quantized;

/// Pseudo-random numbers between -2 and 2, the same in every run.
fn noise(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 22) as f32 - 2.0
    };
    std::iter::repeat_with(next).take(count).collect()
}

fn levels() -> Vec<Cpu> {
    #[cfg(target_arch = "x86_64")]
    let narrower = [Some(Arch::Scalar), pulp::x86::V3::try_new().map(Arch::V3)];
    #[cfg(not(target_arch = "x86_64"))]
    let narrower = [Some(Arch::Scalar)];
    narrower.into_iter().flatten().chain([Arch::new()]).map(Cpu).collect()
}

#[track_caller]
fn assert_close(found: &[f32], expected: &[f64], allowed: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let difference = (f64::from(*found) - expected).abs();
        assert!(difference <= allowed, "{what} at {index}: {found}, expected {expected}");
    }
}

/// `x * weight^T + bias`, with `weight` as outputs by inputs.
fn product(x: &[f32], inputs: usize, dense: &Dense) -> Vec<f64> {
    let dot = |row: &[f32], weights: &[f32]| -> f64 {
        row.iter().zip(weights).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    let outputs = || dense.weight.chunks_exact(inputs).zip(&dense.bias);
    x.chunks_exact(inputs)
        .flat_map(|row| outputs().map(move |(weights, bias)| dot(row, weights) + f64::from(*bias)))
        .collect()
}

fn dense(inputs: usize, outputs: usize) -> Dense {
    Dense { weight: noise(inputs * outputs, 1), bias: noise(outputs, 2) }
}

#[test]
fn f32_products_equal_plain_sums() {
    let (inputs, outputs) = (DIMENSIONS, 2 * F32_PANEL_WIDTH);
    for rows in [1, 2, 7, 48, 49, 130] {
        let x = noise(rows * inputs, 3);
        let expected = product(&x, inputs, &dense(inputs, outputs));
        let mut y = Vec::new();
        let linear = Linear::new(dense(inputs, outputs), None);
        linear.apply(Cpu::detect(), &x, &mut y, &mut Quantized::default());
        assert_close(&y, &expected, 1e-3, &format!("{rows} rows"));
    }
}

#[test]
#[should_panic(expected = "y has a row per row of x")]
fn a_product_into_too_small_a_buffer_panics() {
    product_f32(&[0.0; 8], 4, &[0.0; 4 * F32_PANEL_WIDTH], &mut [0.0; 2 * F32_PANEL_WIDTH - 1]);
}

fn vnni_kernels() -> Vec<Vnni> {
    #[cfg(target_arch = "x86_64")]
    return [Vnni::detect_256(), Vnni::detect_512()].into_iter().flatten().collect();
    #[cfg(not(target_arch = "x86_64"))]
    Vec::new()
}

#[test]
fn int8_products_are_near_plain_sums() {
    let (inputs, outputs) = (DIMENSIONS, 2 * F32_PANEL_WIDTH);
    for vnni in vnni_kernels() {
        let linear = Linear::new(dense(inputs, outputs), Some(vnni));
        // Every number of rows that a tile can have, and more.
        for rows in 1..=26 {
            let x = noise(rows * inputs, 4);
            let expected = product(&x, inputs, &dense(inputs, outputs));
            let mut y = vec![f32::NAN; 3];
            linear.apply(Cpu::detect(), &x, &mut y, &mut Quantized::default());
            // Each factor is off by at most half a step of 4/255, and the 384 errors mostly cancel:
            // the standard deviation of their sum is about 0.3.
            assert_close(&y, &expected, 1.5, &format!("{vnni:?}, {rows} rows"));
        }
    }
}

#[test]
fn int8_kernels_agree_to_rounding() {
    let results = vnni_kernels().into_iter().map(|vnni| {
        let linear = Linear::new(dense(4 * DIMENSIONS, DIMENSIONS), Some(vnni));
        let mut y = Vec::new();
        let x = noise(5 * 4 * DIMENSIONS, 5);
        linear.apply(Cpu::detect(), &x, &mut y, &mut Quantized::default());
        y
    });
    let results: Vec<Vec<f32>> = results.collect();
    for result in &results {
        let expected: Vec<f64> = results[0].iter().copied().map(f64::from).collect();
        assert_close(result, &expected, 1e-4, "kernels");
    }
}

#[test]
fn a_row_of_zeros_yields_the_bias() {
    for vnni in vnni_kernels() {
        let linear = Linear::new(dense(DIMENSIONS, F32_PANEL_WIDTH), Some(vnni));
        let mut y = Vec::new();
        linear.apply(Cpu::detect(), &[0.0; DIMENSIONS], &mut y, &mut Quantized::default());
        assert_eq!(y, dense(DIMENSIONS, F32_PANEL_WIDTH).bias);
    }
}

#[test]
fn gelu_equals_known_values() {
    let known = [
        (0.0, 0.0),
        (1.0, 0.841_344_746_068_542_9),
        (-1.0, -0.158_655_253_931_457_05),
        (0.5, 0.345_731_230_637_006_65),
        (-3.0, -0.004_049_694_095_489_019),
        (3.0, 2.995_950_305_904_511),
        (20.0, 20.0),
        (-20.0, 0.0),
    ];
    let expected: Vec<f64> = known.iter().cycle().take(40).map(|(_, y)| *y).collect();
    for cpu in levels() {
        let mut values: Vec<f32> = known.iter().cycle().take(40).map(|(x, _)| *x).collect();
        cpu.run(Gelu(&mut values));
        assert_close(&values, &expected, 4e-6, &format!("{cpu:?}"));
    }
}

#[test]
fn a_normalized_row_has_the_mean_and_deviation_of_its_norm() {
    let norm = LayerNorm { weight: vec![3.0; DIMENSIONS], bias: vec![0.5; DIMENSIONS] };
    for cpu in levels() {
        let mut hidden = noise(2 * DIMENSIONS, 6);
        let residual = noise(2 * DIMENSIONS, 7);
        cpu.run(AddLayerNorm { hidden: &mut hidden, residual: &residual, norm: &norm });
        for row in hidden.chunks_exact(DIMENSIONS) {
            let width = DIMENSIONS as f32;
            let mean = row.iter().sum::<f32>() / width;
            let spread = (row.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / width).sqrt();
            assert!((mean - 0.5).abs() < 1e-4 && (spread - 3.0).abs() < 1e-4, "{mean} {spread}");
        }
    }
}

/// Attention by its textbook definition.
fn attention(projected: &[f32]) -> Vec<f64> {
    let rows: Vec<&[f32]> = projected.chunks_exact(3 * DIMENSIONS).collect();
    let of_head =
        |row: usize, part: usize, head: usize| &rows[row][part * DIMENSIONS + head * 32..][..32];
    let mut context = Vec::new();
    for row in 0..rows.len() {
        for head in 0..12 {
            let score = |other: usize| {
                let pairs = of_head(row, 0, head).iter().zip(of_head(other, 1, head));
                let dot: f64 = pairs.map(|(q, k)| f64::from(*q) * f64::from(*k)).sum();
                (dot / 32f64.sqrt()).exp()
            };
            let scores: Vec<f64> = (0..rows.len()).map(score).collect();
            let total: f64 = scores.iter().sum();
            context.extend((0..32).map(|d| {
                let value = |other: usize| f64::from(of_head(other, 2, head)[d]);
                scores.iter().enumerate().map(|(other, s)| s / total * value(other)).sum::<f64>()
            }));
        }
    }
    context
}

#[test]
fn attention_equals_its_textbook_definition() {
    for tokens in [1, 2, 3, 11, 12, 13, 31, 32, 33, 65, 256] {
        let projected = noise(tokens * 3 * DIMENSIONS, 8);
        let expected = attention(&projected);
        for cpu in levels() {
            let mut context = vec![f32::NAN; tokens * DIMENSIONS];
            let mut head = Head::default();
            cpu.run(Attend { projected: &projected, context: &mut context, head: &mut head });
            assert_close(&context, &expected, 1e-5, &format!("{cpu:?}, {tokens} tokens"));
        }
    }
}
