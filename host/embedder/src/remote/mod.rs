//! A remote embedder, over HTTP: one client for three protocols.
//!
//! A request waits for a permit (`lanes`), fails at once while the embedder is down (`circuit`),
//! ends by its deadline (`client`), and is retried if that may help and time is left. The numbers
//! of a response are validated, because they go into the index.

mod circuit;
mod client;
mod lanes;
mod ollama;
mod openai;
mod protocol;
mod request;
mod tei;

use std::net::IpAddr;
use std::ops::Range;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use futures::{StreamExt, TryStreamExt, stream};
use kenning_core::limits::DEFAULT_TENANT;
use kenning_index::limits::DIMENSIONS;
use kenning_storage::TenantId;
use reqwest::Url;
use tokio::time::sleep;

use self::circuit::{Circuit, Permit, Rejected};
use self::client::{Client, Failure};
use self::lanes::Lanes;
use self::request::Request;
use super::waiting::Waiting;
use super::windows::cut_bytes;
use super::{EmbedError, Embedder, Lane, PROBE, Space, Vector};

pub use self::client::Key;
pub use self::protocol::Protocol;

/// How often a failed request is retried.
const RETRIES: usize = 2;

/// The maximum of the first delay before a retry, and of any. Delays are randomized, so that
/// many callers do not retry at the same moment.
const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_LONGEST: Duration = Duration::from_secs(2);

/// Longer texts are truncated: to about 8,192 tokens, which is what the largest models read.
const TEXT_BYTES: usize = 32 * 1024;

/// A text that is refused is halved, in case it is longer than the model accepts, until it is
/// this short.
const SHORTEST_BYTES: usize = 2 * 1024;

/// Text in one request, about 16,000 tokens. A long batch is cut into pieces of this size, so that
/// the texts of other tenants wait for a piece of it only.
const REQUEST_BYTES: usize = 64 * 1024;

/// How many pieces of a batch are requested at once, if there are permits for them.
const PIECES: usize = 4;

/// The maximum of bytes for one number in a response, with its comma and line break, and for
/// everything around the numbers.
const NUMBER_BYTES: usize = 40;
const FRAME_BYTES: usize = 64 * 1024;

/// The end of a profile: the version of how texts are prepared. Preparing them differently makes
/// another space.
const VERSION: &str = "/1";

/// Advice for vectors with other dimensions than those of the index.
const ADVICE: &str = "; to have all vectors made again, set another --embedding-model or \
                      --embedding-dimensions";

/// How to reach a remote embedder, and how much to ask of it.
#[derive(Clone, Debug)]
pub struct RemoteSettings {
    /// How to talk to it.
    pub protocol: Protocol,
    /// Its address; ends in a slash.
    pub base: Url,
    /// The model's name, as the embedder knows it.
    pub model: String,
    /// The dimensions of the vectors; `None` lets the model decide.
    pub dimensions: Option<usize>,
    /// The API key, if it needs one.
    pub key: Option<Key>,
    /// The maximum of requests at once.
    pub requests: usize,
    /// The maximum of texts that wait or are being embedded, in each lane.
    pub texts: usize,
    /// The maximum of bytes of a text's window: no more than the model reads.
    pub window_bytes: usize,
}

/// An embedder reached over HTTP.
pub struct RemoteEmbedder {
    protocol: Protocol,
    model: String,
    configured_dimensions: Option<usize>,
    window_bytes: usize,
    client: Client,
    waiting: Waiting,
    lanes: Lanes,
    circuit: Circuit,
    space: OnceLock<Space>,
}

impl RemoteEmbedder {
    /// Makes no request yet, since the embedder may be down.
    ///
    /// # Errors
    /// If `base` is not an address that paths can be appended to, or the HTTP client cannot be set
    /// up.
    pub fn new(settings: RemoteSettings) -> anyhow::Result<Self> {
        let RemoteSettings { protocol, base, model, dimensions, key, .. } = settings;
        let RemoteSettings { requests, texts, window_bytes, .. } = settings;
        if base.scheme() == "http" && !is_loopback(&base) {
            tracing::warn!("texts and the key are sent to the embedder unencrypted");
        }
        let embedder = Self {
            protocol,
            model,
            configured_dimensions: dimensions,
            window_bytes,
            client: Client::new(base.join(protocol.path())?, key)?,
            waiting: Waiting::new(texts),
            lanes: Lanes::new(requests),
            circuit: Circuit::default(),
            space: OnceLock::new(),
        };
        if let Some(dimensions) = dimensions {
            embedder.space.get_or_init(|| embedder.space_of(dimensions));
        }
        Ok(embedder)
    }

