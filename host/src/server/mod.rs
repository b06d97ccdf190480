//! Accepts, serves, drains.
//!
//! | file | holds |
//! |---|---|
//! | `connections` | a place for each connection, and who gives one up |
//! | `paced` | a stream whose peer must take what it is sent |

mod connections;
mod write_timeout;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use connections::{Connections, Place};
use kenning_core::limits::Limits;
use write_timeout::Paced;

/// After an accept that failed for want of a file, until the next.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Header fields of one request, and bytes of its head.
const HEADERS: usize = 64;
const HEAD_BYTES: usize = 64 * 1024;

/// Connections without a place that are heard out at once, to be told so. Further ones
/// wait in the system's backlog until one of these is gone, a second at most.
const TURNED_AWAY: usize = 256;

/// What is served: to whoever has a place, and to whoever has none.
pub struct Routes {
    pub all: Router,
    pub without_place: Router,
}

/// Serves `routes` on `listener` until `shutdown`, then lets the calls under way
/// end. Whether all of them did.
pub async fn run(
    listener: TcpListener,
    routes: Routes,
    limits: &Limits,
    shutdown: impl Future<Output = ()>,
) -> bool {
    let stopping = CancellationToken::new();
    let server = Arc::new(Server {
        routes,
        connections: Connections::new(limits, stopping.clone()),
        answer: limits.answer,
        hearing: limits.guest_wait,
        http: http(limits),
    });
    let turns = Arc::new(Semaphore::new(TURNED_AWAY));
    let tasks = TaskTracker::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let turn = turns.clone().acquire_owned();
        let accept = async { (turn.await, listener.accept().await) };
        let (turn, accepted) = tokio::select! {
            accepted = accept => accepted,
            () = &mut shutdown => break,
        };
        match accepted {
            Ok((stream, _)) => {
                tasks.spawn(server.clone().admit(stream, turn.ok()));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    stopping.cancel();
    tasks.close();
    timeout(limits.shutdown_drain, tasks.wait()).await.is_ok()
}

/// What all connections share.
struct Server {
    routes: Routes,
    connections: Connections,
    /// How long a peer may take to take an answer.
    answer: Duration,
    /// How long a connection without a place is heard.
    hearing: Duration,
    http: http1::Builder,
}

impl Server {
    async fn admit(self: Arc<Self>, stream: TcpStream, turn: Option<OwnedSemaphorePermit>) {
        match self.connections.place().await {
            Some(place) => {
                drop(turn);
                self.serve(stream, place).await;
            }
            None => {
                metrics::counter!("kenning_connections_refused_total").increment(1);
                // Whoever says nothing in this time is told nothing.
                let _ = timeout(self.hearing, self.turn_away(stream)).await;
            }
        }
    }

    /// Serves requests until the connection ends, or is to give up its place.
    async fn serve(&self, stream: TcpStream, place: Place) {
        let routes = TowerToHyperService::new(self.routes.all.clone());
        let service = service_fn(|request| {
            let busy = place.begin_call();
            let answer = routes.call(request);
            async move {
                let _busy = busy;
                answer.await
            }
        });
        let mut connection = pin!(self.http.serve_connection(self.prepare(stream), service));
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = place.given_up() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        report(ended);
    }

    /// Answers one request, whatever it is, and closes.
    async fn turn_away(&self, stream: TcpStream) {
        let service = TowerToHyperService::new(self.routes.without_place.clone());
        let mut http = self.http.clone();
        http.keep_alive(false);
        report(http.serve_connection(self.prepare(stream), service).await);
    }

    fn prepare(&self, stream: TcpStream) -> TokioIo<Paced<TcpStream>> {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "nodelay not set");
        }
        TokioIo::new(Paced::new(stream, self.answer))
    }
}

fn report(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}

fn http(limits: &Limits) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.request)
        .max_headers(HEADERS)
        .max_buf_size(HEAD_BYTES);
    http
}
