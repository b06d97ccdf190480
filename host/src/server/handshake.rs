//! What comes before HTTP on a connection: TLS, where it is to be spoken.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

use super::listener::Stream;
use super::write_timeout::WriteTimeout;

/// A connection on which HTTP is spoken.
pub(super) type HttpStream = Either<WriteTimeout<Stream>, Box<TlsStream<WriteTimeout<Stream>>>>;

/// The first byte of every TLS connection: a record of the handshake.
const HANDSHAKE: u8 = 22;

/// The protocol's name in ALPN.
pub(crate) const H2: &[u8] = b"h2";

/// How long the request of a caller who speaks plain HTTP is read, so that it hears the answer.
const DISCARD: Duration = Duration::from_millis(500);

/// What is answered to plain HTTP where TLS is to be spoken.
const PLAIN: &str = "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n\
                     connection: close\r\ncontent-length: ";
const SPEAK_TLS: &str = concat!(
    r#"{"status":"error","code":"invalid_request","#,
    r#""message":"this port speaks TLS; use https:// instead of http://","#,
    r#""retryable":false,"blame":"caller"}"#,
);

/// Which protocol is spoken on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// What the first bytes say.
    Any,
    /// What TLS agreed on.
    Http1,
    Http2,
}

/// The connection with its TLS, if there is to be any; `None` if the peer speaks none.
pub(super) async fn open(
    stream: WriteTimeout<Stream>,
    tls: Option<TlsAcceptor>,
) -> Option<(HttpStream, Protocol)> {
    let Some(tls) = tls else { return Some((Either::Left(stream), Protocol::Any)) };
    if speaks_plainly(stream.get_ref()).await {
        refuse(stream).await;
        return None;
    }
    match tls.accept(stream).await {
        Ok(stream) => {
            let is_h2 = stream.get_ref().1.alpn_protocol() == Some(H2);
            let protocol = if is_h2 { Protocol::Http2 } else { Protocol::Http1 };
            Some((Either::Right(Box::new(stream)), protocol))
        }
        Err(error) => {
            metrics::counter!("kenning_tls_handshakes_failed_total").increment(1);
            tracing::debug!(%error, "the TLS handshake failed");
            None
        }
    }
}

/// Whether the first byte begins a request without TLS: its method's first letter.
async fn speaks_plainly(stream: &Stream) -> bool {
    let Either::Left(stream) = stream else { return false };
    let mut first = [HANDSHAKE];
    let peeked = stream.peek(&mut first).await;
    matches!(peeked, Ok(1)) && first[0].is_ascii_uppercase()
}

async fn refuse(mut stream: WriteTimeout<Stream>) {
    metrics::counter!("kenning_tls_handshakes_failed_total").increment(1);
    let answer = format!("{PLAIN}{}\r\n\r\n{SPEAK_TLS}\n", SPEAK_TLS.len() + 1);
    let answered = stream.write_all(answer.as_bytes()).await;
    if answered.is_ok() && stream.shutdown().await.is_ok() {
        // Closed with unread bytes, the connection would be reset before the answer is read.
        let mut rest = [0; 1024];
        let drain = async { while matches!(stream.read(&mut rest).await, Ok(1..)) {} };
        let _ = timeout(DISCARD, drain).await;
    }
}