    fn space_of(&self, dimensions: usize) -> Space {
        let profile = format!("{}{dimensions}{VERSION}", self.profile_prefix());
        Space { profile, dimensions }
    }

    fn profile_prefix(&self) -> String {
        format!("{}:{}/", self.protocol.name(), self.model)
    }

    /// The dimensions in a profile of this model.
    fn dimensions_of(&self, profile: &str) -> Option<usize> {
        let prefix = self.profile_prefix();
        let dimensions = profile.strip_prefix(&prefix)?.strip_suffix(VERSION)?.parse().ok()?;
        (1..=DIMENSIONS).contains(&dimensions).then_some(dimensions)
    }

    /// Embeds the texts of one request. A single text is halved while it is refused.
    async fn embed_batch(
        &self,
        tenant: &TenantId,
        texts: &[&str],
        lane: Lane,
        until: Instant,
    ) -> Result<Vec<Vector>, EmbedError> {
        let mut texts = texts.to_vec();
        let _permits = self.lanes.enter(tenant, lane, until).await?;
        loop {
            match (self.request(&texts, until).await, &mut texts[..]) {
                (Err(EmbedError::Refused(_)), [text]) if text.len() > SHORTEST_BYTES => {
                    *text = cut(text, text.len() / 2);
                }
                (result, _) => return result,
            }
        }
    }

    /// Makes a request, and retries it while that may help and time is left.
    async fn request(&self, texts: &[&str], until: Instant) -> Result<Vec<Vector>, EmbedError> {
        let dimensions = self.configured_dimensions;
        let body = self.protocol.body(&Request { model: &self.model, texts, dimensions });
        let mut delays = retry_delays();
        let mut failed = None;
        loop {
            let permit = match self.enter(until).await {
                Ok(permit) => permit,
                Err(error) => return Err(failed.map_or(error, to_error)),
            };
            let failure = match self.client.post(&body, self.most_bytes(texts), until).await {
                Ok(response) => {
                    permit.succeeded();
                    return self.vectors(&response, texts.len());
                }
                Err(failure) => failure,
            };
            self.report(&failure, permit);
            let delay = delays.next().map(|longest| longest.mul_f64(fastrand::f64()));
            let in_time = |delay: &Duration| Instant::now() + *delay < until;
            match delay.filter(in_time) {
                Some(delay) if failure.is_transient() => sleep(delay).await,
                _ => return Err(to_error(failure)),
            }
            failed = Some(failure);
        }
    }

    /// Permission to make a request, after the pause that the embedder asked for if it ends in
    /// time.
    async fn enter(&self, until: Instant) -> Result<Permit<'_>, EmbedError> {
        loop {
            let now = Instant::now();
            match self.circuit.enter(now) {
                Ok(permit) => return Ok(permit),
                Err(Rejected::Paused(end)) if end < until => sleep(end - now).await,
                Err(Rejected::Paused(_)) => {
                    let reason = "the embedder asked for a pause that is longer than the deadline";
                    return Err(EmbedError::BackingOff(reason.into()));
                }
                Err(Rejected::Open) => {
                    let reason = "the embedder did not respond recently and is not called for now";
                    return Err(EmbedError::BackingOff(reason.into()));
                }
            }
        }
    }

    /// Reports a failure to the circuit breaker.
    fn report(&self, failure: &Failure, permit: Permit<'_>) {
        let now = Instant::now();
        if let Failure::Status { wait: Some(wait), .. } = failure {
            self.circuit.pause(*wait, now);
        }
        match failure {
            failure if failure.is_unreachable() => permit.failed(&failure.to_string(), now),
            // The deadline was too close to tell.
            Failure::Timeout { .. } => drop(permit),
            _ => permit.succeeded(),
        }
    }

    /// The normalized vectors of a response to a request with so many texts.
    fn vectors(&self, response: &[u8], texts: usize) -> Result<Vec<Vector>, EmbedError> {
        let unusable = |what: &str| EmbedError::Unavailable(what.into());
        let Some(vectors) = self.protocol.vectors(response) else {
            return Err(unusable("the embedder's response does not follow its protocol"));
        };
        if vectors.len() != texts {
            return Err(unusable("the embedder did not return one vector for each text"));
        }
        let mut accepted = Vec::with_capacity(texts);
        for vector in vectors {
            let Some(normalized) = normalized(&vector) else {
                return Err(unusable("the embedder returned a vector of zero or infinite length"));
            };
            self.validate_dimensions(vector.len())?;
            accepted.push(normalized);
        }
        Ok(accepted)
    }

    /// The first response decides the dimensions, unless they are known.
    fn validate_dimensions(&self, dimensions: usize) -> Result<(), EmbedError> {
        if dimensions > DIMENSIONS {
            let reason = format!("the embedder's vectors have more than {DIMENSIONS} dimensions");
            return Err(EmbedError::Unavailable(reason));
        }
        let space = self.space.get_or_init(|| self.space_of(dimensions));
        if space.dimensions == dimensions {
            return Ok(());
        }
        let expected = space.profile.clone();
        let got = self.space_of(dimensions).profile;
        Err(EmbedError::Mismatch { expected, got, advice: ADVICE })
    }

    /// The maximum of bytes in a response.
    fn most_bytes(&self, texts: &[&str]) -> usize {
        // Room for longer vectors than expected, so that the error can name their dimensions.
        let dimensions = self.space.get().map_or(DIMENSIONS, |space| 2 * space.dimensions);
        FRAME_BYTES + texts.len() * dimensions * NUMBER_BYTES
    }
}

