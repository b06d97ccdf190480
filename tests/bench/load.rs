//! Callers over HTTP: one open connection each, one request at a time, all on one thread.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use kenning_tests::report::Samples;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::generator::Generator;

/// How long callers warm up before a measurement.
const WARM_UP: Duration = Duration::from_millis(400);

pub(crate) type Body = Full<Bytes>;

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

    /// Sends a request and takes the whole answer, which must be of success.
    async fn send(&mut self, request: Request<Body>) -> Result<Duration> {
        self.sender.ready().await?;
        let begun = Instant::now();
        let answer = self.sender.send_request(request).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        let took = begun.elapsed();
        ensure!(matches!(status, StatusCode::OK | StatusCode::CREATED), "{status}: {body:?}");
        Ok(took)
    }
}

/// What a measurement of a time gave.
pub(crate) struct Load {
    pub(crate) samples: Samples,
    /// From the first request to the last answer.
    pub(crate) elapsed: Duration,
}

impl Load {
    pub(crate) fn per_second(&self) -> f64 {
        self.samples.count() as f64 / self.elapsed.as_secs_f64()
    }
}

/// Each connection's caller sends what `generator` makes, one after the other, for `span`.
pub(crate) async fn run(
    connections: Vec<Connection>,
    generator: &Arc<Generator>,
    span: Duration,
) -> Result<(Vec<Connection>, Load)> {
    let begun = Instant::now();
    let mut callers = JoinSet::new();
    for mut connection in connections {
        let generator = generator.clone();
        callers.spawn(async move {
            let mut times = Vec::new();
            while begun.elapsed() < span {
                times.push(connection.send(generator.request()?).await?);
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
    Ok((connections, Load { samples: Samples::new(times), elapsed: begun.elapsed() }))
}

/// The same on new connections that have warmed up.
pub(crate) async fn warm(
    url: &str,
    callers: usize,
    generator: &Arc<Generator>,
) -> Result<Vec<Connection>> {
    let connections = Connection::open_all(url, callers).await?;
    Ok(run(connections, generator, WARM_UP).await?.0)
}

/// All connections send one request at once; from the first to the last answer.
pub(crate) async fn burst(
    connections: Vec<Connection>,
    generator: &Generator,
) -> Result<(Vec<Connection>, Duration)> {
    let requests = connections.iter().map(|_| generator.request());
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
