//! A download that resumes after an interruption.
//!
//! Bytes go into a `.part` file, and a range request asks for what follows its end. The server need
//! not be trusted: the caller verifies the pinned hash of the whole file.

use std::path::Path;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use futures::StreamExt;
use reqwest::header::{ACCEPT_ENCODING, CONTENT_RANGE, HeaderMap, RANGE};
use reqwest::{Client, Response, StatusCode, Url};
use tokio::fs::{File, OpenOptions};
use tokio::io::{AsyncWriteExt, BufWriter};

use crate::error::{Mismatch, ModelError, io_error};
use crate::limits::Limits;
use crate::model::Pin;
use crate::progress::{Event, Progress};
use crate::source::redacted;
use crate::tls::{client, describe, is_untrusted};

/// Bytes written to disk at once, and so the most that a pull killed by a signal loses.
const BUFFER: usize = 256 << 10;

/// A file to download, its pin, and where to write it.
pub(crate) struct Download<'a> {
    pub(crate) url: &'a Url,
    pub(crate) pin: &'a Pin,
    pub(crate) part: &'a Path,
}

/// Why an attempt failed.
enum AttemptError {
    /// Another attempt may succeed.
    Transient(String),
    /// Another attempt may succeed if it starts from the first byte.
    Restart(String),
    /// Another attempt would fail too.
    Permanent(ModelError),
}

impl From<ModelError> for AttemptError {
    fn from(error: ModelError) -> Self {
        Self::Permanent(error)
    }
}

/// Downloads until the part file has the pinned size.
///
/// # Errors
/// [`ModelError::Download`] after the last attempt or a permanent refusal by the server,
/// [`ModelError::Refused`] if it offers a file of another size, [`ModelError::Io`].
pub(crate) async fn download(
    what: &Download<'_>,
    limits: &Limits,
    progress: &dyn Progress,
) -> Result<(), ModelError> {
    let client = client(limits).map_err(|reason| what.failed(reason))?;
    let mut backoff = Backoff::new(limits);
    loop {
        let before = what.length().await?;
        if before == what.pin.size {
            return Ok(());
        }
        let reason = match what.attempt(&client, before, progress).await {
            Ok(()) => continue,
            Err(AttemptError::Permanent(error)) => return Err(error),
            Err(AttemptError::Transient(reason)) => reason,
            Err(AttemptError::Restart(reason)) => {
                what.remove_part().await?;
                reason
            }
        };
        if what.length().await?.saturating_sub(before) >= limits.progress_bytes {
            backoff = Backoff::new(limits);
        }
        let Some(delay) = backoff.delays.next() else {
            return Err(what.failed(reason));
        };
        backoff.attempt += 1;
        let (attempt, attempts) = (backoff.attempt, limits.attempts);
        progress.report(Event::Retrying { attempt, attempts, reason: &reason });
        tokio::time::sleep(delay).await;
    }
}

/// The attempts since the download last made progress.
struct Backoff {
    /// The number of the current attempt, from 1.
    attempt: u32,
    /// What remains of the delays, each twice the one before.
    delays: ExponentialBackoff,
}

impl Backoff {
    fn new(limits: &Limits) -> Self {
        let retries = limits.attempts.saturating_sub(1) as usize;
        let delays = ExponentialBuilder::default()
            .with_min_delay(limits.backoff)
            .with_factor(2.0)
            .with_max_times(retries);
        Self { attempt: 1, delays: delays.build() }
    }
}

