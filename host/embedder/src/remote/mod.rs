//! A far embedder, over HTTP: one client for three protocols.
//!
//! A request waits for its turn (`lanes`), is not made while the far side is down
//! (`circuit`), ends in time (`client`), and is repeated where that may help and time
//! is left. What comes back is checked number by number: there is no other machine's
//! word for what goes into an index.

mod circuit;
mod client;
mod lanes;
mod ollama;
mod openai;
mod protocol;
mod tei;

use std::net::IpAddr;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use kenning_index::limits::DIMENSIONS;
use kenning_storage::TenantId;
use reqwest::Url;
use tokio::time::sleep;

use self::circuit::{Circuit, Pass, Turned};
use self::client::{Client, Failure};
use self::lanes::Lanes;
use self::protocol::Question;
use super::{EmbedError, Embedder, Lane, PROBE, Space, Vector};

pub use self::client::Key;
pub use self::protocol::Protocol;

/// Times that a request is made before its failure is the caller's.
const TRIES: u32 = 3;

/// Between two of them, at most: doubled each time, and less by chance, so that many
/// callers do not come back at once.
const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_LAST: Duration = Duration::from_secs(2);

/// A text is cut here: some 8,192 tokens, where the largest models stop reading.
const TEXT_BYTES: usize = 32 * 1024;

/// A text that is refused is halved, in case it is longer than the model reads, until
/// it is this short.
const SHORTEST_BYTES: usize = 2 * 1024;

/// Text in one request; OpenAI takes 300,000 tokens.
const REQUEST_BYTES: usize = 512 * 1024;

/// A number in an answer, with its share of line breaks and commas, and what is
/// around the numbers.
const NUMBER_BYTES: usize = 40;
const FRAME_BYTES: usize = 64 * 1024;

/// The end of a profile: how texts are prepared. Another way would be another space.
const VERSION: &str = "/1";

/// Said of other dimensions than the index has.
const ADVICE: &str = "; name another model, or say --embedding-dimensions, to have all vectors \
                      made again";

/// What the operator says of a far embedder.
#[derive(Clone, Debug)]
pub struct RemoteSettings {
    pub protocol: Protocol,
    /// Ends in a slash.
    pub base: Url,
    pub model: String,
    /// How long vectors are to be; otherwise the model decides.
    pub dimensions: Option<usize>,
    pub key: Option<Key>,
    /// Requests at once.
    pub requests: usize,
    /// Texts in each lane.
    pub texts: usize,
}

/// See the module.
pub struct RemoteEmbedder {
    protocol: Protocol,
    model: String,
    asked_dimensions: Option<usize>,
    client: Client,
    lanes: Lanes,
    circuit: Circuit,
    space: OnceLock<Space>,
}

