//! Texts in, vectors out.
//!
//! | embedder | what it is |
//! |---|---|
//! | `local` | all-MiniLM-L6-v2 in this process, on threads of its own |
//! | `openai`, `ollama`, `tei` | a far embedder, over HTTP |
//! | `hash` | words and letters hashed to numbers: for tests, it knows no meaning |
//!
//! Every embedder stands behind [`cache::Cached`], which keeps what a tenant had
//! embedded before.

mod cache;
mod choice;
mod hash;
mod local;
mod queue;
mod remote;

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use kenning_storage::TenantId;

use kenning_core::limits::DEFAULT_TENANT;

pub use cache::Cached;
pub use choice::EmbedderChoice;
pub use hash::HashEmbedder;
pub use local::LocalEmbedder;
pub use remote::{Key, Protocol, RemoteEmbedder, RemoteSettings};

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

/// The space that an embedder's vectors live in. Vectors of different spaces are
/// never compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Space {
    /// Its name: model, dimensions, version.
    pub profile: String,
    /// Numbers in a vector.
    pub dimensions: usize,
}

/// Why there is no embedding.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EmbedError {
    #[error("no vector came in time")]
    Timeout,
    #[error("too many texts are waiting")]
    Overloaded,
    /// It was not asked: it failed before, or asked to be left alone.
    #[error("{0}")]
    Resting(String),
    /// It answered that it does not take these texts.
    #[error("{0}")]
    Refused(String),
    #[error("{0}")]
    Unavailable(String),
    /// It answered with vectors of another space than those there are.
    #[error("the index holds vectors of {expected}, and the embedder makes those of {got}{advice}")]
    Mismatch { expected: String, got: String, advice: &'static str },
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

    /// Whether it embeds now: a text that any embedder takes, not from memory. It
    /// tells a text that cannot be embedded from an embedder that cannot embed, and
    /// a far embedder's space is known after it.
    async fn probe(&self, until: Instant) -> Result<(), EmbedError> {
        let nobody = TenantId::parse(DEFAULT_TENANT).expect("the default tenant has a name");
        let text = vec![PROBE.to_string()];
        self.embed(&nobody, text, Lane::Background, until).await.map(drop)
    }

    /// The space of its vectors, which stays once it is known. `None` until a far
    /// embedder has said how long its vectors are; every vector came after that.
    fn space(&self) -> Option<&Space>;

    /// Whether stored vectors of `profile` can be compared with its own. A far
    /// embedder that never answered takes the first it could have made for its own:
    /// so an index is whole also if the embedder is away when the host starts.
    fn owns(&self, profile: &str) -> bool {
        self.space().is_some_and(|space| space.profile == profile)
    }

    /// The word for this embedder in `--embedder` and `/v1/stats`.
    fn kind(&self) -> &'static str;

    /// The model's name, for an operator.
    fn model(&self) -> &str;
}

/// See [`Embedder::probe`].
const PROBE: &str = "hello";
