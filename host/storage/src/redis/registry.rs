//! What is in force for a tenant in Redis: a number beside the tenant's facts, so that one script
//! can compare it and read or change facts. The hosts' leases are one hash.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use redis::{RedisWrite, ToRedisArgs};

use super::keys::HOSTS;
use super::pool::{Effect, Size};
use super::replies::one;
use super::{Redis, scripts};
use crate::{HostLease, LivingHost, RegistryRevision, RegistryStorage, StorageError, TenantId};

/// The registry that a caller goes by, as scripts are told it: nothing if it goes by none.
pub(super) struct Known(pub(super) Option<RegistryRevision>);

impl ToRedisArgs for Known {
    fn write_redis_args<W: RedisWrite + ?Sized>(&self, out: &mut W) {
        match self.0 {
            Some(RegistryRevision(revision)) => out.write_arg_fmt(revision),
            None => out.write_arg(b""),
        }
    }
}

#[async_trait]
impl RegistryStorage for Redis {
    async fn registry_revisions(
        &self,
        tenants: &[TenantId],
        deadline: Instant,
    ) -> Result<Vec<RegistryRevision>, StorageError> {
        if tenants.is_empty() {
            return Ok(Vec::new());
        }
        let keys = tenants.iter().map(|tenant| self.keys(tenant).registry());
        let revisions = self.numbers(keys, deadline).await?;
        Ok(revisions.into_iter().map(RegistryRevision).collect())
    }

    async fn raise_registry(
        &self,
        tenant: &TenantId,
        deadline: Instant,
    ) -> Result<RegistryRevision, StorageError> {
        let call = scripts::RAISE.call(&[self.keys(tenant).registry()]);
        let kind = (Size::Small, Effect::Write);
        let values = self.run_script(&scripts::RAISE, vec![call], kind, deadline).await?;
        one(values).map(RegistryRevision)
    }

    async fn drop_registry(
        &self,
        tenant: &TenantId,
        revision: RegistryRevision,
        deadline: Instant,
    ) -> Result<(), StorageError> {
        let mut call = scripts::DROP_REGISTRY.call(&[self.keys(tenant).registry()]);
        call.arg(revision.0);
        let kind = (Size::Small, Effect::Write);
        let values = self.run_script(&scripts::DROP_REGISTRY, vec![call], kind, deadline).await?;
        one::<u64>(values).map(|_| ())
    }

    async fn renew_lease(
        &self,
        lease: &HostLease,
        time: Duration,
        deadline: Instant,
    ) -> Result<(), StorageError> {
        let mut call = scripts::LEASE.call(&[HOSTS]);
        call.arg(self.appends.writer()).arg(time.as_millis().max(1) as u64).arg(lease.to_text());
        let kind = (Size::Small, Effect::Write);
        one::<u64>(self.run_script(&scripts::LEASE, vec![call], kind, deadline).await?).map(|_| ())
    }

    async fn end_lease(&self, deadline: Instant) -> Result<(), StorageError> {
        let mut call = scripts::LEASE.call(&[HOSTS]);
        call.arg(self.appends.writer()).arg(0).arg("");
        let kind = (Size::Small, Effect::Write);
        one::<u64>(self.run_script(&scripts::LEASE, vec![call], kind, deadline).await?).map(|_| ())
    }

    async fn living_hosts(&self, deadline: Instant) -> Result<Vec<LivingHost>, StorageError> {
        let call = scripts::HOSTS.call(&[HOSTS]);
        let kind = (Size::Small, Effect::Read);
        let values = self.run_script(&scripts::HOSTS, vec![call], kind, deadline).await?;
        let said: Vec<(Vec<u8>, Vec<u8>)> = one(values)?;
        // What another program put there is no host.
        let living = said.iter().filter_map(|(id, says)| {
            let lease = HostLease::parse(std::str::from_utf8(says).ok()?)?;
            Some(LivingHost { lease, is_own: id == self.appends.writer().as_bytes() })
        });
        Ok(living.collect())
    }
}
