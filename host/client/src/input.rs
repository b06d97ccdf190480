//! Streams a file or standard input without buffering the whole.
//!
//! A read of standard input cannot be cancelled: it may block its thread forever. So a plain thread
//! reads, not one of the runtime's, and the process can exit without waiting for it. The channel
//! between them is short: at most a few hundred KiB are read ahead.

use std::io::{self, Read};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::Stream;
use tokio::sync::mpsc;

use crate::progress::Progress;
use crate::{Error, Terminal};

/// Bytes per read.
const CHUNK: usize = 64 * 1024;
/// Chunks in the channel.
const READ_AHEAD: usize = 4;

/// Limit in bytes for an argument read from standard input. Four times the server's default limit
/// for a fact's text, so that normally the server reports a text that is too long.
const MAX_ARGUMENT: usize = 1024 * 1024;

/// A file or standard input as a request body.
pub(crate) struct InputStream {
    chunks: mpsc::Receiver<io::Result<Bytes>>,
    activity: Arc<Activity>,
    progress: Progress,
}

/// Detects an import that has stalled.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    /// Counts what was sent and received.
    events: AtomicU64,
    waits_for_input: AtomicBool,
    failure: Mutex<Option<io::Error>>,
}

impl Activity {
    /// Notes that something was sent or received.
    pub(crate) fn record(&self) {
        self.events.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns when nothing was sent or received for `timeout`, unless the input is the cause.
    pub(crate) async fn stalled(&self, timeout: Duration) {
        let mut before = self.events.load(Ordering::Relaxed);
        loop {
            tokio::time::sleep(timeout).await;
            let now = self.events.load(Ordering::Relaxed);
            if now == before && !self.waits_for_input.load(Ordering::Relaxed) {
                return;
            }
            before = now;
        }
    }

    /// The error that ended the input, if any.
    pub(crate) fn take_failure(&self) -> Option<io::Error> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn fail(&self, error: io::Error) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }
}

impl InputStream {
    /// Starts to read.
    pub(crate) fn start(
        reader: Box<dyn Read + Send>,
        progress: Progress,
    ) -> io::Result<(Self, Arc<Activity>)> {
        let (sender, chunks) = mpsc::channel(READ_AHEAD);
        std::thread::Builder::new()
            .name("kenning-input".to_owned())
            .spawn(move || pump(reader, &sender))?;
        let activity = Arc::new(Activity::default());
        Ok((Self { chunks, activity: Arc::clone(&activity), progress }, activity))
    }
}

impl Stream for InputStream {
    type Item = Result<Bytes, io::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = self.chunks.poll_recv(context);
        self.activity.waits_for_input.store(next.is_pending(), Ordering::Relaxed);
        self.activity.record();
        match next {
            Poll::Ready(Some(Err(error))) => {
                // reqwest reports only that the request failed, so the cause is kept here.
                let kind = error.kind();
                self.activity.fail(error);
                Poll::Ready(Some(Err(kind.into())))
            }
            Poll::Ready(Some(Ok(chunk))) => {
                self.progress.sent(&chunk);
                Poll::Ready(Some(Ok(chunk)))
            }
            other => other,
        }
    }
}

/// Reads until the end, an error, or until the receiver is gone.
fn pump(mut reader: Box<dyn Read + Send>, sender: &mpsc::Sender<io::Result<Bytes>>) {
    loop {
        let mut chunk = BytesMut::zeroed(CHUNK);
        let read = match reader.read(&mut chunk) {
            Ok(0) => return,
            Ok(length) => {
                chunk.truncate(length);
                Ok(chunk.freeze())
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
        let last = read.is_err();
        if sender.blocking_send(read).is_err() || last {
            return;
        }
    }
}

/// The text of an argument; `-` reads standard input, without its last newline.
///
/// # Errors
/// [`Error::Input`] if standard input cannot be read, [`Error::Usage`] if it is too long or not
/// UTF-8.
pub(crate) async fn text_argument(typed: String, terminal: &mut Terminal) -> Result<String, Error> {
    if typed != "-" {
        return Ok(typed);
    }
    let failed = |cause| Error::Input { what: "standard input".to_owned(), cause };
    let (mut input, _) =
        InputStream::start(terminal.take_input(), Progress::hidden()).map_err(failed)?;
    let mut text = Vec::new();
    while let Some(chunk) = input.chunks.recv().await {
        text.extend_from_slice(&chunk.map_err(failed)?);
        if text.len() > MAX_ARGUMENT {
            return Err(Error::Usage(
                "standard input is longer than 1 MiB; a fact's text is at most 256 KiB by default"
                    .to_owned(),
            ));
        }
    }
    let text = String::from_utf8(text)
        .map_err(|_| Error::Usage("standard input is not UTF-8".to_owned()))?;
    let trimmed = text.strip_suffix('\n').unwrap_or(&text);
    Ok(trimmed.strip_suffix('\r').unwrap_or(trimmed).to_owned())
}
