//! Every way a verb can end.

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::Value;

/// What the process says to its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// It is done.
    Done = 0,
    /// The server refused, or part of the work failed.
    Refused = 1,
    /// The command line is wrong.
    Usage = 2,
    /// There is no such fact.
    NotFound = 3,
    /// The server cannot be reached, fell silent, or broke off its answer.
    Unreachable = 4,
    /// Ctrl-C; 128 and the signal's number, as shells have it.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command line asks for something that cannot be; nothing was sent.
    #[error("{0}")]
    Usage(String),
    /// The server said no.
    #[error("{}: {}", .0.code, .0.message)]
    Refused(Box<Refusal>),
    /// Something answered, but not in Kenning's words.
    #[error(
        "{address} answered {status} with something that is not Kenning's: {excerpt}\n\
         Is there a proxy in between, or another server at this address?"
    )]
    Foreign { address: String, status: StatusCode, excerpt: String },
    /// No connection.
    #[error(
        "no server can be reached at {address}: {cause}\n\
         Start one with `kenning serve`, or name another with --server or KENNING_SERVER."
    )]
    Unreachable { address: String, cause: String },
    /// A connection that ended before the answer did.
    #[error("{address} broke off its answer: {cause}")]
    Broken { address: String, cause: String },
    /// A connection on which nothing comes.
    #[error("{address} was silent for {} s", .waited.as_secs_f32())]
    Silent { address: String, waited: Duration },
    /// A file or standard input that cannot be read.
    #[error("cannot read {what}: {cause}")]
    Input { what: String, cause: io::Error },
    /// A file or standard output that cannot be written.
    #[error("cannot write {what}: {cause}")]
    Output { what: String, cause: io::Error },
    /// A failure, and what it leaves behind that the caller should know.
    #[error("{cause}\n{consequence}")]
    After { cause: Box<Error>, consequence: &'static str },
}

impl Error {
    /// The exit code for this.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::Refused(refusal) if refusal.code == "not_found" => Exit::NotFound,
            Self::Unreachable { .. } | Self::Broken { .. } | Self::Silent { .. } => {
                Exit::Unreachable
            }
            Self::After { cause, .. } => cause.exit(),
            Self::Refused(_) | Self::Foreign { .. } | Self::Input { .. } | Self::Output { .. } => {
                Exit::Refused
            }
        }
    }

    /// Adds what this failure leaves behind.
    pub(crate) fn leaving(self, consequence: &'static str) -> Self {
        Self::After { cause: Box::new(self), consequence }
    }

    /// What the server said, if it said no.
    pub(crate) fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            Self::After { cause, .. } => cause.refusal(),
            _ => None,
        }
    }

    /// Whether the reader of our output has gone, as `head` does: no failure.
    pub(crate) fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Output { cause, .. } if cause.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// The server's error, in its words.
#[derive(Clone, Debug, Deserialize)]
pub struct Refusal {
    pub code: String,
    pub message: String,
    /// Whether the same request may succeed later.
    #[serde(default)]
    pub retryable: bool,
    #[serde(default)]
    pub details: Option<Value>,
    /// Seconds, or a date, from `Retry-After`.
    #[serde(skip)]
    pub retry_after: Option<String>,
    /// The request, as the server's log names it.
    #[serde(skip)]
    pub request_id: Option<String>,
    /// The answer's body as it came.
    #[serde(skip)]
    pub body: Bytes,
}

impl Refusal {
    /// What a person can do with more than the message.
    pub(crate) fn hints(&self) -> Vec<String> {
        let details = self.details.as_ref().filter(|details| !details.is_null());
        [
            details.map(|details| format!("details: {details}")),
            self.retry_hint(),
            self.request_id.as_ref().map(|id| format!("request: {id}")),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn retry_hint(&self) -> Option<String> {
        match &self.retry_after {
            Some(after) if after.bytes().all(|b| b.is_ascii_digit()) => {
                Some(format!("try again in {after} s"))
            }
            Some(after) => Some(format!("try again at {after}")),
            None => self.retryable.then(|| "trying again may help".to_owned()),
        }
    }
}
