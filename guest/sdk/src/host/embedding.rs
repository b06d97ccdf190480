//! Turns texts into vectors. Needs the grant `embedding`.

use super::provider;
use crate::{Embeddings, Error};

/// What the texts are for. The host gives queries priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A query that a user waits for. Times out after 10 s.
    Query,
    /// A text that can be embedded later. Times out after 1 s.
    Document,
}

/// Embeds `texts`, at most 100. Text beyond the model's maximum length is ignored.
///
/// # Errors
/// If the embedder fails or times out.
pub fn embed(texts: &[&str], purpose: Purpose) -> Result<Embeddings, Error> {
    provider::embed(texts, purpose)
}
