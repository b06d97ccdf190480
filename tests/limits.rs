//! The limits of `host/src/limits.rs` that a caller or a guest can reach, through a
//! real server: obeyed, and violated with the answer that says which, how much was
//! allowed and whose fault it was. After each violation the server serves on.

mod answers;
mod computing;
mod host_calls;
mod logging;
mod places;
mod requests;
mod support;
mod waiting;
