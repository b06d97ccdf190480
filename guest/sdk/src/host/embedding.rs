//! Texts in, vectors out. Needs the grant `embedding`.

use super::provider;
use crate::{Embeddings, Error};

/// What the texts are for. The host lets queries go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Someone waits for the answer: up to 10 s.
    Query,
    /// Nobody waits long: up to 1 s, then [`Error::Timeout`].
    Document,
}

/// The vectors of `texts`, at most 100 of them. Long texts are cut where the model stops
/// reading.
///
/// # Errors
/// When the embedder fails or is late.
pub fn embed(texts: &[&str], purpose: Purpose) -> Result<Embeddings, Error> {
    provider::embed(texts, purpose)
}
