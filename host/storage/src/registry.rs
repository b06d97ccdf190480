//! What is in force for a tenant, by number, and the hosts that follow it.

use std::time::{Duration, Instant};

use async_trait::async_trait;

use crate::{StorageError, TenantId};

/// The number of a tenant's registry: its guests, its keys and its quotas, which are in documents.
///
/// Whoever has changed one of these documents raises the number afterwards, and a host reads the
/// number before it loads them. So a host that goes by the number in force has loaded at least what
/// was changed before. 0 for a tenant for which nothing was ever changed. Two numbers are only
/// compared for being the same: storage that was set back to an earlier state has an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct RegistryRevision(pub u64);

/// What a host says of itself for as long as its lease lasts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostLease {
    /// Its name, for operators. White space in it is replaced.
    pub host: String,
    /// The documents' revision up to which it has loaded everything, except of `unfinished`.
    pub revision: u64,
    /// The tenants whose guests it has not loaded: they are being compiled, or cannot be loaded.
    pub unfinished: Vec<TenantId>,
}

/// A host whose lease has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LivingHost {
    /// What it says of itself.
    pub lease: HostLease,
    /// Whether it is the one that uses this very storage value.
    pub is_own: bool,
}

/// What is in force for each tenant, and the leases of the hosts on this storage.
///
/// **Atomicity.** Reads and changes of facts that are given a number (see
/// [`FactStorage`](crate::FactStorage)) compare it in the same step in which they happen.
///
/// **Embedded storage** has one process, which goes by what it changed itself: every number is 0,
/// and there are no other hosts.
///
/// **Timeouts.** All of these can be repeated.
#[async_trait]
pub trait RegistryStorage: Send + Sync {
    /// The numbers in force for `tenants`, in their order.
    ///
    /// # Errors
    /// Those of every operation.
    async fn registry_revisions(
        &self,
        tenants: &[TenantId],
        _deadline: Instant,
    ) -> Result<Vec<RegistryRevision>, StorageError> {
        Ok(vec![RegistryRevision(0); tenants.len()])
    }

    /// Raises the number of a tenant to one that it never had, and returns it. From then on storage
    /// refuses callers who go by an earlier one.
    ///
    /// # Errors
    /// Those of every operation.
    async fn raise_registry(
        &self,
        _tenant: &TenantId,
        _deadline: Instant,
    ) -> Result<RegistryRevision, StorageError> {
        Ok(RegistryRevision(0))
    }

    /// Deletes the number of a tenant that was deleted, unless it is another than `revision` by
    /// now.
    ///
    /// # Errors
    /// Those of every operation.
    async fn drop_registry(
        &self,
        _tenant: &TenantId,
        _revision: RegistryRevision,
        _deadline: Instant,
    ) -> Result<(), StorageError> {
        Ok(())
    }

    /// Says what `lease` says, and that this host lives for `time` from now on.
    ///
    /// # Errors
    /// Those of every operation.
    async fn renew_lease(
        &self,
        _lease: &HostLease,
        _time: Duration,
        _deadline: Instant,
    ) -> Result<(), StorageError> {
        Ok(())
    }

    /// Ends this host's lease: it serves nothing any more.
    ///
    /// # Errors
    /// Those of every operation.
    async fn end_lease(&self, _deadline: Instant) -> Result<(), StorageError> {
        Ok(())
    }

    /// The hosts whose leases have not ended, with this one, in no particular order.
    ///
    /// # Errors
    /// Those of every operation.
    async fn living_hosts(&self, _deadline: Instant) -> Result<Vec<LivingHost>, StorageError> {
        Ok(Vec::new())
    }
}

impl HostLease {
    /// One line: the revision, the name and the tenants, separated by spaces.
    pub(crate) fn to_text(&self) -> String {
        let host: String =
            self.host.chars().map(|c| if c.is_whitespace() { '-' } else { c }).collect();
        let host = if host.is_empty() { "host" } else { &host };
        let mut text = format!("{} {host}", self.revision);
        for tenant in &self.unfinished {
            text.push(' ');
            text.push_str(tenant.as_str());
        }
        text
    }

    /// What [`Self::to_text`] wrote; `None` for anything else.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(' ');
        let revision = parts.next()?.parse().ok()?;
        let host = parts.next().filter(|host| !host.is_empty())?.to_owned();
        let unfinished = parts.map(TenantId::parse).collect::<Result<_, _>>().ok()?;
        Some(Self { host, revision, unfinished })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_read_as_it_was_written() {
        let tenant = |name| TenantId::parse(name).unwrap();
        for unfinished in [Vec::new(), vec![tenant("acme")], vec![tenant("a"), tenant("b")]] {
            let lease = HostLease { host: "web-1-7171".into(), revision: 12, unfinished };
            assert_eq!(HostLease::parse(&lease.to_text()), Some(lease));
        }
        let spaced = HostLease { host: "web 1".into(), revision: 0, unfinished: Vec::new() };
        assert_eq!(HostLease::parse(&spaced.to_text()).unwrap().host, "web-1");
    }

    #[test]
    fn what_another_program_wrote_is_no_lease() {
        for text in ["", "1", "1 ", "x host", "1 host a:b", "-1 host"] {
            assert_eq!(HostLease::parse(text), None, "{text:?}");
        }
    }
}
