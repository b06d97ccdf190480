//! The addresses that are listened on: TCP ports, and sockets in the file system.

use std::io;
use std::net::SocketAddr;

use futures::future::select_all;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::either::Either;

/// What connections come from.
pub enum Listener {
    /// A TCP port.
    Tcp(TcpListener),
    /// A TCP port on which TLS is spoken.
    Tls(TcpListener, TlsAcceptor),
    /// A socket in the file system, which only this user may connect to.
    Unix(UnixListener),
}

/// A connection's two directions.
pub(super) type Stream = Either<TcpStream, UnixStream>;

/// A new connection.
pub(super) struct Accepted {
    pub(super) stream: Stream,
    /// Where it comes from; `None` from this machine, over a socket in the file system.
    pub(super) peer: Option<SocketAddr>,
    /// What makes the handshake, if TLS is to be spoken.
    pub(super) tls: Option<TlsAcceptor>,
}

/// The next connection on any of the listeners.
pub(super) async fn accept(listeners: &[Listener]) -> io::Result<Accepted> {
    let accepting = listeners.iter().map(|listener| Box::pin(listener.accept()));
    select_all(accepting).await.0
}

impl Listener {
    async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) => accept_tcp(listener, None).await,
            Self::Tls(listener, tls) => accept_tcp(listener, Some(tls)).await,
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok(Accepted { stream: Either::Right(stream), peer: None, tls: None })
            }
        }
    }
}

async fn accept_tcp(listener: &TcpListener, tls: Option<&TlsAcceptor>) -> io::Result<Accepted> {
    let (stream, peer) = listener.accept().await?;
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY not set");
    }
    Ok(Accepted { stream: Either::Left(stream), peer: Some(peer), tls: tls.cloned() })
}
