//! A linear layer `y = x * W^T + b` in either precision.
//!
//! Weights are stored only in the layout that the product reads. In `f32` that is panels of
//! [`F32_PANEL_WIDTH`] outputs, each a matrix of inputs by outputs, which `gemm` reads in place and
//! in sequence. It would repack the file's layout (outputs by inputs) on every call, and one matrix
//! of inputs by all outputs made short sentences a quarter slower.

use crate::kernels::{Cpu, Vnni, product_f32};
use crate::panel::{F32_PANEL_WIDTH, PANEL_WIDTH, Panel};
use crate::quantize::{QuantizeRows, Quantized};

/// A layer as stored in the file: `weight` is a row-major matrix of outputs by inputs.
pub(crate) struct Dense {
    pub(crate) weight: Vec<f32>,
    pub(crate) bias: Vec<f32>,
}

/// A layer with its weights packed for one precision.
#[derive(Debug)]
pub(crate) enum Linear {
    /// `panels` holds one panel after the other.
    F32 {
        inputs: usize,
        panels: Vec<f32>,
        bias: Vec<f32>,
    },
    Int8 {
        inputs: usize,
        panels: Vec<Panel>,
        vnni: Vnni,
    },
}

impl Linear {
    /// Packs a layer: in 8 bits if `vnni` is given, else in `f32`.
    ///
    /// `dense` must have a multiple of [`F32_PANEL_WIDTH`] outputs, and a multiple of
    /// [`GROUP`](crate::panel::GROUP) inputs.
    pub(crate) fn new(dense: Dense, vnni: Option<Vnni>) -> Self {
        let inputs = dense.weight.len() / dense.bias.len();
        match vnni {
            None => {
                Self::F32 { inputs, panels: transpose(&dense.weight, inputs), bias: dense.bias }
            }
            Some(vnni) => {
                let rows = dense.weight.chunks_exact(inputs * PANEL_WIDTH);
                let (biases, _) = dense.bias.as_chunks::<PANEL_WIDTH>();
                let panels = rows.zip(biases).map(|(rows, bias)| Panel::new(rows, inputs, *bias));
                Self::Int8 { inputs, panels: panels.collect(), vnni }
            }
        }
    }

    /// Applies the layer to `x`, a row-major matrix of tokens by inputs. Resizes `y` to tokens by
    /// outputs and overwrites it. `quantized` is scratch space.
    pub(crate) fn apply(&self, cpu: Cpu, x: &[f32], y: &mut Vec<f32>, quantized: &mut Quantized) {
        match self {
            Self::F32 { inputs, panels, bias } => {
                y.clear();
                for _ in 0..x.len() / inputs {
                    y.extend_from_slice(bias);
                }
                product_f32(x, *inputs, panels, y);
            }
            Self::Int8 { inputs, panels, vnni } => {
                let rows = x.len() / inputs;
                y.resize(rows * panels.len() * PANEL_WIDTH, 0.0);
                quantized.resize(rows, *inputs);
                cpu.run(QuantizeRows { rows: x, width: *inputs, target: quantized });
                vnni.product(quantized, panels, y);
            }
        }
    }
}

/// Packs a matrix of outputs by inputs into panels of inputs by [`F32_PANEL_WIDTH`] outputs.
fn transpose(weight: &[f32], inputs: usize) -> Vec<f32> {
    let mut panels = vec![0.0; weight.len()];
    let rows = weight.chunks_exact(inputs * F32_PANEL_WIDTH);
    for (rows, panel) in rows.zip(panels.chunks_exact_mut(inputs * F32_PANEL_WIDTH)) {
        for (output, row) in rows.chunks_exact(inputs).enumerate() {
            for (value, inputs) in row.iter().zip(panel.chunks_exact_mut(F32_PANEL_WIDTH)) {
                inputs[output] = *value;
            }
        }
    }
    panels
}
