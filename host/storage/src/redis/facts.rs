//! Facts in Redis: a hash each, with the listing in a sorted set.

use std::collections::BTreeMap;
use std::time::Instant;

use async_trait::async_trait;
use redis::Cmd;

use super::lost::{Lost, evicted};
use super::pool::{Effect, Size};
use super::registry::Known;
use super::replies::{self, Rows};
use super::{Redis, scripts};
use crate::cursor::Position;
use crate::limits::{MAX_EXACT, check_batch, page_size};
use crate::{
    Condition, FactId, FactQuota, FactStorage, Hash, IdPage, RegistryRevision, Revision,
    StorageError, TenantId, Write,
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
        self.read_as_of(tenant, None, ids, max_bytes, deadline).await
    }

    async fn read_as_of(
        &self,
        tenant: &TenantId,
        registry: Option<RegistryRevision>,
        ids: &[FactId],
        max_bytes: usize,
        deadline: Instant,
    ) -> Result<Vec<Option<Hash>>, StorageError> {
        check_batch(ids.len())?;
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let keys = self.keys(tenant);
        let facts = ids.iter().map(|id| keys.fact(id));
        let all: Vec<String> = std::iter::once(keys.registry()).chain(facts).collect();
        let mut call = scripts::READ.call(&all);
        call.arg(Known(registry)).arg(max_bytes);
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
        self.page_as_of(tenant, None, cursor, limit, deadline).await
    }

    async fn page_as_of(
        &self,
        tenant: &TenantId,
        registry: Option<RegistryRevision>,
        cursor: Option<&str>,
        limit: usize,
        deadline: Instant,
    ) -> Result<IdPage, StorageError> {
        let after = cursor.map(Position::decode).transpose()?;
        let mut after = after.map(|after| (after.order as f64, after.id.as_str().into()));
        let (limit, mut found) = (page_size(limit), Vec::new());
        loop {
            let wanted = limit - found.len();
            let rows = self.rows((tenant, registry), after.as_ref(), wanted, deadline).await?;
            let more = rows.count > wanted;
            found.extend(rows.positions);
            if !more || found.len() == limit {
                let cursor = found.last().filter(|_| more).map(Position::encode);
                let ids = found.into_iter().map(|position| position.id).collect();
                return Ok(IdPage { ids, cursor });
            }
            after = rows.last;
        }
    }

    async fn write_within(
        &self,
        tenant: &TenantId,
        writes: &[Write],
        quota: FactQuota,
        deadline: Instant,
    ) -> Result<Vec<Option<Revision>>, StorageError> {
        self.write_as_of(tenant, None, writes, quota, deadline).await
    }

    async fn write_as_of(
        &self,
        tenant: &TenantId,
        registry: Option<RegistryRevision>,
        writes: &[Write],
        quota: FactQuota,
        deadline: Instant,
    ) -> Result<Vec<Option<Revision>>, StorageError> {
        check_batch(writes.len())?;
        let possible = |write: &&Write| !write.fields.is_empty();
        let calls: Vec<Cmd> = writes
            .iter()
            .filter(possible)
            .map(|write| self.write_call(tenant, registry, write, quota))
            .collect();
        if calls.is_empty() {
            return Ok(vec![None; writes.len()]);
        }
        let (kind, end) = ((Size::Small, Effect::Write), self.limits.end(deadline)?.into());
        let mut is_new = false;
        if self.servers.is_cluster() {
            self.check_open()?;
            self.guard.check(Effect::Write, end).await?;
            is_new = self.directory.before_write(&self.servers, tenant, end).await?;
        }
        let values = self.run_script(&scripts::WRITE, calls, kind, deadline).await;
        let revisions = values.and_then(|values| replies::revisions(values, quota));
        let has_happened = match &revisions {
            Ok(revisions) => revisions.iter().any(Option::is_some),
            Err(error) => error.is_outcome_unknown(),
        };
        if is_new && !has_happened {
            // What fails here leaves a tenant without facts in the list, and nothing else.
            let _ = self.directory.remove_empty(&self.servers, tenant, end).await;
        }
        let revisions = revisions?;
        self.directory.after_write(&self.servers, tenant, &revisions, end).await;
        let mut revisions = revisions.into_iter();
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
        self.delete_as_of(tenant, None, id, deadline).await
    }

    async fn delete_as_of(
        &self,
        tenant: &TenantId,
        registry: Option<RegistryRevision>,
        id: &FactId,
        deadline: Instant,
    ) -> Result<Option<Revision>, StorageError> {
        let keys = self.keys(tenant);
        let mut of_fact = vec![
            keys.fact(id),
            keys.order(),
            keys.pending(),
            keys.revision(),
            keys.vector(id),
            keys.bytes(),
            keys.stream(),
            keys.registry(),
        ];
        of_fact.extend(keys.seen_if_shared());
        let mut call = scripts::DELETE.call(&of_fact);
        call.arg(id.as_str()).arg(&self.appends).arg(Known(registry));
        let kind = (Size::Small, Effect::Write);
        let values = self.run_script(&scripts::DELETE, vec![call], kind, deadline).await?;
        Ok(replies::one::<Option<u64>>(values)?.map(Revision))
    }

    async fn is_listed(
        &self,
        tenant: &TenantId,
        id: &FactId,
        deadline: Instant,
    ) -> Result<bool, StorageError> {
        let mut command = redis::cmd("ZSCORE");
        command.arg(self.keys(tenant).order()).arg(id.as_str());
        let values = self.read_with(&[command], Size::Small, deadline).await?;
        Ok(replies::one::<Option<f64>>(values)?.is_some())
    }

    async fn remove_lost(
        &self,
        tenant: &TenantId,
        ids: &[FactId],
        deadline: Instant,
    ) -> Result<Vec<(FactId, Revision)>, StorageError> {
        check_batch(ids.len())?;
        let end = self.limits.end(deadline)?.into();
        self.guard.check(Effect::Write, end).await?;
        Lost { servers: &self.servers, keys: &self.keys(tenant), appends: &self.appends, end }
            .remove(ids)
            .await
    }

    async fn remove_all_lost(
        &self,
        tenant: &TenantId,
        deadline: Instant,
    ) -> Result<Vec<(FactId, Revision)>, StorageError> {
        let evicted = self.losses(deadline).await?;
        if !self.swept.is_behind(tenant, evicted) {
            return Ok(Vec::new());
        }
        let keys = self.keys(tenant);
        let (mut all, mut start) = (Vec::new(), Some(0));
        while let Some(from) = start {
            let Ok(end) = self.limits.end(deadline) else { return Ok(all) };
            let (servers, appends) = (&*self.servers, &self.appends);
            let lost = Lost { servers, keys: &keys, appends, end: end.into() };
            let (removed, next) = lost.step(from).await?;
            all.extend(removed);
            start = next;
        }
        self.swept.set(tenant, evicted);
        Ok(all)
    }

    async fn losses(&self, deadline: Instant) -> Result<u64, StorageError> {
        let mut info = redis::cmd("INFO");
        info.arg("stats");
        self.check_open()?;
        let end = self.limits.end(deadline)?.into();
        self.guard.check(Effect::Read, end).await?;
        let told = self.servers.run_everywhere(&info, end).await?;
        let of_one = |info: Result<redis::Value, StorageError>| {
            replies::parse::<String>(info?).map(|info| evicted(&info))
        };
        told.into_iter().map(of_one).sum()
    }
}

