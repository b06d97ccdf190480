//! Errors, one type per function, so that a caller handles only those that can occur.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use crate::{MAX_TOKENS, Precision, VOCABULARY};

/// Why a model cannot be loaded. Retrying does not help with any of these.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file does not exist.
    #[error("model file {} not found", path.display())]
    MissingFile {
        /// The file.
        path: PathBuf,
    },
    /// A file exists but cannot be read.
    #[error("cannot read model file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The weights are truncated, or not in the safetensors format at all.
    #[error("{} is not a valid safetensors file", path.display())]
    BadWeights {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: safetensors::SafeTensorError,
    },
    /// A tensor is missing from the weights.
    #[error("the weights have no tensor {name}")]
    MissingTensor {
        /// Name of the tensor.
        name: String,
    },
    /// A tensor has another shape than this model.
    #[error("tensor {name} has shape {found:?}, expected {expected:?}")]
    WrongShape {
        /// Name of the tensor.
        name: String,
        /// Shape in this model.
        expected: Vec<usize>,
        /// Shape in the file.
        found: Vec<usize>,
    },
    /// A tensor is not of type `F32`.
    #[error("tensor {name} holds {found}, expected F32")]
    WrongType {
        /// Name of the tensor.
        name: String,
        /// Type in the file.
        found: String,
    },
    /// A tensor holds an infinity or a NaN.
    #[error("tensor {name} holds a value that is not finite")]
    NotFinite {
        /// Name of the tensor.
        name: String,
    },
    /// The tokenizer is invalid, or belongs to another model.
    #[error("{} is not a tokenizer for this model", path.display())]
    BadTokenizer {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: Box<dyn Error + Send + Sync>,
    },
    /// This CPU does not support the precision.
    #[error("precision {precision} needs a CPU with AVX512-VNNI or AVX-VNNI")]
    UnsupportedPrecision {
        /// The requested precision.
        precision: Precision,
    },
}

/// Why a batch of token sequences was rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ForwardError {
    /// A sequence has no tokens.
    #[error("sequence {index} is empty")]
    EmptySequence {
        /// Index of the sequence in the batch.
        index: usize,
    },
    /// A sequence is longer than [`MAX_TOKENS`].
    #[error("sequence {index} has {tokens} tokens, at most {MAX_TOKENS} are allowed")]
    TooLong {
        /// Index of the sequence in the batch.
        index: usize,
        /// Number of tokens of the sequence.
        tokens: usize,
    },
    /// A token id is not below [`VOCABULARY`].
    #[error("sequence {index} holds token {token}, but ids must be below {VOCABULARY}")]
    UnknownToken {
        /// Index of the sequence in the batch.
        index: usize,
        /// The unknown id.
        token: u32,
    },
}

/// The tokenizer rejected a text. The cause comes from the `tokenizers` crate and is opaque.
#[derive(Debug, thiserror::Error)]
#[error("cannot tokenize the text")]
pub struct TokenizeError(#[source] pub(crate) Box<dyn Error + Send + Sync>);
