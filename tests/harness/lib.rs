//! What tests, the demo and the benchmarks share: a real server in a process of
//! its own, with its own port and data, and a caller that speaks HTTP to it.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! let server = kenning_tests::Server::start().await?;
//! let stored = server.post("/v1/facts", serde_json::json!({ "text": "Tea is hot." })).await?;
//! assert_eq!(stored.status, 201);
//! # Ok(()) }
//! ```

mod admin;
mod backend;
mod caller;
mod command;
pub mod crash;
mod crowd;
mod fake_embedder;
mod fault_proxy;
pub mod report;
mod retrieval;
mod server;
mod until;
mod wire;

pub use admin::noted;
pub use backend::Backend;
pub use caller::{Answer, Caller, assert_error_body, error_body_fault, send};
pub use command::{Ran, command, run};
pub use crowd::{Crowd, Cut, Tally, VERBS};
pub use fake_embedder::{FakeEmbedder, Mood};
pub use fault_proxy::{Fault, FaultProxy};
pub use kenning_storage::testing::RedisServer;
pub use retrieval::{Collection, Quality, Question};
pub use server::{Server, Setup, component, kenning};
pub use until::{all_indexed, until};
pub use wire::Wire;
