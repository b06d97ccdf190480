//! Facts in Redis: a hash each, with the listing in a sorted set.

use std::collections::BTreeMap;
use std::time::Instant;

use async_trait::async_trait;
use redis::Cmd;

use super::keys::{Keys, TENANTS};
use super::pool::{Effect, Size};
use super::{Redis, replies, scripts};
use crate::cursor::Position;
use crate::limits::{MAX_EXACT, check_batch, page_size};
use crate::{
    Condition, FactId, FactQuota, FactStorage, Hash, IdPage, Revision, StorageError, TenantId,
    Write,
};

#[async_trait]
impl FactStorage for Redis {
    async fn read(
        &self,
        tenant: &TenantId,
        ids: &[FactId],
        max_bytes: usize,
        deadline: Instant,
    ) -> Result<Vec<Option<Hash>>, StorageError> {
        check_batch(ids.len())?;
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let keys = self.keys(tenant);
        let facts: Vec<String> = ids.iter().map(|id| keys.fact(id)).collect();
        let mut call = scripts::READ.call(&facts);
        call.arg(max_bytes);
        let size = if ids.len() == 1 { Size::Small } else { Size::Bulk };
        let kind = (size, Effect::Read);
        let values = self.run_script(&scripts::READ, vec![call], kind, deadline).await?;
        replies::hashes(replies::one(values)?, max_bytes)
    }

    async fn page(
        &self,
        tenant: &TenantId,
        cursor: Option<&str>,
        limit: usize,
        deadline: Instant,
    ) -> Result<IdPage, StorageError> {
        let after = cursor.map(Position::decode).transpose()?;
        let limit = page_size(limit);
        let mut call = scripts::PAGE.call(&[self.keys(tenant).order()]);
        call.arg(limit + 1);
        if let Some(after) = after {
            call.arg(after.order).arg(after.id.as_str());
        }
        let kind = (Size::Small, Effect::Read);
        let values = self.run_script(&scripts::PAGE, vec![call], kind, deadline).await?;
        replies::page(replies::one(values)?, limit)
    }

    async fn write_within(
        &self,
        tenant: &TenantId,
        writes: &[Write],
        quota: FactQuota,
        deadline: Instant,
    ) -> Result<Vec<Option<Revision>>, StorageError> {
        check_batch(writes.len())?;
        let keys = self.keys(tenant);
        let possible = |write: &&Write| !write.fields.is_empty();
        let calls: Vec<Cmd> =
            writes.iter().filter(possible).map(|w| write_call(&keys, tenant, w, quota)).collect();
        if calls.is_empty() {
            return Ok(vec![None; writes.len()]);
        }
        let kind = (Size::Small, Effect::Write);
        let values = self.run_script(&scripts::WRITE, calls, kind, deadline).await?;
        let mut revisions = replies::revisions(values, quota)?.into_iter();
        let revision = |write: &Write| {
            if write.fields.is_empty() { None } else { revisions.next().flatten() }
        };
        Ok(writes.iter().map(revision).collect())
    }

    async fn delete(
        &self,
        tenant: &TenantId,
        id: &FactId,
        deadline: Instant,
    ) -> Result<Option<Revision>, StorageError> {
        let keys = self.keys(tenant);
        let mut call = scripts::DELETE.call(&[
            keys.fact(id),
            keys.order(),
            keys.pending(),
            keys.revision(),
            keys.vector(id),
            keys.bytes(),
        ]);
        call.arg(id.as_str());
        let kind = (Size::Small, Effect::Write);
        let values = self.run_script(&scripts::DELETE, vec![call], kind, deadline).await?;
        Ok(replies::one::<Option<u64>>(values)?.map(Revision))
    }
}

/// The call that performs `write`.
fn write_call(keys: &Keys, tenant: &TenantId, write: &Write, quota: FactQuota) -> Cmd {
    let mut call = scripts::WRITE.call(&[
        keys.fact(&write.id),
        keys.order(),
        keys.pending(),
        keys.revision(),
        keys.vector(&write.id),
        TENANTS.to_owned(),
        keys.bytes(),
    ]);
    let condition = match write.condition {
        Condition::Absent => "absent",
        Condition::Present => "present",
    };
    call.arg(write.id.as_str()).arg(tenant.as_str()).arg(condition);
    call.arg(write.order.min(MAX_EXACT));
    let most = |quota: Option<u64>| quota.map_or(MAX_EXACT, |most| most.min(MAX_EXACT));
    call.arg(most(quota.facts)).arg(most(quota.bytes));
    // Each name once, so that the script can add up the change in size.
    let fields: BTreeMap<&str, &str> =
        write.fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    for (name, value) in fields {
        call.arg(name).arg(value);
    }
    call
}
