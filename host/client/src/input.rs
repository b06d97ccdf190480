//! Reading a file or standard input without holding it, and without hanging on it.
//!
//! Standard input cannot be read with a bound on the time: a thread that waits for it waits for
//! good. So a plain thread does the waiting, not one of the runtime's, and the process can end
//! without it. The channel between the two is short: at most a few hundred KiB are read ahead.

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

const CHUNK: usize = 64 * 1024;
const READ_AHEAD: usize = 4;

/// Standard input read as an argument ends here. Four times what a fact's text may hold, so that
/// it is the server that says what is too long.
const ARGUMENT: usize = 1024 * 1024;

/// A file or standard input, as the body of a request.
pub(crate) struct Feed {
    chunks: mpsc::Receiver<io::Result<Bytes>>,
    pulse: Arc<Pulse>,
    progress: Progress,
}

/// Whether an exchange still moves.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    beats: AtomicU64,
    waits_for_input: AtomicBool,
    failure: Mutex<Option<io::Error>>,
}

impl Pulse {
    /// Something moved.
    pub(crate) fn beat(&self) {
        self.beats.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns once nothing has moved for `silence`, unless it is our own input that is slow.
    pub(crate) async fn stopped(&self, silence: Duration) {
        let mut before = self.beats.load(Ordering::Relaxed);
        loop {
            tokio::time::sleep(silence).await;
            let now = self.beats.load(Ordering::Relaxed);
            if now == before && !self.waits_for_input.load(Ordering::Relaxed) {
                return;
            }
            before = now;
        }
    }

    /// Why the input could not be read to its end, if it could not.
    pub(crate) fn take_failure(&self) -> Option<io::Error> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn fail(&self, error: io::Error) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }
}

impl Feed {
    /// Begins to read.
    pub(crate) fn start(
        reader: Box<dyn Read + Send>,
        progress: Progress,
    ) -> io::Result<(Self, Arc<Pulse>)> {
        let (sender, chunks) = mpsc::channel(READ_AHEAD);
        std::thread::Builder::new()
            .name("kenning-input".to_owned())
            .spawn(move || pump(reader, &sender))?;
        let pulse = Arc::new(Pulse::default());
        Ok((Self { chunks, pulse: Arc::clone(&pulse), progress }, pulse))
    }
}

impl Stream for Feed {
    type Item = Result<Bytes, io::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = self.chunks.poll_recv(context);
        self.pulse.waits_for_input.store(next.is_pending(), Ordering::Relaxed);
        self.pulse.beat();
        match next {
            Poll::Ready(Some(Err(error))) => {
                // The far end of the request sees only that it failed: the reason is kept here.
                let kind = error.kind();
                self.pulse.fail(error);
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

/// The text of an argument, which `-` takes from standard input, without its last newline.
pub(crate) async fn argument(typed: String, terminal: &mut Terminal) -> Result<String, Error> {
    if typed != "-" {
        return Ok(typed);
    }
    let failed = |cause| Error::Input { what: "standard input".to_owned(), cause };
    let (mut feed, _) = Feed::start(terminal.take_input(), Progress::hidden()).map_err(failed)?;
    let mut text = Vec::new();
    while let Some(chunk) = feed.chunks.recv().await {
        text.extend_from_slice(&chunk.map_err(failed)?);
        if text.len() > ARGUMENT {
            return Err(Error::Usage(
                "standard input holds more than 1 MiB; a fact's text is at most 256 KiB".to_owned(),
            ));
        }
    }
    let text = String::from_utf8(text)
        .map_err(|_| Error::Usage("standard input is not UTF-8".to_owned()))?;
    let trimmed = text.strip_suffix('\n').unwrap_or(&text);
    Ok(trimmed.strip_suffix('\r').unwrap_or(trimmed).to_owned())
}
