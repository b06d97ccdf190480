//! GELU and the exponential function, free of branches and calls so that loops over them are
//! vectorized. Both are accurate to a few units in the last place of `f32`.

use crate::isa::{Isa, Kernel};

/// 1.5 * 2^23: adding it to a small float rounds that to the nearest integer, whose two's
/// complement is then in the low bits of the sum. A cast would take more instructions, as it
/// saturates.
pub(crate) const ROUND: f32 = 12_582_912.0;

/// `exp(x)` for `x <= 0`, with `x` clamped to -87, where the result is about 1.6e-38 and close to
/// the end of the range of `f32`.
///
/// Uses the range reduction and polynomial of Cephes `expf`.
#[inline(always)]
pub(crate) fn exp<I: Isa>(x: f32) -> f32 {
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    const P: [f32; 6] =
        [1.987_569_1e-4, 1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5];

    let x = if x < -87.0 { -87.0 } else { x };
    let shifted = I::mul_add(x, std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = I::mul_add(n, -LN_2_LOW, I::mul_add(n, -LN_2_HIGH, x));
    let p = P[1..].iter().fold(P[0], |p, &c| I::mul_add(p, r, c));
    let power_of_two = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
    I::mul_add(p, r * r, r + 1.0) * power_of_two
}

/// The error function, by the rational minimax approximation of Eigen and XLA; its error is at
/// most about 4e-7.
#[inline(always)]
fn erf<I: Isa>(x: f32) -> f32 {
    const P: [f32; 7] = [
        -2.726_142_3e-10,
        2.770_681_4e-8,
        -2.101_024e-6,
        -5.692_506_4e-5,
        -7.349_906_4e-4,
        -2.954_6e-3,
        -1.609_603_3e-2,
    ];
    const Q: [f32; 5] =
        [-1.456_607_2e-5, -2.133_740_6e-4, -1.682_827e-3, -7.373_33e-3, -1.426_474e-2];

    let x = if x > 4.0 { 4.0 } else { x };
    let x = if x < -4.0 { -4.0 } else { x };
    let square = x * x;
    let p = P[1..].iter().fold(P[0], |p, &c| I::mul_add(p, square, c));
    let q = Q[1..].iter().fold(Q[0], |q, &c| I::mul_add(q, square, c));
    x * p / q
}

/// Replaces every value `x` by `x * Phi(x)`: the exact form of GELU, with which the model was
/// trained, not the tanh approximation.
pub(crate) struct Gelu<'a>(pub(crate) &'a mut [f32]);

impl Kernel for Gelu<'_> {
    #[inline(always)]
    fn run<I: Isa>(self) {
        for x in self.0 {
            let half = 0.5 * *x;
            *x = I::mul_add(half, erf::<I>(*x * std::f32::consts::FRAC_1_SQRT_2), half);
        }
    }
}
