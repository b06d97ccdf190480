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
mod author;
mod backend;
pub mod backups;
mod caller;
mod certificates;
mod changes;
pub mod checks;
mod collector;
mod command;
pub mod crash;
mod crowd;
pub mod eval;
mod fake_embedder;
mod fault_proxy;
pub mod frames;
mod hosts;
mod proxy;
mod random;
pub mod report;
mod retrieval;
mod server;
mod slow_compiler;
mod tls_redis;
mod until;
mod wire;

pub use admin::{noted, with_parts};
pub use author::{Author, MISBEHAVIOURS, SOON};
pub use backend::Backend;
pub use caller::{Answer, Caller, assert_error_body, error_body_fault, send};
pub use certificates::{Certificates, openssl};
pub use changes::{ChangeEvent, ChangeStream};
pub use collector::{Collector, SpanSeen, Takes, texts};
pub use command::{Ran, command, run};
pub use crowd::{Crowd, Cut, Tally, VERBS};
pub use fake_embedder::{FakeEmbedder, Mood};
pub use fault_proxy::{Fault, FaultProxy};
pub use hosts::Hosts;
pub use kenning_storage::testing::RedisServer;
pub use proxy::Proxy;
pub use random::Random;
pub use retrieval::{Collection, Quality, Question};
pub use server::{Server, Setup, component, data_dir, kenning};
pub use slow_compiler::SlowCompiler;
pub use tls_redis::{RedisCertificates, TlsRedis};
pub use until::{all_indexed, until};
pub use wire::Wire;

/// A word for each number that has no part of another: letters instead of digits, which would be
/// words of their own, and none that stemming takes away.
pub fn spelled(word: &str, number: impl std::fmt::Display) -> String {
    let letter = |digit: u8| char::from(b"bcdfghjkmn"[usize::from(digit - b'0')]);
    number
        .to_string()
        .bytes()
        .map(letter)
        .fold(word.into(), |spelled: String, next| spelled + next.encode_utf8(&mut [0; 4]))
}
