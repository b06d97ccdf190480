//! Which guests, in which versions, served a call.

use std::sync::Arc;

/// One version of a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenerationRef {
    pub number: u64,
    /// `sha256:` and the digest of the component's bytes, in hexadecimal.
    pub digest: Arc<str>,
}

/// The guests that served a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedBy {
    /// The logic's generation.
    pub logic: GenerationRef,
    /// `name=generation` of each extension, in their order, separated by commas.
    pub extensions: Option<Arc<str>>,
}
