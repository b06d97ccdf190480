//! Texts in, vectors out.
//!
//! | embedder | what it is |
//! |---|---|
//! | `local` | all-MiniLM-L6-v2 in this process, on threads of its own |
//! | `hash` | words and letters hashed to numbers: for tests, it knows no meaning |
//!
//! Every embedder stands behind [`cache::Cached`], which keeps what a tenant had
//! embedded before.

mod cache;
mod hash;
mod local;
mod queue;

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use kenning_storage::TenantId;

pub use cache::Cached;
pub use hash::HashEmbedder;
pub use local::LocalEmbedder;

/// One text's embedding, of length one.
pub type Vector = Arc<[f32]>;

/// Who waits for an embedding; earlier lanes go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// A caller who searches.
    Query,
    /// A caller who stores, for a moment.
    Document,
    /// Nobody: imports left behind, and rebuilding.
    Background,
}

/// Why there is no embedding.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EmbedError {
    #[error("the text's turn did not come in time")]
    Timeout,
    #[error("too many texts are waiting")]
    Overloaded,
    #[error("{0}")]
    Unavailable(String),
}

/// Something that embeds.
#[async_trait]
pub trait Embedder: Send + Sync {
    /// Embeds `texts`, in their order. Ends by `until`; what is not computed by then
    /// is never computed. The tenant separates what is remembered: a memory shared
    /// by tenants would tell one, by its speed, what another had embedded.
    async fn embed(
        &self,
        tenant: &TenantId,
        texts: Vec<String>,
        lane: Lane,
        until: Instant,
    ) -> Result<Vec<Vector>, EmbedError>;

    /// Drops what is remembered of a tenant.
    fn forget(&self, _tenant: &TenantId) {}

    /// The space the vectors live in. Vectors of different profiles are never
    /// compared.
    fn profile(&self) -> &str;

    /// Numbers in a vector.
    fn dimensions(&self) -> usize;

    /// The word for this embedder in `--embedder` and `/v1/stats`.
    fn kind(&self) -> &'static str;
}
