//! The loaded model, and the forward pass from token ids to vectors.
//!
//! The sequences of a batch lie end to end, and are processed in chunks of at most
//! [`CHUNK_TOKENS`]. That bounds the memory of a call whatever the size of the batch, and keeps the
//! hidden states in the L2 cache. Larger chunks would read the weights less often, but from about
//! 64 tokens on the computation is limited by arithmetic.

use std::path::Path;

use crate::activation::Gelu;
use crate::attention::{Attend, Head};
use crate::kernels::{Cpu, Vnni};
use crate::layer_norm::{AddLayerNorm, LayerNorm, pool};
use crate::linear::{Dense, Linear};
use crate::quantize::Quantized;
use crate::tokenizer::Tokenizer;
use crate::weights::{Weights, read};
use crate::{
    DIMENSIONS, ForwardError, LoadError, MAX_TOKENS, Precision, TokenizeError, VOCABULARY,
};

const LAYERS: usize = 6;
const INTERMEDIATE: usize = 4 * DIMENSIONS;
const POSITIONS: usize = 512;
const TOKEN_TYPES: usize = 2;

/// Maximum number of tokens processed at once. The longest sequence must fit.
const CHUNK_TOKENS: usize = 256;
const _: () = assert!(CHUNK_TOKENS >= MAX_TOKENS);

/// The model's name, and the first digits of the SHA-256 of its released `model.safetensors`.
const REVISION: &str = "all-MiniLM-L6-v2/53aa5117";

/// Version of this implementation. Must be raised with every change that affects vectors by more
/// than rounding.
const PIPELINE: u32 = 1;

/// A loaded model. Threads can share it; each needs its own [`Scratch`].
#[derive(Debug)]
pub struct MiniLm {
    tokenizer: Tokenizer,
    embeddings: Embeddings,
    layers: Vec<Layer>,
    cpu: Cpu,
    precision: Precision,
    profile: String,
}

#[derive(Debug)]
struct Embeddings {
    /// The embedding of each token, plus that of token type 0, the only one used.
    words: Vec<f32>,
    positions: Vec<f32>,
    norm: LayerNorm,
}

#[derive(Debug)]
struct Layer {
    /// Computes queries, keys and values in one product.
    projection: Linear,
    attention_output: Linear,
    attention_norm: LayerNorm,
    intermediate: Linear,
    output: Linear,
    output_norm: LayerNorm,
}

/// Buffers of a forward pass. Reuse it from call to call to avoid allocations. Grows to about 5 MB.
#[derive(Debug, Default)]
pub struct Scratch {
    hidden: Vec<f32>,
    residual: Vec<f32>,
    projected: Vec<f32>,
    context: Vec<f32>,
    intermediate: Vec<f32>,
    quantized: Quantized,
    head: Head,
}

impl MiniLm {
    /// Loads `model.safetensors` and `tokenizer.json` from `directory`. Blocks for some tenths of a
    /// second.
    ///
    /// Only the names, shapes and types of the tensors are checked. The caller must ensure that the
    /// weights are the released ones, whose SHA-256 begins with the eight digits in
    /// [`profile`](Self::profile).
    ///
    /// # Errors
    /// Fails if a file is missing, unreadable or does not fit the model, or if this CPU does not
    /// support `precision`.
    pub fn load(directory: &Path, precision: Precision) -> Result<Self, LoadError> {
        let vnni = match precision {
            Precision::F32 => None,
            Precision::Int8 => {
                Some(Vnni::detect().ok_or(LoadError::UnsupportedPrecision { precision })?)
            }
        };
        let tokenizer = Tokenizer::load(&directory.join("tokenizer.json"))?;
        let path = directory.join("model.safetensors");
        let bytes = read(&path)?;
        let weights = Weights::parse(&bytes, &path)?;
        let layers = (0..LAYERS).map(|index| Layer::load(&weights, index, vnni));
        Ok(Self {
            tokenizer,
            embeddings: Embeddings::load(&weights)?,
            layers: layers.collect::<Result<_, _>>()?,
            cpu: Cpu::detect(),
            precision,
            profile: format!("{REVISION}/{precision}/{DIMENSIONS}/{PIPELINE}"),
        })
    }

    /// Identifies the model, precision and implementation. Only vectors of equal profiles may be
    /// compared with each other.
    pub fn profile(&self) -> &str {
        &self.profile
    }

