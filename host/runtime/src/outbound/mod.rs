//! Requests of extensions to the outside, which the host sends for them.
//!
//! A guest speaks `wasi:http`; the host checks where a request goes, takes its body, sends it from
//! a pool of connections and gives the answer to the guest once all of it is there. So an answer is
//! bounded before the guest sees any of it, and what a guest sees does not depend on how the
//! network cut it to pieces: a recorded call is replayed with the same fuel.
//!
//! | file | holds |
//! |---|---|
//! | `host` | hosts, as an operator grants them and as a request names them |
//! | `address` | the addresses that no request may reach |
//! | `client` | sends a request, to addresses that were checked |
//! | `reply` | what comes of a request: an answer, or why there is none |
//! | `calls` | the requests of one guest call: what may be sent, what was recorded |

mod address;
mod calls;
mod client;
mod host;
mod reply;

pub(crate) use calls::{HttpCalls, Source};
pub use client::Outbound;
pub use host::HostPattern;
