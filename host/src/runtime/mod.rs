//! The only code that names wasmtime.
//!
//! | file | holds |
//! |---|---|
//! | `engine` | one configuration for the compiler and the server |
//! | `clock` | the thread that makes busy guests yield |
//! | `compiler` | the child process that turns a component into machine code |
//! | `loader` | components by their digest, loaded once |
//! | `inspect` | what a component's bytes say of it: hooks, imports, needs |
//! | `generation` | one loaded version of a guest, linked |
//! | `guest` | who a loaded guest is; `meter` how it fares, `loglines` what it said |
//! | `state` | what one guest's wasmtime store holds, and the meters on it |
//! | `imports` | what a guest may call, one file for each interface |
//! | `places` | places to run, and the bounded line before them |
//! | `shares` | something scarce, shared by tenants in turn |
//! | `pace` | keeps busy guests out of the others' way |
//! | `call` | the one door into a guest: run it in bounds, say how it ended |
//! | `turn` | a call's turn on the guests' workers, with one guest or several |
//! | `verbs` | what a turn may ask of guests: the logic's verbs, the extensions' hooks |
//! | `rehearsal` | what a guest writes when it only rehearses |

mod call;
mod clock;
pub mod compiler;
mod engine;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod generation;
mod guest;
pub(crate) mod imports;
pub mod inspect;
mod loader;
mod loglines;
mod meter;
mod pace;
mod places;
mod rehearsal;
mod shares;
mod state;
mod turn;
mod verbs;

pub use call::{Deeds, Ended, GuestCall, GuestError, Task};
pub use engine::engine;
pub use generation::{GenerationRef, LinkedExtension, LinkedLogic};
pub use guest::{Component, Guest, Rested};
pub use inspect::{Grant, Hook};
pub use kenning_bindings::kenning::knowledge::types as wit;
pub use loader::{Loaded, Loader};
pub use loglines::{LogBuffer, LogLine};
pub use meter::{Meter, Reading};
pub use state::{Services, Waiting};
pub use turn::{Kind, Runtime, Turn};
pub use verbs::Generation;
pub(crate) use verbs::Verb;
