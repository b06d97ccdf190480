//! Accepts connections, serves them, and drains them at shutdown.
//!
//! | file | holds |
//! |---|---|
//! | `listener` | the addresses that are listened on |
//! | `connections` | limits open connections; closes idle ones for new ones |
//! | `write_timeout` | a stream that fails when its peer does not read |

mod connections;
mod listener;
mod write_timeout;

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use connections::{ConnectionPermit, Connections};
use kenning_core::limits::Limits;
pub use listener::Listener;
use listener::{Accepted, Stream};
use write_timeout::WriteTimeout;

/// Pause after a failed accept, which usually means that no file descriptor is free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Most header fields of one request.
const HEADERS: usize = 64;

/// Most bytes of one request's head.
const HEAD_BYTES: usize = 64 * 1024;

/// Connections that are rejected at the same time, each with a response that says so. Further
/// ones wait in the system's backlog for a permit, at most a second.
const REJECTION_PERMITS: usize = 256;

/// What is served.
pub struct Routes {
    /// To admitted connections.
    pub all: Router,
    /// To connections that are rejected because too many are open.
    pub rejected: Router,
}

/// Why a connection is rejected; the request on it carries this as an extension.
#[derive(Clone, Copy, Debug)]
pub struct Rejection {
    /// The limit that is reached.
    pub limit: &'static str,
    /// What the limit allows.
    pub allowed: usize,
}

/// Serves `routes` on each of `listeners` until `shutdown`, then waits for running calls to end.
/// Returns whether all of them did within `shutdown_drain`.
pub async fn run(
    listeners: Vec<Listener>,
    routes: Routes,
    limits: &Limits,
    shutdown: impl Future<Output = ()>,
) -> bool {
    let stopping = CancellationToken::new();
    let server = Arc::new(Server {
        routes,
        connections: Connections::new(limits, stopping.clone()),
        write_timeout: limits.answer,
        rejection_timeout: limits.guest_wait,
        http: http(limits),
    });
    let rejections = Arc::new(Semaphore::new(REJECTION_PERMITS));
    let tasks = TaskTracker::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let permit = rejections.clone().acquire_owned();
        let accept = async { (permit.await, listener::accept(&listeners).await) };
        let (permit, accepted) = tokio::select! {
            accepted = accept => accepted,
            () = &mut shutdown => break,
        };
        match accepted {
            Ok(accepted) => {
                tasks.spawn(server.clone().admit(accepted, permit.ok()));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listeners);
    stopping.cancel();
    tasks.close();
    timeout(limits.shutdown_drain, tasks.wait()).await.is_ok()
}

/// What all connections share.
struct Server {
    routes: Routes,
    connections: Connections,
    /// How long a peer may take to read a response.
    write_timeout: Duration,
    /// How long a rejected connection has for its request and the response.
    rejection_timeout: Duration,
    http: http1::Builder,
}

impl Server {
    /// Serves the connection if it gets a permit; otherwise rejects it, for which it holds
    /// `rejection`.
    async fn admit(self: Arc<Self>, accepted: Accepted, rejection: Option<OwnedSemaphorePermit>) {
        let Accepted { stream, peer } = accepted;
        let address = peer.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |peer| peer.ip());
        match self.connections.acquire(address).await {
            Ok(permit) => {
                drop(rejection);
                self.serve(stream, peer, permit).await;
            }
            Err(reason) => {
                metrics::counter!("kenning_connections_refused_total").increment(1);
                // A peer that sends no request in time gets no response.
                let _ = timeout(self.rejection_timeout, self.reject(stream, reason)).await;
            }
        }
    }

    /// Serves requests until the connection ends or has to close.
    async fn serve(&self, stream: Stream, peer: Option<SocketAddr>, permit: ConnectionPermit) {
        let routes = TowerToHyperService::new(self.routes.all.clone());
        let peer = peer.map(ConnectInfo);
        let service = service_fn(|mut request: hyper::Request<Incoming>| {
            if let Some(peer) = peer {
                request.extensions_mut().insert(peer);
            }
            let running = permit.begin_call();
            let response = routes.call(request);
            async move {
                let _running = running;
                response.await
            }
        });
        let mut connection = pin!(self.http.serve_connection(self.prepare(stream), service));
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = permit.closing() => {
                // A graceful end would wait for the head, which may never come.
                if permit.awaits_first_head() && !self.connections.are_stopping() {
                    return;
                }
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        log_end(ended);
    }

    /// Responds to one request, whatever it is, and closes the connection.
    async fn reject(&self, stream: Stream, reason: Rejection) {
        let routes = TowerToHyperService::new(self.routes.rejected.clone());
        let service = service_fn(|mut request: Request<Incoming>| {
            request.extensions_mut().insert(reason);
            routes.call(request)
        });
        let mut http = self.http.clone();
        http.keep_alive(false);
        log_end(http.serve_connection(self.prepare(stream), service).await);
    }

    fn prepare(&self, stream: Stream) -> TokioIo<WriteTimeout<Stream>> {
        TokioIo::new(WriteTimeout::new(stream, self.write_timeout))
    }
}

fn log_end(ended: hyper::Result<()>) {
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
