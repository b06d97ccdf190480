//! From a component's bytes to something that can be instantiated.
//!
//! In this order: [`inspect`] reads the outline, [`compiler`] compiles the component in a child
//! process with the settings of [`engine`], [`loader`] loads the machine code and shares it between
//! tenants, `linker` offers the imports, and [`linked`] holds the result. [`compat`] does all of it
//! to tell whether this host accepts a component.

pub mod compat;
pub mod compiler;
pub mod engine;
pub mod inspect;
pub mod linked;
pub(crate) mod linker;
pub mod loader;
