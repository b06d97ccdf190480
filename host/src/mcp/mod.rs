//! The Model Context Protocol: the verbs of [`crate::kb`] as tools for agents, with facts as
//! resources and prompts for remembering and recalling.
//!
//! `rmcp` reads and writes the protocol's messages and keeps sessions; `crate::http` admits each
//! request before it comes here, so that keys, quotas, deadlines, hosts and origins are those of
//! `/v1`.
//!
//! | file | holds |
//! |---|---|
//! | `context` | what a call has: who asks, and for what |
//! | `handler` | what is answered to each of the protocol's requests |
//! | `memory` | the tools of the reference memory server, over facts |
//! | `tools` | the tools: what models are told of them, and what they do |
//! | `failure` | an error as a result that a model can act on |
//! | `resources` | facts as resources |
//! | `prompts` | texts for people to begin with |
//! | `sessions` | which sessions there are, and whose |

mod context;
mod failure;
mod handler;
mod memory;
mod prompts;
mod resources;
mod sessions;
mod tools;

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use http_body_util::combinators::BoxBody;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};

use crate::kb::Kb;
use context::Face;
pub(crate) use context::{Agent, IDEMPOTENCY_KEY, IS_RETRY, Outcome};
pub use context::{Options, Profile};
pub(crate) use failure::as_result;
use kenning_core::limits::Limits;
pub(crate) use memory::{Converted, convert as convert_memory};
pub(crate) use sessions::Sessions;

/// The server's side of the protocol.
pub struct Mcp {
    service: StreamableHttpService<Face, LocalSessionManager>,
    sessions: Sessions,
}

impl Mcp {
    /// The protocol over `kb`.
    pub fn new(kb: Arc<Kb>, limits: &Limits) -> Self {
        let manager = Arc::new(sessions::manager(limits));
        let face = Face::new(kb, limits.clone());
        // Hosts, origins and the size of a body were checked before; shutting down waits for calls
        // as it does for all others, so nothing here is cancelled.
        let mut config = StreamableHttpServerConfig::default()
            .disable_allowed_hosts()
            .disable_allowed_origins()
            .with_json_response(true)
            .with_max_request_body_bytes(usize::MAX)
            .with_sse_keep_alive(None);
        config.sse_retry = None;
        let service = StreamableHttpService::new(move || Ok(face.clone()), manager.clone(), config);
        Self { service, sessions: Sessions::new(manager, limits) }
    }

    /// The sessions.
    pub(crate) fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// Answers one message, whose request carries an [`Agent`].
    pub(crate) async fn answer(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Response<BoxBody<Bytes, std::convert::Infallible>> {
        self.service.handle(request).await
    }
}
