//! Every way a command can end.

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::Value;

/// The exit code of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// The command succeeded.
    Success = 0,
    /// The server returned an error, or part of the work failed.
    Failed = 1,
    /// The command line is invalid.
    Usage = 2,
    /// The fact, tenant or extension does not exist.
    NotFound = 3,
    /// The server cannot be reached, timed out, or sent an incomplete or invalid response.
    Unreachable = 4,
    /// Ctrl-C: 128 plus the number of the signal, as shells do it.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The arguments are invalid; nothing was sent.
    #[error("{0}")]
    Usage(String),
    /// The server returned an error.
    #[error("{}: {}", .0.code, .0.message)]
    Api(Box<ApiError>),
    /// The candidate failed checks; nothing was promoted.
    #[error("the candidate is refused: {0}")]
    Refused(String),
    /// A revoked component is still live somewhere.
    #[error("revoked, but still live; run the command again: {0}")]
    StillLive(String),
    /// The response is not in Kenning's format.
    #[error(
        "{address} responded {status} with a body that is not Kenning's: {excerpt}\n\
         Is there a proxy in between, or another server at this address?"
    )]
    NotKenning {
        /// The server's address.
        address: String,
        /// The status of the response.
        status: StatusCode,
        /// The start of the body.
        excerpt: String,
    },
    /// No connection could be made.
    #[error(
        "cannot connect to {address}: {cause}\n\
         Start a server with `kenning serve`, or name another with --server or KENNING_SERVER."
    )]
    Unreachable {
        /// The server's address.
        address: String,
        /// Why there is no connection.
        cause: String,
    },
    /// The response ended early or is malformed.
    #[error("incomplete or invalid response from {address}: {cause}")]
    BadResponse {
        /// The server's address.
        address: String,
        /// What is wrong with the response.
        cause: String,
    },
    /// The server sent nothing for too long.
    #[error("no data from {address} for {} s", .waited.as_secs_f32())]
    IdleTimeout {
        /// The server's address.
        address: String,
        /// How long the command waited.
        waited: Duration,
    },
    /// Facts were imported, and vectors are not made any more.
    #[error(
        "{pending} of the tenant's facts have no vector yet, and none was made for {} s; the \
         server goes on by itself, see `kenning stats`",
        .waited.as_secs_f32()
    )]
    StillPending {
        /// Facts without a vector.
        pending: u64,
        /// How long none was made.
        waited: Duration,
    },
    /// A backup cannot be read or written.
    #[error(transparent)]
    Backup(#[from] kenning_backup::BackupError),
    /// A file or standard input cannot be read.
    #[error("cannot read {what}: {cause}")]
    Input {
        /// The file, or `standard input`.
        what: String,
        /// What the operating system reported.
        cause: io::Error,
    },
    /// A file or standard output cannot be written.
    #[error("cannot write {what}: {cause}")]
    Output {
        /// The file, or `standard output`.
        what: String,
        /// What the operating system reported.
        cause: io::Error,
    },
    /// A failure with a consequence that the caller should know.
    #[error("{cause}\n{consequence}")]
    WithConsequence {
        /// The failure.
        cause: Box<Error>,
        /// One sentence or more.
        consequence: &'static str,
    },
}

impl Error {
    /// The exit code for this error.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::Api(error) if error.code == "not_found" => Exit::NotFound,
            Self::Unreachable { .. } | Self::BadResponse { .. } | Self::IdleTimeout { .. } => {
                Exit::Unreachable
            }
            Self::WithConsequence { cause, .. } => cause.exit(),
            Self::Api(_)
            | Self::Refused(_)
            | Self::StillLive(_)
            | Self::StillPending { .. }
            | Self::NotKenning { .. }
            | Self::Backup(_)
            | Self::Input { .. }
            | Self::Output { .. } => Exit::Failed,
        }
    }

    /// Adds a consequence of this failure.
    pub(crate) fn with_consequence(self, consequence: &'static str) -> Self {
        Self::WithConsequence { cause: Box::new(self), consequence }
    }

    /// The server's error, if this is one.
    pub(crate) fn api_error(&self) -> Option<&ApiError> {
        match self {
            Self::Api(error) => Some(error),
            Self::WithConsequence { cause, .. } => cause.api_error(),
            _ => None,
        }
    }

    /// Whether the reader of the output closed it, as `head` does. That is not a failure.
    pub(crate) fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Output { cause, .. } if cause.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// An error returned by the server.
#[derive(Clone, Debug, Deserialize)]
pub struct ApiError {
    /// The code that identifies the error, such as `not_found`.
    pub code: String,
    /// The message for people.
    pub message: String,
    /// Whether the same request may succeed later.
    #[serde(default)]
    pub retryable: bool,
    /// Further information that depends on the code.
    #[serde(default)]
    pub details: Option<Value>,
    /// Seconds or a date, from `Retry-After`.
    #[serde(skip)]
    pub retry_after: Option<String>,
    /// The id of the request in the server's log.
    #[serde(skip)]
    pub request_id: Option<String>,
    /// The response body, unchanged.
    #[serde(skip)]
    pub body: Bytes,
}

impl ApiError {
    /// What helps beyond the message, one line each.
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
