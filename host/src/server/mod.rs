//! Accepts connections, serves them, and drains them at shutdown.
//!
//! | file | holds |
//! |---|---|
//! | `listener` | the addresses that are listened on |
//! | `unix_socket` | a socket in the file system, made and removed |
//! | `connections` | limits open connections; closes idle ones for new ones |
//! | `handshake` | TLS, before HTTP |
//! | `streams` | the requests of an HTTP/2 connection |
//! | `write_timeout` | a stream that fails when its peer does not read |

mod connections;
mod handshake;
mod listener;
mod streams;
pub(crate) mod unix_socket;
mod write_timeout;

use std::convert::Infallible;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper::{Request, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::proxies::TrustedProxies;
use connections::{ConnectionPermit, Connections};
use handshake::{HttpStream, Protocol};
use kenning_core::limits::Limits;
pub use listener::Listener;
use listener::{Accepted, Stream};
use streams::{Outgoing, StreamExecutor};
use write_timeout::WriteTimeout;

/// The name of HTTP/2 in TLS.
pub(crate) use handshake::H2;

/// Pause after a failed accept, which usually means that no file descriptor is free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Most header fields of one request in HTTP/1.1.
const HEADERS: usize = 64;

/// Most bytes of one request's head; in HTTP/2 each field counts with 32 bytes more.
const HEAD_BYTES: usize = 64 * 1024;

/// How often a peer of HTTP/2 is asked whether it is still there, and how long it has to answer.
const PING: Duration = Duration::from_secs(20);

/// What a peer of HTTP/2 may send before it is read: of one request, and of all of a connection.
const STREAM_WINDOW: u32 = 128 * 1024;
const CONNECTION_WINDOW: u32 = 256 * 1024;

/// What is kept of responses for a peer of HTTP/2 besides what it lets through.
const SEND_BUFFER: usize = 64 * 1024;

/// Requests that a peer of HTTP/2 may take back before they are looked at, and errors of its own
/// that are answered on one connection. Then the connection is closed.
const RESETS: usize = 20;
const STREAM_ERRORS: usize = 256;

/// How long a peer of HTTP/2 has to say goodbye when its connection closes and no call is under
/// way.
const GOODBYE: Duration = Duration::from_secs(2);

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

/// Why a connection, or a request of HTTP/2, is rejected; the request carries this as an extension.
#[derive(Clone, Copy, Debug)]
pub struct Rejection {
    /// The limit that is reached.
    pub limit: &'static str,
    /// What the limit allows.
    pub allowed: usize,
}

/// The other end of the connection that a request came on; an extension of the request.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// Its address; `None` on this machine, over a socket in the file system.
    pub address: Option<SocketAddr>,
    /// Whether it speaks TLS.
    pub is_encrypted: bool,
}

