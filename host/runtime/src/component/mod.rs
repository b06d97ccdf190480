//! From a component's bytes to something that can be instantiated.
//!
//! `names` knows the imports and exports by their names, and `grants` what is allowed of them.
//! In this order: [`inspect`] reads the outline and [`parts`] counts what it takes from the
//! instance pool, [`compiler`] compiles the component in a child process with the settings of
//! [`engine`], `code_cache` keeps the machine code on disk and `function_cache` each function's,
//! for the `known_functions` of later compilations, [`loader`] loads it and shares it
//! between tenants, `linker` offers the imports, and [`linked`] holds the result.
//! `compile_permits` says who may compile, and `swap_space` how instances may be reset. [`compat`]
//! does all of it to tell whether this host accepts a component.

pub(crate) mod code_cache;
pub mod compat;
pub(crate) mod compile_permits;
pub mod compiler;
pub mod engine;
pub(crate) mod function_cache;
pub(crate) mod grants;
pub mod inspect;
pub(crate) mod known_functions;
pub mod linked;
pub(crate) mod linker;
pub mod loader;
pub(crate) mod names;
pub mod parts;
pub(crate) mod refusal;
pub(crate) mod swap_space;