    /// The precision that the model was loaded with.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Converts a text to 2 to [`MAX_TOKENS`] token ids for [`forward`](Self::forward). Longer
    /// texts are truncated; only the first 4 KiB are read. An empty text is valid.
    ///
    /// # Errors
    /// Fails if the tokenizer rejects the text.
    pub fn tokenize(&self, text: &str) -> Result<Vec<u32>, TokenizeError> {
        self.tokenizer.tokenize(text)
    }

    /// The share of a text's tokens that the model knows, 0 to 1; 0 if there are none. The rest is
    /// `[UNK]` to it. As much of the text counts as [`tokenize`](Self::tokenize) reads.
    ///
    /// # Errors
    /// Fails if the tokenizer rejects the text.
    pub fn known_share(&self, text: &str) -> Result<f32, TokenizeError> {
        self.tokenizer.known_share(text)
    }

    /// Whether [`known_share`](Self::known_share) is 0. Of most texts, only the first words are
    /// read.
    ///
    /// # Errors
    /// Fails if the tokenizer rejects the text.
    pub fn knows_nothing(&self, text: &str) -> Result<bool, TokenizeError> {
        self.tokenizer.knows_nothing(text)
    }

    /// How many bytes of the beginning of `text` are read by [`tokenize`](Self::tokenize): all of
    /// them, or as many as [`MAX_TOKENS`] tokens stand for.
    ///
    /// # Errors
    /// Fails if the tokenizer rejects the text.
    pub fn reach(&self, text: &str) -> Result<usize, TokenizeError> {
        self.tokenizer.reach(text)
    }

    /// Computes one embedding per sequence of token ids: the mean of the sequence's hidden states,
    /// scaled to unit length. Returns `sequences.len()` rows of [`DIMENSIONS`] floats, in the order
    /// of the sequences.
    ///
    /// A vector does not depend on the other sequences of the batch, except for rounding in
    /// [`Precision::F32`].
    ///
    /// Runs on the calling thread and cannot be cancelled, so the caller should bound the number of
    /// tokens per call.
    ///
    /// # Errors
    /// Fails if a sequence is empty, is longer than [`MAX_TOKENS`], or holds an id that is not
    /// below [`VOCABULARY`]. `scratch` stays usable.
    pub fn forward(
        &self,
        sequences: &[&[u32]],
        scratch: &mut Scratch,
    ) -> Result<Vec<f32>, ForwardError> {
        self.forward_with_pauses(sequences, scratch, &mut || ())
    }

    /// As [`forward`](Self::forward), and calls `pause` after each step, which takes up to about
    /// half a millisecond. So a thread can do what is more urgent in the middle of a long batch:
    /// for example another forward pass, with a [`Scratch`] of its own.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub fn forward_with_pauses(
        &self,
        sequences: &[&[u32]],
        scratch: &mut Scratch,
        pause: &mut dyn FnMut(),
    ) -> Result<Vec<f32>, ForwardError> {
        for (index, sequence) in sequences.iter().enumerate() {
            validate(index, sequence)?;
        }
        let mut vectors = vec![0.0; sequences.len() * DIMENSIONS];
        let (mut rest, mut targets) = (sequences, vectors.as_mut_slice());
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at(chunk_length(rest));
            let (target, after_target) = targets.split_at_mut(chunk.len() * DIMENSIONS);
            self.forward_chunk(chunk, target, scratch, pause);
            (rest, targets) = (after, after_target);
        }
        Ok(vectors)
    }

    fn forward_chunk(
        &self,
        sequences: &[&[u32]],
        vectors: &mut [f32],
        scratch: &mut Scratch,
        pause: &mut dyn FnMut(),
    ) {
        self.embeddings.look_up(self.cpu, sequences, scratch);
        for layer in &self.layers {
            layer.attend(self.cpu, sequences, scratch);
            pause();
            layer.feed_forward(self.cpu, scratch);
            pause();
        }
        let mut hidden = scratch.hidden.as_slice();
        for (sequence, vector) in sequences.iter().zip(vectors.chunks_exact_mut(DIMENSIONS)) {
            let (states, rest) = hidden.split_at(sequence.len() * DIMENSIONS);
            pool(states, vector);
            hidden = rest;
        }
    }
}

fn validate(index: usize, sequence: &[u32]) -> Result<(), ForwardError> {
    if sequence.is_empty() {
        return Err(ForwardError::EmptySequence { index });
    }
    if sequence.len() > MAX_TOKENS {
        return Err(ForwardError::TooLong { index, tokens: sequence.len() });
    }
    match sequence.iter().find(|token| **token as usize >= VOCABULARY) {
        Some(&token) => Err(ForwardError::UnknownToken { index, token }),
        None => Ok(()),
    }
}

