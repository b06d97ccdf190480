//! The bytes to and from a server: over TCP or a Unix socket, with TLS or without.

use std::sync::Arc;
use std::time::Duration;

use redis::RedisError;
use redis::io::tcp::socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::address::Place;
use super::error;
use super::tls::Tls;
use crate::StorageError;

/// Both directions of a connection.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

/// The part of the time for a connection that a TLS handshake may take, so that its end is
/// reported for what it is.
const HANDSHAKE: f32 = 0.9;

/// Connects to `place`. The caller bounds the time, `within`, and tells a late attempt from one
/// that failed.
pub(super) async fn open(
    place: &Place,
    tls: Option<&Arc<Tls>>,
    within: Duration,
) -> Result<Box<dyn Duplex>, StorageError> {
    let (host, port) = match place {
        Place::Unix(path) => {
            let stream = UnixStream::connect(path).await;
            return Ok(Box::new(stream.map_err(|error| unreachable(place, error))?));
        }
        Place::Tcp(host, port) => (host.as_str(), *port),
    };
    let stream = TcpStream::connect((host, port)).await;
    let stream = stream.map_err(|error| unreachable(place, error))?;
    tune(&stream).map_err(|error| unreachable(place, error))?;
    let Some(tls) = tls else { return Ok(Box::new(stream)) };
    let connector = tls.connector().await?;
    let shaken = timeout(within.mul_f32(HANDSHAKE), connector.connect(Tls::name(host)?, stream));
    match shaken.await {
        Ok(Ok(stream)) => Ok(Box::new(stream)),
        Ok(Err(error)) => Err(tls.explain(&error)),
        Err(_) => Err(StorageError::Unavailable(
            "Redis did not answer the TLS handshake in time; it hangs, or this port is not one for \
             TLS (use redis:// then)"
                .into(),
        )),
    }
}

/// Disables Nagle's algorithm, and detects a dead peer within seconds.
fn tune(stream: &TcpStream) -> std::io::Result<()> {
    let second = Duration::from_secs(1);
    let keepalive = TcpKeepalive::new().with_time(second).with_interval(second).with_retries(2);
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(2 * second))
}

fn unreachable(place: &Place, error: std::io::Error) -> StorageError {
    if let (Place::Unix(path), std::io::ErrorKind::PermissionDenied) = (place, error.kind()) {
        return StorageError::Refused(format!(
            "this process may not write to the socket {}; Redis sets who may (unixsocketperm)",
            path.display()
        ));
    }
    error::unreachable(&RedisError::from(error))
}
