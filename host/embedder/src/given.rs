//! The embedder of a tenant whose callers bring their own vectors: it knows their space, and makes
//! none.

use std::time::Instant;

use async_trait::async_trait;
use kenning_storage::TenantId;

use crate::{EmbedError, Embedder, Lane, Space, Vector};

/// How the profile of a given space begins; the number of its dimensions follows.
const PROFILE: &str = "given/";

/// Numbers that a given vector has at most.
pub const MAX_GIVEN_DIMENSIONS: usize = 4_096;

/// Stands in for an embedder where callers give the vectors of their facts and queries.
#[derive(Debug)]
pub struct GivenEmbedder {
    space: Space,
}

/// Why a caller's numbers are no vector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadVector {
    /// There are more or fewer numbers than the tenant's vectors have.
    #[error("this tenant's vectors have {dimensions} numbers, and this one has {given}")]
    Length {
        /// How many the tenant's have.
        dimensions: usize,
        /// How many there are.
        given: usize,
    },
    /// A number is infinite or none, as 32 bits hold it.
    #[error("the number at {0} is not finite in 32 bits")]
    NotFinite(usize),
    /// All numbers are zero, or so small that the vector has no direction.
    #[error("the vector has length zero, and so no direction to compare")]
    Zero,
}

impl GivenEmbedder {
    /// Vectors of so many numbers.
    pub fn new(dimensions: usize) -> Self {
        Self { space: Space { profile: format!("{PROFILE}{dimensions}"), dimensions } }
    }

    /// The dimensions of vectors with this profile; `None` if a model made them.
    pub fn dimensions_of(profile: &str) -> Option<usize> {
        profile.strip_prefix(PROFILE)?.parse().ok()
    }

    /// A caller's numbers as a vector of length one, of so many `dimensions`.
    ///
    /// # Errors
    /// If they are none.
    pub fn vector(dimensions: usize, given: &[f32]) -> Result<Vector, BadVector> {
        if given.len() != dimensions {
            return Err(BadVector::Length { dimensions, given: given.len() });
        }
        if let Some(at) = given.iter().position(|number| !number.is_finite()) {
            return Err(BadVector::NotFinite(at));
        }
        // In 64 bits no square of a number of 32 bits is infinite, or zero unless the number is.
        let length = given.iter().map(|n| f64::from(*n) * f64::from(*n)).sum::<f64>().sqrt();
        if length == 0.0 {
            return Err(BadVector::Zero);
        }
        Ok(given.iter().map(|number| (f64::from(*number) / length) as f32).collect())
    }
}

#[async_trait]
impl Embedder for GivenEmbedder {
    async fn embed(
        &self,
        _tenant: &TenantId,
        _texts: Vec<String>,
        _lane: Lane,
        _until: Instant,
    ) -> Result<Vec<Vector>, EmbedError> {
        Err(EmbedError::Refused("this tenant's vectors are given by its callers".into()))
    }

    async fn probe(&self, _until: Instant) -> Result<(), EmbedError> {
        Ok(())
    }

    fn space(&self) -> Option<&Space> {
        Some(&self.space)
    }

    fn kind(&self) -> &'static str {
        "given"
    }

    fn model(&self) -> &str {
        "given"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_has_length_one_whatever_its_scale() {
        for scale in [1e-38_f32, 1e-10, 1.0, 1e10, 1e37] {
            let vector = GivenEmbedder::vector(2, &[3.0 * scale, 4.0 * scale]).unwrap();
            assert!((vector[0] - 0.6).abs() < 1e-6 && (vector[1] - 0.8).abs() < 1e-6, "{scale}");
        }
    }

    #[test]
    fn numbers_that_are_no_vector_are_named() {
        let length = BadVector::Length { dimensions: 2, given: 1 };
        assert_eq!(GivenEmbedder::vector(2, &[1.0]), Err(length));
        let infinite = [0.0, f32::INFINITY];
        assert_eq!(GivenEmbedder::vector(2, &infinite), Err(BadVector::NotFinite(1)));
        assert_eq!(GivenEmbedder::vector(2, &[f32::NAN, 0.0]), Err(BadVector::NotFinite(0)));
        assert_eq!(GivenEmbedder::vector(2, &[0.0, -0.0]), Err(BadVector::Zero));
    }

    #[test]
    fn a_profile_says_how_many_dimensions() {
        let space = GivenEmbedder::new(3).space().unwrap().clone();
        assert_eq!(GivenEmbedder::dimensions_of(&space.profile), Some(3));
        assert_eq!(GivenEmbedder::dimensions_of("all-MiniLM-L6-v2/384/1"), None);
    }
}
