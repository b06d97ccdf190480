//! Copies of everything: each tenant by pages of its listing, brought up to date by its stream.
//!
//! Facts are read while others change them. After each page, what was changed meanwhile is read
//! again, and at the end, in one step, what was changed since: then all records are of the moment
//! of that step. What extensions keep is read right before it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use kenning_backup::{Blob, Position, Record, VectorRecord, WholeBecause};
use tokio::sync::mpsc::Sender;

use super::pool::{Effect, Size};
use super::replies::{self, Rows};
use super::{Redis, scripts};
use crate::copies::{Extent, State, document, fact, state_key};
use crate::cursor::Position as ListPosition;
use crate::limits::{BATCH, DOCUMENT_BYTES};
use crate::state::now;
use crate::{
    CopyStorage, DocumentStorage, Revision, StateEntry, StateSpace, StateStorage, StorageError,
    TOLD_UP_TO, TenantId, TenantStorage, Wanted,
};

/// How long one step may take.
const STEP: Duration = Duration::from_secs(30);

/// The most bytes of facts and vectors that one step reads.
const STEP_BYTES: usize = 4 << 20;

/// The most changes that one step looks at.
const STEP_CHANGES: usize = 100;

/// The facts of a listing's page.
const PAGE: usize = 500;

/// How often a tenant is copied anew because its stream did not reach far enough.
const ATTEMPTS: usize = 3;

/// How often documents are read again that were changed meanwhile.
const ROUNDS: usize = 100;

#[async_trait]
impl CopyStorage for Redis {
    async fn copy(&self, wanted: &Wanted, to: &Sender<Record>) -> Result<(), StorageError> {
        let copier = Copier { redis: self, wanted, to };
        tokio::select! {
            done = copier.run() => done,
            () = to.closed() => Ok(()),
        }
    }

    async fn raise_revision(
        &self,
        tenant: &TenantId,
        revision: Revision,
        deadline: Instant,
    ) -> Result<(), StorageError> {
        let keys = self.keys(tenant);
        let mut call = scripts::RAISE_REVISION.call(&[keys.revision(), keys.stream()]);
        call.arg(revision.0);
        let kind = (Size::Small, Effect::Write);
        let values = self.run_script(&scripts::RAISE_REVISION, vec![call], kind, deadline).await?;
        replies::one::<u64>(values).map(drop)
    }
}

struct Copier<'c> {
    redis: &'c Redis,
    wanted: &'c Wanted,
    to: &'c Sender<Record>,
}

/// A fact's id, its order, whether it is pending, its fields and its vector's parts.
type Item = (String, f64, bool, Vec<(Vec<u8>, Vec<u8>)>, Vec<Option<Vec<u8>>>);

/// What `copy.lua` returns.
type Reply = (u64, u64, String, String, redis::Value, u64, u64, Vec<Item>);

/// What was read in one step.
struct Step {
    /// The tenant, up to the revision that the facts are of.
    state: State,
    /// The tenant's last revision.
    last: u64,
    items: Vec<Item>,
}

/// What a tenant's copy came to.
enum Copied {
    Whole,
    /// Changes are missing in the stream.
    Gap,
}

