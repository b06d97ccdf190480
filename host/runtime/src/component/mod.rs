//! From a component's bytes to something that can be instantiated.
//!
//! In the order of the way: [`inspect`] reads the outline, [`compat`] says whether this host
//! would accept it, [`compiler`] compiles it in a child process with the settings of
//! [`engine`], [`loader`] keeps what is loaded, [`linker`] offers the imports and [`linked`]
//! holds the result.

pub mod compat;
pub mod compiler;
pub mod engine;
pub mod inspect;
pub mod linked;
pub(crate) mod linker;
pub mod loader;
