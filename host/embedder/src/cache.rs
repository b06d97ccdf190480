//! Caches embeddings, so that a text is embedded once.
//!
//! The tenant is part of the key: with a shared cache, a tenant could tell by the response time
//! that another tenant had embedded the same text.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use kenning_storage::TenantId;
use kenning_trace::Kind;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use sha2::{Digest, Sha256};

use super::{EmbedError, Embedder, Lane, Space, Vector};

type Key = (TenantId, [u8; 32]);

/// Memory of an entry besides its numbers: the key, the pointer and the cache's own overhead.
const ENTRY_BYTES: u64 = 128;

/// Estimate of a vector's dimensions while the embedder's space is not known.
const USUAL_DIMENSIONS: usize = 768;

/// An embedder with a cache in front of it.
pub struct Cached<E> {
    embedder: E,
    cache: Cache<Key, Vector, Bytes>,
}

#[derive(Clone)]
struct Bytes;

impl Weighter<Key, Vector> for Bytes {
    fn weight(&self, _key: &Key, vector: &Vector) -> u64 {
        ENTRY_BYTES + size_of_val(&**vector) as u64
    }
}

impl<E: Embedder> Cached<E> {
    /// Caches up to `bytes` of embeddings; the least useful are evicted first.
    pub fn new(embedder: E, bytes: usize) -> Self {
        let dimensions = embedder.space().map_or(USUAL_DIMENSIONS, |space| space.dimensions);
        let entry = ENTRY_BYTES as usize + dimensions * size_of::<f32>();
        let cache = Cache::with_weighter(bytes / entry, bytes as u64, Bytes);
        Self { embedder, cache }
    }
}

impl<E: Embedder> Cached<E> {
    /// Has the embedder embed these texts, as a span of the request that they are part of.
    async fn embed_unknown(
        &self,
        tenant: &TenantId,
        texts: Vec<String>,
        lane: Lane,
        until: Instant,
    ) -> Result<Vec<Vector>, EmbedError> {
        let mut span = kenning_trace::begin("embed", Kind::Client);
        if let Some(span) = &mut span {
            span.set("kenning.embedder", self.kind());
            span.set("kenning.texts", texts.len() as u64);
            span.set("kenning.lane", lane.name());
        }
        let embedded = self.embedder.embed(tenant, texts, lane, until);
        // Without a span, it is where this is.
        let Some(mut span) = span else { return embedded.await };
        let embedded = kenning_trace::within(Some(span.context()), embedded).await;
        if let Err(error) = &embedded {
            span.fail(error.kind());
        }
        embedded
    }
}

/// The space is not part of the key: an embedder has only one.
fn key(tenant: &TenantId, text: &str) -> Key {
    (tenant.clone(), Sha256::digest(text).into())
}

#[async_trait]
impl<E: Embedder> Embedder for Cached<E> {
    async fn embed(
        &self,
        tenant: &TenantId,
        texts: Vec<String>,
        lane: Lane,
        until: Instant,
    ) -> Result<Vec<Vector>, EmbedError> {
        let keys: Vec<Key> = texts.iter().map(|text| key(tenant, text)).collect();
        let mut vectors: Vec<Option<Vector>> = keys.iter().map(|key| self.cache.get(key)).collect();
        let missing: Vec<usize> =
            (0..texts.len()).filter(|position| vectors[*position].is_none()).collect();
        metrics::counter!("kenning_embedding_cache_hits_total")
            .increment((texts.len() - missing.len()) as u64);
        if !missing.is_empty() {
            let mut texts = texts;
            let unknown = missing.iter().map(|at| std::mem::take(&mut texts[*at])).collect();
            let embedded = self.embed_unknown(tenant, unknown, lane, until).await?;
            for (at, vector) in missing.into_iter().zip(embedded) {
                self.cache.insert(keys[at].clone(), Arc::clone(&vector));
                vectors[at] = Some(vector);
            }
        }
        let short = || EmbedError::Unavailable("the embedder returned too few vectors".into());
        vectors.into_iter().map(|vector| vector.ok_or_else(short)).collect()
    }

