//! The sentence embedder all-MiniLM-L6-v2 in the process: text to 384 floats of length one.
//!
//! A library written for every model pays for shapes it does not know: padding to the longest
//! text of a batch, unfused operations, weights repacked per call. This crate knows one model, so
//! sequences lie end to end without padding, weights are packed once, and a call takes no lock and
//! starts no thread. The price is that nothing else can be loaded.
//!
//! In reading order:
//! - `model`: [`MiniLm`], what a caller holds; the forward pass from token ids to vectors.
//! - `tokenizer`: text to at most [`MAX_TOKENS`] token ids.
//! - `weights`: `model.safetensors` to checked tensors.
//! - `linear`: matrix products in both precisions; `quantise`: activations to bytes.
//! - `attention`, `activation`, `normalise`: the rest of a layer, in plain loops.
//! - `isa`: how plain loops are compiled once per instruction set.
//! - `kernels`: every line of `unsafe`: that dispatch, the int8 product, the call into `gemm`.
//! - `error`: what can go wrong, and `precision`: what can be chosen.

mod activation;
mod attention;
mod error;
mod isa;
mod kernels;
mod linear;
mod model;
mod normalise;
mod precision;
mod quantise;
mod tokenizer;
mod weights;

pub use error::{ForwardError, LoadError, TokenizeError};
pub use model::{MiniLm, Scratch};
pub use precision::Precision;

/// Floats in one embedding, and the width of every hidden state.
pub const DIMENSIONS: usize = 384;

/// Tokens of one sequence, `[CLS]` and `[SEP]` included. The model was trained with at most this
/// many (`max_seq_length` in its `sentence_bert_config.json`), though it has 512 positions.
pub const MAX_TOKENS: usize = 256;

/// Entries of the vocabulary: every token id is below it.
pub const VOCABULARY: usize = 30_522;