/// Number of leading sequences that fit into a chunk: at least one.
fn chunk_length(sequences: &[&[u32]]) -> usize {
    let mut tokens = 0;
    let fits = |sequence: &&&[u32]| {
        tokens += sequence.len();
        tokens <= CHUNK_TOKENS
    };
    sequences.iter().take_while(fits).count()
}

impl Embeddings {
    fn load(weights: &Weights<'_>) -> Result<Self, LoadError> {
        let tensor = |name: &str, rows| {
            weights.tensor(&format!("embeddings.{name}_embeddings.weight"), &[rows, DIMENSIONS])
        };
        let mut words = tensor("word", VOCABULARY)?;
        let types = tensor("token_type", TOKEN_TYPES)?;
        for word in words.chunks_exact_mut(DIMENSIONS) {
            for (value, of_type) in word.iter_mut().zip(&types) {
                *value += of_type;
            }
        }
        Ok(Self {
            words,
            positions: tensor("position", POSITIONS)?,
            norm: weights.norm("embeddings.LayerNorm", DIMENSIONS)?,
        })
    }

    /// Sets the hidden states to the embeddings of `sequences`, the input of the first layer.
    fn look_up(&self, cpu: Cpu, sequences: &[&[u32]], scratch: &mut Scratch) {
        let Scratch { hidden, residual, .. } = scratch;
        hidden.clear();
        residual.clear();
        for sequence in sequences {
            for token in *sequence {
                hidden.extend_from_slice(&self.words[*token as usize * DIMENSIONS..][..DIMENSIONS]);
            }
            residual.extend_from_slice(&self.positions[..sequence.len() * DIMENSIONS]);
        }
        cpu.run(AddLayerNorm { hidden, residual, norm: &self.norm });
    }
}

impl Layer {
    fn load(weights: &Weights<'_>, index: usize, vnni: Option<Vnni>) -> Result<Self, LoadError> {
        let prefix = format!("encoder.layer.{index}");
        let linear = |name: &str, outputs, inputs| {
            let dense = weights.dense(&format!("{prefix}.{name}"), outputs, inputs)?;
            Ok::<_, LoadError>(Linear::new(dense, vnni))
        };
        let norm = |name: &str| weights.norm(&format!("{prefix}.{name}.LayerNorm"), DIMENSIONS);
        Ok(Self {
            projection: Linear::new(projection(weights, &prefix)?, vnni),
            attention_output: linear("attention.output.dense", DIMENSIONS, DIMENSIONS)?,
            attention_norm: norm("attention.output")?,
            intermediate: linear("intermediate.dense", INTERMEDIATE, DIMENSIONS)?,
            output: linear("output.dense", DIMENSIONS, INTERMEDIATE)?,
            output_norm: norm("output")?,
        })
    }

    fn attend(&self, cpu: Cpu, sequences: &[&[u32]], scratch: &mut Scratch) {
        let Scratch { hidden, residual, projected, context, quantized, head, .. } = scratch;
        self.projection.apply(cpu, hidden, projected, quantized);
        context.resize(hidden.len(), 0.0);
        let (mut projected, mut rest) = (projected.as_slice(), context.as_mut_slice());
        for sequence in sequences {
            let (of_sequence, after) = projected.split_at(sequence.len() * 3 * DIMENSIONS);
            let (target, after_target) = rest.split_at_mut(sequence.len() * DIMENSIONS);
            cpu.run(Attend { projected: of_sequence, context: target, head });
            (projected, rest) = (after, after_target);
        }
        self.attention_output.apply(cpu, context, residual, quantized);
        cpu.run(AddLayerNorm { hidden, residual, norm: &self.attention_norm });
    }

    fn feed_forward(&self, cpu: Cpu, scratch: &mut Scratch) {
        let Scratch { hidden, residual, intermediate, quantized, .. } = scratch;
        self.intermediate.apply(cpu, hidden, intermediate, quantized);
        cpu.run(Gelu(intermediate));
        self.output.apply(cpu, intermediate, residual, quantized);
        cpu.run(AddLayerNorm { hidden, residual, norm: &self.output_norm });
    }
}

/// The layers of queries, keys and values of one attention layer, concatenated.
fn projection(weights: &Weights<'_>, prefix: &str) -> Result<Dense, LoadError> {
    let mut joined = Dense { weight: Vec::new(), bias: Vec::new() };
    for part in ["query", "key", "value"] {
        let name = format!("{prefix}.attention.self.{part}");
        let dense = weights.dense(&name, DIMENSIONS, DIMENSIONS)?;
        joined.weight.extend(dense.weight);
        joined.bias.extend(dense.bias);
    }
    Ok(joined)
}
