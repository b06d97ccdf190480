//! Tenants in Redis: a set of names, and counters per tenant.

use std::time::Instant;

use async_trait::async_trait;

use super::keys::TENANTS;
use super::pool::{Effect, Size};
use super::{Redis, replies, scripts};
use crate::limits::DELETION_STEP;
use crate::{StorageError, TenantId, TenantStorage, Usage};

#[async_trait]
impl TenantStorage for Redis {
    async fn tenants(&self, deadline: Instant) -> Result<Vec<TenantId>, StorageError> {
        let mut command = redis::cmd("SMEMBERS");
        command.arg(TENANTS);
        let values = self.read_with(&[command], Size::Bulk, deadline).await?;
        let names: Vec<Vec<u8>> = replies::one(values)?;
        // What is no name of a tenant was added by another program, and must not hide the others.
        let names = names.iter().filter_map(|name| std::str::from_utf8(name).ok());
        let mut tenants: Vec<_> = names.filter_map(|name| TenantId::parse(name).ok()).collect();
        tenants.sort();
        Ok(tenants)
    }

    async fn usage(&self, tenant: &TenantId, deadline: Instant) -> Result<Usage, StorageError> {
        let keys = self.keys(tenant);
        let (mut facts, mut bytes) = (redis::cmd("ZCARD"), redis::cmd("GET"));
        facts.arg(keys.order());
        bytes.arg(keys.bytes());
        replies::usage(self.read_with(&[facts, bytes], Size::Small, deadline).await?)
    }

    async fn count(&self, tenant: &TenantId, deadline: Instant) -> Result<u64, StorageError> {
        let mut command = redis::cmd("ZCARD");
        command.arg(self.keys(tenant).order());
        replies::one(self.read_with(&[command], Size::Small, deadline).await?)
    }

    async fn delete_tenant(
        &self,
        tenant: &TenantId,
        deadline: Instant,
    ) -> Result<bool, StorageError> {
        let keys = self.keys(tenant);
        let mut call = scripts::DELETE_TENANT.call(&[
            keys.order(),
            keys.pending(),
            keys.revision(),
            keys.tenants(),
            keys.bytes(),
            keys.stream(),
            keys.claim(),
            keys.seen(),
            keys.used(),
            keys.allowances(),
            keys.spaces(),
        ]);
        call.arg(tenant.as_str()).arg(DELETION_STEP).arg(keys.facts()).arg(keys.vectors());
        call.arg(keys.state());
        let kind = (Size::Bulk, Effect::Write);
        let values = self.run_script(&scripts::DELETE_TENANT, vec![call], kind, deadline).await?;
        let is_more = replies::one::<usize>(values)? == DELETION_STEP;
        if !is_more {
            let end = self.limits.end(deadline)?.into();
            self.directory.remove_empty(&self.servers, tenant, end).await?;
        }
        Ok(is_more)
    }
}
