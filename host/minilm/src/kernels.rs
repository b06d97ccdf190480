//! All `unsafe` code of the crate: vector instructions that the build's target lacks, and the call
//! of `gemm`, which takes pointers.
//!
//! Soundness rests on two rules. A [`Vnni`] is created only by its `detect`, so that a value is
//! proof that the CPU has the instructions. And lengths are checked, or are part of a type, before
//! a pointer is taken.
//!
//! `pulp` dispatches the safe loops. The int8 kernels do without it: version 0.22 wraps neither
//! `vpdpbusd` nor AVX-VNNI.
#![expect(unsafe_code, reason = "vector instructions and gemm cannot be called without it")]

use pulp::{Arch, Simd, WithSimd};

use crate::isa::{Avx2, Avx512, Baseline, Kernel};
use crate::panel::{F32_PANEL_WIDTH, Panel};
use crate::quantize::Quantized;

#[cfg(target_arch = "x86_64")]
use crate::panel::{GROUP, PANEL_WIDTH};

/// The instruction set for which [`Kernel`]s are run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cpu(Arch);

impl Cpu {
    /// The widest instruction set of this CPU.
    pub(crate) fn detect() -> Self {
        Self(Arch::new())
    }

    /// Runs a kernel as compiled for this CPU.
    pub(crate) fn run<K: Kernel>(self, kernel: K) {
        self.0.dispatch(Dispatch(kernel));
    }
}

/// Runs a kernel within a function that `pulp` compiles for an instruction set.
struct Dispatch<K>(K);

impl<K: Kernel> WithSimd for Dispatch<K> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        match S::F32_LANES {
            16 => self.0.run::<Avx512>(),
            8 => self.0.run::<Avx2>(),
            _ => self.0.run::<Baseline>(),
        }
    }
}

/// Computes `y += x * weights`. `x` (rows by `inputs`) and `y` (rows by outputs) are row-major;
/// `weights` holds one panel after the other, each `inputs` by [`F32_PANEL_WIDTH`] outputs.
///
/// # Panics
/// Panics if the lengths do not describe such matrices.
pub(crate) fn product_f32(x: &[f32], inputs: usize, weights: &[f32], y: &mut [f32]) {
    let (rows, outputs) = (x.len() / inputs, weights.len() / inputs);
    assert_eq!(x.len(), rows * inputs, "x is whole rows");
    assert_eq!(weights.len(), inputs * outputs, "weights are whole rows");
    assert_eq!(outputs % F32_PANEL_WIDTH, 0, "weights are whole panels");
    assert_eq!(y.len(), rows * outputs, "y has a row per row of x");
    if rows == 0 {
        return;
    }
    for (index, panel) in weights.chunks_exact(inputs * F32_PANEL_WIDTH).enumerate() {
        // SAFETY: by the lengths asserted above, the strides describe row-major matrices that lie
        // within the slices: all of `x`, all of `panel`, and in each row of `y` the
        // F32_PANEL_WIDTH outputs from the slice's start on. `y` is borrowed mutably, so it
        // overlaps neither of the others, and all values are initialized.
        unsafe {
            gemm_f32::gemm::f32::get_gemm_fn()(
                F32_PANEL_WIDTH,
                rows,
                inputs,
                y[index * F32_PANEL_WIDTH..].as_mut_ptr(),
                outputs as isize,
                1,
                true,
                panel.as_ptr(),
                F32_PANEL_WIDTH as isize,
                1,
                x.as_ptr(),
                inputs as isize,
                1,
                1.0,
                1.0,
                false,
                false,
                false,
                gemm_common::Parallelism::None,
            );
        }
    }
}

/// Proof that this CPU has VNNI: sums of four products of unsigned and signed bytes, without
/// saturation in between.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Vnni(Width);

#[derive(Debug, Clone, Copy)]
enum Width {
    #[cfg(target_arch = "x86_64")]
    Bits512,
    #[cfg(target_arch = "x86_64")]
    Bits256,
}

impl Vnni {
    /// The widest kernel for this CPU, if there is one.
    pub(crate) fn detect() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        {
            Self::detect_512().or_else(Self::detect_256)
        }
        #[cfg(not(target_arch = "x86_64"))]
        None
    }

    #[cfg(target_arch = "x86_64")]
    fn detect_512() -> Option<Self> {
        let found = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vnni");
        found.then_some(Self(Width::Bits512))
    }

    /// The 256-bit kernel, which a CPU with the 512-bit one may support as well.
    #[cfg(target_arch = "x86_64")]
    fn detect_256() -> Option<Self> {
        let found = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("avxvnni");
        found.then_some(Self(Width::Bits256))
    }

    /// Computes `y = x * weights + bias`. `y` is row-major, tokens by outputs, and overwritten.
    #[cfg_attr(
        not(target_arch = "x86_64"),
        expect(unused_variables, reason = "no kernel exists here, so no `Vnni` value does either")
    )]
    pub(crate) fn product(self, x: &Quantized, panels: &[Panel], y: &mut [f32]) {
        #[cfg(target_arch = "x86_64")]
        match self.0 {
            // SAFETY: `detect` detected every feature that the function enables.
            Width::Bits512 => unsafe { vnni512::product(x, panels, y) },
            // SAFETY: `detect` detected every feature that the function enables.
            Width::Bits256 => unsafe { vnni256::product(x, panels, y) },
        }
        #[cfg(not(target_arch = "x86_64"))]
        match self.0 {}
    }
}

