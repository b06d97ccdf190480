//! The precision of the matrix products.

use std::fmt;

use crate::kernels::Vnni;

/// The precision of the matrix products of a forward pass. The vectors of both precisions are close
/// (mean cosine 0.998), but must not be mixed in one index: see [`MiniLm::profile`].
///
/// [`MiniLm::profile`]: crate::MiniLm::profile
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Precision {
    /// Single precision throughout. Runs on every CPU.
    F32,
    /// Weights in 8 bits with a scale per output, activations in 8 bits with a scale per token.
    /// Takes a quarter of the memory; needs a CPU with AVX512-VNNI or AVX-VNNI.
    Int8,
}

impl Precision {
    /// The fastest precision of this CPU: [`Int8`](Self::Int8) if supported, else
    /// [`F32`](Self::F32).
    pub fn best() -> Self {
        if Self::Int8.is_supported() { Self::Int8 } else { Self::F32 }
    }

    /// Whether this CPU supports the precision.
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
