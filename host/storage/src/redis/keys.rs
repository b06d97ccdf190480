//! Keys in Redis.
//!
//! A tenant's name holds no `}` and no `:`, so no two tenants' keys meet, and all keys of a tenant
//! share one hash tag. Documents lie under `kenning:control:`, where no tenant's key begins, and
//! share one hash tag, too.

use crate::{DocumentName, FactId, Layout, TenantId};

/// The set of all tenants.
pub(crate) const TENANTS: &str = "kenning:tenants";

/// What other programs' facts begin with, and ours in the flat layout.
pub(crate) const FLAT_PREFIX: &str = "fact:";

/// The tenant whose facts are laid out flat.
pub(crate) const FLAT_TENANT: &str = "default";

/// Sorted set: the names of all documents, in the order of their bytes.
pub(super) const DOCUMENT_NAMES: &str = "kenning:control:{control}:names";

/// Hash: every document's version by its name.
pub(super) const DOCUMENT_VERSIONS: &str = "kenning:control:{control}:versions";

/// Number: grows with every document written or deleted.
pub(super) const DOCUMENTS_REVISION: &str = "kenning:control:{control}:revision";

/// Number: grows with every document that is written in pieces.
pub(super) const DOCUMENT_TOKENS: &str = "kenning:control:{control}:tokens";

/// Hash: `version`, `length`, and `bytes` or, where there are `pieces`, their `token`.
pub(super) fn document(name: &DocumentName) -> String {
    format!("kenning:control:{{control}}:document:{name}")
}

/// String: the `n`th piece of a document, from 1, as one write with `token` wrote it.
pub(super) fn piece(name: &DocumentName, token: &str, n: u64) -> String {
    format!("{}{token}:{n}", pieces_prefix(name))
}

/// What the keys of a document's pieces begin with.
pub(super) fn pieces_prefix(name: &DocumentName) -> String {
    format!("kenning:control:{{control}}:piece:{name}:")
}

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

    /// What the keys of facts begin with.
    pub(super) fn facts(&self) -> &str {
        &self.facts
    }

    /// Hash: `profile`, `digest`, `values` and the `revision` of the text it embeds.
    pub(crate) fn vector(&self, id: &FactId) -> String {
        format!("{}{id}", self.vectors())
    }

    /// What the keys of vectors begin with.
    pub(super) fn vectors(&self) -> String {
        format!("{}vector:", self.prefix)
    }

    /// Number: the bytes of the tenant's facts, as in `Usage`.
    pub(super) fn bytes(&self) -> String {
        format!("{}bytes", self.prefix)
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
    fn no_document_meets_a_tenant_or_another_document() {
        let name = |name| DocumentName::parse(name).unwrap();
        let key = document(&name("a"));
        assert!(!key.starts_with("kenning:{") && !key.starts_with(FLAT_PREFIX));
        // Numbers hold no `:`, so the end of a key says where its name ended.
        assert_ne!(piece(&name("a:1"), "2", 3), piece(&name("a"), "1", 2));
        assert!(key != piece(&name("a"), "1", 1));
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
