//! Copies of everything, from one read transaction.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use kenning_backup::{Blob, Position, Record, VectorRecord, WholeBecause};
use redb::{ReadTransaction, ReadableTable};
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;

use super::handle::{Handle, TransactionError};
use super::request::Request;
use super::tables::{
    CHANGES, Counters, DOCUMENTS, DOCUMENTS_REVISION, FACTS, ORDER, PENDING, SPACES, STATE,
    TENANTS, VECTORS, change_sum, counters, damaged, document_sum, documents_revision_sum,
    intact_fact, order_sum, state_sum, table, table_if_any, vector_sum,
};
use super::{Embedded, codec};
use crate::copies::{Extent, State, document, fact, state_key};
use crate::cursor::Position as ListPosition;
use crate::state::now;
use crate::{CopyStorage, FactId, Revision, SpaceName, StorageError, TenantId, Wanted};

/// After how many facts of a listing it is said how far it came.
const MARK_EVERY: u64 = 1_000;

/// How long to wait for a reader that is behind.
const PAUSE: Duration = Duration::from_millis(2);

#[async_trait]
impl CopyStorage for Embedded {
    async fn copy(&self, wanted: &Wanted, to: &Sender<Record>) -> Result<(), StorageError> {
        let (wanted, to) = (wanted.clone(), to.clone());
        let handle = Arc::clone(&self.handle);
        let task = tokio::task::spawn_blocking(move || {
            let tx = handle.snapshot()?;
            let copier = Copier { tx: &tx, wanted: &wanted, handle: &handle, to: &to };
            match copier.run() {
                Ok(()) | Err(Stopped::Unheard) => Ok(()),
                Err(Stopped::Failed(error)) => Err(error.into()),
            }
        });
        task.await
            .unwrap_or_else(|_| Err(StorageError::Corrupt("a read of facts.redb panicked".into())))
    }

    async fn raise_revision(
        &self,
        tenant: &TenantId,
        revision: Revision,
        deadline: Instant,
    ) -> Result<(), StorageError> {
        self.change(Request::RaiseRevision(tenant.clone(), revision), deadline).await.map(drop)
    }
}

/// Why copying ended early.
enum Stopped {
    /// Nobody receives the records any more.
    Unheard,
    Failed(TransactionError),
}

impl<E: Into<TransactionError>> From<E> for Stopped {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

struct Copier<'c> {
    tx: &'c ReadTransaction,
    wanted: &'c Wanted,
    handle: &'c Handle,
    to: &'c Sender<Record>,
}

