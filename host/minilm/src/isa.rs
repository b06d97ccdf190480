//! Plain loops, compiled once per instruction set.
//!
//! Everything but the int8 product is written as loops over fixed-size arrays that the compiler
//! turns into vector code. A build for a generic CPU would use 128-bit vectors, so each loop nest
//! is a [`Pass`], which [`Cpu::run`](crate::kernels::Cpu::run) instantiates for the widest
//! instruction set the CPU was found to have. Implementations must be `#[inline(always)]`, down to
//! the loops: code that is not inlined is compiled for the generic CPU.

/// Floats handled side by side: two AVX-512 registers, the width of a head and of a panel.
pub(crate) const LANES: usize = 32;

/// [`LANES`] floats on a cache line boundary: a wide load that straddles two lines costs double.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Lanes(pub(crate) [f32; LANES]);

impl Lanes {
    pub(crate) const ZERO: Self = Self([0.0; LANES]);

    /// Combines all lanes, halves with halves: one after the other each would wait on the last.
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

/// What the loops may assume of the instruction set they are compiled for.
pub(crate) trait Isa {
    /// A fused multiply-add is one instruction; where it is not, `f32::mul_add` calls a function.
    const FUSED: bool;
    /// 32 registers of 512 bits, enough for [`WIDE_ROWS`](crate::attention::WIDE_ROWS).
    const WIDE: bool;

    /// `a * b + c`.
    #[inline(always)]
    fn mul_add(a: f32, b: f32, c: f32) -> f32 {
        if Self::FUSED { a.mul_add(b, c) } else { a * b + c }
    }
}

/// A loop nest to be compiled per instruction set.
pub(crate) trait Pass {
    fn run<I: Isa>(self);
}

/// The instruction set the build was made for. On aarch64 that already includes NEON.
pub(crate) struct Baseline;

impl Isa for Baseline {
    const FUSED: bool = cfg!(any(target_arch = "aarch64", target_feature = "fma"));
    const WIDE: bool = false;
}

#[cfg(target_arch = "x86_64")]
pub(crate) struct Avx2;

#[cfg(target_arch = "x86_64")]
impl Isa for Avx2 {
    const FUSED: bool = true;
    const WIDE: bool = false;
}

#[cfg(target_arch = "x86_64")]
pub(crate) struct Avx512;

#[cfg(target_arch = "x86_64")]
impl Isa for Avx512 {
    const FUSED: bool = true;
    const WIDE: bool = true;
}
