//! `model.safetensors` as checked tensors.
//!
//! The file is read, not mapped: a mapped file that another process cuts short kills this one.
//! Its bytes live until the last tensor is packed, so loading peaks at the file plus the model.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use safetensors::{Dtype, SafeTensors};

use crate::LoadError;
use crate::linear::Dense;
use crate::normalise::Norm;

/// Reads a whole file; that it does not exist is an error of its own.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, LoadError> {
    fs::read(path).map_err(|source| match source.kind() {
        ErrorKind::NotFound => LoadError::MissingFile { path: path.to_owned() },
        _ => LoadError::Read { path: path.to_owned(), source },
    })
}

pub(crate) struct Weights<'a>(SafeTensors<'a>);

impl<'a> Weights<'a> {
    /// `path` only serves the error.
    pub(crate) fn parse(bytes: &'a [u8], path: &Path) -> Result<Self, LoadError> {
        SafeTensors::deserialize(bytes)
            .map(Self)
            .map_err(|source| LoadError::BadWeights { path: path.to_owned(), source })
    }

    /// The values of `name`, all finite, row after row.
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

    /// `{name}.weight` and `{name}.bias`.
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

    /// `{name}.weight` and `{name}.bias`.
    pub(crate) fn norm(&self, name: &str, width: usize) -> Result<Norm, LoadError> {
        Ok(Norm {
            weight: self.tensor(&format!("{name}.weight"), &[width])?,
            bias: self.tensor(&format!("{name}.bias"), &[width])?,
        })
    }
}
