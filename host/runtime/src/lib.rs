//! Runs guests: the only crate that names wasmtime, beside the generated bindings.
//!
//! | module | holds |
//! |---|---|
//! | [`component`] | from a component's bytes to something that can be instantiated |
//! | `schedule` | admission, time slices, the epoch clock |
//! | `imports` | what a guest may call, one file for each interface |
//! | `call` | the one door into a guest: a fresh instance within its bounds |
//! | `session` | one call on the guests' workers, with one guest or several |
//! | `exports` | the exports of guests as methods of a session |
//! | `state` | what a guest's wasmtime store holds; `memory` and `fuel` meter it |
//! | `outcome` | what came of a guest call |
//! | `guest` | who a loaded guest is; `health` counts its failures, `log_buffer` keeps its lines |
//! | `dry_run` | captures what a guest writes when nothing may be written |
//! | `services` | storage, embedder, indexes and tenants, as the imports use them |
//! | [`tenant_indexes`] | the index of each tenant, and vectors on their way to storage |

pub mod component;

mod call;
mod dry_run;
mod exports;
mod fuel;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod generation;
mod guest;
mod health;
mod imports;
mod log_buffer;
mod log_lines;
mod memory;
mod outcome;
mod schedule;
mod services;
mod session;
mod state;
pub mod tenant_indexes;

pub use call::{GuestCall, Invocation};
pub use component::engine::engine;
pub use component::inspect::{Grant, Hook, OnFailure};
pub use component::linked::{LinkedExtension, LinkedLogic, Loaded};
pub use component::loader::Loader;
pub use component::{compat, compiler, inspect};
pub use exports::LogicResult;
pub use generation::Generation;
pub use guest::{Component, Guest, Quarantined};
pub use health::{Health, Reading};
pub use kenning_bindings::kenning::knowledge::types as wit;
pub use log_buffer::{LogBuffer, LogLine};
pub use outcome::{CallEffects, CallError, GuestError};
pub use services::Services;
pub use session::{Runtime, Session, SessionKind};
