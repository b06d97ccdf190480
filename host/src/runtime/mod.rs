//! The only code that names wasmtime.
//!
//! | file | holds |
//! |---|---|
//! | `engine` | one configuration for the compiler and the server |
//! | `clock` | the thread that makes busy guests yield |
//! | `compiler` | the child process that turns a component into machine code |
//! | `inspect` | what a component's bytes say of it: hooks, imports, needs |
//! | `generation` | one loaded version of a guest |
//! | `registry` | which generation is active |
//! | `state` | what one call's wasmtime store holds, and the meters on it |
//! | `imports` | what a guest may call, one file for each interface |
//! | `call` | the one door into a guest: run it in bounds, say how it ended |

mod call;
mod clock;
pub mod compiler;
mod engine;
mod generation;
pub(crate) mod imports;
pub mod inspect;
mod registry;
mod state;

pub use call::{Call, CallError, Ended, Finished, LogicCall, Runtime};
pub use engine::engine;
pub use generation::{Generation, GenerationRef};
pub use kenning_bindings::kenning::knowledge::types as wit;
pub use registry::Registry;
pub use state::Services;
