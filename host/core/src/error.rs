//! The error that callers see, over HTTP, MCP and the command line alike.
//!
//! Inside the host each boundary has an enum of its own (`StorageError`, `EmbedError`,
//! `CallError`). It becomes an [`Error`] where a caller will read it. The `message` is for that
//! caller and says what to do; details for the operator go into `source`, which is logged once,
//! where the response is made.

use std::time::Duration;

use serde_json::{Value, json};

use crate::provenance::ServedBy;

/// What went wrong, as responses name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The request is malformed, or a value in it is out of range.
    InvalidRequest,
    /// The metadata filter is malformed.
    InvalidFilter,
    /// The key is missing, unknown, expired or revoked.
    Unauthorized,
    /// The key is valid, but does not permit this request.
    Forbidden,
    /// The fact, tenant, component or path does not exist.
    NotFound,
    /// The path exists, but not with this HTTP method.
    MethodNotAllowed,
    /// The body's type or encoding is not one that the server reads.
    UnsupportedMediaType,
    /// The request contradicts what is there, or a concurrent change came first.
    Conflict,
    /// A limit on one request was exceeded.
    TooLarge,
    /// A quota of the tenant is used up.
    QuotaExceeded,
    /// An extension refused the request.
    Rejected,
    /// The server has no capacity for the request now.
    Overloaded,
    /// A guest trapped.
    GuestTrapped,
    /// A guest used up its fuel.
    GuestOutOfFuel,
    /// A guest asked for more memory than it may have.
    GuestOutOfMemory,
    /// A guest exceeded another of its limits, or returned a result that breaks a rule.
    GuestLimit,
    /// A guest returned a value that the contract does not allow.
    GuestInvalid,
    /// Storage cannot be reached.
    StorageUnavailable,
    /// The disk that storage is on is full.
    StorageFull,
    /// The embedder cannot be reached.
    EmbeddingUnavailable,
    /// A deadline passed.
    Timeout,
    /// The embedder's vectors cannot be compared with those of the index.
    DimensionMismatch,
    /// The host cannot run the component.
    IncompatibleComponent,
    /// A fault of the host.
    Internal,
}

/// Who has to act for the request to succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The caller: the request has to change.
    Caller,
    /// The author of the logic or of an extension.
    Guest,
    /// Storage or the embedder.
    Backend,
    /// The host, or whoever operates it.
    Host,
}

impl Code {
    /// The value of `code` in a response.
    pub fn as_str(self) -> &'static str {
        match self {
            // A wrong method or type is an invalid request; only the HTTP status differs.
            Self::InvalidRequest | Self::MethodNotAllowed | Self::UnsupportedMediaType => {
                "invalid_request"
            }
            Self::InvalidFilter => "invalid_filter",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::TooLarge => "too_large",
            Self::QuotaExceeded => "quota_exceeded",
            Self::Rejected => "rejected",
            Self::Overloaded => "overloaded",
            Self::GuestTrapped => "guest_trapped",
            Self::GuestOutOfFuel => "guest_out_of_fuel",
            Self::GuestOutOfMemory => "guest_out_of_memory",
            Self::GuestLimit => "guest_limit",
            Self::GuestInvalid => "guest_invalid",
            Self::StorageUnavailable => "storage_unavailable",
            Self::StorageFull => "storage_full",
            Self::EmbeddingUnavailable => "embedding_unavailable",
            Self::Timeout => "timeout",
            Self::DimensionMismatch => "dimension_mismatch",
            Self::IncompatibleComponent => "incompatible_component",
            Self::Internal => "internal",
        }
    }

    /// The HTTP status.
    pub fn status(self) -> u16 {
        match self {
            Self::InvalidRequest | Self::InvalidFilter => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::Conflict | Self::DimensionMismatch => 409,
            Self::TooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::IncompatibleComponent | Self::Rejected => 422,
            Self::QuotaExceeded => 429,
            Self::Internal => 500,
            Self::GuestTrapped
            | Self::GuestOutOfFuel
            | Self::GuestOutOfMemory
            | Self::GuestLimit
            | Self::GuestInvalid => 502,
            Self::Overloaded | Self::StorageUnavailable | Self::EmbeddingUnavailable => 503,
            Self::Timeout => 504,
            Self::StorageFull => 507,
        }
    }

    fn retryable(self) -> bool {
        matches!(
            self,
            Self::QuotaExceeded
                | Self::Overloaded
                | Self::StorageUnavailable
                | Self::StorageFull
                | Self::EmbeddingUnavailable
                | Self::Timeout
        )
    }

    fn blame(self) -> Blame {
        match self {
            Self::GuestTrapped
            | Self::GuestOutOfFuel
            | Self::GuestOutOfMemory
            | Self::GuestLimit
            | Self::GuestInvalid
            | Self::IncompatibleComponent => Blame::Guest,
            Self::StorageUnavailable
            | Self::StorageFull
            | Self::EmbeddingUnavailable
            | Self::Timeout => Blame::Backend,
            Self::Overloaded | Self::Internal | Self::DimensionMismatch => Blame::Host,
            _ => Blame::Caller,
        }
    }
}

