//! Reads `model.safetensors` into validated tensors.
//!
//! The file is read, not memory-mapped: if another process truncates a mapped file, this process is
//! killed by a signal. The bytes are kept until the last tensor is packed, so the peak memory of
//! loading is the size of the file plus that of the model.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use safetensors::{Dtype, SafeTensors};

use crate::LoadError;
use crate::layer_norm::LayerNorm;
use crate::linear::Dense;

/// Reads a file.
///
/// # Errors
/// Fails with [`LoadError::MissingFile`] if it does not exist, else with [`LoadError::Read`].
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, LoadError> {
    fs::read(path).map_err(|source| match source.kind() {
        ErrorKind::NotFound => LoadError::MissingFile { path: path.to_owned() },
        _ => LoadError::Read { path: path.to_owned(), source },
    })
}

/// The tensors of a file, borrowed from its bytes.
pub(crate) struct Weights<'a>(SafeTensors<'a>);

impl<'a> Weights<'a> {
    /// Parses the file's header. `path` is used only in the error.
    pub(crate) fn parse(bytes: &'a [u8], path: &Path) -> Result<Self, LoadError> {
        SafeTensors::deserialize(bytes)
            .map(Self)
            .map_err(|source| LoadError::BadWeights { path: path.to_owned(), source })
    }

    /// The values of the tensor `name`, in row-major order.
    ///
    /// # Errors
    /// Fails if there is no such tensor, its shape or type differs, or a value is not finite.
    pub(crate) fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, LoadError> {
        let missing = |_| LoadError::MissingTensor { name: name.to_owned() };
        let tensor = self.0.tensor(name).map_err(missing)?;
        if tensor.dtype() != Dtype::F32 {
            let found = format!("{:?}", tensor.dtype());
            return Err(LoadError::WrongType { name: name.to_owned(), found });
        }
        if tensor.shape() != shape {
            let (expected, found) = (shape.to_owned(), tensor.shape().to_owned());
            return Err(LoadError::WrongShape { name: name.to_owned(), expected, found });
        }
        let (bytes, _) = tensor.data().as_chunks::<4>();
        let values: Vec<f32> = bytes.iter().map(|b| f32::from_le_bytes(*b)).collect();
        if !values.iter().all(|value| value.is_finite()) {
            return Err(LoadError::NotFinite { name: name.to_owned() });
        }
        Ok(values)
    }

    /// The layer with the tensors `{name}.weight` and `{name}.bias`.
    pub(crate) fn dense(
        &self,
        name: &str,
        outputs: usize,
        inputs: usize,
    ) -> Result<Dense, LoadError> {
        Ok(Dense {
            weight: self.tensor(&format!("{name}.weight"), &[outputs, inputs])?,
            bias: self.tensor(&format!("{name}.bias"), &[outputs])?,
        })
    }

    /// The normalization with the tensors `{name}.weight` and `{name}.bias`.
    pub(crate) fn norm(&self, name: &str, width: usize) -> Result<LayerNorm, LoadError> {
        Ok(LayerNorm {
            weight: self.tensor(&format!("{name}.weight"), &[width])?,
            bias: self.tensor(&format!("{name}.bias"), &[width])?,
        })
    }
}
