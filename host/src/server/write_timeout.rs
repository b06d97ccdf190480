//! A stream with a write time-out.
//!
//! A peer that reads nothing, or a few bytes now and then, could hold a connection and a response
//! for ever. Once the system's buffer is full, the clock runs until the system accepts a whole
//! write again; when the time-out passes first, the stream fails.
//!
//! What the peer sends is noted here, too: a head that has begun must arrive.
//!
//! `tokio-io-timeout` resets its clock after every partial write, so a peer that reads a byte at
//! a time would never time out.

use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::connections::Connection;

/// See the module.
pub(super) struct WriteTimeout<S> {
    stream: S,
    timeout: Duration,
    /// Set while the system does not accept whole writes.
    clock: Option<Pin<Box<Sleep>>>,
    /// Told of what arrives.
    connection: Option<Arc<Connection>>,
}

impl<S> WriteTimeout<S> {
    pub(super) fn new(stream: S, timeout: Duration) -> Self {
        Self { stream, timeout, clock: None, connection: None }
    }

    /// The same, with arrivals noted in `connection`.
    pub(super) fn noted_in(self, connection: Arc<Connection>) -> Self {
        Self { connection: Some(connection), ..self }
    }

    pub(super) fn get_ref(&self) -> &S {
        &self.stream
    }

    /// Starts, reads or stops the clock after a write of `offered` bytes.
    fn check_clock(
        &mut self,
        context: &mut Context<'_>,
        offered: usize,
        written: Poll<Result<usize>>,
    ) -> Poll<Result<usize>> {
        let is_blocked = match &written {
            Poll::Ready(Ok(bytes)) => *bytes < offered,
            Poll::Ready(Err(_)) => false,
            Poll::Pending => true,
        };
        if !is_blocked {
            self.clock = None;
            return written;
        }
        let timeout = self.timeout;
        let clock = self.clock.get_or_insert_with(|| Box::pin(sleep(timeout)));
        match clock.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(Error::new(
                ErrorKind::TimedOut,
                "the peer did not read the response in time (answer_ms)",
            ))),
            Poll::Pending => written,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WriteTimeout<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if let Some(connection) = &self.connection
            && buffer.filled().len() > before
        {
            connection.note_arrival();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WriteTimeout<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.check_clock(context, bytes.len(), written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let offered = parts.iter().map(|part| part.len()).sum();
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.check_clock(context, offered, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn a_peer_that_reads_gets_the_whole_response() {
        let (server, mut peer) = duplex(4);
        let mut server = WriteTimeout::new(server, Duration::from_secs(60));
        let mut taken = [0; 12];
        let (sent, read) = tokio::join!(server.write_all(&[7; 12]), peer.read_exact(&mut taken));
        assert!(sent.is_ok() && read.is_ok());
        assert_eq!(taken, [7; 12]);
        assert!(server.clock.is_none(), "the clock stops at the end");
    }

    #[tokio::test]
    async fn a_peer_that_reads_nothing_times_out() {
        let (server, _peer) = duplex(4);
        let mut server = WriteTimeout::new(server, Duration::from_millis(1));
        let sent = server.write_all(&[7; 12]).await;
        assert_eq!(sent.unwrap_err().kind(), ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_peer_that_reads_a_byte_now_and_then_times_out() {
        let (server, mut peer) = duplex(4);
        let mut server = WriteTimeout::new(server, Duration::from_millis(5));
        let slow_reads = async {
            while peer.read_u8().await.is_ok() {
                sleep(Duration::from_millis(1)).await;
            }
        };
        let sending = async {
            let sent = server.write_all(&[7; 1_000_000]).await;
            drop(server);
            sent
        };
        let (sent, ()) = tokio::join!(sending, slow_reads);
        assert_eq!(sent.unwrap_err().kind(), ErrorKind::TimedOut);
    }
}
