//! The secrets that the operator gives to single extensions. They are in memory only: nothing here
//! prints, stores or compares them.

use std::collections::HashMap;
use std::fmt;

use kenning_storage::TenantId;

/// The fewest bytes of a secret: shorter ones could not be blotted out of a log line without
/// spoiling it.
pub const SECRET_BYTES: usize = 8;

/// A secret's text.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A secret of at least [`SECRET_BYTES`]; `None` if it is shorter.
    pub fn new(text: String) -> Option<Self> {
        (text.len() >= SECRET_BYTES).then_some(Self(text))
    }

    /// Its text, for the extension that it was given to.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// The secrets of all extensions.
#[derive(Clone, Debug, Default)]
pub struct Secrets(HashMap<(TenantId, String), HashMap<String, Secret>>);

impl Secrets {
    /// Adds the secret `name` of a tenant's extension. Returns whether there was none of this name.
    pub fn add(&mut self, tenant: TenantId, extension: &str, name: &str, secret: Secret) -> bool {
        let of_extension = self.0.entry((tenant, extension.to_owned())).or_default();
        of_extension.insert(name.to_owned(), secret).is_none()
    }

    /// Whether this extension of the tenant was given any.
    pub fn has_any(&self, tenant: &TenantId, extension: &str) -> bool {
        self.0.contains_key(&(tenant.clone(), extension.to_owned()))
    }

    /// The secret `name`, if this extension of the tenant was given one.
    pub(crate) fn of(&self, tenant: &TenantId, extension: &str, name: &str) -> Option<&Secret> {
        self.0.get(&(tenant.clone(), extension.to_owned()))?.get(name)
    }
}