impl Redis {
    /// The first `wanted` rows of a tenant's listing after a score and an id, and whether there are
    /// more.
    pub(super) async fn rows(
        &self,
        (tenant, registry): (&TenantId, Option<RegistryRevision>),
        after: Option<&(f64, Vec<u8>)>,
        wanted: usize,
        deadline: Instant,
    ) -> Result<Rows, StorageError> {
        let keys = self.keys(tenant);
        let mut call = scripts::PAGE.call(&[keys.order(), keys.registry()]);
        call.arg(Known(registry)).arg(wanted + 1);
        if let Some((order, id)) = after {
            call.arg(order.to_string()).arg(id);
        }
        let kind = (Size::Small, Effect::Read);
        let values = self.run_script(&scripts::PAGE, vec![call], kind, deadline).await?;
        replies::rows(replies::one(values)?, wanted)
    }

    /// The call that performs `write`.
    fn write_call(
        &self,
        tenant: &TenantId,
        registry: Option<RegistryRevision>,
        write: &Write,
        quota: FactQuota,
    ) -> Cmd {
        let keys = self.keys(tenant);
        let mut of_fact = vec![
            keys.fact(&write.id),
            keys.order(),
            keys.pending(),
            keys.revision(),
            keys.vector(&write.id),
            keys.tenants(),
            keys.bytes(),
            keys.stream(),
            keys.registry(),
        ];
        of_fact.extend(keys.seen_if_shared());
        let mut call = scripts::WRITE.call(&of_fact);
        let condition = match write.condition {
            Condition::Absent => "absent",
            Condition::Present => "present",
        };
        call.arg(write.id.as_str()).arg(tenant.as_str()).arg(condition);
        call.arg(write.order.min(MAX_EXACT));
        let most = |quota: Option<u64>| quota.map_or(MAX_EXACT, |most| most.min(MAX_EXACT));
        call.arg(most(quota.facts)).arg(most(quota.bytes));
        call.arg(&self.appends).arg(Known(registry)).arg(write.expected.len());
        for (name, value) in &write.expected {
            call.arg(name).arg(value);
        }
        // Each name once, so that the script can add up the change in size.
        let fields: BTreeMap<&str, &str> =
            write.fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        for (name, value) in fields {
            call.arg(name).arg(value);
        }
        call
    }
}
