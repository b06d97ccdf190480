//! Callers over HTTP: one open connection each, one request at a time, all on one thread.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::http::response::Parts;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use kenning_tests::report::Timings;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// How long callers warm up before a measurement.
const WARM_UP: Duration = Duration::from_millis(400);

pub(crate) type Body = Full<Bytes>;

/// Makes what callers send.
pub(crate) trait Requests: Send + Sync + 'static {
    fn request(&self) -> Result<Request<Body>>;
}

/// One caller's connection.
pub(crate) struct Connection {
    sender: SendRequest<Body>,
}

impl Connection {
    pub(crate) async fn open(url: &str) -> Result<Self> {
        let address = url.strip_prefix("http://").context("the server speaks HTTP")?;
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, driver) = handshake(TokioIo::new(stream)).await?;
        // It ends with the sender; a failure shows in the call that it fails.
        tokio::spawn(driver);
        Ok(Self { sender })
    }

    /// As many as `count`, each with a connection of its own.
    pub(crate) async fn open_all(url: &str, count: usize) -> Result<Vec<Self>> {
        let mut connections = Vec::with_capacity(count);
        for _ in 0..count {
            connections.push(Self::open(url).await?);
        }
        Ok(connections)
    }

    /// Sends a request and takes the whole answer, whatever it is.
    pub(crate) async fn exchange(&mut self, request: Request<Body>) -> Result<Exchanged> {
        self.sender.ready().await?;
        let begun = Instant::now();
        let answer = self.sender.send_request(request).await?;
        let (head, body) = answer.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Exchanged { head, body, took: begun.elapsed() })
    }

    /// The same; the answer must be of success.
    async fn send(&mut self, request: Request<Body>) -> Result<Duration> {
        let Exchanged { head, body, took } = self.exchange(request).await?;
        let success = matches!(head.status, StatusCode::OK | StatusCode::CREATED);
        ensure!(success, "{}: {body:?}", head.status);
        Ok(took)
    }
}

/// One whole answer.
pub(crate) struct Exchanged {
    pub(crate) head: Parts,
    pub(crate) body: Bytes,
    pub(crate) took: Duration,
}

/// What a measurement of a time gave.
pub(crate) struct Load {
    pub(crate) samples: Timings,
    /// From the first request to the last answer.
    pub(crate) elapsed: Duration,
}

impl Load {
    pub(crate) fn per_second(&self) -> f64 {
        self.samples.count() as f64 / self.elapsed.as_secs_f64()
    }
}

/// Each connection's caller sends what `requests` makes, one after the other, for `span`.
pub(crate) async fn run(
    connections: Vec<Connection>,
    requests: &Arc<impl Requests>,
    span: Duration,
) -> Result<(Vec<Connection>, Load)> {
    let begun = Instant::now();
    let mut callers = JoinSet::new();
    for mut connection in connections {
        let requests = requests.clone();
        callers.spawn(async move {
            let mut times = Vec::new();
            while begun.elapsed() < span {
                times.push(connection.send(requests.request()?).await?);
            }
            anyhow::Ok((connection, times))
        });
    }
    let (mut connections, mut times) = (Vec::new(), Vec::new());
    while let Some(caller) = callers.join_next().await {
        let (connection, of_caller) = caller??;
        connections.push(connection);
        times.extend(of_caller);
    }
    Ok((connections, Load { samples: Timings::new(times), elapsed: begun.elapsed() }))
}

/// The same on new connections that have warmed up.
pub(crate) async fn warm(
    url: &str,
    callers: usize,
    requests: &Arc<impl Requests>,
) -> Result<Vec<Connection>> {
    let connections = Connection::open_all(url, callers).await?;
    Ok(run(connections, requests, WARM_UP).await?.0)
}

/// All connections send one request at once; from the first to the last answer.
pub(crate) async fn burst(
    connections: Vec<Connection>,
    requests: &impl Requests,
) -> Result<(Vec<Connection>, Duration)> {
    let requests = connections.iter().map(|_| requests.request());
    let requests = requests.collect::<Result<Vec<_>>>()?;
    let begun = Instant::now();
    let mut callers = JoinSet::new();
    for (mut connection, request) in connections.into_iter().zip(requests) {
        callers.spawn(async move {
            connection.send(request).await?;
            anyhow::Ok(connection)
        });
    }
    let mut connections = Vec::new();
    while let Some(caller) = callers.join_next().await {
        connections.push(caller??);
    }
    Ok((connections, begun.elapsed()))
}
