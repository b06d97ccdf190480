//! A vector of length one, and its 8-bit copy with a bound on what that copy gets wrong.
//!
//! The copy is a quarter of the memory, which is what a scan costs. The bound is what keeps the
//! answer exact all the same: see [`UnitVector::bounds`].

use crate::error::IndexError;
use crate::kernels::{BLOCK, Block, Codes};
use crate::limits;

/// Numbers in one lane: one AVX-512 register of `f32`.
const LANE: usize = 16;

/// A piece of a full-precision vector, filled up with zeros.
#[repr(align(64))]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lane([f32; LANE]);

/// How to read an 8-bit copy: `value = code * scale`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Coding {
    pub(crate) scale: f32,
    /// Length of the difference between the vector and its copy.
    pub(crate) error: f32,
}

/// A vector of length one, in full precision and in 8 bits.
#[derive(Debug)]
pub(crate) struct UnitVector {
    pub(crate) dimensions: usize,
    pub(crate) lanes: Vec<Lane>,
    pub(crate) codes: Codes,
    pub(crate) coding: Coding,
}

impl UnitVector {
    /// Scales `vector` to length one.
    ///
    /// # Errors
    /// When it is empty, too long, not finite, or all zero and so without a direction.
    pub(crate) fn new(vector: &[f32]) -> Result<Self, IndexError> {
        if vector.is_empty() || vector.len() > limits::DIMENSIONS {
            return Err(IndexError::VectorLength { got: vector.len() });
        }
        if vector.iter().any(|value| !value.is_finite()) {
            return Err(IndexError::NotFinite);
        }
        let squares: f64 = vector.iter().map(|&value| f64::from(value).powi(2)).sum();
        if squares == 0.0 {
            return Err(IndexError::ZeroVector);
        }
        let factor = squares.sqrt().recip();
        let unit: Vec<f32> = vector.iter().map(|&v| (f64::from(v) * factor) as f32).collect();
        let (codes, coding) = encode(&unit);
        Ok(Self { dimensions: unit.len(), lanes: lanes(&unit), codes, coding })
    }

    /// The least and the most that the cosine with a stored vector can be, given the product of
    /// their 8-bit copies.
    ///
    /// With q', v' the copies, `q*v - q'*v' = q*(v - v') + (q - q')*v'`. By Cauchy-Schwarz that
    /// is at most `|v - v'| + |q - q'| * |v'|`, and `|v'| <= 1 + |v - v'|`.
    #[inline]
    pub(crate) fn bounds(&self, product: i32, stored: Coding) -> (f32, f32) {
        let estimate = product as f32 * (self.coding.scale * stored.scale);
        let mine = self.coding.error;
        let error = stored.error + mine * (1.0 + stored.error) + self.rounding();
        (estimate - error, estimate + error)
    }

    /// More than what rounding to `f32` adds up to, in this bound and in [`cosine`]: both have
    /// fewer than `dimensions` steps of at most half an epsilon on terms that sum to 1 or less.
    fn rounding(&self) -> f32 {
        (self.dimensions + 8) as f32 * f32::EPSILON
    }
}

/// The product of two vectors of length one.
///
/// One order of additions, whatever the processor, so that a score is the same number on every
/// machine; it compiles to SIMD all the same.
pub(crate) fn cosine(left: &[Lane], right: &[Lane]) -> f32 {
    let mut sums = [0.0; LANE];
    for (left, right) in left.iter().zip(right) {
        for ((sum, left), right) in sums.iter_mut().zip(left.0).zip(right.0) {
            *sum += left * right;
        }
    }
    let mut width = LANE;
    while width > 1 {
        width /= 2;
        for place in 0..width {
            sums[place] += sums[place + width];
        }
    }
    // Adding zero turns -0.0 into 0.0: they are one score.
    sums[0] + 0.0
}

fn lanes(unit: &[f32]) -> Vec<Lane> {
    let lane = |piece: &[f32]| {
        let mut lane = [0.0; LANE];
        lane[..piece.len()].copy_from_slice(piece);
        Lane(lane)
    };
    unit.chunks(LANE).map(lane).collect()
}

fn encode(unit: &[f32]) -> (Codes, Coding) {
    let largest = unit.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    let scale = largest / 127.0;
    // The conversion saturates, and no value is above `largest`: -127 to 127.
    let codes: Vec<i8> = unit.iter().map(|value| (value / scale).round() as i8).collect();
    let difference = |(&value, &code): (&f32, &i8)| {
        (f64::from(value) - f64::from(code) * f64::from(scale)).powi(2)
    };
    let error = unit.iter().zip(&codes).map(difference).sum::<f64>().sqrt();
    let block = |piece: &[i8]| {
        let mut block = [0; BLOCK];
        block[..piece.len()].copy_from_slice(piece);
        Block(block)
    };
    let error = (error * (1.0 + f64::from(f32::EPSILON))) as f32;
    (Codes::new(codes.chunks(BLOCK).map(block).collect()), Coding { scale, error })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random_vector(random: &mut fastrand::Rng, dimensions: usize) -> Vec<f32> {
        (0..dimensions).map(|_| random.f32() - 0.5).collect()
    }

    #[test]
    fn a_vector_is_scaled_to_length_one() {
        for vector in [vec![3.0, 4.0], vec![f32::MAX, f32::MAX], vec![1e-40, 0.0]] {
            let unit = UnitVector::new(&vector).unwrap();
            assert!((cosine(&unit.lanes, &unit.lanes) - 1.0).abs() < 1e-6, "{vector:?}");
        }
    }

    #[test]
    fn a_vector_without_a_direction_is_refused() {
        assert_eq!(UnitVector::new(&[0.0, -0.0]).unwrap_err(), IndexError::ZeroVector);
        assert_eq!(UnitVector::new(&[0.0, f32::NAN]).unwrap_err(), IndexError::NotFinite);
        assert_eq!(UnitVector::new(&[1.0, f32::INFINITY]).unwrap_err(), IndexError::NotFinite);
    }

    #[test]
    fn a_vectors_length_is_obeyed_and_violated() {
        assert!(UnitVector::new(&vec![1.0; limits::DIMENSIONS]).is_ok());
        for length in [0, limits::DIMENSIONS + 1] {
            let refused = UnitVector::new(&vec![1.0; length]).unwrap_err();
            assert_eq!(refused, IndexError::VectorLength { got: length });
        }
    }

    #[test]
    fn the_bounds_hold_the_exact_cosine() {
        let mut random = fastrand::Rng::with_seed(7);
        for dimensions in [1, 2, 16, 17, 100, 384, 1_000, limits::DIMENSIONS] {
            for _ in 0..50 {
                let query = UnitVector::new(&random_vector(&mut random, dimensions)).unwrap();
                let stored = UnitVector::new(&random_vector(&mut random, dimensions)).unwrap();
                let mut product = [0];
                let kernel = crate::kernels::Kernel::best();
                kernel.multiply(&query.codes, stored.codes.blocks(), &mut product);
                let (lower, upper) = query.bounds(product[0], stored.coding);
                let exact = cosine(&query.lanes, &stored.lanes);
                assert!(lower <= exact && exact <= upper, "{lower} {exact} {upper}");
            }
        }
    }
}
