//! A stream of changes for each tenant: its reads, and what the writer appends.
//!
//! Versions without streams leave the table alone, so what they wrote has no changes. [`Handle`]
//! recognises that when it opens the file and begins all streams anew.
//!
//! [`Handle`]: super::handle::Handle

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use redb::{ReadTransaction, ReadableTable};
use tokio::sync::Notify;
use tokio::time::timeout_at;

use super::Embedded;
use super::counters::counters_of;
use super::handle::TransactionError;
use super::tables::{CHANGES, Counters, TENANTS, Tables, change_sum, counters, table};
use crate::limits::page_size;
use crate::{Change, ChangeKind, ChangeStorage, Changes, FactId, Revision, StorageError, TenantId};

/// The most changes of one tenant that a commit drops because they are old.
const SWEPT: usize = 100;

/// The changes that an append drops at most, so that a stream shrinks to its bounds in the end.
const DROPPED: usize = 2;

/// What is appended.
pub(super) struct New<'n> {
    pub(super) revision: u64,
    pub(super) kind: ChangeKind,
    pub(super) id: &'n str,
    /// The revision of the fact.
    pub(super) of: u64,
}

/// Appends a change, and drops the oldest beyond the stream's bounds.
pub(super) fn append(
    tables: &mut Tables<'_>,
    tenant: &str,
    new: New<'_>,
) -> Result<(), redb::StorageError> {
    let appends = tables.appends;
    let row = (new.kind.as_str(), new.id, new.of, appends.writer, appends.at);
    tables.put_change((tenant, new.revision), row)?;
    let last_dropped = new.revision.saturating_sub(appends.changes);
    drop_first(tables, tenant, DROPPED, |revision, at| {
        revision <= last_dropped || appends.is_old(at)
    })
    .map(drop)
}

/// Drops up to `most` of a tenant's first changes while they are `old` by their revision and time,
/// and returns how many.
fn drop_first(
    tables: &mut Tables<'_>,
    tenant: &str,
    most: usize,
    old: impl Fn(u64, u64) -> bool,
) -> Result<usize, redb::StorageError> {
    for dropped in 0..most {
        let first = {
            let mut rows = tables.changes.range((tenant, 0)..=(tenant, u64::MAX))?;
            let row = rows.next().transpose()?;
            row.map(|(key, row)| (key.value().1, row.value().4))
        };
        match first {
            Some((revision, at)) if old(revision, at) => {
                tables.changes.remove((tenant, revision))?;
            }
            _ => return Ok(dropped),
        }
    }
    Ok(most)
}

/// Drops up to `most` of a tenant's changes, whatever they are, and returns how many.
pub(super) fn drop_some(
    tables: &mut Tables<'_>,
    tenant: &str,
    most: usize,
) -> Result<usize, redb::StorageError> {
    drop_first(tables, tenant, most, |_, _| true)
}

/// Raises a tenant's revision, and drops all of its changes.
pub(super) fn raise_revision(
    tables: &mut Tables<'_>,
    tenant: &str,
    Revision(revision): Revision,
) -> Result<(), TransactionError> {
    let counters = counters_of(tables, tenant)?;
    let revision = counters.revision.max(revision);
    tables.put_counters(tenant, Counters { revision, ..counters })?;
    tables.changes.retain_in((tenant, 0)..=(tenant, u64::MAX), |_, _| false)?;
    Ok(())
}

/// Drops old changes of one tenant after the other, also of those that nobody writes to.
#[derive(Default)]
pub(super) struct Sweep {
    /// The tenant that was last.
    after: String,
}

impl Sweep {
    /// Drops some old changes of the next tenant.
    pub(super) fn step(&mut self, tables: &mut Tables<'_>) -> Result<(), redb::StorageError> {
        let next = {
            let mut rows = tables.changes.range((&*self.after, u64::MAX)..)?;
            let row = rows.next().transpose()?;
            row.map(|(key, _)| key.value().0.to_owned())
        };
        if let Some(tenant) = &next {
            let appends = tables.appends;
            drop_first(tables, tenant, SWEPT, |_, at| appends.is_old(at))?;
        }
        self.after = next.unwrap_or_default();
        Ok(())
    }
}

/// The last revisions of the tenants that were written to since the file was opened.
#[derive(Default)]
pub(super) struct Lasts {
    revisions: Mutex<HashMap<TenantId, u64>>,
    moved: Notify,
}

impl Lasts {
    /// Publishes revisions that were committed; of a tenant that is gone, 0.
    pub(super) fn publish(&self, lasts: Vec<(TenantId, u64)>) {
        let mut revisions = self.revisions();
        for (tenant, last) in lasts {
            match last {
                0 => drop(revisions.remove(&tenant)),
                _ => drop(revisions.insert(tenant, last)),
            }
        }
        drop(revisions);
        self.moved.notify_waiters();
    }

