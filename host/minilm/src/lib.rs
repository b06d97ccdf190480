//! In-process inference for the sentence embedding model all-MiniLM-L6-v2: text to unit vectors of
//! 384 floats.
//!
//! [`MiniLm`] is the loaded model, in one [`Precision`]. [`MiniLm::tokenize`] converts a text to
//! token ids, and [`MiniLm::forward`] a batch of token sequences to vectors, with buffers in a
//! [`Scratch`].
//!
//! A general inference library pays for not knowing the shapes: it pads to the longest text of a
//! batch, does not fuse operations, and repacks weights per call. This crate supports one model, so
//! sequences lie end to end without padding, weights are packed once, and a call takes no lock and
//! starts no thread. In return, it can load no other model.
//!
//! # Example
//! Runs if `KENNING_MODEL_DIR` names the directory of the model.
//! ```
//! use kenning_minilm::{DIMENSIONS, MiniLm, Precision, Scratch};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let Some(directory) = std::env::var_os("KENNING_MODEL_DIR") else { return Ok(()) };
//! let model = MiniLm::load(directory.as_ref(), Precision::best())?;
//! let cat = model.tokenize("The cat sleeps on the windowsill")?;
//! let pet = model.tokenize("feline pet resting")?;
//!
//! let vectors = model.forward(&[&cat, &pet], &mut Scratch::default())?;
//! let (cat, pet) = vectors.split_at(DIMENSIONS);
//! let cosine: f32 = cat.iter().zip(pet).map(|(a, b)| a * b).sum();
//! assert!(cosine > 0.4);
//! # Ok(())
//! # }
//! ```
//!
//! # Layout
//! In reading order:
//! - `model`: [`MiniLm`], and the forward pass from token ids to vectors.
//! - `tokenizer`: text to at most [`MAX_TOKENS`] token ids.
//! - `weights`: `model.safetensors` to validated tensors.
//! - `linear`: linear layers in both precisions. `panel`: the layout of their weights. `quantize`:
//!   activations to bytes.
//! - `attention`, `activation`, `layer_norm`: the other operations of a layer, in safe loops.
//! - `isa`: how safe loops are compiled once per instruction set.
//! - `kernels`: all `unsafe` code: that dispatch, the int8 product, and the call of `gemm`.
//! - `error`: errors. `precision`: the choice of precision.

#![deny(missing_docs)]

mod activation;
mod attention;
mod error;
mod isa;
mod kernels;
mod layer_norm;
mod linear;
mod model;
mod panel;
mod precision;
mod quantize;
mod tokenizer;
mod weights;

pub use error::{ForwardError, LoadError, TokenizeError};
pub use model::{MiniLm, Scratch};
pub use precision::Precision;

/// Number of floats in an embedding and in a hidden state.
pub const DIMENSIONS: usize = 384;

/// Maximum number of tokens of a sequence, `[CLS]` and `[SEP]` included. The model has 512
/// positions, but was trained with at most this many (`max_seq_length` in its
/// `sentence_bert_config.json`).
pub const MAX_TOKENS: usize = 256;

/// Number of entries of the vocabulary. Every token id is below it.
pub const VOCABULARY: usize = 30_522;
