//! The model: what is loaded, and the way from token ids to vectors.
//!
//! A batch lies end to end, token after token, and is worked through in passes of at most
//! [`PASS_TOKENS`]: that bounds the memory of a call whatever the batch, and keeps a pass's hidden
//! states in the second-level cache. More tokens in a pass would read the weights less often, but
//! from some 64 on the arithmetic is the slower part.

use std::path::Path;

use crate::activation::Gelu;
use crate::attention::{Attend, Head};
use crate::kernels::{Cpu, Vnni};
use crate::linear::{Dense, Linear};
use crate::normalise::{AddNormalise, Norm, pool};
use crate::quantise::Quantised;
use crate::tokenizer::Tokenizer;
use crate::weights::{Weights, read};
use crate::{
    DIMENSIONS, ForwardError, LoadError, MAX_TOKENS, Precision, TokenizeError, VOCABULARY,
};

const LAYERS: usize = 6;
const INTERMEDIATE: usize = 4 * DIMENSIONS;
const POSITIONS: usize = 512;
const TOKEN_TYPES: usize = 2;

/// Tokens worked on at once. A longest sequence must fit.
const PASS_TOKENS: usize = 256;
const _: () = assert!(PASS_TOKENS >= MAX_TOKENS);

/// The model's name and the start of the SHA-256 of the `model.safetensors` it was released as.
const REVISION: &str = "all-MiniLM-L6-v2/53aa5117";

/// To be raised by every change here that moves vectors by more than rounding.
const PIPELINE: u32 = 1;

/// A loaded model: shared freely between threads, each with its own [`Scratch`].
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
    /// Includes the embedding of token type 0, the only one used.
    words: Vec<f32>,
    positions: Vec<f32>,
    norm: Norm,
}

#[derive(Debug)]
struct Layer {
    /// Queries, keys and values in one product.
    projection: Linear,
    attention_output: Linear,
    attention_norm: Norm,
    intermediate: Linear,
    output: Linear,
    output_norm: Norm,
}

/// Room for one forward pass, to be kept from call to call. Grows to about 5 MB and stays there.
#[derive(Debug, Default)]
pub struct Scratch {
    hidden: Vec<f32>,
    residual: Vec<f32>,
    projected: Vec<f32>,
    context: Vec<f32>,
    intermediate: Vec<f32>,
    quantised: Quantised,
    head: Head,
}

impl MiniLm {
    /// Reads `model.safetensors` and `tokenizer.json` from `directory`. Blocks for some
    /// tenths of a second.
    ///
    /// That the weights are the released ones is the caller's to know (their SHA-256 begins with
    /// the eight digits in [`profile`](Self::profile)); here only names and shapes are checked.
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

    /// What vectors of this model may be compared with: only those of an equal profile.
    pub fn profile(&self) -> &str {
        &self.profile
    }

    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Token ids for [`forward`](Self::forward), cut off at [`MAX_TOKENS`]. No text is too long
    /// (only its first 4 KiB are read), and the empty one has tokens too.
    pub fn tokenize(&self, text: &str) -> Result<Vec<u32>, TokenizeError> {
        self.tokenizer.tokenize(text)
    }

    /// One vector of [`DIMENSIONS`] floats and of length one per sequence, end to end in the
    /// order given: the mean of the sequence's hidden states. A vector does not depend on the
    /// sequence's neighbours, in [`Precision::F32`] but for rounding.
    ///
    /// Runs on the calling thread, without a way to stop it: bound the tokens of a call.
    pub fn forward(
        &self,
        sequences: &[&[u32]],
        scratch: &mut Scratch,
    ) -> Result<Vec<f32>, ForwardError> {
        for (index, sequence) in sequences.iter().enumerate() {
            check(index, sequence)?;
        }
        let mut vectors = vec![0.0; sequences.len() * DIMENSIONS];
        let (mut rest, mut targets) = (sequences, vectors.as_mut_slice());
        while !rest.is_empty() {
            let (pass, after) = rest.split_at(pass_length(rest));
            let (target, after_target) = targets.split_at_mut(pass.len() * DIMENSIONS);
            self.forward_pass(pass, target, scratch);
            (rest, targets) = (after, after_target);
        }
        Ok(vectors)
    }

    fn forward_pass(&self, sequences: &[&[u32]], vectors: &mut [f32], scratch: &mut Scratch) {
        self.embeddings.look_up(self.cpu, sequences, scratch);
        for layer in &self.layers {
            layer.attend(self.cpu, sequences, scratch);
            layer.feed_forward(self.cpu, scratch);
        }
        let mut hidden = scratch.hidden.as_slice();
        for (sequence, vector) in sequences.iter().zip(vectors.chunks_exact_mut(DIMENSIONS)) {
            let (states, rest) = hidden.split_at(sequence.len() * DIMENSIONS);
            pool(states, vector);
            hidden = rest;
        }
    }
}

fn check(index: usize, sequence: &[u32]) -> Result<(), ForwardError> {
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

/// How many of the first sequences fit into a pass; at least one does.
fn pass_length(sequences: &[&[u32]]) -> usize {
    let mut tokens = 0;
    let fits = |sequence: &&&[u32]| {
        tokens += sequence.len();
        tokens <= PASS_TOKENS
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

    /// Makes the scratch's hidden states those of `sequences` before the first layer.
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
        cpu.run(AddNormalise { hidden, residual, norm: &self.norm });
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
        let Scratch { hidden, residual, projected, context, quantised, head, .. } = scratch;
        self.projection.apply(cpu, hidden, projected, quantised);
        context.resize(hidden.len(), 0.0);
        let (mut projected, mut rest) = (projected.as_slice(), context.as_mut_slice());
        for sequence in sequences {
            let (of_sequence, after) = projected.split_at(sequence.len() * 3 * DIMENSIONS);
            let (target, after_target) = rest.split_at_mut(sequence.len() * DIMENSIONS);
            cpu.run(Attend { projected: of_sequence, context: target, head });
            (projected, rest) = (after, after_target);
        }
        self.attention_output.apply(cpu, context, residual, quantised);
        cpu.run(AddNormalise { hidden, residual, norm: &self.attention_norm });
    }

    fn feed_forward(&self, cpu: Cpu, scratch: &mut Scratch) {
        let Scratch { hidden, residual, intermediate, quantised, .. } = scratch;
        self.intermediate.apply(cpu, hidden, intermediate, quantised);
        cpu.run(Gelu(intermediate));
        self.output.apply(cpu, intermediate, residual, quantised);
        cpu.run(AddNormalise { hidden, residual, norm: &self.output_norm });
    }
}

/// Queries, keys and values of a layer below each other.
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
