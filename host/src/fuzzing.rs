//! Entry points for the fuzz targets in `tests/fuzz`: the code that parses untrusted bytes.

pub use crate::http::fuzzing::{Import, Read, Route, read_body, read_line};
pub use kenning_runtime::fuzzing::Checker;
