//! Kenning's host: the process that owns everything that can hang, leak or be
//! stolen, and runs the logic as a sandboxed component.
//!
//! In reading order:
//!
//! 1. [`serve`] puts the parts together; [`config`] is what the operator decided
//!    and [`limits`] every number that is enforced.
//! 2. [`server`] accepts connections, [`http`] turns requests into verbs.
//! 3. [`kb`] is the verbs; every face meets here. What a guest answers is checked before
//!    anyone sees it (`checked`).
//! 4. [`registry`] knows which generation of which guest is active, [`swap`] puts
//!    another in its place; [`runtime`] is the one door into a guest, and what a guest may call.
//! 5. [`embedder`], [`indexing`] and the storage crate serve those calls;
//!    [`indexer`] keeps the indexes in step in the background.
//! 6. [`tenants`] says who comes in by which key, and what each may use.
//! 7. [`error`] is how a failure leaves, [`telemetry`] and [`heartbeat`] how the
//!    operator sees what goes on.
//! 8. [`check`] says offline whether this host would take a component.

pub mod app;
pub mod check;
mod checked;
pub mod config;
pub mod embedder;
pub mod error;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod heartbeat;
pub mod http;
pub mod indexer;
pub mod indexing;
pub mod kb;
pub mod limits;
pub mod registry;
pub mod runtime;
pub mod serve;
pub mod server;
pub mod swap;
pub mod telemetry;
pub mod tenants;
