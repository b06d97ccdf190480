//! The one choice a caller has: exactness or speed.

use std::fmt;

use crate::kernels::Vnni;

/// What the matrix products of a forward pass are computed in. Vectors of the two precisions are
/// close (mean cosine 0.998) but must not be mixed in one index: see [`MiniLm::profile`].
///
/// [`MiniLm::profile`]: crate::MiniLm::profile
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Precision {
    /// Single precision throughout; on every CPU.
    F32,
    /// Weights in 8 bits with a scale per output, activations in 8 bits with a scale per token.
    /// A quarter of the memory; needs AVX512-VNNI or AVX-VNNI.
    Int8,
}

impl Precision {
    /// [`Int8`](Self::Int8) where this CPU multiplies bytes in hardware, else [`F32`](Self::F32).
    pub fn best() -> Self {
        if Self::Int8.is_supported() { Self::Int8 } else { Self::F32 }
    }

    /// Whether this CPU can run it.
    pub fn is_supported(self) -> bool {
        match self {
            Self::F32 => true,
            Self::Int8 => Vnni::detect().is_some(),
        }
    }

    /// The name used in profiles and configuration: `f32` or `int8`.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Int8 => "int8",
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