impl Copier<'_> {
    async fn run(&self) -> Result<(), StorageError> {
        let mut tenants: BTreeSet<TenantId> =
            self.redis.tenants(soon()).await?.into_iter().collect();
        for tenant in &self.wanted.also {
            if tenants.contains(tenant) || !self.wanted.wants_tenant(tenant.as_str()) {
                continue;
            }
            let names = self.redis.names_of_spaces(tenant, soon()).await;
            // What cannot be read is said to be left out.
            if !names.is_ok_and(|names| names.is_empty()) {
                tenants.insert(tenant.clone());
            }
        }
        tenants.retain(|one| self.wanted.wants_tenant(one.as_str()));
        for tenant in &tenants {
            self.tenant(tenant).await?;
        }
        self.documents().await?;
        let tenants = tenants.iter().map(ToString::to_string).collect();
        self.send(Record::End { tenants }).await
    }

    /// Who receives nothing more has ended the copy.
    async fn send(&self, record: Record) -> Result<(), StorageError> {
        let closed = |_| StorageError::Unavailable("nobody receives the copy any more".into());
        self.to.send(record).await.map_err(closed)
    }

    async fn tenant(&self, tenant: &TenantId) -> Result<(), StorageError> {
        let known = self.wanted.since.tenants.get(tenant.as_str());
        let after = known.map_or(0, |known| known.revision);
        let name = tenant.to_string();
        let first = self.step(tenant, after, &[]).await?;
        let because = match first.state.extent(known) {
            Extent::Whole(because) => because,
            Extent::Rest(after, cursor) => {
                let name = name.clone();
                self.send(Record::Tenant { name, whole: false, because: None }).await?;
                if let Copied::Whole = self.rest(tenant, after, cursor).await? {
                    return Ok(());
                }
                Some(WholeBecause::ChangesNotKept)
            }
        };
        for _ in 0..ATTEMPTS {
            let begun = self.step(tenant, 0, &[]).await?.last;
            self.send(Record::Tenant { name: name.clone(), whole: true, because }).await?;
            let everything = Some(String::new());
            if let Copied::Whole = self.rest(tenant, begun, everything).await? {
                return Ok(());
            }
        }
        Err(StorageError::Unavailable(format!(
            "the tenant {tenant} changes faster than it is copied: more than the changes that are \
             kept; try again, and the backup goes on with what it lacks"
        )))
    }

    /// Sends what was changed after a revision, and the listing from a cursor on, if there is one.
    async fn rest(
        &self,
        tenant: &TenantId,
        after: u64,
        cursor: Option<String>,
    ) -> Result<Copied, StorageError> {
        let Some(mut position) = self.follow(tenant, after, 1).await? else {
            return Ok(Copied::Gap);
        };
        let mut next = match cursor.as_deref() {
            None => None,
            Some("") => Some(None),
            Some(cursor) => {
                let place = ListPosition::decode(cursor)?;
                Some(Some((place.order as f64, place.id.as_str().into())))
            }
        };
        while let Some(place) = next {
            let rows = self.redis.rows((tenant, None), place.as_ref(), PAGE, soon()).await?;
            self.page(tenant, &rows).await?;
            let Some(moved) = self.follow(tenant, position.revision, 100).await? else {
                return Ok(Copied::Gap);
            };
            position = moved;
            next = (rows.count > PAGE).then(|| rows.last.clone());
            if let (Some(_), Some(last)) = (&next, rows.positions.last()) {
                let cursor = Some(last.encode());
                self.send(Record::Mark(Position { cursor, ..position.clone() })).await?;
            }
        }
        self.state_of_extensions(tenant).await?;
        let Some(position) = self.follow(tenant, position.revision, usize::MAX).await? else {
            return Ok(Copied::Gap);
        };
        self.send(Record::TenantEnd(position)).await?;
        Ok(Copied::Whole)
    }

    /// Sends what the tenant's extensions keep. What the host keeps for them is read first: how far
    /// one was told of changes must not be later than what it keeps of them.
    async fn state_of_extensions(&self, tenant: &TenantId) -> Result<(), StorageError> {
        self.send(Record::StateBegin).await?;
        let mut names = match self.redis.names_of_spaces(tenant, soon()).await {
            Ok(names) => names,
            Err(error) => return self.left_out(&format!("the states of {tenant}"), error).await,
        };
        names.sort_by_key(|name| (!name.is_hosts(), name.clone()));
        for name in names {
            let space = StateSpace { tenant: tenant.clone(), name, registry: None };
            if let Err(error) = self.space(&space).await {
                let what = format!("the state of {} of {tenant}", space.name);
                self.left_out(&what, error).await?;
            }
        }
        Ok(())
    }

    /// Says that something is left out where a key of another program's is in its place. Fails with
    /// every other error.
    async fn left_out(&self, what: &str, error: StorageError) -> Result<(), StorageError> {
        match error {
            StorageError::Corrupt(why) | StorageError::Refused(why) => {
                self.send(Record::LeftOut { what: format!("{what}: {why}") }).await
            }
            error => Err(error),
        }
    }

    async fn space(&self, space: &StateSpace) -> Result<(), StorageError> {
        let is_first = |key: &Vec<u8>| space.name.is_hosts() && key == TOLD_UP_TO;
        if space.name.is_hosts() {
            // Before the letters: what is set aside meanwhile is told again, and not lost.
            self.keys(space, &[TOLD_UP_TO.to_vec()]).await?;
        }
        let mut after = None;
        loop {
            let page = self.redis.list_state(space, b"", after.as_deref(), PAGE, soon()).await?;
            let keys: Vec<Vec<u8>> = page.keys.into_iter().filter(|key| !is_first(key)).collect();
            for keys in keys.chunks(BATCH) {
                self.keys(space, keys).await?;
            }
            after = page.after;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// Sends keys of a space. One that is gone by now was never there.
    async fn keys(&self, space: &StateSpace, keys: &[Vec<u8>]) -> Result<(), StorageError> {
        let entries = self.redis.read_states(space, keys, soon()).await?;
        for (key, entry) in keys.iter().zip(entries) {
            let Some(StateEntry { value, expires_in, .. }) = entry else { continue };
            let expires = expires_in.map(|left| now() + left.as_millis() as u64);
            if let Some(record) = state_key(&space.name, key, value, expires) {
                self.send(record).await?;
            }
        }
        Ok(())
    }

    async fn page(&self, tenant: &TenantId, rows: &Rows) -> Result<(), StorageError> {
        let ids: Vec<&str> = rows.positions.iter().map(|place| place.id.as_str()).collect();
        for ids in ids.chunks(BATCH) {
            let mut ids = ids;
            while !ids.is_empty() {
                let step = self.step(tenant, 0, ids).await?;
                ids = &ids[step.items.len().min(ids.len())..];
                // One that is gone by now is in the stream.
                self.items(step.items, false).await?;
            }
        }
        Ok(())
    }

    /// Sends what was changed after a revision, in at most `steps`, and returns how far it came;
    /// `None` if the stream does not say.
    async fn follow(
        &self,
        tenant: &TenantId,
        mut after: u64,
        steps: usize,
    ) -> Result<Option<Position>, StorageError> {
        let mut taken = 0;
        loop {
            let step = self.step(tenant, after, &[]).await?;
            let position = step.state.position;
            if step.last < after || (position.revision == after && step.last > after) {
                return Ok(None);
            }
            self.items(step.items, true).await?;
            after = position.revision;
            taken += 1;
            if after == step.last || taken >= steps {
                return Ok(Some(position));
            }
        }
    }

    async fn step(
        &self,
        tenant: &TenantId,
        after: u64,
        ids: &[&str],
    ) -> Result<Step, StorageError> {
        let keys = self.redis.keys(tenant);
        let mut call = scripts::COPY.call(&[
            keys.order(),
            keys.pending(),
            keys.stream(),
            keys.revision(),
            keys.bytes(),
        ]);
        call.arg(keys.facts()).arg(keys.vectors()).arg(STEP_BYTES).arg(after).arg(STEP_CHANGES);
        call.arg(ids);
        let kind = (Size::Bulk, Effect::Read);
        let values = self.redis.run_script(&scripts::COPY, vec![call], kind, soon()).await?;
        let (last, revision, change, change_of_reader, first, facts, bytes, items) =
            replies::one::<Reply>(values)?;
        let newest = replies::rows(first, 1)?.positions.first().map(ListPosition::encode);
        let newest = newest.unwrap_or_default();
        let position = Position { revision, change, newest, facts, bytes, cursor: None };
        Ok(Step { state: State { position, change_of_reader }, last, items })
    }

    async fn items(&self, items: Vec<Item>, says_gone: bool) -> Result<(), StorageError> {
        for (id, order, pending, fields, vector) in items {
            let record = match replies::hash(fields).filter(|_| order >= 0.0) {
                Some(fields) => fact(&id, order as u64, pending, fields, parts(vector)),
                None if says_gone => Record::Gone { id },
                None => continue,
            };
            self.send(record).await?;
        }
        Ok(())
    }

    /// Sends the documents, and again those that are changed meanwhile.
    async fn documents(&self) -> Result<(), StorageError> {
        let mut after = self.wanted.since.documents.unwrap_or_default();
        for _ in 0..ROUNDS {
            let revision = self.redis.documents_revision(soon()).await?;
            let mut listed = self.redis.list_documents("", soon()).await?;
            listed.retain(|(name, _)| self.wanted.wants_document(name.as_str()));
            for (name, _) in listed.iter().filter(|(_, version)| *version > after) {
                match self.redis.read_document(name, DOCUMENT_BYTES, soon()).await {
                    Ok(Some(read)) => {
                        for piece in document(name.as_str(), &read.bytes) {
                            self.send(piece).await?;
                        }
                    }
                    Ok(None) => {}
                    Err(error @ StorageError::Corrupt(_)) => {
                        self.left_out(&format!("the document {name}"), error).await?;
                    }
                    Err(error) => return Err(error),
                }
            }
            if self.redis.documents_revision(soon()).await? == revision {
                let names = listed.iter().map(|(name, _)| name.to_string()).collect();
                return self.send(Record::DocumentsEnd { revision, names }).await;
            }
            after = revision;
        }
        Err(StorageError::Unavailable("the documents change faster than they are copied".into()))
    }
}

/// A vector's parts, if all are there.
fn parts(vector: Vec<Option<Vec<u8>>>) -> Option<VectorRecord> {
    let [profile, digest, values] = vector.try_into().ok()?;
    let profile = String::from_utf8_lossy(&profile?).into_owned();
    Some(VectorRecord { profile, digest: Blob(digest?), values: Blob(values?) })
}

fn soon() -> Instant {
    Instant::now() + STEP
}