    /// Those of `positions` whose tenants have later revisions.
    fn later(&self, positions: &[(TenantId, Revision)]) -> Vec<(TenantId, Revision)> {
        let revisions = self.revisions();
        let is_later = |(tenant, after): &&(TenantId, Revision)| {
            revisions.get(tenant).is_some_and(|last| *last > after.0)
        };
        positions.iter().filter(is_later).cloned().collect()
    }

    fn revisions(&self) -> MutexGuard<'_, HashMap<TenantId, u64>> {
        self.revisions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl ChangeStorage for Embedded {
    async fn last_revisions(
        &self,
        tenants: &[TenantId],
        deadline: Instant,
    ) -> Result<Vec<Revision>, StorageError> {
        let tenants = tenants.to_vec();
        self.snapshot(deadline, move |tx| {
            let table = table(tx, TENANTS)?;
            let last =
                |tenant: &TenantId| Ok(Revision(counters(&table, tenant.as_str())??.revision));
            tenants.iter().map(last).collect()
        })
        .await
    }

    async fn changes(
        &self,
        tenant: &TenantId,
        after: Revision,
        limit: usize,
        deadline: Instant,
    ) -> Result<Changes, StorageError> {
        let (tenant, limit, writer) = (tenant.clone(), page_size(limit), self.appends.writer);
        self.snapshot(deadline, move |tx| following(tx, &tenant, after, limit, writer)).await
    }

    async fn next_changes(
        &self,
        after: &[(TenantId, Revision)],
        limit: usize,
        wait: Duration,
    ) -> Result<Vec<(TenantId, Changes)>, StorageError> {
        let (end, limit, writer) = (Instant::now() + wait, page_size(limit), self.appends.writer);
        // At first all of them: the file may have changes from before it was opened.
        let mut first = Some(after.to_vec());
        loop {
            let mut moved = pin!(self.lasts.moved.notified());
            // Registered before looking, so that no change is missed.
            moved.as_mut().enable();
            let due = first.take().unwrap_or_else(|| self.lasts.later(after));
            if !due.is_empty() {
                let until = Instant::now() + self.limits.operation;
                let read = move |tx: &ReadTransaction| all_following(tx, due, limit, writer);
                let found = self.snapshot(until, read).await?;
                if !found.is_empty() {
                    return Ok(found);
                }
            }
            if timeout_at(end.into(), moved).await.is_err() {
                return Ok(Vec::new());
            }
        }
    }
}

fn all_following(
    tx: &ReadTransaction,
    positions: Vec<(TenantId, Revision)>,
    limit: usize,
    writer: u64,
) -> Result<Vec<(TenantId, Changes)>, TransactionError> {
    let mut found = Vec::new();
    for (tenant, after) in positions {
        match following(tx, &tenant, after, limit, writer) {
            Ok(Changes::Next(changes)) if changes.is_empty() => {}
            Ok(changes) => found.push((tenant, changes)),
            // Damaged counters of one tenant, which its next write counts again, concern no other.
            Err(TransactionError::Request(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

fn following(
    tx: &ReadTransaction,
    tenant: &TenantId,
    after: Revision,
    limit: usize,
    writer: u64,
) -> Result<Changes, TransactionError> {
    let last = counters(&table(tx, TENANTS)?, tenant.as_str())??.revision;
    let first = after.0.saturating_add(1);
    let rows = table(tx, CHANGES)?;
    let rows = rows.range((tenant.as_str(), first)..=(tenant.as_str(), u64::MAX))?;
    let mut changes = Vec::new();
    for row in rows.take(limit) {
        let (key, row) = row?;
        // A damaged one is a hole in the stream.
        changes.extend(change(key.value(), row.value(), writer));
    }
    Ok(Changes::following(after, Revision(last), changes))
}

/// A change as the table holds it; `None` if it is damaged.
fn change(
    key: (&str, u64),
    (kind, id, of, by, at, sum): (&str, &str, u64, u64, u64, u32),
    writer: u64,
) -> Option<Change> {
    if change_sum(key, (kind, id, of, by, at)) != sum {
        tracing::error!(tenant.id = key.0, revision = key.1, "a change in the stream is damaged");
        return None;
    }
    Some(Change {
        revision: Revision(key.1),
        id: FactId::parse(id).ok()?,
        kind: ChangeKind::parse(kind)?,
        of: Revision(of),
        is_own: by == writer,
    })
}