/// One tile of an int8 product: a few rows of the activations and one panel of the weights.
#[cfg(target_arch = "x86_64")]
struct Tile<'a> {
    x: &'a Quantized,
    /// First row of `x`.
    first: usize,
    panel: &'a Panel,
    /// The results, from the tile's first output on. Rows are `outputs` apart.
    y: &'a mut [f32],
    outputs: usize,
}

/// Calls `$kernel` for every tile, with the number of rows as a constant. Rows are divided evenly:
/// a tile of one row is limited by the latency of its additions, so 7 and 6 rows are faster than 12
/// and 1.
#[cfg(target_arch = "x86_64")]
macro_rules! for_each_tile {
    ($kernel:ident, $x:expr, $panels:expr, $y:expr, $most:literal: $($rows:literal)*) => {
        let (rows, outputs) = ($x.scales.len(), $panels.len() * PANEL_WIDTH);
        for (index, panel) in $panels.iter().enumerate() {
            let mut first = 0;
            for left in (1..=rows.div_ceil($most)).rev() {
                let count = (rows - first).div_ceil(left);
                let y = &mut $y[first * outputs + index * PANEL_WIDTH..];
                let tile = Tile { x: $x, first, panel, y, outputs };
                match count {
                    $($rows => $kernel::<$rows>(tile),)*
                    _ => unreachable!("a tile has at most {} rows", $most),
                }
                first += count;
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
impl<'a> Tile<'a> {
    /// The activations of each row, in groups that one instruction multiplies.
    #[inline(always)]
    fn rows<const ROWS: usize>(&self) -> [&'a [[u8; GROUP]]; ROWS] {
        let (groups, _) = self.x.bytes.as_chunks::<GROUP>();
        let count = self.panel.blocks.len();
        std::array::from_fn(|row| &groups[(self.first + row) * count..][..count])
    }
}

#[cfg(target_arch = "x86_64")]
mod vnni512 {
    use std::arch::x86_64::*;

    use super::{GROUP, PANEL_WIDTH, Panel, Quantized, Tile};

    const HALF: usize = PANEL_WIDTH / 2;

    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    pub(super) fn product(x: &Quantized, panels: &[Panel], y: &mut [f32]) {
        for_each_tile!(tile, x, panels, y, 12: 1 2 3 4 5 6 7 8 9 10 11 12);
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    fn tile<const ROWS: usize>(tile: Tile<'_>) {
        let rows = tile.rows::<ROWS>();
        let mut sums = [[_mm512_setzero_si512(); 2]; ROWS];
        for (k, block) in tile.panel.blocks.iter().enumerate() {
            let (halves, _) = block.0.as_chunks::<{ GROUP * HALF }>();
            let weights = [load_bytes(&halves[0]), load_bytes(&halves[1])];
            for (sums, row) in sums.iter_mut().zip(rows) {
                let x = _mm512_set1_epi32(i32::from_ne_bytes(row[k]));
                sums[0] = _mm512_dpbusd_epi32(sums[0], x, weights[0]);
                sums[1] = _mm512_dpbusd_epi32(sums[1], x, weights[1]);
            }
        }
        for half in 0..2 {
            let scales = load(&tile.panel.scales.as_chunks().0[half]);
            let zero_sums = load_integers(&tile.panel.sums.as_chunks().0[half]);
            let bias = load(&tile.panel.bias.as_chunks().0[half]);
            for (row, sums) in sums.iter().enumerate() {
                let zero = _mm512_set1_epi32(tile.x.zeros[tile.first + row]);
                let sum = _mm512_sub_epi32(sums[half], _mm512_mullo_epi32(zero, zero_sums));
                let scale = _mm512_set1_ps(tile.x.scales[tile.first + row]);
                let scale = _mm512_mul_ps(scale, scales);
                let value = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), scale, bias);
                store(&mut tile.y[row * tile.outputs..].as_chunks_mut().0[half], value);
            }
        }
    }

    #[target_feature(enable = "avx512f")]
    fn load_bytes(bytes: &[i8; GROUP * HALF]) -> __m512i {
        // SAFETY: the array is 64 bytes, and the load needs no alignment.
        unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
    }

    #[target_feature(enable = "avx512f")]
    fn load_integers(integers: &[i32; HALF]) -> __m512i {
        // SAFETY: the array is 64 bytes, and the load needs no alignment.
        unsafe { _mm512_loadu_si512(integers.as_ptr().cast()) }
    }

    #[target_feature(enable = "avx512f")]
    fn load(floats: &[f32; HALF]) -> __m512 {
        // SAFETY: the array is 64 bytes, and the load needs no alignment.
        unsafe { _mm512_loadu_ps(floats.as_ptr()) }
    }

    #[target_feature(enable = "avx512f")]
    fn store(target: &mut [f32; HALF], value: __m512) {
        // SAFETY: the array is 64 bytes, and the store needs no alignment.
        unsafe { _mm512_storeu_ps(target.as_mut_ptr(), value) }
    }
}

#[cfg(target_arch = "x86_64")]
mod vnni256 {
    use std::arch::x86_64::*;

    use super::{GROUP, PANEL_WIDTH, Panel, Quantized, Tile};

    const QUARTER: usize = PANEL_WIDTH / 4;

    #[target_feature(enable = "avx2,fma,avxvnni")]
    pub(super) fn product(x: &Quantized, panels: &[Panel], y: &mut [f32]) {
        for_each_tile!(tile, x, panels, y, 6: 1 2 3 4 5 6);
    }

    /// Processes half a panel at a time, so that 12 of the 16 registers hold sums.
    #[target_feature(enable = "avx2,fma,avxvnni")]
    fn tile<const ROWS: usize>(mut tile: Tile<'_>) {
        half::<ROWS>(&mut tile, [0, 1]);
        half::<ROWS>(&mut tile, [2, 3]);
    }

    #[target_feature(enable = "avx2,fma,avxvnni")]
    fn half<const ROWS: usize>(tile: &mut Tile<'_>, quarters: [usize; 2]) {
        let rows = tile.rows::<ROWS>();
        let mut sums = [[_mm256_setzero_si256(); 2]; ROWS];
        for (k, block) in tile.panel.blocks.iter().enumerate() {
            let (parts, _) = block.0.as_chunks::<{ GROUP * QUARTER }>();
            let weights = [load_bytes(&parts[quarters[0]]), load_bytes(&parts[quarters[1]])];
            for (sums, row) in sums.iter_mut().zip(rows) {
                let x = _mm256_set1_epi32(i32::from_ne_bytes(row[k]));
                sums[0] = _mm256_dpbusd_avx_epi32(sums[0], x, weights[0]);
                sums[1] = _mm256_dpbusd_avx_epi32(sums[1], x, weights[1]);
            }
        }
        for (index, quarter) in quarters.into_iter().enumerate() {
            let scales = load(&tile.panel.scales.as_chunks().0[quarter]);
            let zero_sums = load_integers(&tile.panel.sums.as_chunks().0[quarter]);
            let bias = load(&tile.panel.bias.as_chunks().0[quarter]);
            for (row, sums) in sums.iter().enumerate() {
                let zero = _mm256_set1_epi32(tile.x.zeros[tile.first + row]);
                let sum = _mm256_sub_epi32(sums[index], _mm256_mullo_epi32(zero, zero_sums));
                let scale = _mm256_set1_ps(tile.x.scales[tile.first + row]);
                let scale = _mm256_mul_ps(scale, scales);
                let value = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), scale, bias);
                store(&mut tile.y[row * tile.outputs..].as_chunks_mut().0[quarter], value);
            }
        }
    }

    #[target_feature(enable = "avx2")]
    fn load_bytes(bytes: &[i8; GROUP * QUARTER]) -> __m256i {
        // SAFETY: the array is 32 bytes, and the load needs no alignment.
        unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
    }

    #[target_feature(enable = "avx2")]
    fn load_integers(integers: &[i32; QUARTER]) -> __m256i {
        // SAFETY: the array is 32 bytes, and the load needs no alignment.
        unsafe { _mm256_loadu_si256(integers.as_ptr().cast()) }
    }

    #[target_feature(enable = "avx2")]
    fn load(floats: &[f32; QUARTER]) -> __m256 {
        // SAFETY: the array is 32 bytes, and the load needs no alignment.
        unsafe { _mm256_loadu_ps(floats.as_ptr()) }
    }

    #[target_feature(enable = "avx2")]
    fn store(target: &mut [f32; QUARTER], value: __m256) {
        // SAFETY: the array is 32 bytes, and the store needs no alignment.
        unsafe { _mm256_storeu_ps(target.as_mut_ptr(), value) }
    }
}

#[cfg(test)]
mod tests;
