//! A far embedder on loopback: speaks the three protocols, embeds as `hash` does, and
//! fails in every way it is told to.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kenning_embedder::{Embedder, HashEmbedder, Lane};
use kenning_storage::TenantId;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::Setup;

/// What a fake answers with.
type Reply = Response<BoxBody<Bytes, std::io::Error>>;

/// What it does with whoever asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mood {
    /// Embeds.
    Well,
    /// Takes connections and closes them.
    HangsUp,
    /// Reads and never answers.
    Silent,
    /// Keeps everyone waiting until its mood is another, which they then meet.
    Slow,
    /// This status, and this `Retry-After`.
    Status(u16, Option<&'static str>),
    /// This status for texts that hold this word; embeds others.
    StatusFor(u16, &'static str),
    /// Closes the connection on texts that hold this word; embeds others.
    HangsUpFor(&'static str),
    /// Vectors of so many numbers.
    Dimensions(usize),
    /// One vector too few.
    OneShort,
    /// In another order, each with its `index` where the protocol has one.
    Shuffled,
    /// This where a number should be.
    Number(&'static str),
    /// All zeros.
    Zeros,
    /// A body without an end.
    Endless,
    /// Something that is no JSON.
    Broken,
    /// The beginning of an answer, and the end of the connection.
    Truncated,
}

/// What it was asked.
#[derive(Clone, Debug)]
pub struct Received {
    pub path: String,
    pub authorization: Option<String>,
    pub traceparent: Option<String>,
    pub tracestate: Option<String>,
    pub body: Value,
    pub texts: Vec<String>,
    pub at: Instant,
}

struct Shared {
    mood: watch::Sender<Mood>,
    asked: Mutex<Vec<Received>>,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
}

/// A request that is being answered.
struct UnderWay<'a>(&'a Shared);

impl<'a> UnderWay<'a> {
    fn begin(shared: &'a Shared) -> Self {
        let now = shared.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        shared.most_at_once.fetch_max(now, Ordering::SeqCst);
        Self(shared)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.at_once.fetch_sub(1, Ordering::SeqCst);
    }
}

/// See the module. It is away again when dropped.
pub struct FakeEmbedder {
    address: SocketAddr,
    shared: Arc<Shared>,
    serving: Option<JoinHandle<()>>,
    /// Holds the port while it is away: connections are refused, and nobody takes it.
    away: Option<TcpSocket>,
}

impl FakeEmbedder {
    /// One that is well.
    pub fn start() -> Result<Self> {
        let mut fake = Self::away()?;
        fake.come()?;
        Ok(fake)
    }

    /// One whose port refuses connections.
    pub fn away() -> Result<Self> {
        let socket = bound(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let mood = watch::Sender::new(Mood::Well);
        let (asked, at_once, most_at_once) = Default::default();
        let shared = Arc::new(Shared { mood, asked, at_once, most_at_once });
        let address = socket.local_addr()?;
        Ok(Self { address, shared, serving: None, away: Some(socket) })
    }

    /// Begins to serve at its port.
    pub fn come(&mut self) -> Result<()> {
        if let Some(socket) = self.away.take() {
            let listener = socket.listen(128)?;
            self.serving = Some(tokio::spawn(serve(listener, self.shared.clone())));
        }
        Ok(())
    }

    /// Ends every connection and refuses further ones.
    pub async fn go(&mut self) -> Result<()> {
        if let Some(serving) = self.serving.take() {
            serving.abort();
            // It ends by being aborted.
            let _ = serving.await;
            self.away = Some(bound(self.address)?);
        }
        Ok(())
    }

    /// From now on, also for whoever waits.
    pub fn be(&self, mood: Mood) {
        self.shared.mood.send_replace(mood);
    }

    /// What it was asked so far.
    pub fn asked(&self) -> Vec<Received> {
        self.shared.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether it was ever asked for a text with this word.
    pub fn was_asked_for(&self, word: &str) -> bool {
        self.asked().iter().any(|asked| asked.texts.iter().any(|text| text.contains(word)))
    }

    /// The most requests that it ever had at once.
    pub fn most_at_once(&self) -> usize {
        self.shared.most_at_once.load(Ordering::SeqCst)
    }

    /// `--embedder` for this one.
    pub fn spec(&self, protocol: &str) -> String {
        let path = if protocol == "openai" { "/v1" } else { "" };
        format!("{protocol}:http://{}{path}", self.address)
    }

    /// `setup` with this embedder, as a model of this name.
    pub fn embeds_for(&self, setup: Setup, protocol: &str, model: &str) -> Setup {
        let mut environment = setup.environment;
        environment.push(("KENNING_EMBEDDER", self.spec(protocol)));
        environment.push(("KENNING_EMBEDDING_MODEL", model.to_string()));
        Setup { environment, ..setup }
    }
}

impl Drop for FakeEmbedder {
    fn drop(&mut self) {
        if let Some(serving) = &self.serving {
            serving.abort();
        }
    }
}

/// A socket that has the port and takes no connections.
fn bound(address: SocketAddr) -> Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// Ends, with all its connections, when aborted.
async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        if *shared.mood.borrow() == Mood::HangsUp {
            continue;
        }
        let shared = shared.clone();
        let service = service_fn(move |request| answer(request, shared.clone()));
        connections.spawn(async move {
            // Either side may break it off; that is what these tests are about.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// An error closes the connection.
async fn answer(request: Request<Incoming>, shared: Arc<Shared>) -> std::io::Result<Reply> {
    let _under_way = UnderWay::begin(&shared);
    let path = request.uri().path().to_string();
    let header = |name: &str| Some(request.headers().get(name)?.to_str().ok()?.to_string());
    let authorization = header("authorization");
    let (traceparent, tracestate) = (header("traceparent"), header("tracestate"));
    let body = request.into_body().collect().await.map_err(std::io::Error::other)?.to_bytes();
    let body: Value = serde_json::from_slice(&body)?;
    let inputs = if path == "/embed" { &body["inputs"] } else { &body["input"] };
    let texts = inputs.as_array().into_iter().flatten();
    let texts: Vec<String> = texts.filter_map(|text| Some(text.as_str()?.to_string())).collect();
    // As it was when this was asked: who waits for the question may change it then.
    let mut mood = shared.mood.borrow().clone();
    let at = Instant::now();
    let asked = Received {
        path: path.clone(),
        authorization,
        traceparent,
        tracestate,
        body,
        texts: texts.clone(),
        at,
    };
    shared.asked.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
    if mood == Mood::Slow {
        mood = another_mood(&shared).await;
    }
    reply(&path, &texts, mood).await
}

async fn another_mood(shared: &Shared) -> Mood {
    let mut moods = shared.mood.subscribe();
    let another = moods.wait_for(|mood| *mood != Mood::Slow).await;
    another.map_or(Mood::Silent, |mood| mood.clone())
}

async fn reply(path: &str, texts: &[String], mood: Mood) -> std::io::Result<Reply> {
    let holds = |word: &str| texts.iter().any(|text| text.contains(word));
    match mood {
        Mood::HangsUp => return Err(std::io::Error::other("told to hang up")),
        Mood::HangsUpFor(word) if holds(word) => {
            return Err(std::io::Error::other("told to hang up on this text"));
        }
        Mood::Silent => std::future::pending().await,
        Mood::Status(status, retry_after) => return Ok(status_only(status, retry_after)),
        Mood::StatusFor(status, word) if holds(word) => return Ok(status_only(status, None)),
        Mood::Endless => {
            let chunks = stream::repeat(Bytes::from(vec![b' '; 64 * 1024]));
            let frames = chunks.map(|chunk| Ok(Frame::data(chunk)));
            return Ok(Response::new(BodyExt::boxed(StreamBody::new(frames))));
        }
        Mood::Broken => return Ok(Response::new(full("<html>Welcome</html>".into()))),
        _ => {}
    }
    let mut vectors = embed(texts, &mood).await.map_err(std::io::Error::other)?;
    if mood == Mood::OneShort {
        vectors.pop();
    }
    let mut text = as_spoken(path, &vectors, &mood).to_string();
    if let Mood::Number(number) = mood {
        text = text.replacen("0.0", number, 1);
    }
    if mood == Mood::Truncated {
        let half = Bytes::from(text).slice(..20);
        let broken = std::io::Error::other("told to break off");
        let frames = stream::iter([Ok(Frame::data(half)), Err(broken)]);
        return Ok(Response::new(BodyExt::boxed(StreamBody::new(frames))));
    }
    Ok(Response::new(full(text)))
}

fn status_only(status: u16, retry_after: Option<&'static str>) -> Reply {
    let mut reply = Response::new(full("{\"error\":\"told to\"}".into()));
    *reply.status_mut() = StatusCode::from_u16(status).expect("a status");
    if let Some(retry_after) = retry_after {
        reply.headers_mut().insert("retry-after", retry_after.parse().expect("a header"));
    }
    reply
}

fn full(text: String) -> BoxBody<Bytes, std::io::Error> {
    Full::new(Bytes::from(text)).map_err(|never: Infallible| match never {}).boxed()
}

async fn embed(texts: &[String], mood: &Mood) -> Result<Vec<Vec<f32>>> {
    let until = Instant::now() + Duration::from_secs(60);
    let tenant = TenantId::parse("fake")?;
    let vectors = HashEmbedder.embed(&tenant, texts.to_vec(), Lane::Query, until).await?;
    let shaped = |vector: &[f32]| match mood {
        Mood::Dimensions(dimensions) => folded(vector, *dimensions),
        Mood::Zeros => vec![0.0; vector.len()],
        _ => vector.to_vec(),
    };
    Ok(vectors.iter().map(|vector| shaped(vector)).collect())
}

fn indexed((index, embedding): (usize, &Vec<f32>)) -> Value {
    json!({ "object": "embedding", "index": index, "embedding": embedding })
}

/// As of another space, and never without a direction.
fn folded(vector: &[f32], dimensions: usize) -> Vec<f32> {
    let mut folded = vec![0.0; dimensions];
    folded[0] = 0.01;
    for (position, value) in vector.iter().enumerate() {
        folded[position % dimensions] += value;
    }
    folded
}

/// The vectors in the words of the protocol that has this path.
fn as_spoken(path: &str, vectors: &[Vec<f32>], mood: &Mood) -> Value {
    match path {
        "/v1/embeddings" => {
            let mut data: Vec<Value> = vectors.iter().enumerate().map(indexed).collect();
            if *mood == Mood::Shuffled {
                data.reverse();
            }
            json!({ "object": "list", "data": data, "model": "fake" })
        }
        "/api/embed" => json!({ "model": "fake", "embeddings": vectors, "total_duration": 1 }),
        _ => json!(vectors),
    }
}