    fn window_bytes(&self) -> usize {
        self.embedder.window_bytes()
    }

    fn windows(&self, text: &str, most: usize) -> Vec<Range<usize>> {
        self.embedder.windows(text, most)
    }

    fn forget(&self, tenant: &TenantId) {
        self.cache.retain(|key, _| key.0 != *tenant);
    }

    async fn probe(&self, until: Instant) -> Result<(), EmbedError> {
        self.embedder.probe(until).await
    }

    fn space(&self) -> Option<&Space> {
        self.embedder.space()
    }

    fn owns(&self, profile: &str) -> bool {
        self.embedder.owns(profile)
    }

    fn known_share(&self, text: &str) -> Option<f32> {
        self.embedder.known_share(text)
    }

    fn knows_nothing(&self, text: &str) -> bool {
        self.embedder.knows_nothing(text)
    }

    fn kind(&self) -> &'static str {
        self.embedder.kind()
    }

    fn model(&self) -> &str {
        self.embedder.model()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::super::HashEmbedder;
    use super::*;

    /// Counts the texts that reach the embedder.
    struct Counting(AtomicUsize);

    #[async_trait]
    impl Embedder for Counting {
        async fn embed(
            &self,
            tenant: &TenantId,
            texts: Vec<String>,
            lane: Lane,
            until: Instant,
        ) -> Result<Vec<Vector>, EmbedError> {
            self.0.fetch_add(texts.len(), Ordering::Relaxed);
            HashEmbedder.embed(tenant, texts, lane, until).await
        }

        fn space(&self) -> Option<&Space> {
            HashEmbedder.space()
        }

        fn kind(&self) -> &'static str {
            HashEmbedder.kind()
        }

        fn model(&self) -> &str {
            HashEmbedder.model()
        }
    }

    async fn embed(cached: &Cached<Counting>, tenant: &str, texts: &[&str]) -> Vec<Vector> {
        let tenant = TenantId::parse(tenant).unwrap();
        let texts = texts.iter().map(ToString::to_string).collect();
        let until = Instant::now() + Duration::from_secs(60);
        cached.embed(&tenant, texts, Lane::Query, until).await.unwrap()
    }

    #[test]
    fn what_the_model_knows_is_asked_of_the_embedder() {
        let cached = Cached::new(HashEmbedder, 1 << 20);
        assert_eq!(cached.known_share("a word"), Some(1.0));
        assert_eq!(cached.known_share("?!"), Some(0.0));
        assert_eq!(Cached::new(Counting(AtomicUsize::new(0)), 1 << 20).known_share("word"), None);
    }

    #[tokio::test]
    async fn a_text_is_embedded_once_for_a_tenant() {
        let cached = Cached::new(Counting(AtomicUsize::new(0)), 1 << 20);
        let first = embed(&cached, "a", &["one", "two"]).await;
        let second = embed(&cached, "a", &["two", "three", "one"]).await;
        assert_eq!(cached.embedder.0.load(Ordering::Relaxed), 3);
        assert_eq!((&first[0], &first[1]), (&second[2], &second[0]));
    }

    #[tokio::test]
    async fn tenants_do_not_share_cached_vectors() {
        let cached = Cached::new(Counting(AtomicUsize::new(0)), 1 << 20);
        embed(&cached, "a", &["one"]).await;
        embed(&cached, "b", &["one"]).await;
        assert_eq!(cached.embedder.0.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn forgetting_one_tenant_keeps_the_vectors_of_others() {
        let cached = Cached::new(Counting(AtomicUsize::new(0)), 1 << 20);
        embed(&cached, "a", &["one"]).await;
        embed(&cached, "b", &["one"]).await;
        cached.forget(&TenantId::parse("a").unwrap());
        embed(&cached, "b", &["one"]).await;
        assert_eq!(cached.embedder.0.load(Ordering::Relaxed), 2);
        embed(&cached, "a", &["one"]).await;
        assert_eq!(cached.embedder.0.load(Ordering::Relaxed), 3);
    }
}
