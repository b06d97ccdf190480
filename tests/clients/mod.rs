//! The clients in other languages, each by a suite in its own language against the binary under
//! test.

mod page;
mod python;
mod typescript;
