//! The keys in Redis.
//!
//! A tenant's name contains neither `}` nor `:`, so keys of different tenants never collide. All
//! keys of a tenant share one hash tag. Documents have the prefix `kenning:control:`, which no
//! tenant's key has, and share one hash tag too.

use crate::{DocumentName, FactId, Layout, SpaceName, TenantId};

/// The set of all tenants.
pub(crate) const TENANTS: &str = "kenning:tenants";

/// The key prefix of facts in the flat layout, whoever writes them.
pub(crate) const FLAT_PREFIX: &str = "fact:";

/// The tenant whose facts use the flat layout.
pub(crate) const FLAT_TENANT: &str = "default";

/// Sorted set: the names of all documents, in byte order.
pub(super) const DOCUMENT_NAMES: &str = "kenning:control:{control}:names";

/// Hash: every document's version by its name.
pub(super) const DOCUMENT_VERSIONS: &str = "kenning:control:{control}:versions";

/// Number: the documents' revision, which grows with every write and deletion.
pub(super) const DOCUMENTS_REVISION: &str = "kenning:control:{control}:revision";

/// Number: the last token given to a document written in pieces.
pub(super) const DOCUMENT_TOKENS: &str = "kenning:control:{control}:tokens";

/// Number: the version of the layout of all data.
pub(super) const FORMAT: &str = "kenning:control:{control}:format";

/// Hash: when each host's lease ends, and what it says of itself.
pub(super) const HOSTS: &str = "kenning:control:{control}:hosts";

/// The documents' keys of fixed names, with their types as in `types.lua`.
pub(super) const OF_DOCUMENTS: [(&str, &str); 6] = [
    (DOCUMENT_NAMES, "zset"),
    (DOCUMENT_VERSIONS, "hash"),
    (DOCUMENTS_REVISION, "number"),
    (DOCUMENT_TOKENS, "number"),
    (FORMAT, "number"),
    (HOSTS, "hash"),
];

/// Hash: `version`, `length`, and either `bytes` or the number of `pieces` and their `token`.
pub(super) fn document(name: &DocumentName) -> String {
    format!("kenning:control:{{control}}:document:{name}")
}

/// String: piece `n` (from 1) of a document, as stored by the write with `token`.
pub(super) fn piece(name: &DocumentName, token: &str, n: u64) -> String {
    format!("{}{token}:{n}", pieces_prefix(name))
}

/// The key prefix of a document's pieces.
pub(super) fn pieces_prefix(name: &DocumentName) -> String {
    format!("kenning:control:{{control}}:piece:{name}:")
}

/// The id in the key of a fact in the flat layout; `None` for other keys such as
/// `fact:origin:session:x`.
pub(crate) fn flat_id(key: &[u8]) -> Option<FactId> {
    let id = key.strip_prefix(FLAT_PREFIX.as_bytes())?;
    FactId::parse(std::str::from_utf8(id).ok()?).ok()
}

/// The keys of what one extension of a tenant keeps.
pub(super) struct SpaceKeys {
    /// Hash: `bytes` of keys and values, and the last `version`.
    pub(super) usage: String,
    /// Hash: values by key.
    pub(super) values: String,
    /// Hash: versions by key.
    pub(super) versions: String,
    /// Sorted set: the keys, in the order of their bytes.
    pub(super) keys: String,
    /// Sorted set: keys that expire, by the millisecond since 1970.
    pub(super) expiry: String,
}

impl SpaceKeys {
    /// All of them, with their types as in `types.lua`.
    pub(super) fn own(self) -> [(String, &'static str); 5] {
        [
            (self.usage, "hash"),
            (self.values, "hash"),
            (self.versions, "hash"),
            (self.keys, "zset"),
            (self.expiry, "zset"),
        ]
    }
}

/// The keys of one tenant.
pub(crate) struct Keys {
    prefix: String,
    facts: String,
    is_flat: bool,
    is_cluster: bool,
}

impl Keys {
    pub(crate) fn new(layout: Layout, tenant: &TenantId) -> Self {
        let prefix = format!("kenning:{{{tenant}}}:");
        let is_flat = layout == Layout::Flat && tenant.as_str() == FLAT_TENANT;
        let facts = if is_flat { FLAT_PREFIX.to_owned() } else { format!("{prefix}fact:") };
        Self { prefix, facts, is_flat, is_cluster: false }
    }

    /// The keys on a cluster, which does not have the flat layout.
    pub(crate) fn of_cluster(tenant: &TenantId) -> Self {
        Self { is_cluster: true, ..Self::new(Layout::Tenant, tenant) }
    }

    /// Set: all tenants or, on a cluster, this one alone, in the tenant's own slot.
    pub(super) fn tenants(&self) -> String {
        if self.is_cluster { format!("{}tenants", self.prefix) } else { TENANTS.to_owned() }
    }

