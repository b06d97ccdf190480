//! Turns texts into vectors.
//!
//! | `--embedder` | type | what it is |
//! |---|---|---|
//! | `local` | [`LocalEmbedder`] | all-MiniLM-L6-v2 in this process, on its own threads |
//! | `openai`, `ollama`, `tei` | [`RemoteEmbedder`] | an embedder reached over HTTP |
//! | `hash` | [`HashEmbedder`] | hashes words and letters; for tests, since it ignores meaning |
//!
//! A tenant may bring its own vectors instead; [`GivenEmbedder`] stands for their space.
//!
//! All implement [`Embedder`]. The server wraps its embedder in [`Cached`], which keeps the
//! vectors of texts that a tenant has embedded before.
//!
//! ```
//! use std::time::{Duration, Instant};
//!
//! use kenning_embedder::{Cached, EmbedError, Embedder, HashEmbedder, Lane};
//! use kenning_storage::TenantId;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), EmbedError> {
//! let cache_bytes = 1 << 20;
//! let embedder = Cached::new(HashEmbedder, cache_bytes);
//! let tenant = TenantId::parse("example").expect("the name is valid");
//! let deadline = Instant::now() + Duration::from_secs(1);
//! let texts = vec!["a cat sleeps".to_string(), "a dog barks".to_string()];
//! let vectors = embedder.embed(&tenant, texts, Lane::Document, deadline).await?;
//! assert_eq!(vectors.len(), 2);
//! assert_eq!(vectors[0].len(), embedder.space().unwrap().dimensions);
//! # Ok(())
//! # }
//! ```

#![deny(missing_docs)]

mod cache;
mod choice;
mod given;
mod hash;
mod local;
mod passes;
mod queue;
mod remote;
mod waiting;
mod windows;

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use kenning_core::limits::DEFAULT_TENANT;
use kenning_storage::TenantId;

pub use cache::Cached;
pub use choice::EmbedderChoice;
pub use given::{BadVector, GivenEmbedder, MAX_GIVEN_DIMENSIONS};
pub use hash::HashEmbedder;
pub use local::LocalEmbedder;
pub use remote::{Key, Protocol, RemoteEmbedder, RemoteSettings};

/// The embedding of one text: as many numbers as [`Space::dimensions`], normalized to length one.
pub type Vector = Arc<[f32]>;

/// Who waits for an embedding. Earlier lanes are served first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// A search.
    Query,
    /// A store, which waits for a short time only.
    Document,
    /// No caller: facts whose embedding is pending, and rebuilding.
    Background,
}

impl Lane {
    /// Its name, in spans.
    fn name(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Document => "document",
            Self::Background => "background",
        }
    }
}

/// The vector space of an embedder. Vectors of different spaces are never compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Space {
    /// Its name: model, dimensions and version.
    pub profile: String,
    /// How many numbers a vector has.
    pub dimensions: usize,
}

/// Why there is no embedding.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EmbedError {
    /// The deadline passed.
    #[error("the embedder did not respond in time")]
    Timeout,
    /// There was no room in the lane's queue before the deadline.
    #[error("too many texts are waiting for the embedder")]
    Overloaded,
    /// No request was made: the embedder failed recently, or asked for a pause.
    #[error("{0}")]
    BackingOff(String),
    /// The embedder responded that it does not accept these texts.
    #[error("{0}")]
    Refused(String),
    /// The embedder cannot be reached, failed, or gave an unusable response.
    #[error("{0}")]
    Unavailable(String),
    /// The embedder's vectors belong to another space than those in the index.
    #[error("the index holds vectors of {expected}, and the embedder makes those of {got}{advice}")]
    Mismatch {
        /// The profile of the index.
        expected: String,
        /// The profile of the new vectors.
        got: String,
        /// What the operator can do about it; ends the message.
        advice: &'static str,
    },
}

impl EmbedError {
    /// Its kind, in spans, which quote nobody.
    fn kind(&self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Overloaded => "overloaded",
            Self::BackingOff(_) => "backing off",
            Self::Refused(_) => "refused",
            Self::Unavailable(_) => "unavailable",
            Self::Mismatch { .. } => "mismatch",
        }
    }
}

/// Turns texts into vectors of one space.
#[async_trait]
pub trait Embedder: Send + Sync {
    /// Embeds `texts` and returns one vector for each, in their order.
    ///
    /// Returns by `until`; texts that are still queued then are dropped. Caches are kept per
    /// `tenant`: with a shared one, a tenant could tell by the response time what another tenant
    /// had embedded.
    ///
    /// # Errors
    /// See [`EmbedError`]. If one text fails, all do.
    async fn embed(
        &self,
        tenant: &TenantId,
        texts: Vec<String>,
        lane: Lane,
        until: Instant,
    ) -> Result<Vec<Vector>, EmbedError>;

    /// Texts of at most so many bytes are read whole. Longer ones may have several windows.
    fn window_bytes(&self) -> usize {
        usize::MAX
    }

    /// The windows of a text, as ranges of its bytes, at most `most` of them: pieces that are each
    /// read whole by [`Embedder::embed`], which ignores what it cannot read of a longer text. They
    /// cover the text from its beginning, overlap a little, and there is at least one.
    ///
    /// Tokenizes the text, which takes milliseconds for a long one.
    fn windows(&self, text: &str, _most: usize) -> Vec<Range<usize>> {
        std::iter::once(0..text.len()).collect()
    }

    /// Drops a tenant's cached vectors.
    fn forget(&self, _tenant: &TenantId) {}

    /// Embeds a short text that every embedder accepts, bypassing the cache.
    ///
    /// Tells whether the embedder or the text is at fault when embedding fails. After it
    /// succeeds, the space of a remote embedder is known.
    ///
    /// # Errors
    /// As [`Embedder::embed`].
    async fn probe(&self, until: Instant) -> Result<(), EmbedError> {
        let nobody = TenantId::parse(DEFAULT_TENANT).expect("the default tenant has a name");
        let text = vec![PROBE.to_string()];
        self.embed(&nobody, text, Lane::Background, until).await.map(drop)
    }

    /// The space of the vectors; it never changes once it is known. `None` while a remote
    /// embedder has not yet returned a vector.
    fn space(&self) -> Option<&Space>;

    /// Whether stored vectors of `profile` can be compared with the embedder's own.
    ///
    /// A remote embedder that has not responded yet adopts the first profile that its model could
    /// have made. So the index can be rebuilt while the embedder is down.
    fn owns(&self, profile: &str) -> bool {
        self.space().is_some_and(|space| space.profile == profile)
    }

    /// The share of the tokens of `text` that the model knows, 0 to 1; `None` if it cannot be told.
    ///
    /// A model replaces what it does not know by one and the same token. So at 0, the vector says
    /// nothing of the text: all such texts have about the same one.
    fn known_share(&self, _text: &str) -> Option<f32> {
        None
    }

    /// Whether the model is known to know no token of `text`, which is quicker to find out than how
    /// many it knows.
    fn knows_nothing(&self, text: &str) -> bool {
        self.known_share(text) == Some(0.0)
    }

    /// The name of this kind of embedder in `--embedder` and `/v1/stats`.
    fn kind(&self) -> &'static str;

    /// The model's name, for the operator.
    fn model(&self) -> &str;
}

/// See [`Embedder::probe`].
const PROBE: &str = "hello";
