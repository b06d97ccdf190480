//! Vectors in Redis: a hash each, with the pending facts in a sorted set.

use std::time::Instant;

use async_trait::async_trait;
use redis::Cmd;

use super::changes::Appends;
use super::keys::Keys;
use super::pool::{Effect, Size};
use super::{Redis, replies, scripts};
use crate::cursor::Position;
use crate::limits::{check_batch, page_size};
use crate::{
    FactId, Revision, StorageError, StoredVector, TenantId, Vector, VectorStorage, vector_bytes,
};

#[async_trait]
impl VectorStorage for Redis {
    async fn put_vectors(
        &self,
        tenant: &TenantId,
        vectors: &[StoredVector],
        deadline: Instant,
    ) -> Result<(), StorageError> {
        check_batch(vectors.len())?;
        if vectors.is_empty() {
            return Ok(());
        }
        let keys = self.keys(tenant);
        let calls = vectors.iter().map(|vector| put_call(&keys, &self.appends, vector)).collect();
        let kind = (Size::Bulk, Effect::Write);
        let values = self.run_script(&scripts::PUT_VECTOR, calls, kind, deadline).await?;
        values.into_iter().try_for_each(|value| replies::parse::<u64>(value).map(|_| ()))
    }

    async fn read_vectors(
        &self,
        tenant: &TenantId,
        ids: &[FactId],
        deadline: Instant,
    ) -> Result<Vec<Option<Vector>>, StorageError> {
        check_batch(ids.len())?;
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let keys = self.keys(tenant);
        let read = |id: &FactId| {
            let mut read = redis::cmd("HMGET");
            read.arg(keys.vector(id)).arg(&["profile", "digest", "values"]);
            read
        };
        let commands: Vec<Cmd> = ids.iter().map(read).collect();
        let values = self.read_with(&commands, Size::Bulk, deadline).await?;
        values.into_iter().map(replies::vector).collect()
    }

    async fn mark_pending(
        &self,
        tenant: &TenantId,
        ids: &[FactId],
        deadline: Instant,
    ) -> Result<(), StorageError> {
        check_batch(ids.len())?;
        if ids.is_empty() {
            return Ok(());
        }
        let keys = self.keys(tenant);
        let calls = ids.iter().map(|id| mark_call(&keys, &self.appends, id)).collect();
        let kind = (Size::Small, Effect::Write);
        let values = self.run_script(&scripts::MARK_PENDING, calls, kind, deadline).await?;
        values.into_iter().try_for_each(|value| replies::parse::<u64>(value).map(|_| ()))
    }

    async fn pending(
        &self,
        tenant: &TenantId,
        after: Option<Revision>,
        limit: usize,
        deadline: Instant,
    ) -> Result<Vec<(FactId, Revision)>, StorageError> {
        let (keys, limit) = (self.keys(tenant), page_size(limit));
        let mut start = after.map_or_else(|| "-inf".into(), |Revision(after)| format!("({after}"));
        loop {
            let mut command = redis::cmd("ZRANGEBYSCORE");
            command.arg(keys.pending()).arg(&start).arg("+inf");
            command.arg("WITHSCORES").arg("LIMIT").arg(0).arg(limit);
            let values = self.read_with(&[command], Size::Small, deadline).await?;
            let rows = replies::rows(replies::one(values)?, limit)?;
            let Some((last, _)) = rows.last.filter(|_| rows.positions.is_empty()) else {
                let mark = |position: Position| (position.id, Revision(position.order));
                return Ok(rows.positions.into_iter().map(mark).collect());
            };
            // None of these is valid, and valid ones may follow.
            start = format!("({last}");
        }
    }
}

/// The call that stores `new`.
fn put_call(keys: &Keys, appends: &Appends, new: &StoredVector) -> Cmd {
    let mut call = scripts::PUT_VECTOR.call(&[
        keys.fact(&new.id),
        keys.vector(&new.id),
        keys.pending(),
        keys.revision(),
        keys.stream(),
    ]);
    call.arg(new.id.as_str()).arg(new.revision.0).arg(&new.vector.profile);
    call.arg(&new.vector.digest[..]).arg(vector_bytes::to_bytes(&new.vector.values));
    call.arg(appends);
    call
}

/// The call that marks `id` as pending.
fn mark_call(keys: &Keys, appends: &Appends, id: &FactId) -> Cmd {
    let mut call = scripts::MARK_PENDING.call(&[
        keys.fact(id),
        keys.pending(),
        keys.revision(),
        keys.stream(),
    ]);
    call.arg(id.as_str()).arg(appends);
    call
}