    /// Hash: exactly the fields of the fact.
    pub(crate) fn fact(&self, id: &FactId) -> String {
        format!("{}{id}", self.facts)
    }

    /// Sorted set: ids by order.
    pub(crate) fn order(&self) -> String {
        format!("{}order", self.prefix)
    }

    /// Sorted set: ids of pending facts by revision.
    pub(crate) fn pending(&self) -> String {
        format!("{}pending", self.prefix)
    }

    /// The key prefix of facts.
    pub(super) fn facts(&self) -> &str {
        &self.facts
    }

    /// Hash: `profile`, `digest`, `values` and the `revision` of the embedded text.
    pub(crate) fn vector(&self, id: &FactId) -> String {
        format!("{}{id}", self.vectors())
    }

    /// The key prefix of vectors.
    pub(super) fn vectors(&self) -> String {
        format!("{}vector:", self.prefix)
    }

    /// Number: the bytes of the tenant's facts, as in `Usage`.
    pub(super) fn bytes(&self) -> String {
        format!("{}bytes", self.prefix)
    }

    /// Stream: the tenant's changes, by revision.
    pub(super) fn stream(&self) -> String {
        format!("{}stream", self.prefix)
    }

    /// String: the host that makes the tenant's vectors; expires.
    pub(super) fn claim(&self) -> String {
        format!("{}embedding", self.prefix)
    }

    /// Hash: in the flat layout, each fact's fingerprint when it was last seen.
    pub(super) fn seen(&self) -> String {
        format!("{}seen", self.prefix)
    }

    /// `seen`, if other programs write the tenant's facts too.
    pub(super) fn seen_if_shared(&self) -> Option<String> {
        self.is_flat.then(|| self.seen())
    }

    /// Number: the revision of the tenant's registry that is in force.
    pub(super) fn registry(&self) -> String {
        format!("{}registry", self.prefix)
    }

    /// Hash: what all hosts have used of the quotas on what is done; expires.
    pub(super) fn used(&self) -> String {
        format!("{}used", self.prefix)
    }

    /// Hash: what each host may use of them; expires.
    pub(super) fn allowances(&self) -> String {
        format!("{}allowances", self.prefix)
    }

    /// Set: the extensions that keep something.
    pub(super) fn spaces(&self) -> String {
        format!("{}spaces", self.prefix)
    }

    /// The key prefix of what extensions keep.
    pub(super) fn state(&self) -> String {
        format!("{}state:", self.prefix)
    }

    /// The keys of what an extension keeps. Its name contains no `:`.
    pub(super) fn space(&self, extension: &SpaceName) -> SpaceKeys {
        let key = |kind: &str| format!("{}{extension}:{kind}", self.state());
        SpaceKeys {
            usage: key("usage"),
            values: key("values"),
            versions: key("versions"),
            keys: key("keys"),
            expiry: key("expiry"),
        }
    }

    /// The tenant's keys other than those of its facts and of its spaces, with their types as in
    /// `types.lua`.
    pub(super) fn own(&self) -> Vec<(String, &'static str)> {
        let mut keys = vec![
            (self.order(), "zset"),
            (self.pending(), "zset"),
            (self.bytes(), "number"),
            (self.revision(), "number"),
            (self.stream(), "stream"),
            (self.claim(), "string"),
            (self.seen(), "hash"),
            (self.registry(), "number"),
            (self.used(), "hash"),
            (self.allowances(), "hash"),
            (self.spaces(), "set"),
        ];
        if self.is_cluster {
            keys.push((self.tenants(), "set"));
        }
        keys
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
    fn keys_of_documents_never_collide_with_tenants_or_each_other() {
        let name = |name| DocumentName::parse(name).unwrap();
        let key = document(&name("a"));
        assert!(!key.starts_with("kenning:{") && !key.starts_with(FLAT_PREFIX));
        // Numbers contain no `:`, so the end of a key shows where the name ended.
        assert_ne!(piece(&name("a:1"), "2", 3), piece(&name("a"), "1", 2));
        assert!(key != piece(&name("a"), "1", 1));
    }

    #[test]
    fn only_facts_of_default_use_the_flat_layout() {
        let id = FactId::parse("f-1").unwrap();
        assert_eq!(keys(Layout::Flat, "default").fact(&id), "fact:f-1");
        assert_eq!(keys(Layout::Flat, "default").vector(&id), "kenning:{default}:vector:f-1");
        assert_eq!(keys(Layout::Flat, "default").order(), "kenning:{default}:order");
        assert_eq!(keys(Layout::Flat, "acme").fact(&id), "kenning:{acme}:fact:f-1");
        assert_eq!(keys(Layout::Tenant, "default").fact(&id), "kenning:{default}:fact:f-1");
    }
}
