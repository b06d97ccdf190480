//! Runs guests. Apart from the generated bindings, no other crate names wasmtime.
//!
//! A [`Loader`] turns a component's bytes into a [`LinkedLogic`] or a [`LinkedExtension`]. A
//! [`Runtime`] admits a call and gives it a [`Session`], whose methods call the guests' exports.
//! While a guest runs, its imports are served by [`Services`].
//!
//! | module | holds |
//! |---|---|
//! | [`component`] | turns a component's bytes into something that can be instantiated |
//! | `schedule` | admission, time slices and the epoch clock |
//! | `imports` | what a guest may call, one file for each interface |
//! | `call` | one guest call: a fresh instance within its limits |
//! | `session` | one call's time with guests, one or several |
//! | `exports` | the exports of guests, as methods of a session |
//! | `state` | the data of a guest's wasmtime store; `memory` and `fuel` meter the guest |
//! | `outbound` | requests of extensions over HTTP, which the host checks and sends |
//! | `outcome` | the result and effects of a guest call, or why it failed |
//! | `guest` | a guest's identity; `health` counts its failures, `log_buffer` keeps its log lines |
//! | `hook_stats` | what the calls of an extension's hooks cost |
//! | `trace` | which guests a call ran, and where its time and fuel went |
//! | `recording` | what a guest saw in a call; `recorded_call` keeps it |
//! | `replay` | has a guest see again what was recorded |
//! | `dry_run` | captures what a guest writes in a dry run |
//! | `request_context` | who makes a call and what for, as its guests may know |
//! | `reserve` | the time that the host leaves to a guest that waited |
//! | `secrets` | what the operator gives to single extensions |
//! | `services` | storage, embedder, indexes and tenants, as the imports use them |
//! | `tenant_index` | one tenant's index: how much of it is loaded, and the turns of its users |
//! | [`held_indexes`] | the indexes in memory, loaded at first use, and their budget |
//! | [`tenant_indexes`] | what is indexed of each tenant, and the queue of vectors to be stored |
//! | `pending_facts` | which facts lack vectors, and which are just being stored |
//! | [`windows`] | how a long text is cut, and its windows' vectors |
//!
//! Inspecting a component needs neither an engine nor a server:
//!
//! ```
//! use kenning_runtime::inspect::{InspectError, inspect};
//!
//! # fn main() -> Result<(), InspectError> {
//! // The smallest component: the header, and nothing in it.
//! let outline = inspect(b"\0asm\x0d\0\x01\0")?;
//! assert!(!outline.is_logic && outline.hooks.is_empty());
//!
//! // A core module is not a component.
//! assert_eq!(inspect(b"\0asm\x01\0\0\0"), Err(InspectError::CoreModule));
//! # Ok(())
//! # }
//! ```

#![deny(missing_docs)]

pub mod applied;
pub mod component;

mod call;
mod dry_run;
mod embedders;
mod exports;
mod fuel;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod generation;
mod guest;
mod health;
pub mod held_indexes;
mod hook_stats;
mod imports;
mod log_buffer;
mod log_lines;
mod memory;
mod outbound;
mod outcome;
mod pending_facts;
mod recorded_call;
mod recording;
mod replay;
mod request_context;
mod reserve;
mod schedule;
mod secrets;
mod services;
mod session;
mod state;
mod tenant_index;
pub mod tenant_indexes;
mod trace;
mod trap;
pub mod unreadable;
pub mod windows;

pub use call::{GuestCall, Invocation};
pub use component::compile_permits::{Demand, Urgency};
pub use component::engine::Engines;
pub use component::grants::{Grant, Granted, NoGrant};
pub use component::inspect::{Hook, OnFailure};
pub use component::linked::{LinkedExtension, LinkedLogic, Loaded};
pub use component::loader::{LoadError, Loader};
pub use component::{compat, compiler, inspect};
pub use embedders::Embedders;
pub use exports::LogicResult;
pub use generation::Generation;
pub use guest::{Component, Failing, Guest};
pub use health::{Begun, Health, Reading, TenantReading};
pub use hook_stats::{HookCost, HookStats};
pub use kenning_bindings::kenning::knowledge::types as wit;
pub use kenning_bindings::{DeletionRefusal, FactChange, FactChangeKind};
pub use log_buffer::{LogBuffer, LogLine};
pub use outbound::{HostPattern, Outbound};
pub use outcome::{CallEffects, CallError, GuestError, Validity, Waiting};
pub use recording::{CallEnd, Recording, Recordings};
pub use replay::{ReplayError, Replayed, replay};
pub use request_context::{CallerIdentity, ExtensionOptions, Notes, RequestContext, Verb};
pub use schedule::admission::Priority;
pub use schedule::replay_share::ReplayTurns;
pub use secrets::{SECRET_BYTES, Secret, Secrets};
pub use services::Services;
pub use session::{Runtime, Session};
pub use tenant_index::{Progress, Refusal, TenantIndex};
pub use trace::{CallTracer, GuestCost};
pub use trap::Frame;
