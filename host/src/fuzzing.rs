//! What the targets in `tests/fuzz` reach: the code that first meets bytes from strangers.

pub use crate::http::fuzzing::{Import, Read, Route, read_body, read_line};
pub use kenning_runtime::fuzzing::Checker;
