//! Safe loops that are compiled once per instruction set.
//!
//! Everything but the matrix products is written as loops over fixed-size arrays, which the
//! compiler vectorizes. A build for a generic CPU would use 128-bit vectors, so each loop nest is a
//! [`Kernel`], which `kernels::Cpu::run` instantiates for the widest instruction set that the CPU
//! has. All functions of a kernel, down to the loops, must be `#[inline(always)]`: code that is not
//! inlined is compiled for the generic CPU.

/// Floats processed in parallel: two AVX-512 registers, and the width of an attention head.
pub(crate) const LANES: usize = 32;

/// [`LANES`] floats, aligned to a cache line: a load that spans two lines takes twice as long.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Lanes(pub(crate) [f32; LANES]);

impl Lanes {
    pub(crate) const ZERO: Self = Self([0.0; LANES]);

    /// Combines all lanes in a tree, whose steps depend on each other less than those of a chain.
    #[inline(always)]
    pub(crate) fn reduce(mut self, combine: impl Fn(f32, f32) -> f32) -> f32 {
        let mut width = LANES / 2;
        while width > 0 {
            for j in 0..width {
                self.0[j] = combine(self.0[j], self.0[j + width]);
            }
            width /= 2;
        }
        self.0[0]
    }
}

/// An instruction set that a kernel is compiled for.
pub(crate) trait Isa {
    /// Whether a fused multiply-add is one instruction. Elsewhere `f32::mul_add` calls a function.
    const FUSED: bool;
    /// Whether there are 32 registers of 512 bits, as `attention::WIDE_ROWS` needs.
    const WIDE: bool;

    /// `a * b + c`, fused where that is one instruction.
    #[inline(always)]
    fn mul_add(a: f32, b: f32, c: f32) -> f32 {
        if Self::FUSED { a.mul_add(b, c) } else { a * b + c }
    }
}

/// A loop nest to be compiled once per instruction set.
pub(crate) trait Kernel {
    /// Runs the loops as compiled for `I`.
    fn run<I: Isa>(self);
}

/// The instruction set of the build's target. On AArch64 that includes NEON.
pub(crate) struct Baseline;

impl Isa for Baseline {
    const FUSED: bool = cfg!(any(target_arch = "aarch64", target_feature = "fma"));
    const WIDE: bool = false;
}

/// AVX2 with FMA.
pub(crate) struct Avx2;

impl Isa for Avx2 {
    const FUSED: bool = true;
    const WIDE: bool = false;
}

/// AVX-512 F, BW, DQ and VL.
pub(crate) struct Avx512;

impl Isa for Avx512 {
    const FUSED: bool = true;
    const WIDE: bool = true;
}
