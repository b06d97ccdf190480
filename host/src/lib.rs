//! Kenning's host: the process that owns everything that can hang, leak or be
//! stolen, and runs the logic as a sandboxed component.
//!
//! In reading order:
//!
//! 1. [`serve`] puts the parts together; [`config`] is what the operator decided.
//! 2. [`server`] accepts connections, [`http`] turns requests into calls of [`kb`].
//! 3. [`kb`] is the knowledge base: one call of it is a pipeline of hooks and logic.
//! 4. [`registry`] knows which generation of which guest is active, [`swap`] replaces them.
//! 5. [`tasks`] run in the background: the indexer, what follows other hosts, the heartbeat.
//! 6. [`telemetry`] starts logs and metrics.
//!
//! Below this crate: `kenning_runtime` runs guests, `kenning_tenants` knows who may do what,
//! `kenning_embedder`, `kenning_storage` and `kenning_index` serve the guests' imports.

pub mod config;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod http;
pub mod kb;
pub mod registry;
pub mod serve;
pub mod server;
pub mod swap;
pub mod tasks;
pub mod telemetry;
