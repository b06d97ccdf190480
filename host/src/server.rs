//! Accepts, serves, drains.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::limits::Limits;

/// After an accept that failed for want of a file, until the next.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Header fields of one request, and bytes of its head.
const HEADERS: usize = 64;
const HEAD_BYTES: usize = 64 * 1024;

/// Serves `routes` on `listener` until `shutdown`, then lets the calls under way
/// end. Whether all of them did.
pub async fn run(
    listener: TcpListener,
    routes: Router,
    limits: &Limits,
    shutdown: impl Future<Output = ()>,
) -> bool {
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(limits.connections));
    let connection = connection(limits);
    let mut shutdown = pin!(shutdown);
    loop {
        // A connection above the limit stays in the system's backlog.
        let place = places.clone().acquire_owned();
        let accept = async { (place.await, listener.accept().await) };
        let (place, accepted) = tokio::select! {
            accepted = accept => accepted,
            () = &mut shutdown => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => prepare(stream),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let service = TowerToHyperService::new(routes.clone());
        let serving = graceful.watch(connection.serve_connection(stream, service));
        tokio::spawn(async move {
            let _place = place;
            if let Err(error) = serving.await {
                tracing::debug!(%error, "connection ended");
            }
        });
    }
    drop(listener);
    timeout(limits.shutdown_drain, graceful.shutdown()).await.is_ok()
}

fn connection(limits: &Limits) -> http1::Builder {
    let mut connection = http1::Builder::new();
    connection
        .timer(TokioTimer::new())
        .header_read_timeout(limits.request)
        .max_headers(HEADERS)
        .max_buf_size(HEAD_BYTES);
    connection
}

fn prepare(stream: TcpStream) -> TokioIo<TcpStream> {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "nodelay not set");
    }
    TokioIo::new(stream)
}
