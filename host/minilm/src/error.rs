//! One enum per entry point, so that a caller handles only what that call can do.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use crate::{MAX_TOKENS, Precision, VOCABULARY};

/// Why a model directory cannot be used. None of these heals by trying again.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("model file {} not found", path.display())]
    MissingFile { path: PathBuf },
    #[error("cannot read model file {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    /// Cut short, or not safetensors at all.
    #[error("{} is no safetensors file", path.display())]
    BadWeights { path: PathBuf, source: safetensors::SafeTensorError },
    #[error("the weights have no tensor {name}")]
    MissingTensor { name: String },
    #[error("tensor {name} has shape {found:?}, expected {expected:?}")]
    WrongShape { name: String, expected: Vec<usize>, found: Vec<usize> },
    #[error("tensor {name} holds {found}, expected F32")]
    WrongType { name: String, found: String },
    #[error("tensor {name} holds a value that is not finite")]
    NotFinite { name: String },
    #[error("{} is no tokenizer for this model", path.display())]
    BadTokenizer { path: PathBuf, source: Box<dyn Error + Send + Sync> },
    #[error("precision {precision} needs a CPU with AVX512-VNNI or AVX-VNNI")]
    UnsupportedPrecision { precision: Precision },
}

/// Why a batch was refused. `index` is the sequence's place in the batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ForwardError {
    #[error("sequence {index} is empty")]
    EmptySequence { index: usize },
    #[error("sequence {index} has {tokens} tokens, at most {MAX_TOKENS} are allowed")]
    TooLong { index: usize, tokens: usize },
    #[error("sequence {index} holds token {token}, the vocabulary ends at {VOCABULARY}")]
    UnknownToken { index: usize, token: u32 },
}

/// The tokenizer refused a text. Its own files decide that, so the cause stays opaque.
#[derive(Debug, thiserror::Error)]
#[error("cannot tokenize the text")]
pub struct TokenizeError(#[source] pub(crate) Box<dyn Error + Send + Sync>);
