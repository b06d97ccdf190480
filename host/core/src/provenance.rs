//! Which guests, in which generations, served a call.

use std::sync::Arc;

/// One generation of a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenerationRef {
    /// Counts from 1 for each guest.
    pub number: u64,
    /// `sha256:` and the digest of the component's bytes, in hexadecimal.
    pub digest: Arc<str>,
}

/// The guests that served a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedBy {
    /// The logic's generation.
    pub logic: GenerationRef,
    /// `name=generation` for each extension, in the order they run, separated by commas.
    pub extensions: Option<Arc<str>>,
}
