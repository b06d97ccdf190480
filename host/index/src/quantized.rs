//! A unit vector with an 8-bit quantized copy, and a bound on the copy's error.
//!
//! A scan is limited by memory bandwidth, and the copy takes a quarter of the memory. The error
//! bound keeps the search exact: see [`QuantizedVector::bounds`].

use crate::error::IndexError;
use crate::kernels::{BLOCK, Block, Codes};
use crate::limits;

/// Values in one lane: one AVX-512 register of `f32`.
const LANE: usize = 16;

/// A piece of a full-precision vector; the last one is padded with zeros.
#[repr(align(64))]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lane([f32; LANE]);

/// The parameters of a quantized copy: `value = code * scale`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quantization {
    pub(crate) scale: f32,
    /// Euclidean distance between the vector and its copy.
    pub(crate) error: f32,
}

/// A unit vector in full precision, with its 8-bit copy.
#[derive(Debug)]
pub(crate) struct QuantizedVector {
    /// Length without the padding of `lanes` and `codes`.
    pub(crate) dimensions: usize,
    pub(crate) lanes: Vec<Lane>,
    pub(crate) codes: Codes,
    pub(crate) quantization: Quantization,
}

impl QuantizedVector {
    /// Scales `vector` to unit length and quantizes it.
    ///
    /// # Errors
    /// Fails if `vector` is empty, too long, not finite or all zero.
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
        let (codes, quantization) = quantize(&unit);
        Ok(Self { dimensions: unit.len(), lanes: lanes(&unit), codes, quantization })
    }

    /// Lower and upper bound of the cosine with a stored vector, given the dot product of the
    /// 8-bit copies.
    ///
    /// With q' and v' the copies, `q*v - q'*v' = q*(v - v') + (q - q')*v'`. By Cauchy-Schwarz that
    /// is at most `|v - v'| + |q - q'| * |v'|`, and `|v'| <= 1 + |v - v'|`.
    #[inline]
    pub(crate) fn bounds(&self, product: i32, stored: Quantization) -> (f32, f32) {
        let estimate = product as f32 * (self.quantization.scale * stored.scale);
        let own = self.quantization.error;
        let error = stored.error + own * (1.0 + stored.error) + self.rounding();
        (estimate - error, estimate + error)
    }

    /// Upper bound of the rounding error in this bound and in [`cosine`] together: each rounds
    /// fewer than `dimensions` times, by at most half an epsilon, on terms that sum to at most 1.
    fn rounding(&self) -> f32 {
        (self.dimensions + 8) as f32 * f32::EPSILON
    }
}

/// The dot product of two unit vectors of the same length, which is their cosine.
///
/// The order of the additions is fixed and still allows SIMD, so a score is the same number on
/// every machine.
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
        for lane in 0..width {
            sums[lane] += sums[lane + width];
        }
    }
    // Adding zero turns -0.0 into 0.0, so that both are the same score.
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

fn quantize(unit: &[f32]) -> (Codes, Quantization) {
    let largest = unit.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    let scale = largest / 127.0;
    // No value exceeds `largest`, so the codes lie in -127..=127.
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
    (Codes::new(codes.chunks(BLOCK).map(block).collect()), Quantization { scale, error })
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
            let unit = QuantizedVector::new(&vector).unwrap();
            assert!((cosine(&unit.lanes, &unit.lanes) - 1.0).abs() < 1e-6, "{vector:?}");
        }
    }

    #[test]
    fn a_vector_without_a_direction_is_refused() {
        assert_eq!(QuantizedVector::new(&[0.0, -0.0]).unwrap_err(), IndexError::ZeroVector);
        assert_eq!(QuantizedVector::new(&[0.0, f32::NAN]).unwrap_err(), IndexError::NotFinite);
        assert_eq!(QuantizedVector::new(&[1.0, f32::INFINITY]).unwrap_err(), IndexError::NotFinite);
    }

    #[test]
    fn a_vectors_length_is_obeyed_and_violated() {
        assert!(QuantizedVector::new(&vec![1.0; limits::DIMENSIONS]).is_ok());
        for length in [0, limits::DIMENSIONS + 1] {
            let refused = QuantizedVector::new(&vec![1.0; length]).unwrap_err();
            assert_eq!(refused, IndexError::VectorLength { got: length });
        }
    }

    #[test]
    fn the_bounds_hold_the_exact_cosine() {
        let mut random = fastrand::Rng::with_seed(7);
        for dimensions in [1, 2, 16, 17, 100, 384, 1_000, limits::DIMENSIONS] {
            for _ in 0..50 {
                let query = QuantizedVector::new(&random_vector(&mut random, dimensions)).unwrap();
                let stored = QuantizedVector::new(&random_vector(&mut random, dimensions)).unwrap();
                let mut product = [0];
                let kernel = crate::kernels::Kernel::best();
                kernel.multiply(&query.codes, stored.codes.blocks(), &mut product);
                let (lower, upper) = query.bounds(product[0], stored.quantization);
                let exact = cosine(&query.lanes, &stored.lanes);
                assert!(lower <= exact && exact <= upper, "{lower} {exact} {upper}");
            }
        }
    }
}
