//! The memory layout of a layer's weights: panels of adjacent outputs.
//!
//! A product works through one panel at a time, reads its weights in sequence, and holds one sum
//! per output of the panel in registers.

use crate::activation::ROUND;

/// Outputs per panel of `f32` weights: four AVX-512 registers, the height of `gemm`'s tile.
pub(crate) const F32_PANEL_WIDTH: usize = 64;

/// Outputs per panel of `i8` weights.
pub(crate) const PANEL_WIDTH: usize = 32;

/// Inputs that one VNNI instruction multiplies and sums per output.
pub(crate) const GROUP: usize = 4;

/// The weights of [`GROUP`] inputs for [`PANEL_WIDTH`] outputs, output by output.
#[derive(Debug, Clone)]
#[repr(C, align(64))]
pub(crate) struct Block(pub(crate) [i8; GROUP * PANEL_WIDTH]);

/// The `i8` weights of [`PANEL_WIDTH`] outputs of a layer, quantized with one scale per output.
#[derive(Debug)]
pub(crate) struct Panel {
    /// One block per [`GROUP`] inputs.
    pub(crate) blocks: Vec<Block>,
    /// Scale of each output: `weight = byte * scale`.
    pub(crate) scales: [f32; PANEL_WIDTH],
    /// Sum of each output's bytes, by which the product corrects for the activations' zero points.
    pub(crate) sums: [i32; PANEL_WIDTH],
    #[cfg_attr(
        not(target_arch = "x86_64"),
        expect(dead_code, reason = "read only by kernels, which exist only for x86-64")
    )]
    pub(crate) bias: [f32; PANEL_WIDTH],
}

impl Panel {
    /// Quantizes and packs `rows`, which holds [`PANEL_WIDTH`] outputs of `inputs` weights each.
    pub(crate) fn new(rows: &[f32], inputs: usize, bias: [f32; PANEL_WIDTH]) -> Self {
        let blocks = vec![Block([0; GROUP * PANEL_WIDTH]); inputs / GROUP];
        let mut panel = Self { blocks, scales: [0.0; PANEL_WIDTH], sums: [0; PANEL_WIDTH], bias };
        for (output, row) in rows.chunks_exact(inputs).enumerate() {
            panel.fill(output, row);
        }
        panel
    }

    fn fill(&mut self, output: usize, row: &[f32]) {
        let largest = row.iter().fold(0f32, |largest, weight| largest.max(weight.abs()));
        let scale = (largest / 127.0).max(f32::MIN_POSITIVE);
        for (group, block) in row.chunks_exact(GROUP).zip(&mut self.blocks) {
            for (weight, byte) in group.iter().zip(&mut block.0[output * GROUP..]) {
                *byte = (weight / scale + ROUND).to_bits() as i8;
                self.sums[output] += i32::from(*byte);
            }
        }
        self.scales[output] = scale;
    }
}
