//! What is asked of a remote embedder, whatever its protocol.

/// One request.
pub(super) struct Request<'a> {
    pub(super) model: &'a str,
    pub(super) texts: &'a [&'a str],
    /// The dimensions of the vectors, if the operator set them.
    pub(super) dimensions: Option<usize>,
}
