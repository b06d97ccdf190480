//! Kenning's host: the process that serves HTTP, owns storage, keys and models, and runs the logic
//! and the tenants' extensions as sandboxed WebAssembly components.
//!
//! In reading order:
//!
//! 1. [`cli`] is the command line; [`serve`] puts the parts together; [`config`] reads the
//!    settings.
//! 2. [`server`] accepts connections, on a port and the [`local_socket`], and [`http`] turns them
//!    into calls of [`kb`]. [`origin`] says which hosts and web pages they may come from,
//!    [`proxies`] whose word on that counts; [`tls`] has the certificate.
//! 3. [`kb`] is the knowledge base: each call runs a pipeline of hooks and logic.
//!    [`feed`] has tenants' changes as they happen.
//!    [`mcp`] is the same for agents, over the Model Context Protocol; [`bridge`] is how programs
//!    on this machine reach it.
//! 4. [`registry`] knows which generation of each guest is active, [`swap`] replaces them.
//! 5. [`tasks`] run in the background: the indexer, following other hosts, the heartbeat.
//! 6. [`journal`] keeps records: what operators did, and what is known of failed calls.
//! 7. [`telemetry`] starts logs and metrics; [`systemd`] is told that the process is ready;
//!    [`doctor`] looks for what is wrong.
//!
//! Below this crate, `kenning_runtime` runs guests, `kenning_tenants` has keys and quotas, and
//! `kenning_embedder`, `kenning_storage` and `kenning_index` do the work behind the guests'
//! imports.
//!
//! ```
//! use kenning::config::{Config, Settings};
//!
//! let settings = Settings { embedder: Some("hash".into()), ..Settings::default() };
//! let config = Config::load(settings, None)?;
//! assert!(config.listen.is_loopback(), "without keys the server listens on loopback only");
//! # anyhow::Ok(())
//! ```

#![deny(missing_docs)]

pub mod bridge;
pub mod cli;
pub mod config;
pub mod doctor;
pub mod feed;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod http;
pub mod journal;
pub mod kb;
pub mod local_socket;
pub mod mcp;
pub mod nearest;
mod opening;
pub mod origin;
pub mod proxies;
pub mod registry;
pub mod replay;
pub mod serve;
pub mod server;
pub mod swap;
pub mod systemd;
pub mod tasks;
pub mod telemetry;
pub mod tls;