impl RemoteEmbedder {
    /// It asks the far side nothing yet: that may be away.
    pub fn new(settings: RemoteSettings) -> anyhow::Result<Self> {
        let RemoteSettings { protocol, base, model, dimensions, key, requests, texts } = settings;
        if base.scheme() == "http" && !is_loopback(&base) {
            tracing::warn!("texts, and the key if there is one, go to the embedder unencrypted");
        }
        let embedder = Self {
            protocol,
            model,
            asked_dimensions: dimensions,
            client: Client::new(base.join(protocol.path())?, key)?,
            lanes: Lanes::new(requests, texts),
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
        format!("{}:{}/", self.protocol.word(), self.model)
    }

    /// The dimensions of vectors that this model made.
    fn dimensions_of(&self, profile: &str) -> Option<usize> {
        let prefix = self.profile_prefix();
        let dimensions = profile.strip_prefix(&prefix)?.strip_suffix(VERSION)?.parse().ok()?;
        (1..=DIMENSIONS).contains(&dimensions).then_some(dimensions)
    }

    /// One request's texts. One text alone is halved while it is refused.
    async fn embed_run(
        &self,
        texts: &[&str],
        lane: Lane,
        until: Instant,
    ) -> Result<Vec<Vector>, EmbedError> {
        let mut texts = texts.to_vec();
        let _places = self.lanes.enter(lane, texts.len(), until).await?;
        loop {
            match (self.ask(&texts, until).await, &mut texts[..]) {
                (Err(EmbedError::Refused(_)), [text]) if text.len() > SHORTEST_BYTES => {
                    *text = cut(text, text.len() / 2);
                }
                (answer, _) => return answer,
            }
        }
    }

    /// Asks, as often as it may help and time allows.
    async fn ask(&self, texts: &[&str], until: Instant) -> Result<Vec<Vector>, EmbedError> {
        let question = Question { model: &self.model, texts, dimensions: self.asked_dimensions };
        let body = self.protocol.body(&question);
        let mut failed = None;
        for tried in 0..TRIES {
            let pass = match self.enter(until).await {
                Ok(pass) => pass,
                Err(error) => return Err(failed.map_or(error, to_error)),
            };
            let failure = match self.client.post(&body, self.most_bytes(texts), until).await {
                Ok(answer) => {
                    pass.answered();
                    return self.vectors(&answer, texts.len());
                }
                Err(failure) => failure,
            };
            self.learn_from(&failure, pass);
            let pause = retry_pause(tried);
            let in_time = Instant::now() + pause < until;
            if !failure.is_passing() || tried + 1 == TRIES || !in_time {
                return Err(to_error(failure));
            }
            sleep(pause).await;
            failed = Some(failure);
        }
        Err(failed.map_or(EmbedError::Timeout, to_error))
    }

    /// Leave to ask; where the far side wants a pause that ends in time, after it.
    async fn enter(&self, until: Instant) -> Result<Pass<'_>, EmbedError> {
        loop {
            let now = Instant::now();
            match self.circuit.enter(now) {
                Ok(pass) => return Ok(pass),
                Err(Turned::Paused(end)) if end < until => sleep(end - now).await,
                Err(Turned::Paused(_)) => {
                    let reason = "it asked to be left alone for longer than there is time";
                    return Err(EmbedError::Resting(reason.into()));
                }
                Err(Turned::Broken) => {
                    let reason = "it did not answer lately and is not asked just now";
                    return Err(EmbedError::Resting(reason.into()));
                }
            }
        }
    }

    fn learn_from(&self, failure: &Failure, pass: Pass<'_>) {
        let now = Instant::now();
        if let Failure::Status { wait: Some(wait), .. } = failure {
            self.circuit.pause(*wait, now);
        }
        match failure {
            failure if failure.is_silence() => pass.failed(&failure.to_string(), now),
            // Its caller had no time: nothing was learnt.
            Failure::Timeout { .. } => drop(pass),
            _ => pass.answered(),
        }
    }

    /// The vectors of an answer, if they are what was asked for.
    fn vectors(&self, answer: &[u8], texts: usize) -> Result<Vec<Vector>, EmbedError> {
        let unusable = |what: &str| EmbedError::Unavailable(what.into());
        let Some(vectors) = self.protocol.vectors(answer) else {
            return Err(unusable("its answer is not what its protocol says"));
        };
        if vectors.len() != texts {
            return Err(unusable("it gave another number of vectors than it was given texts"));
        }
        let mut accepted = Vec::with_capacity(texts);
        for vector in vectors {
            let Some(unit) = unit(&vector) else {
                return Err(unusable("it gave a vector that points nowhere"));
            };
            self.check_space(vector.len())?;
            accepted.push(unit);
        }
        Ok(accepted)
    }

