//! Every line of `unsafe` of the crate: vector instructions the build's baseline does not have,
//! and the call into `gemm`, which takes pointers.
//!
//! Two proofs keep it sound. A [`Cpu`] or a [`Vnni`] can only be had from its `detect`, so holding
//! one proves that the CPU has the instructions. And lengths are checked, or are part of a type,
//! before a pointer is taken.
#![expect(unsafe_code, reason = "vector instructions and gemm are only reachable through it")]

use crate::isa::{Baseline, Pass};
use crate::linear::{Panel, WIDE_PANEL};
use crate::quantise::Quantised;

#[cfg(target_arch = "x86_64")]
use crate::isa::{Avx2, Avx512};
#[cfg(target_arch = "x86_64")]
use crate::linear::{GROUP, PANEL};

/// The instruction set that plain loops run in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cpu(Level);

#[derive(Debug, Clone, Copy)]
enum Level {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Baseline,
}

impl Cpu {
    /// The widest instruction set of this CPU.
    pub(crate) fn detect() -> Self {
        let found = Self::detect_512().or_else(Self::detect_256);
        found.unwrap_or(Self(Level::Baseline))
    }

    fn detect_512() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        if Self::detect_256().is_some()
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
        {
            return Some(Self(Level::Avx512));
        }
        None
    }

    fn detect_256() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            return Some(Self(Level::Avx2));
        }
        None
    }

    /// Runs a loop nest as compiled for this CPU.
    pub(crate) fn run<P: Pass>(self, pass: P) {
        match self.0 {
            // SAFETY: `detect` found every feature that the function enables.
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => unsafe { run_avx512(pass) },
            // SAFETY: `detect` found every feature that the function enables.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => unsafe { run_avx2(pass) },
            Level::Baseline => pass.run::<Baseline>(),
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
fn run_avx512<P: Pass>(pass: P) {
    pass.run::<Avx512>();
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn run_avx2<P: Pass>(pass: P) {
    pass.run::<Avx2>();
}

/// `y += x * weights`, with `x` rows by `inputs` and `y` rows by outputs, each row after row, and
/// `weights` panel after panel of `inputs` by [`WIDE_PANEL`] outputs.
pub(crate) fn product_f32(x: &[f32], inputs: usize, weights: &[f32], y: &mut [f32]) {
    let (rows, outputs) = (x.len() / inputs, weights.len() / inputs);
    assert_eq!(x.len(), rows * inputs, "x is whole rows");
    assert_eq!(weights.len(), inputs * outputs, "weights are whole rows");
    assert_eq!(outputs % WIDE_PANEL, 0, "weights are whole panels");
    assert_eq!(y.len(), rows * outputs, "y has a row per row of x");
    if rows == 0 {
        return;
    }
    for (index, panel) in weights.chunks_exact(inputs * WIDE_PANEL).enumerate() {
        // SAFETY: by the lengths asserted above the strides describe whole row-major matrices:
        // all of `x`, all of `panel`, and of each row of `y` the outputs from the slice's start
        // on, of which there are WIDE_PANEL. `y` is borrowed mutably and so overlaps neither of
        // the others, and everything is initialised.
        unsafe {
            gemm_f32::gemm::f32::get_gemm_fn()(
                WIDE_PANEL,
                rows,
                inputs,
                y[index * WIDE_PANEL..].as_mut_ptr(),
                outputs as isize,
                1,
                true,
                panel.as_ptr(),
                WIDE_PANEL as isize,
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

/// Proof that this CPU multiplies unsigned by signed bytes, four at a time, without saturating.
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

    /// The narrow kernel alone, which a CPU with the wide one may have as well.
    #[cfg(target_arch = "x86_64")]
    fn detect_256() -> Option<Self> {
        let found = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("avxvnni");
        found.then_some(Self(Width::Bits256))
    }

    /// `y = x * weights + bias`, with `y` rows by outputs. Overwrites all of `y`.
    #[cfg_attr(
        not(target_arch = "x86_64"),
        expect(unused_variables, reason = "there is no kernel, hence no Vnni to call this on")
    )]
    pub(crate) fn product(self, x: &Quantised, panels: &[Panel], y: &mut [f32]) {
        #[cfg(target_arch = "x86_64")]
        match self.0 {
            // SAFETY: `detect` found every feature that the function enables.
            Width::Bits512 => unsafe { vnni512::product(x, panels, y) },
            // SAFETY: `detect` found every feature that the function enables.
            Width::Bits256 => unsafe { vnni256::product(x, panels, y) },
        }
        #[cfg(not(target_arch = "x86_64"))]
        match self.0 {}
    }
}

/// One tile of an int8 product: some rows of the activations by one panel of the weights.
#[cfg(target_arch = "x86_64")]
struct Tile<'a> {
    x: &'a Quantised,
    first: usize,
    panel: &'a Panel,
    /// From the tile's first output on; a row is `outputs` apart.
    y: &'a mut [f32],
    outputs: usize,
}

/// Calls `$kernel` for every tile, with its rows as a constant. Rows are spread evenly: a tile of
/// one row would wait on its own sums, 13 rows are better served as 7 and 6 than as 12 and 1.
#[cfg(target_arch = "x86_64")]
macro_rules! for_each_tile {
    ($kernel:ident, $x:expr, $panels:expr, $y:expr, $most:literal: $($rows:literal)*) => {
        let (rows, outputs) = ($x.scales.len(), $panels.len() * PANEL);
        for (index, panel) in $panels.iter().enumerate() {
            let mut first = 0;
            for left in (1..=rows.div_ceil($most)).rev() {
                let count = (rows - first).div_ceil(left);
                let y = &mut $y[first * outputs + index * PANEL..];
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
    /// The activations of each row, in groups that one instruction takes.
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

    use super::{GROUP, PANEL, Panel, Quantised, Tile};

    const HALF: usize = PANEL / 2;

    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    pub(super) fn product(x: &Quantised, panels: &[Panel], y: &mut [f32]) {
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

    use super::{GROUP, PANEL, Panel, Quantised, Tile};

    const QUARTER: usize = PANEL / 4;

    #[target_feature(enable = "avx2,fma,avxvnni")]
    pub(super) fn product(x: &Quantised, panels: &[Panel], y: &mut [f32]) {
        for_each_tile!(tile, x, panels, y, 6: 1 2 3 4 5 6);
    }

    /// Half a panel at a time: 12 of the 16 registers hold sums.
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
