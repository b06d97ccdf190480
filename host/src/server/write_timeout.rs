//! A stream whose peer must take what it is sent.
//!
//! A peer that reads nothing, or a few bytes now and then, would hold a connection and
//! an answer for as long as it likes. Once the system's buffer is full, the rest of what
//! is on its way must have been taken within a bound, or the stream fails.

use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

pub(super) struct Paced<S> {
    stream: S,
    bound: Duration,
    /// Runs from when the system did not take all it was given until it does again.
    late: Option<Pin<Box<Sleep>>>,
}

impl<S> Paced<S> {
    pub(super) fn new(stream: S, bound: Duration) -> Self {
        Self { stream, bound, late: None }
    }

    /// What became of a write of `offered` bytes, once the clock has been looked at.
    fn judge(
        &mut self,
        context: &mut Context<'_>,
        offered: usize,
        written: Poll<Result<usize>>,
    ) -> Poll<Result<usize>> {
        let goes_on = match &written {
            Poll::Ready(Ok(bytes)) => *bytes < offered,
            Poll::Ready(Err(_)) => false,
            Poll::Pending => true,
        };
        if !goes_on {
            self.late = None;
            return written;
        }
        let bound = self.bound;
        let late = self.late.get_or_insert_with(|| Box::pin(sleep(bound)));
        match late.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(Error::new(
                ErrorKind::TimedOut,
                "the peer did not take its answer in time (answer_ms)",
            ))),
            Poll::Pending => written,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.judge(context, bytes.len(), written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let offered = parts.iter().map(|part| part.len()).sum();
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.judge(context, offered, written)
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
    async fn a_peer_that_takes_its_answer_gets_it_obeyed() {
        let (server, mut peer) = duplex(4);
        let mut server = Paced::new(server, Duration::from_secs(60));
        let mut taken = [0; 12];
        let (sent, read) = tokio::join!(server.write_all(&[7; 12]), peer.read_exact(&mut taken));
        assert!(sent.is_ok() && read.is_ok());
        assert_eq!(taken, [7; 12]);
        assert!(server.late.is_none(), "the clock ends with the answer");
    }

    #[tokio::test]
    async fn a_peer_that_takes_nothing_ends_the_stream_violated() {
        let (server, _peer) = duplex(4);
        let mut server = Paced::new(server, Duration::from_millis(1));
        let sent = server.write_all(&[7; 12]).await;
        assert_eq!(sent.unwrap_err().kind(), ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_peer_that_takes_it_in_trifles_ends_the_stream_violated() {
        let (server, mut peer) = duplex(4);
        let mut server = Paced::new(server, Duration::from_millis(5));
        let trifles = async {
            while peer.read_u8().await.is_ok() {
                sleep(Duration::from_millis(1)).await;
            }
        };
        let sending = async {
            let sent = server.write_all(&[7; 1_000_000]).await;
            drop(server);
            sent
        };
        let (sent, ()) = tokio::join!(sending, trifles);
        assert_eq!(sent.unwrap_err().kind(), ErrorKind::TimedOut);
    }
}
