//! What the operator set for this extension. Needs no grant.
//!
//! ```
//! use kenning_extension::settings;
//! use kenning_extension::testing::Host;
//!
//! let host = Host::new().with_settings(r#"{"level":3}"#).with_secret("key", "in-a-test-only");
//! host.run(|| {
//!     assert_eq!(settings::get().get("level"), Some(3.into()));
//!     assert_eq!(settings::secret("key").as_deref(), Some("in-a-test-only"));
//! });
//! ```

use super::provider;
use crate::Metadata;

/// The settings: a JSON object, empty if nothing was set. They were valid by the schema that the
/// component exports with [`export_schema!`](crate::export_schema) when they were set.
pub fn get() -> Metadata {
    Metadata::from_host(provider::settings())
}

/// The secret of this name, or `None` if the operator did not give it to this extension. Never log
/// or return it.
pub fn secret(name: &str) -> Option<String> {
    provider::secret(name)
}