impl Copier<'_> {
    fn run(&self) -> Result<(), Stopped> {
        let mut tenants = BTreeSet::new();
        for row in table(self.tx, TENANTS)?.iter()? {
            tenants.insert(row?.0.value().to_owned());
        }
        for tenant in &self.wanted.also {
            if self.has_spaces(tenant.as_str())? {
                tenants.insert(tenant.to_string());
            }
        }
        tenants.retain(|tenant| self.wanted.wants_tenant(tenant));
        for tenant in &tenants {
            self.tenant(tenant)?;
        }
        self.documents()?;
        self.send(Record::End { tenants: tenants.into_iter().collect() })
    }

    /// Whether the tenant's extensions keep anything.
    fn has_spaces(&self, tenant: &str) -> Result<bool, Stopped> {
        let Some(spaces) = table_if_any(self.tx, SPACES)? else { return Ok(false) };
        let first = spaces.range((tenant, "")..)?.next().transpose()?;
        Ok(first.is_some_and(|(space, _)| space.value().0 == tenant))
    }

    /// Sends a record, and waits for the reader. Does not outlive the file: as long as this has a
    /// transaction, it cannot be opened again.
    fn send(&self, record: Record) -> Result<(), Stopped> {
        let mut record = record;
        loop {
            self.handle.check_open()?;
            match self.to.try_send(record) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Closed(_)) => return Err(Stopped::Unheard),
                Err(TrySendError::Full(unsent)) => record = unsent,
            }
            sleep(PAUSE);
        }
    }

    fn left_out(&self, error: &StorageError) -> Result<(), Stopped> {
        self.send(Record::LeftOut { what: error.to_string() })
    }

    fn tenant(&self, tenant: &str) -> Result<(), Stopped> {
        let known = self.wanted.since.tenants.get(tenant);
        let state = self.state(tenant, known)?;
        let (rest, because) = match state.extent(known) {
            Extent::Rest(after, cursor) => match self.changed(tenant, after, &state)? {
                Some(changed) => (Some((changed, cursor)), None),
                None => (None, Some(WholeBecause::ChangesNotKept)),
            },
            Extent::Whole(because) => (None, because),
        };
        let (name, whole) = (tenant.to_owned(), rest.is_none());
        self.send(Record::Tenant { name, whole, because })?;
        match rest {
            None => self.listing(tenant, None, &state.position)?,
            Some((changed, cursor)) => {
                changed.iter().try_for_each(|id| self.present(tenant, id))?;
                if cursor.is_some() {
                    self.listing(tenant, cursor.as_deref(), &state.position)?;
                }
            }
        }
        self.state_of_extensions(tenant)?;
        self.send(Record::TenantEnd(state.position))
    }

    fn state_of_extensions(&self, tenant: &str) -> Result<(), Stopped> {
        self.send(Record::StateBegin)?;
        let Some(rows) = table_if_any(self.tx, STATE)? else { return Ok(()) };
        let (now, first): (u64, &[u8]) = (now(), &[]);
        for row in rows.range((tenant, "", first)..)? {
            let (at, row) = row?;
            let (of, name, key) = at.value();
            if of != tenant {
                break;
            }
            let (version, expires, value, sum) = row.value();
            let is_intact = state_sum(at.value(), (version, expires, value)) == sum;
            let Some(space) = SpaceName::parse(name).ok().filter(|_| is_intact) else {
                let what = format!("a key in the state of {name} of {tenant}");
                self.left_out(&damaged(what))?;
                continue;
            };
            let expires = (expires != 0).then_some(expires);
            if expires.is_none_or(|expires| expires > now)
                && let Some(record) = state_key(&space, key, value.to_vec(), expires)
            {
                self.send(record)?;
            }
        }
        Ok(())
    }

    fn state(&self, tenant: &str, known: Option<&Position>) -> Result<State, Stopped> {
        let counted = match counters(&table(self.tx, TENANTS)?, tenant)? {
            Ok(counted) => counted,
            Err(error) => {
                self.left_out(&error)?;
                Counters::default()
            }
        };
        let newest = self.positions(tenant, None)?.next().transpose()?.map(|at| at.encode());
        let change_of_reader = match known {
            Some(known) => self.change(tenant, known.revision)?,
            None => String::new(),
        };
        let position = Position {
            revision: counted.revision,
            change: self.change(tenant, counted.revision)?,
            newest: newest.unwrap_or_default(),
            facts: counted.facts,
            bytes: counted.bytes,
            cursor: None,
        };
        Ok(State { position, change_of_reader })
    }

    /// What tells a change from another one with its number; empty if it is not kept.
    fn change(&self, tenant: &str, revision: u64) -> Result<String, Stopped> {
        let row = table(self.tx, CHANGES)?.get((tenant, revision))?;
        Ok(row.map_or_else(String::new, |row| {
            let (.., by, at, _) = row.value();
            format!("{by:x}-{at}")
        }))
    }

    /// The facts that changed after a revision; `None` if the stream does not say.
    fn changed(
        &self,
        tenant: &str,
        after: u64,
        state: &State,
    ) -> Result<Option<HashSet<String>>, Stopped> {
        let (mut ids, mut expected) = (HashSet::new(), after + 1);
        for row in table(self.tx, CHANGES)?.range((tenant, after + 1)..=(tenant, u64::MAX))? {
            let (key, row) = row?;
            let (kind, id, of, by, at, sum) = row.value();
            let is_intact = change_sum(key.value(), (kind, id, of, by, at)) == sum;
            if key.value().1 != expected || !is_intact {
                return Ok(None);
            }
            expected += 1;
            ids.insert(id.to_owned());
        }
        Ok((expected == state.position.revision + 1).then_some(ids))
    }

    /// Sends a tenant's facts, newest first, from a cursor on.
    fn listing(
        &self,
        tenant: &str,
        cursor: Option<&str>,
        position: &Position,
    ) -> Result<(), Stopped> {
        let after = cursor.map(ListPosition::decode).transpose()?;
        let mut sent = 0;
        for place in self.positions(tenant, after.as_ref())? {
            let place = place?;
            self.present(tenant, place.id.as_str())?;
            sent += 1;
            if sent % MARK_EVERY == 0 {
                let cursor = Some(place.encode());
                self.send(Record::Mark(Position { cursor, ..position.clone() }))?;
            }
        }
        Ok(())
    }

    /// The positions of a tenant's listing. Damaged ones are left out.
    fn positions(
        &self,
        tenant: &str,
        after: Option<&ListPosition>,
    ) -> Result<impl Iterator<Item = Result<ListPosition, Stopped>>, Stopped> {
        let end = match after {
            Some(after) => (tenant, after.order, after.id.as_str()),
            None => (tenant, u64::MAX, ""),
        };
        let rows = table(self.tx, ORDER)?.range((tenant, 0, "")..end)?.rev();
        Ok(rows.filter_map(|row| match row {
            Ok((key, sum)) => {
                let (_, order, id) = key.value();
                let is_intact = order_sum(key.value()) == sum.value();
                let id = FactId::parse(id).ok().filter(|_| is_intact)?;
                Some(Ok(ListPosition { order, id }))
            }
            Err(error) => Some(Err(error.into())),
        }))
    }

    /// Sends a fact as it is, or that it is gone.
    fn present(&self, tenant: &str, id: &str) -> Result<(), Stopped> {
        let key = (tenant, id);
        let Some(row) = table(self.tx, FACTS)?.get(key)? else {
            return self.send(Record::Gone { id: id.to_owned() });
        };
        let read = intact_fact(key, row.value())
            .and_then(|(order, revision, hash)| Ok((order, revision, codec::decode(hash)?)));
        let (order, revision, hash) = match read {
            Ok(read) => read,
            Err(error) => return self.left_out(&error),
        };
        let pending = table(self.tx, PENDING)?.get((tenant, revision))?.is_some();
        let vector = table(self.tx, VECTORS)?.get(key)?.and_then(|row| {
            let (revision, profile, digest, values, sum) = row.value();
            let is_intact = vector_sum(key, revision, profile, digest, values) == sum;
            is_intact.then(|| VectorRecord {
                profile: profile.to_owned(),
                digest: Blob(digest.to_vec()),
                values: Blob(values.to_vec()),
            })
        });
        self.send(fact(id, order, pending, hash, vector))
    }

    fn documents(&self) -> Result<(), Stopped> {
        let after = self.wanted.since.documents.unwrap_or_default();
        let mut names = Vec::new();
        for row in table(self.tx, DOCUMENTS)?.iter()? {
            let (name, row) = row?;
            let (name, (version, bytes, sum)) = (name.value(), row.value());
            if !self.wanted.wants_document(name) {
                continue;
            }
            if document_sum(name, version, bytes) != sum {
                self.left_out(&damaged(format!("the document {name}")))?;
                continue;
            }
            names.push(name.to_owned());
            if version > after {
                document(name, bytes).try_for_each(|piece| self.send(piece))?;
            }
        }
        let revision = match table(self.tx, DOCUMENTS_REVISION)?.get(())? {
            Some(row) => match row.value() {
                (revision, sum) if documents_revision_sum(revision) == sum => revision,
                _ => 0,
            },
            None => 0,
        };
        self.send(Record::DocumentsEnd { revision, names })
    }
}