    /// The first answer says how long vectors are, unless that is known.
    fn check_space(&self, dimensions: usize) -> Result<(), EmbedError> {
        if dimensions > DIMENSIONS {
            let reason = format!("its vectors have more than {DIMENSIONS} dimensions");
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

    fn most_bytes(&self, texts: &[&str]) -> usize {
        // Longer ones are read all the same, to name what is wrong with them.
        let dimensions = self.space.get().map_or(DIMENSIONS, |space| 2 * space.dimensions);
        FRAME_BYTES + texts.len() * dimensions * NUMBER_BYTES
    }
}

#[async_trait]
impl Embedder for RemoteEmbedder {
    async fn embed(
        &self,
        _tenant: &TenantId,
        texts: Vec<String>,
        lane: Lane,
        until: Instant,
    ) -> Result<Vec<Vector>, EmbedError> {
        let begun = Instant::now();
        let texts: Vec<&str> = texts.iter().map(|text| cut(text, TEXT_BYTES)).collect();
        let mut vectors = Vec::with_capacity(texts.len());
        for run in runs(&texts, self.protocol.texts()) {
            vectors.extend(self.embed_run(run, lane, until).await?);
        }
        metrics::histogram!("kenning_embedding_seconds").record(begun.elapsed().as_secs_f64());
        metrics::counter!("kenning_embedded_texts_total").increment(vectors.len() as u64);
        Ok(vectors)
    }

    async fn probe(&self, until: Instant) -> Result<(), EmbedError> {
        self.embed_run(&[PROBE], Lane::Background, until).await.map(drop)
    }

    fn space(&self) -> Option<&Space> {
        self.space.get()
    }

    fn owns(&self, profile: &str) -> bool {
        let Some(dimensions) = self.dimensions_of(profile) else { return false };
        self.space.get_or_init(|| self.space_of(dimensions)).profile == profile
    }

    fn kind(&self) -> &'static str {
        self.protocol.word()
    }

    fn model(&self) -> &str {
        &self.model
    }
}

fn is_loopback(base: &Url) -> bool {
    let host = base.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// As much of the text as fits, in whole characters.
fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

/// Neighbours that go into one request.
fn runs<'t, 's>(mut texts: &'t [&'s str], most: usize) -> impl Iterator<Item = &'t [&'s str]> {
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |text: &&&str| {
            bytes += text.len();
            bytes <= REQUEST_BYTES
        };
        let count = texts.iter().take(most).take_while(fits).count();
        let (run, rest) = texts.split_at(count);
        texts = rest;
        (count > 0).then_some(run)
    })
}

/// The vector at length one, if it has a direction.
fn unit(vector: &[f32]) -> Option<Vector> {
    let squares: f64 = vector.iter().map(|value| f64::from(*value).powi(2)).sum();
    let length = squares.sqrt();
    if !length.is_finite() || length <= f64::from(f32::MIN_POSITIVE) {
        return None;
    }
    Some(vector.iter().map(|value| (f64::from(*value) / length) as f32).collect())
}

fn retry_pause(tried: u32) -> Duration {
    let most = (RETRY_FIRST * 2_u32.pow(tried)).min(RETRY_LAST);
    most.mul_f64(fastrand::f64())
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
        })
        .unwrap()
    }

    #[test]
    fn the_first_answer_says_how_long_vectors_are() {
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
    fn what_is_configured_is_not_learnt() {
        let embedder = embedder(Some(3));
        assert!(matches!(embedder.vectors(b"[[3,4]]", 1), Err(EmbedError::Mismatch { .. })));
        assert!(!embedder.owns("tei:BAAI/bge-small/2/1"));
        assert!(embedder.owns("tei:BAAI/bge-small/3/1"));
    }

    #[test]
    fn vectors_in_storage_say_it_where_the_far_side_is_away() {
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
        assert!(!embedder.owns("tei:BAAI/bge-small/3/1"), "never two at once");
    }

    #[test]
    fn vectors_that_are_none_are_refused() {
        for answer in ["[]", "[[1],[1]]", "[[]]", "[[0,0]]", "[[1e39,0]]", "[[null]]", "nothing"] {
            let embedder = embedder(None);
            let refused = embedder.vectors(answer.as_bytes(), 1);
            assert!(matches!(refused, Err(EmbedError::Unavailable(_))), "{answer}: {refused:?}");
            assert_eq!(embedder.space(), None, "{answer} says nothing of its space");
        }
    }

    #[test]
    fn a_request_is_bounded_in_texts_and_bytes() {
        let long = "x".repeat(REQUEST_BYTES / 2);
        let texts = [&*long, &long, "a", "b", "c", &long];
        let lengths = |most| runs(&texts, most).map(<[&str]>::len).collect::<Vec<_>>();
        assert_eq!(lengths(4), [2, 4]);
        assert_eq!(lengths(2), [2, 2, 2]);
        assert_eq!(runs(&[], 4).count(), 0);
    }

    #[test]
    fn a_text_is_cut_in_whole_characters() {
        assert_eq!(cut("añb", 2), "a");
        assert_eq!(cut("añb", 9), "añb");
    }
}
