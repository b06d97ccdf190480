//! What a call has: the knowledge base, the agent that asks, and what it says beside the arguments.

use std::sync::{Arc, Mutex, PoisonError};

use clap::ValueEnum;
use rmcp::model::RequestMetaObject;
use serde::Deserialize;
use tracing::Span;

use crate::http::Who;
use crate::kb::Kb;
use kenning_core::error::Error;
use kenning_core::limits::Limits;
use kenning_core::provenance::ServedBy;
use kenning_storage::Revision;

/// In a call's `_meta`: makes a repeated store safe, as the header Idempotency-Key does.
pub(crate) const IDEMPOTENCY_KEY: &str = "kenning/idempotency-key";

/// In a call's `_meta`: whether the call may have been made before without an answer.
pub(crate) const IS_RETRY: &str = "kenning/is-retry";

/// The protocol over the knowledge base.
#[derive(Clone)]
pub(super) struct Face {
    pub(super) kb: Arc<Kb>,
    pub(super) limits: Limits,
}

impl Face {
    pub(super) fn new(kb: Arc<Kb>, limits: Limits) -> Self {
        Self { kb, limits }
    }
}

/// What a client says beside a call's arguments.
#[derive(Default)]
pub(super) struct Hints {
    pub(super) key: Option<String>,
    pub(super) is_retry: bool,
}

impl Hints {
    pub(super) fn new(meta: &RequestMetaObject) -> Self {
        let key = meta.get(IDEMPOTENCY_KEY).and_then(|key| key.as_str());
        let is_retry = meta.get(IS_RETRY).and_then(|is| is.as_bool());
        Self { key: key.map(str::to_owned), is_retry: is_retry.unwrap_or(false) }
    }
}

/// What the address of a request asks for.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Whether only tools that read may be called.
    pub read_only: bool,
    /// Which tools there are.
    pub profile: Profile,
}

/// Which tools there are.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Those over facts
    #[default]
    Facts,
    /// The nine of the reference memory server
    Memory,
}

/// Who asks: what a request carries to the tool that it calls, and back.
#[derive(Clone)]
pub(crate) struct Agent {
    /// The admitted caller, whose permit the call holds.
    pub(crate) who: Who,
    pub(crate) options: Options,
    /// The request's place in the log.
    pub(crate) span: Span,
    /// Filled by the tool.
    pub(crate) outcome: Arc<Mutex<Outcome>>,
}

/// What the response's head says of the call that was made.
#[derive(Default)]
pub(crate) enum Outcome {
    /// None was.
    #[default]
    NoCall,
    /// It succeeded.
    Served(ServedBy, Option<Revision>),
    /// It failed.
    Failed(Error),
}

impl Agent {
    /// Takes what the tool left.
    pub(crate) fn take_outcome(&self) -> Outcome {
        std::mem::take(&mut self.outcome.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn leave(&self, outcome: Outcome) {
        *self.outcome.lock().unwrap_or_else(PoisonError::into_inner) = outcome;
    }
}