#[async_trait]
impl Embedder for RemoteEmbedder {
    async fn embed(
        &self,
        tenant: &TenantId,
        texts: Vec<String>,
        lane: Lane,
        until: Instant,
    ) -> Result<Vec<Vector>, EmbedError> {
        let begun = Instant::now();
        let _room = self.waiting.enter(tenant, lane, texts.len(), until).await?;
        let texts: Vec<&str> = texts.iter().map(|text| cut(text, TEXT_BYTES)).collect();
        let pieces: Vec<_> = batches(&texts, self.protocol.texts())
            .map(|batch| self.embed_batch(tenant, batch, lane, until))
            .collect();
        let vectors: Vec<Vec<Vector>> = stream::iter(pieces).buffered(PIECES).try_collect().await?;
        let vectors: Vec<Vector> = vectors.into_iter().flatten().collect();
        metrics::histogram!("kenning_embedding_seconds").record(begun.elapsed().as_secs_f64());
        metrics::counter!("kenning_embedded_texts_total").increment(vectors.len() as u64);
        Ok(vectors)
    }

    fn window_bytes(&self) -> usize {
        self.window_bytes
    }

    fn windows(&self, text: &str, most: usize) -> Vec<Range<usize>> {
        cut_bytes(text, self.window_bytes, most)
    }

    async fn probe(&self, until: Instant) -> Result<(), EmbedError> {
        let nobody = TenantId::parse(DEFAULT_TENANT).expect("the default tenant has a name");
        self.embed_batch(&nobody, &[PROBE], Lane::Background, until).await.map(drop)
    }

    fn space(&self) -> Option<&Space> {
        self.space.get()
    }

    fn owns(&self, profile: &str) -> bool {
        let Some(dimensions) = self.dimensions_of(profile) else { return false };
        self.space.get_or_init(|| self.space_of(dimensions)).profile == profile
    }

    fn kind(&self) -> &'static str {
        self.protocol.name()
    }

    fn model(&self) -> &str {
        &self.model
    }
}

fn is_loopback(base: &Url) -> bool {
    let host = base.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// As much of the text as fits into `bytes`, in whole characters.
fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

/// Splits texts into requests of at most `most` texts.
fn batches<'t, 's>(mut texts: &'t [&'s str], most: usize) -> impl Iterator<Item = &'t [&'s str]> {
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |text: &&&str| {
            bytes += text.len();
            bytes <= REQUEST_BYTES
        };
        let count = texts.iter().take(most).take_while(fits).count();
        let (batch, rest) = texts.split_at(count);
        texts = rest;
        (count > 0).then_some(batch)
    })
}

/// The vector scaled to length one, if that is possible.
fn normalized(vector: &[f32]) -> Option<Vector> {
    let squares: f64 = vector.iter().map(|value| f64::from(*value).powi(2)).sum();
    let length = squares.sqrt();
    if !length.is_finite() || length <= f64::from(f32::MIN_POSITIVE) {
        return None;
    }
    Some(vector.iter().map(|value| (f64::from(*value) / length) as f32).collect())
}