impl Download<'_> {
    /// Length of the part file. One longer than the pin belongs to another download and is removed.
    async fn length(&self) -> Result<u64, ModelError> {
        match tokio::fs::metadata(self.part).await {
            Ok(found) if found.len() <= self.pin.size => Ok(found.len()),
            Ok(_) => self.remove_part().await.map(|()| 0),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(io_error("inspect", self.part)(error)),
        }
    }

    async fn remove_part(&self) -> Result<(), ModelError> {
        tokio::fs::remove_file(self.part).await.map_err(io_error("remove", self.part))
    }

    async fn attempt(
        &self,
        client: &Client,
        offset: u64,
        progress: &dyn Progress,
    ) -> Result<(), AttemptError> {
        let mut request = client.get(self.url.clone()).header(ACCEPT_ENCODING, "identity");
        if offset > 0 {
            request = request.header(RANGE, format!("bytes={offset}-"));
        }
        let response = request.send().await.map_err(|error| self.request_failed(error))?;
        let offset = self.response_offset(&response, offset)?;
        progress.report(Event::Fetching {
            from: &redacted(self.url),
            resumed_at: offset,
            total: self.pin.size,
        });
        let mut file = BufWriter::with_capacity(BUFFER, self.open(offset).await?);
        let received = self.receive(response, offset, &mut file, progress).await;
        // After a failure too: the next attempt resumes after these bytes.
        file.flush().await.map_err(io_error("write", self.part))?;
        received
    }

    /// An untrusted certificate is permanent: retrying does not change it.
    fn request_failed(&self, error: reqwest::Error) -> AttemptError {
        if is_untrusted(&error) {
            AttemptError::Permanent(self.failed(describe(error)))
        } else {
            AttemptError::Transient(describe(error))
        }
    }

    /// Offset of the response's first byte: the one requested, or 0 if the server ignores ranges.
    fn response_offset(&self, response: &Response, requested: u64) -> Result<u64, AttemptError> {
        let status = response.status();
        if status == StatusCode::PARTIAL_CONTENT {
            return match content_range(response.headers()) {
                Some((start, total)) if start == requested => {
                    self.expect_size(total).map(|()| requested)
                }
                _ => Err(AttemptError::Restart(
                    "the server sent another range than requested".into(),
                )),
            };
        }
        if status == StatusCode::OK {
            let announced = response.content_length();
            return announced.map_or(Ok(()), |total| self.expect_size(total)).map(|()| 0);
        }
        let reason = format!("the server responded with {status}");
        if is_transient(status) {
            Err(AttemptError::Transient(reason))
        } else {
            Err(AttemptError::Permanent(self.failed(reason)))
        }
    }

    fn expect_size(&self, found: u64) -> Result<(), AttemptError> {
        if found == self.pin.size { Ok(()) } else { Err(self.wrong_size(found)) }
    }

    async fn open(&self, offset: u64) -> Result<File, ModelError> {
        let mut options = OpenOptions::new();
        options.create(true).write(true).append(offset > 0).truncate(offset == 0);
        options.open(self.part).await.map_err(io_error("open", self.part))
    }

    async fn receive(
        &self,
        response: Response,
        offset: u64,
        file: &mut BufWriter<File>,
        progress: &dyn Progress,
    ) -> Result<(), AttemptError> {
        let (mut done, total) = (offset, self.pin.size);
        let mut body = response.bytes_stream();
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(|error| AttemptError::Transient(describe(error)))?;
            done += chunk.len() as u64;
            if done > total {
                return Err(self.wrong_size(done));
            }
            file.write_all(&chunk).await.map_err(io_error("write", self.part))?;
            progress.report(Event::Bytes { done, total });
        }
        if done == total {
            Ok(())
        } else {
            Err(AttemptError::Transient("the connection ended early".into()))
        }
    }

    fn wrong_size(&self, found: u64) -> AttemptError {
        let mismatch = Mismatch::Size { expected: self.pin.size, found };
        AttemptError::Permanent(ModelError::Refused { what: redacted(self.url), mismatch })
    }

    fn failed(&self, reason: String) -> ModelError {
        ModelError::Download { url: redacted(self.url), reason }
    }
}

/// Whether the same request may succeed later.
fn is_transient(status: StatusCode) -> bool {
    status.is_server_error()
        || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)
}

/// The first byte and the total length from a header such as `bytes 10-99/100`.
fn content_range(headers: &HeaderMap) -> Option<(u64, u64)> {
    let range = headers.get(CONTENT_RANGE)?.to_str().ok()?.strip_prefix("bytes ")?;
    let (span, total) = range.split_once('/')?;
    let (start, _) = span.split_once('-')?;
    Some((start.parse().ok()?, total.parse().ok()?))
}
