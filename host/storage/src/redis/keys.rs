//! Keys in Redis.
//!
//! A tenant's name holds no `}` and no `:`, so no two tenants' keys meet, and all keys of a tenant
//! share one hash tag.

use crate::{FactId, Layout, TenantId};

/// The set of all tenants.
pub(crate) const TENANTS: &str = "kenning:tenants";

/// What other programs' facts begin with, and ours in the flat layout.
pub(crate) const FLAT_PREFIX: &str = "fact:";

/// The tenant whose facts are laid out flat.
pub(crate) const FLAT_TENANT: &str = "default";

/// One tenant's keys.
pub(crate) struct Keys {
    prefix: String,
    facts: String,
}

impl Keys {
    pub(crate) fn new(layout: Layout, tenant: &TenantId) -> Self {
        let prefix = format!("kenning:{{{tenant}}}:");
        let is_flat = layout == Layout::Flat && tenant.as_str() == FLAT_TENANT;
        let facts = if is_flat { FLAT_PREFIX.to_owned() } else { format!("{prefix}fact:") };
        Self { prefix, facts }
    }

    /// Hash: exactly the fields that were written.
    pub(crate) fn fact(&self, id: &FactId) -> String {
        format!("{}{id}", self.facts)
    }

    /// Sorted set: ids by order.
    pub(crate) fn order(&self) -> String {
        format!("{}order", self.prefix)
    }

    /// Sorted set: ids that wait for a vector, by revision.
    pub(crate) fn pending(&self) -> String {
        format!("{}pending", self.prefix)
    }

    /// Hash: `profile`, `digest`, `values` and the `revision` of the text it embeds.
    pub(crate) fn vector(&self, id: &FactId) -> String {
        format!("{}vector:{id}", self.prefix)
    }

    /// Number: the tenant's last revision.
    pub(crate) fn revision(&self) -> String {
        format!("{}revision", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(layout: Layout, tenant: &str) -> Keys {
        Keys::new(layout, &TenantId::parse(tenant).unwrap())
    }

    #[test]
    fn only_the_facts_of_default_are_flat() {
        let id = FactId::parse("f-1").unwrap();
        assert_eq!(keys(Layout::Flat, "default").fact(&id), "fact:f-1");
        assert_eq!(keys(Layout::Flat, "default").vector(&id), "kenning:{default}:vector:f-1");
        assert_eq!(keys(Layout::Flat, "default").order(), "kenning:{default}:order");
        assert_eq!(keys(Layout::Flat, "acme").fact(&id), "kenning:{acme}:fact:f-1");
        assert_eq!(keys(Layout::Tenant, "default").fact(&id), "kenning:{default}:fact:f-1");
    }
}