impl Blame {
    fn as_str(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Guest => "guest",
            Self::Backend => "backend",
            Self::Host => "host",
        }
    }
}

/// An error as a caller sees it.
#[derive(Clone, Debug)]
pub struct Error {
    /// What went wrong.
    pub code: Code,
    /// For the caller: what is wrong, and what to do about it.
    pub message: String,
    /// Who has to act.
    pub blame: Blame,
    /// Whether the same request may succeed later without anybody acting.
    pub retryable: bool,
    /// A JSON object with particulars, such as a limit or a JSON pointer. Boxed because it is
    /// large and rare, and most results hold an error type.
    pub details: Option<Box<Value>>,
    /// The value of `Retry-After`.
    pub retry_after: Option<Duration>,
    /// Which guests ran, if any did.
    pub served_by: Option<Box<ServedBy>>,
    /// The cause, for the log only.
    pub source: Option<String>,
    /// What the failed call did, for its record: a JSON object without the text of a fact.
    pub trace: Option<Box<Value>>,
}

impl Error {
    /// An error with the blame that is usual for `code`.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        let retry_after = (code == Code::Overloaded).then_some(Duration::from_secs(1));
        Self {
            code,
            message: message.into(),
            blame: code.blame(),
            retryable: code.retryable(),
            details: None,
            retry_after,
            served_by: None,
            source: None,
            trace: None,
        }
    }

    /// The part of the request at `pointer`, a JSON pointer, is invalid.
    pub fn invalid(pointer: &str, message: impl Into<String>) -> Self {
        Self::new(Code::InvalidRequest, message).with_details(json!({ "pointer": pointer }))
    }

    /// The request has `used` of something, and `limit` allows `allowed`, in its unit.
    pub fn too_large(limit: &str, allowed: u64, used: u64) -> Self {
        Self::new(
            Code::TooLarge,
            format!("{limit} is limited to {allowed}, and this request has {used}"),
        )
        .with_details(json!({ "limit": limit, "allowed": allowed, "used": used }))
    }

    /// The tenant has used up the quota named `limit`; some of it is available again in `after`.
    pub fn quota(limit: &str, allowed: u64, used: u64, after: Duration) -> Self {
        let message =
            format!("this tenant's {limit} are limited to {allowed}, and {used} are used");
        let mut error = Self::new(Code::QuotaExceeded, message)
            .with_details(json!({ "limit": limit, "allowed": allowed, "used": used }));
        error.retry_after = Some(after);
        error
    }

    /// All of the `allowed` units of `limit` are in use.
    pub fn overloaded(limit: &str, allowed: usize) -> Self {
        Self::new(
            Code::Overloaded,
            format!("the server is busy: all {allowed} of its {limit} are in use; try again"),
        )
        .with_details(json!({ "limit": limit, "allowed": allowed }))
    }

    /// A fault of the host. `source` goes to the log; the caller is not shown it.
    pub fn internal(source: impl std::fmt::Display) -> Self {
        let mut error = Self::new(
            Code::Internal,
            "something went wrong in the server; its log has the details under this request's id",
        );
        error.source = Some(source.to_string());
        error
    }

    /// Replaces the details; `details` is a JSON object.
    #[must_use]
    pub fn with_details(mut self, details: Value) -> Self {
        self.details = Some(Box::new(details));
        self
    }

    /// Says in the details that the request may have taken effect all the same.
    #[must_use]
    pub fn with_unknown_outcome(mut self) -> Self {
        self.details.get_or_insert_with(|| Box::new(json!({})))["outcome"] = "unknown".into();
        self
    }

    /// Replaces the blame.
    #[must_use]
    pub fn blaming(mut self, blame: Blame) -> Self {
        self.blame = blame;
        self
    }

    /// Says that repeating the request is of no use until somebody acts.
    #[must_use]
    pub fn not_retryable(mut self) -> Self {
        self.retryable = false;
        self
    }

    /// Names the guests that ran, unless they are named already.
    #[must_use]
    pub fn from_guests(mut self, served_by: ServedBy) -> Self {
        self.served_by.get_or_insert_with(|| Box::new(served_by));
        self
    }

    /// Adds what the failed call did.
    #[must_use]
    pub fn with_trace(mut self, trace: Value) -> Self {
        self.trace = Some(Box::new(trace));
        self
    }

    /// The response's JSON body.
    pub fn body(&self) -> Value {
        let mut body = json!({
            "status": "error",
            "code": self.code.as_str(),
            "message": self.message,
            "retryable": self.retryable || self.retry_after.is_some(),
            "blame": self.blame.as_str(),
        });
        if let Some(details) = &self.details {
            body["details"] = Value::clone(details);
        }
        body
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.message)
    }
}

impl std::error::Error for Error {}
