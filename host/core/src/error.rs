//! The one error that leaves the product, whatever face the caller used.
//!
//! Boundaries inside have enums of their own (`StorageError`, `EmbedError`,
//! `CallError`); they become an [`Error`] where a caller will read it. Its
//! `message` is for that caller and says what to do; what only an operator should
//! see goes into `source` and is logged once, where the answer is made.

use std::time::Duration;

use serde_json::{Value, json};

use crate::provenance::ServedBy;

/// What went wrong, as the interface names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    InvalidRequest,
    InvalidFilter,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    Conflict,
    TooLarge,
    QuotaExceeded,
    /// An extension refused.
    Rejected,
    Overloaded,
    GuestTrapped,
    GuestOutOfFuel,
    GuestOutOfMemory,
    GuestLimit,
    StorageUnavailable,
    EmbeddingUnavailable,
    Timeout,
    DimensionMismatch,
    IncompatibleComponent,
    Internal,
}

/// Whose doing it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    Caller,
    Guest,
    Backend,
    Host,
}

impl Code {
    /// The word in the answer's `code`.
    pub fn as_str(self) -> &'static str {
        match self {
            // A wrong method is a wrong request; only its HTTP status differs.
            Self::InvalidRequest | Self::MethodNotAllowed => "invalid_request",
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
            Self::StorageUnavailable => "storage_unavailable",
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
            Self::IncompatibleComponent | Self::Rejected => 422,
            Self::QuotaExceeded => 429,
            Self::Internal => 500,
            Self::GuestTrapped
            | Self::GuestOutOfFuel
            | Self::GuestOutOfMemory
            | Self::GuestLimit => 502,
            Self::Overloaded | Self::StorageUnavailable | Self::EmbeddingUnavailable => 503,
            Self::Timeout => 504,
        }
    }

    fn retryable(self) -> bool {
        matches!(
            self,
            Self::QuotaExceeded
                | Self::Overloaded
                | Self::StorageUnavailable
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
            | Self::IncompatibleComponent => Blame::Guest,
            Self::StorageUnavailable | Self::EmbeddingUnavailable | Self::Timeout => Blame::Backend,
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
    pub code: Code,
    pub message: String,
    pub blame: Blame,
    /// Boxed because it is large and rare, and an error is part of most results.
    pub details: Option<Box<Value>>,
    /// For `Retry-After`.
    pub retry_after: Option<Duration>,
    /// Which guests ran, if any did.
    pub served_by: Option<ServedBy>,
    /// For the log only.
    pub source: Option<String>,
}

impl Error {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        let retry_after = (code == Code::Overloaded).then_some(Duration::from_secs(1));
        Self {
            code,
            message: message.into(),
            blame: code.blame(),
            details: None,
            retry_after,
            served_by: None,
            source: None,
        }
    }

    /// The part of the request at `pointer` is wrong.
    pub fn invalid(pointer: &str, message: impl Into<String>) -> Self {
        Self::new(Code::InvalidRequest, message).with_details(json!({ "pointer": pointer }))
    }

    /// A limit stopped the caller.
    pub fn too_large(limit: &str, allowed: u64, used: u64) -> Self {
        Self::new(
            Code::TooLarge,
            format!("{limit} is limited to {allowed}, and this request has {used}"),
        )
        .with_details(json!({ "limit": limit, "allowed": allowed, "used": used }))
    }

    /// The tenant has used up a quota, for so long.
    pub fn quota(limit: &str, allowed: u64, used: u64, after: Duration) -> Self {
        let message =
            format!("this tenant's {limit} are limited to {allowed}, and {used} are used");
        let mut error = Self::new(Code::QuotaExceeded, message)
            .with_details(json!({ "limit": limit, "allowed": allowed, "used": used }));
        error.retry_after = Some(after);
        error
    }

    /// All that `limit` allows is taken.
    pub fn overloaded(limit: &str, allowed: usize) -> Self {
        Self::new(
            Code::Overloaded,
            format!("the server is busy: all {allowed} of its {limit} are taken; try again"),
        )
        .with_details(json!({ "limit": limit, "allowed": allowed }))
    }

    /// Something is wrong in the host: the caller learns nothing of it, the log
    /// does.
    pub fn internal(source: impl std::fmt::Display) -> Self {
        let mut error = Self::new(
            Code::Internal,
            "something went wrong in the server; its log has the details under this request's id",
        );
        error.source = Some(source.to_string());
        error
    }

    #[must_use]
    pub fn with_details(mut self, details: Value) -> Self {
        self.details = Some(Box::new(details));
        self
    }

    /// What the request was to change may have changed.
    #[must_use]
    pub fn with_unknown_outcome(mut self) -> Self {
        self.details.get_or_insert_with(|| Box::new(json!({})))["outcome"] = "unknown".into();
        self
    }

    #[must_use]
    pub fn blaming(mut self, blame: Blame) -> Self {
        self.blame = blame;
        self
    }

    #[must_use]
    pub fn from_guests(mut self, served_by: ServedBy) -> Self {
        self.served_by.get_or_insert(served_by);
        self
    }

    /// The body of the answer.
    pub fn body(&self) -> Value {
        let mut body = json!({
            "status": "error",
            "code": self.code.as_str(),
            "message": self.message,
            "retryable": self.code.retryable(),
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