/// The maximum delay before each retry.
fn retry_delays() -> ExponentialBackoff {
    ExponentialBuilder::new()
        .with_min_delay(RETRY_FIRST)
        .with_max_delay(RETRY_LONGEST)
        .with_max_times(RETRIES)
        .build()
}

fn to_error(failure: Failure) -> EmbedError {
    match failure {
        Failure::Timeout { .. } => EmbedError::Timeout,
        failure if failure.is_refusal() => EmbedError::Refused(failure.to_string()),
        failure => EmbedError::Unavailable(failure.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn embedder(dimensions: Option<usize>) -> RemoteEmbedder {
        RemoteEmbedder::new(RemoteSettings {
            protocol: Protocol::Tei,
            base: "http://127.0.0.1:9/".parse().unwrap(),
            model: "BAAI/bge-small".into(),
            dimensions,
            key: None,
            requests: 8,
            texts: 100,
            window_bytes: 2_048,
        })
        .unwrap()
    }

    #[test]
    fn the_first_response_decides_the_dimensions() {
        let embedder = embedder(None);
        assert_eq!(embedder.space(), None);
        let vectors = embedder.vectors(b"[[3,4],[0,2]]", 2).unwrap();
        assert_eq!(vectors.iter().map(|v| v.to_vec()).collect::<Vec<_>>(), [[0.6, 0.8], [0., 1.]]);
        let space = embedder.space().unwrap();
        assert_eq!((&*space.profile, space.dimensions), ("tei:BAAI/bge-small/2/1", 2));
        let error = embedder.vectors(b"[[1,2,3]]", 1).unwrap_err().to_string();
        assert!(error.contains("tei:BAAI/bge-small/2/1"), "{error}");
        assert!(error.contains("tei:BAAI/bge-small/3/1"), "{error}");
    }

    #[test]
    fn configured_dimensions_are_not_overridden_by_a_response() {
        let embedder = embedder(Some(3));
        assert!(matches!(embedder.vectors(b"[[3,4]]", 1), Err(EmbedError::Mismatch { .. })));
        assert!(!embedder.owns("tei:BAAI/bge-small/2/1"));
        assert!(embedder.owns("tei:BAAI/bge-small/3/1"));
    }

    #[test]
    fn the_profile_of_stored_vectors_is_adopted_while_the_embedder_is_down() {
        let embedder = embedder(None);
        for other in [
            "tei:BAAI/bge-large/2/1",
            "openai:BAAI/bge-small/2/1",
            "tei:BAAI/bge-small/2/2",
            "tei:BAAI/bge-small/0/1",
            "tei:BAAI/bge-small/two/1",
            "",
        ] {
            assert!(!embedder.owns(other), "{other}");
        }
        assert_eq!(embedder.space(), None);
        assert!(embedder.owns("tei:BAAI/bge-small/2/1"));
        assert!(!embedder.owns("tei:BAAI/bge-small/3/1"), "only one profile is adopted");
    }

    #[test]
    fn unusable_vectors_are_refused() {
        for body in ["[]", "[[1],[1]]", "[[]]", "[[0,0]]", "[[1e39,0]]", "[[null]]", "nothing"] {
            let embedder = embedder(None);
            let refused = embedder.vectors(body.as_bytes(), 1);
            assert!(matches!(refused, Err(EmbedError::Unavailable(_))), "{body}: {refused:?}");
            assert_eq!(embedder.space(), None, "{body} decides no dimensions");
        }
    }

    #[test]
    fn a_request_is_bounded_in_texts_and_bytes() {
        let long = "x".repeat(REQUEST_BYTES / 2);
        let texts = [&*long, &long, "a", "b", "c", &long];
        let lengths = |most| batches(&texts, most).map(<[&str]>::len).collect::<Vec<_>>();
        assert_eq!(lengths(4), [2, 4]);
        assert_eq!(lengths(2), [2, 2, 2]);
        assert_eq!(batches(&[], 4).count(), 0);
    }

    #[test]
    fn a_text_is_cut_at_a_character_boundary() {
        assert_eq!(cut("añb", 2), "a");
        assert_eq!(cut("añb", 9), "añb");
    }
}
