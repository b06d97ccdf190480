//! A linear layer `y = x * W^T + b` in either precision.
//!
//! Weights are kept only in the layout their product reads. In `f32` that is panels of
//! [`WIDE_PANEL`] outputs, inputs by outputs: `gemm` then reads the weights in place and in
//! sequence. The file's outputs by inputs it would repack on every call, and inputs by all outputs
//! made a short sentence a quarter slower.

use crate::activation::ROUND;
use crate::kernels::{Cpu, Vnni, product_f32};
use crate::quantise::{QuantiseRows, Quantised};

/// Outputs of one panel of `f32` weights: four AVX-512 registers, the height of gemm's tile.
pub(crate) const WIDE_PANEL: usize = 64;

/// Outputs of one panel of byte weights.
pub(crate) const PANEL: usize = 32;

/// Inputs multiplied and summed by one instruction.
pub(crate) const GROUP: usize = 4;

/// [`GROUP`] inputs of [`PANEL`] outputs, output after output.
#[derive(Debug, Clone)]
#[repr(C, align(64))]
pub(crate) struct Block(pub(crate) [i8; GROUP * PANEL]);

/// [`PANEL`] outputs of a layer.
#[derive(Debug)]
pub(crate) struct Panel {
    /// One per [`GROUP`] inputs.
    pub(crate) blocks: Vec<Block>,
    /// Weight = byte * scale.
    pub(crate) scales: [f32; PANEL],
    /// Sum of an output's bytes: what one step of an activation's zero point contributes.
    pub(crate) sums: [i32; PANEL],
    #[cfg_attr(
        not(target_arch = "x86_64"),
        expect(dead_code, reason = "only kernels read it, and there is none")
    )]
    pub(crate) bias: [f32; PANEL],
}

/// A layer as it is in the file: `weight` is outputs by inputs.
pub(crate) struct Dense {
    pub(crate) weight: Vec<f32>,
    pub(crate) bias: Vec<f32>,
}

#[derive(Debug)]
pub(crate) enum Linear {
    F32 { inputs: usize, panels: Vec<f32>, bias: Vec<f32> },
    Int8 { inputs: usize, panels: Vec<Panel>, vnni: Vnni },
}

impl Linear {
    /// `dense` must have a multiple of [`WIDE_PANEL`] outputs and of [`GROUP`] inputs.
    pub(crate) fn new(dense: Dense, vnni: Option<Vnni>) -> Self {
        let inputs = dense.weight.len() / dense.bias.len();
        match vnni {
            None => {
                Self::F32 { inputs, panels: transpose(&dense.weight, inputs), bias: dense.bias }
            }
            Some(vnni) => {
                let rows = dense.weight.chunks_exact(inputs * PANEL);
                let (biases, _) = dense.bias.as_chunks::<PANEL>();
                let panels = rows.zip(biases).map(|(rows, bias)| Panel::new(rows, inputs, *bias));
                Self::Int8 { inputs, panels: panels.collect(), vnni }
            }
        }
    }

    /// Multiplies the rows of `x`, and makes `y` hold exactly the result. `quantised` is room to
    /// work in.
    pub(crate) fn apply(&self, cpu: Cpu, x: &[f32], y: &mut Vec<f32>, quantised: &mut Quantised) {
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
                y.resize(rows * panels.len() * PANEL, 0.0);
                quantised.resize(rows, *inputs);
                cpu.run(QuantiseRows { rows: x, width: *inputs, target: quantised });
                vnni.product(quantised, panels, y);
            }
        }
    }
}

/// Outputs by inputs to panels of inputs by [`WIDE_PANEL`] outputs.
fn transpose(weight: &[f32], inputs: usize) -> Vec<f32> {
    let mut panels = vec![0.0; weight.len()];
    let rows = weight.chunks_exact(inputs * WIDE_PANEL);
    for (rows, panel) in rows.zip(panels.chunks_exact_mut(inputs * WIDE_PANEL)) {
        for (output, row) in rows.chunks_exact(inputs).enumerate() {
            for (value, inputs) in row.iter().zip(panel.chunks_exact_mut(WIDE_PANEL)) {
                inputs[output] = *value;
            }
        }
    }
    panels
}

impl Panel {
    /// `rows` holds [`PANEL`] outputs of `inputs` weights.
    fn new(rows: &[f32], inputs: usize, bias: [f32; PANEL]) -> Self {
        let blocks = vec![Block([0; GROUP * PANEL]); inputs / GROUP];
        let mut panel = Self { blocks, scales: [0.0; PANEL], sums: [0; PANEL], bias };
        for (output, row) in rows.chunks_exact(inputs).enumerate() {
            panel.fill(output, row);
        }
        panel
    }

    fn fill(&mut self, output: usize, row: &[f32]) {
        let greatest = row.iter().fold(0f32, |greatest, weight| greatest.max(weight.abs()));
        let scale = (greatest / 127.0).max(f32::MIN_POSITIVE);
        for (group, block) in row.chunks_exact(GROUP).zip(&mut self.blocks) {
            for (weight, byte) in group.iter().zip(&mut block.0[output * GROUP..]) {
                *byte = (weight / scale + ROUND).to_bits() as i8;
                self.sums[output] += i32::from(*byte);
            }
        }
        self.scales[output] = scale;
    }
}