/// Serves `routes` on each of `listeners` until `shutdown`, then waits for running calls to end.
/// Returns whether all of them did within `shutdown_drain`. Connections of `proxies` carry the
/// requests of many.
pub async fn run(
    listeners: Vec<Listener>,
    routes: Routes,
    limits: &Limits,
    proxies: TrustedProxies,
    shutdown: impl Future<Output = ()>,
) -> bool {
    let stopping = CancellationToken::new();
    let server = Arc::new(Server {
        routes: TowerToHyperService::new(routes.all),
        rejected: TowerToHyperService::new(routes.rejected),
        connections: Connections::new(limits, stopping.clone()),
        proxies,
        streams: Arc::new(Semaphore::new(limits.streams)),
        allowed_streams: limits.streams,
        head_timeout: limits.request,
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

type Http = auto::Builder<StreamExecutor>;

/// What all connections share.
struct Server {
    routes: TowerToHyperService<Router>,
    rejected: TowerToHyperService<Router>,
    connections: Connections,
    proxies: TrustedProxies,
    /// Permits for requests of HTTP/2, of which a connection has many.
    streams: Arc<Semaphore>,
    allowed_streams: usize,
    /// How long a connection has for TLS.
    head_timeout: Duration,
    /// How long a peer may take to read a response.
    write_timeout: Duration,
    /// How long a rejected connection has for its request and the response.
    rejection_timeout: Duration,
    http: Http,
}

impl Server {
    /// Serves the connection if it gets a permit; otherwise rejects it, for which it holds
    /// `rejection`.
    async fn admit(self: Arc<Self>, accepted: Accepted, rejection: Option<OwnedSemaphorePermit>) {
        let address = accepted.peer.map(|peer| peer.ip());
        let counted = address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let counted = (!self.proxies.include(address)).then_some(counted);
        match self.connections.acquire(counted).await {
            Ok(permit) => {
                drop(rejection);
                self.serve(accepted, permit).await;
            }
            Err(reason) => {
                metrics::counter!("kenning_connections_refused_total").increment(1);
                // A peer that sends no request in time gets no response.
                let _ = timeout(self.rejection_timeout, self.reject(accepted, reason)).await;
            }
        }
    }

    /// Serves requests until the connection ends or has to close.
    async fn serve(self: Arc<Self>, accepted: Accepted, permit: ConnectionPermit) {
        let Accepted { stream, peer, tls } = accepted;
        let is_encrypted = tls.is_some();
        let stream = self.prepare(stream).noted_in(permit.connection());
        let opened = tokio::select! {
            opened = timeout(self.head_timeout, handshake::open(stream, tls)) => opened,
            () = permit.closing() => return,
        };
        let Ok(Some((stream, protocol))) = opened else { return };
        let permit = Arc::new(permit);
        let peer = Peer { address: peer, is_encrypted };
        let (server, used) = (self.clone(), permit.clone());
        let service = service_fn(move |request| server.clone().respond(request, &used, peer));
        let http = self.http_of(protocol);
        let connection = pin!(http.serve_connection(TokioIo::new(stream), service));
        log_end(self.until_closed(connection, &permit).await);
    }

    /// Drives a connection to its end, or until it has to close.
    async fn until_closed<S>(
        &self,
        mut connection: Pin<&mut auto::Connection<'_, TokioIo<HttpStream>, S, StreamExecutor>>,
        permit: &ConnectionPermit,
    ) -> Result<(), Failure>
    where
        S: Service<Request<Incoming>, Response = Response<Outgoing>, Error = Infallible>,
        S::Future: Send + 'static,
    {
        tokio::select! {
            ended = connection.as_mut() => return ended,
            () = permit.closing() => {}
            () = permit.overdue() => {}
        }
        // A graceful end would wait for the head, which may never come.
        if permit.awaits_head() && !self.connections.are_stopping() {
            return Ok(());
        }
        connection.as_mut().graceful_shutdown();
        loop {
            tokio::select! {
                ended = connection.as_mut() => return ended,
                () = sleep(GOODBYE), if permit.is_multiplexed() => {}
            }
            if !permit.is_in_use() {
                return Ok(());
            }
        }
    }

    /// Answers one request on an admitted connection.
    fn respond(
        self: Arc<Self>,
        mut request: Request<Incoming>,
        permit: &ConnectionPermit,
        peer: Peer,
    ) -> impl Future<Output = Result<Response<Outgoing>, Infallible>> + Send + 'static + use<> {
        let is_stream = request.version() == Version::HTTP_2;
        permit.set_multiplexed(is_stream);
        let call = permit.begin_call();
        request.extensions_mut().insert(peer);
        async move {
            let place = match is_stream {
                true => self.streams.clone().try_acquire_owned().map(Some),
                false => Ok(None),
            };
            let (response, place) = match place {
                Ok(place) => (self.routes.call(request).await?, place),
                Err(_) => (self.reject_stream(request).await?, None),
            };
            Ok(response.map(|body| Outgoing::new(body, is_stream, call, place)))
        }
    }

    /// Answers a request of HTTP/2 for which there is no permit, without reading its body.
    async fn reject_stream(&self, request: Request<Incoming>) -> Result<Response, Infallible> {
        let mut request = request.map(|_| Body::empty());
        let reason = Rejection { limit: "streams", allowed: self.allowed_streams };
        request.extensions_mut().insert(reason);
        self.rejected.call(request).await
    }

    /// Responds to one request, whatever it is, and closes the connection.
    async fn reject(&self, accepted: Accepted, reason: Rejection) {
        let Accepted { stream, tls, .. } = accepted;
        let Some((stream, protocol)) = handshake::open(self.prepare(stream), tls).await else {
            return;
        };
        let (routes, answered) = (self.rejected.clone(), CancellationToken::new());
        let told = answered.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(reason);
            told.cancel();
            routes.call(request)
        });
        let mut http = self.http_of(protocol);
        http.http1().keep_alive(false);
        let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = answered.cancelled() => {
                // Of HTTP/2, which has no other way to say that this was the last request.
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        log_end(ended);
    }

    fn prepare(&self, stream: Stream) -> WriteTimeout<Stream> {
        WriteTimeout::new(stream, self.write_timeout)
    }

    fn http_of(&self, protocol: Protocol) -> Http {
        match protocol {
            Protocol::Any => self.http.clone(),
            Protocol::Http1 => self.http.clone().http1_only(),
            Protocol::Http2 => self.http.clone().http2_only(),
        }
    }
}

/// Why a connection broke.
type Failure = Box<dyn std::error::Error + Send + Sync>;

fn log_end(ended: Result<(), Failure>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}

fn http(limits: &Limits) -> Http {
    let mut http = auto::Builder::new(StreamExecutor::new(limits.answer));
    http.http1()
        .timer(TokioTimer::new())
        // Heads are bounded by `ConnectionPermit::overdue`; this is the bound of both together.
        .header_read_timeout(limits.idle.saturating_add(limits.request))
        .max_headers(HEADERS)
        .max_buf_size(HEAD_BYTES);
    http.http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams_per_connection)
        .max_header_list_size(HEAD_BYTES as u32)
        .max_pending_accept_reset_streams(RESETS)
        .max_local_error_reset_streams(STREAM_ERRORS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING);
    http
}
