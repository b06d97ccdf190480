//! A download that survives being cut off.
//!
//! Bytes go into a `.part` file and are asked for from where it ends. The server need not be
//! believed about them: the caller checks the pinned hash of the whole.

use std::path::Path;

use futures::StreamExt;
use reqwest::header::{ACCEPT_ENCODING, CONTENT_RANGE, HeaderMap, RANGE};
use reqwest::{Client, Response, StatusCode, Url};
use tokio::fs::{File, OpenOptions};
use tokio::io::{AsyncWriteExt, BufWriter};

use crate::error::{Mismatch, ModelError, io_error};
use crate::limits::Limits;
use crate::model::Pin;
use crate::progress::{Event, Progress};
use crate::source::shown;
use crate::tls::{client, describe, is_untrusted};

/// Written to disk at once; what a pull that is killed outright loses at most.
const BUFFER: usize = 256 << 10;

/// A file to download and what it must be.
pub(crate) struct Download<'a> {
    pub(crate) url: &'a Url,
    pub(crate) pin: &'a Pin,
    pub(crate) part: &'a Path,
}

/// Why an attempt ended early.
enum Cut {
    /// Another attempt may do better.
    Passing(String),
    /// Another attempt may, without what came so far.
    StartOver(String),
    Final(ModelError),
}

impl From<ModelError> for Cut {
    fn from(error: ModelError) -> Self {
        Self::Final(error)
    }
}

/// Downloads until the part file has the pinned size.
///
/// # Errors
/// [`ModelError::Download`] once the attempts are used up or the server refuses for good,
/// [`ModelError::Refused`] where it offers a file of another size, [`ModelError::Io`].
pub(crate) async fn download(
    what: &Download<'_>,
    limits: &Limits,
    progress: &dyn Progress,
) -> Result<(), ModelError> {
    let client = client(limits).map_err(|reason| what.failed(reason))?;
    let mut failures = 0;
    loop {
        let before = what.length().await?;
        if before == what.pin.size {
            return Ok(());
        }
        let reason = match what.attempt(&client, before, progress).await {
            Ok(()) => continue,
            Err(Cut::Final(error)) => return Err(error),
            Err(Cut::Passing(reason)) => reason,
            Err(Cut::StartOver(reason)) => {
                what.remove_part().await?;
                reason
            }
        };
        let advanced = what.length().await?.saturating_sub(before) >= limits.step;
        failures = if advanced { 1 } else { failures + 1 };
        if failures >= limits.attempts {
            return Err(what.failed(reason));
        }
        let (attempt, attempts) = (failures + 1, limits.attempts);
        progress.report(Event::Retrying { attempt, attempts, reason: &reason });
        tokio::time::sleep(limits.backoff * 2_u32.pow(failures - 1)).await;
    }
}

impl Download<'_> {
    /// Length of the part file; one that is too long is no part of this download.
    async fn length(&self) -> Result<u64, ModelError> {
        match tokio::fs::metadata(self.part).await {
            Ok(found) if found.len() <= self.pin.size => Ok(found.len()),
            Ok(_) => self.remove_part().await.map(|()| 0),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(io_error("look at", self.part)(error)),
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
    ) -> Result<(), Cut> {
        let mut request = client.get(self.url.clone()).header(ACCEPT_ENCODING, "identity");
        if offset > 0 {
            request = request.header(RANGE, format!("bytes={offset}-"));
        }
        let response = request.send().await.map_err(|error| self.unanswered(error))?;
        let offset = self.starts_at(&response, offset)?;
        progress.report(Event::Fetching {
            from: &shown(self.url),
            resumed_at: offset,
            total: self.pin.size,
        });
        let mut file = BufWriter::with_capacity(BUFFER, self.open(offset).await?);
        let received = self.receive(response, offset, &mut file, progress).await;
        // Also after a cut: the next attempt goes on behind these bytes.
        file.flush().await.map_err(io_error("write", self.part))?;
        received
    }

    /// A certificate that is not trusted now will not be in a second either.
    fn unanswered(&self, error: reqwest::Error) -> Cut {
        if is_untrusted(&error) {
            Cut::Final(self.failed(describe(error)))
        } else {
            Cut::Passing(describe(error))
        }
    }

    /// Offset of the answer's first byte: the one asked for, or 0 where the server starts over.
    fn starts_at(&self, response: &Response, asked: u64) -> Result<u64, Cut> {
        let status = response.status();
        if status == StatusCode::PARTIAL_CONTENT {
            return match content_range(response.headers()) {
                Some((start, total)) if start == asked => self.expect_size(total).map(|()| asked),
                _ => Err(Cut::StartOver("it answered with a range not asked for".into())),
            };
        }
        if status == StatusCode::OK {
            let announced = response.content_length();
            return announced.map_or(Ok(()), |total| self.expect_size(total)).map(|()| 0);
        }
        let reason = format!("it answered {status}");
        if is_passing(status) {
            Err(Cut::Passing(reason))
        } else {
            Err(Cut::Final(self.failed(reason)))
        }
    }

    fn expect_size(&self, found: u64) -> Result<(), Cut> {
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
    ) -> Result<(), Cut> {
        let (mut done, total) = (offset, self.pin.size);
        let mut body = response.bytes_stream();
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(|error| Cut::Passing(describe(error)))?;
            done += chunk.len() as u64;
            if done > total {
                return Err(self.wrong_size(done));
            }
            file.write_all(&chunk).await.map_err(io_error("write", self.part))?;
            progress.report(Event::Bytes { done, total });
        }
        if done == total { Ok(()) } else { Err(Cut::Passing("the connection ended early".into())) }
    }

    fn wrong_size(&self, found: u64) -> Cut {
        let mismatch = Mismatch::Size { expected: self.pin.size, found };
        Cut::Final(ModelError::Refused { what: shown(self.url), mismatch })
    }

    fn failed(&self, reason: String) -> ModelError {
        ModelError::Download { url: shown(self.url), reason }
    }
}

/// Statuses after which the same request may succeed.
fn is_passing(status: StatusCode) -> bool {
    status.is_server_error()
        || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)
}

/// First byte and length of the whole, of `bytes 10-99/100`.
fn content_range(headers: &HeaderMap) -> Option<(u64, u64)> {
    let range = headers.get(CONTENT_RANGE)?.to_str().ok()?.strip_prefix("bytes ")?;
    let (span, total) = range.split_once('/')?;
    let (start, _) = span.split_once('-')?;
    Some((start.parse().ok()?, total.parse().ok()?))
}
