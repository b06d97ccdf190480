//! Who asks, and for what. Needs no grant.
//!
//! The host says all of it; nothing that a caller sends can change who the caller is.
//!
//! ```
//! use kenning_extension::testing::Host;
//! use kenning_extension::{Caller, context};
//!
//! let host = Host::new().with_caller(Caller::new("key1").with("team", "research"));
//! let team = host.run(|| context::caller().attributes.get_str("team"));
//! assert_eq!(team.as_deref(), Some("research"));
//! ```

use super::provider;
use crate::{Caller, Query, Request};

/// Who asks.
pub fn caller() -> Caller {
    provider::caller()
}

/// What is asked.
pub fn request() -> Request {
    provider::request()
}

/// The query as the caller sent it, before any extension changed it, with the number of hits that
/// the caller asked for; `None` unless the verb is [`Verb::Search`](crate::Verb::Search).
pub fn query() -> Option<Query> {
    provider::query()
}

/// The options for this extension in the request's `extension_options`, as JSON text; `None` if
/// there are none. They are valid by the schema that the component exports with
/// [`export_options_schema!`](crate::export_options_schema), if it exports one.
pub fn options() -> Option<String> {
    provider::options()
}

/// What an extension left under this name earlier in this call.
pub fn note(name: &str) -> Option<String> {
    provider::note(name)
}

/// Leaves a note for extensions that run later in this call, in place of an earlier one of the same
/// name. Returns whether there was room: all notes of a call share 16 KiB, names included.
pub fn set_note(name: &str, value: &str) -> bool {
    provider::set_note(name, value)
}
