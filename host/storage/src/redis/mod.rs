//! Facts in a Redis server.
//!
//! Each write is one Lua script and so one step; a batch of them is one pipeline. No command here
//! looks at every key, except those of the background task that takes in other programs' facts.
//! What is durable is up to the server's `appendfsync`, and a replica may lag behind: this backend
//! trades the embedded one's guarantees for hosts that share one storage.
//!
//! `keys` names the keys, `connection` reaches the server over a few `link`s, `scripts` runs the
//! Lua in `scripts/`, `answers` reads what comes back, `fault` words what failed, `adopt` takes in
//! foreign facts, `documents` keeps what operators decided.

pub(crate) mod adopt;
mod answers;
mod connection;
mod documents;
mod fault;
pub(crate) mod keys;
mod link;
mod scripts;
pub(crate) mod timestamp;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use async_trait::async_trait;
use redis::{Cmd, Value};
use tokio::sync::watch;

use crate::cursor::Place;
use crate::limits::{DELETION_STEP, MAX_EXACT, check_batch, page_size};
use crate::{
    Adoption, Condition, Description, Document, DocumentName, FactId, Hash, IdPage, Layout,
    OpenError, Revision, Room, Storage, StorageError, StorageLimits, StoredVector, TenantId, Usage,
    Vector, Write, vector_bytes,
};
use adopt::Adopter;
use connection::{Connections, Effect, Size};
use keys::Keys;
use scripts::Source;

pub(crate) struct Redis {
    layout: Layout,
    limits: StorageLimits,
    connections: Arc<Connections>,
    adopter: Option<Adopter>,
    is_closed: AtomicBool,
}

impl Redis {
    /// Prepares connections; with the flat layout also begins to take in foreign facts. Must be
    /// called within a tokio runtime.
    pub(crate) fn open(
        url: &str,
        layout: Layout,
        limits: StorageLimits,
    ) -> Result<Self, OpenError> {
        let connections = Arc::new(Connections::new(url, &limits)?);
        let adopter = (layout == Layout::Flat)
            .then(|| Adopter::start(Arc::clone(&connections), limits.clone()));
        Ok(Self { layout, limits, connections, adopter, is_closed: AtomicBool::new(false) })
    }

    fn keys(&self, tenant: &TenantId) -> Keys {
        Keys::new(self.layout, tenant)
    }

    fn check_open(&self) -> Result<(), StorageError> {
        if self.is_closed.load(Ordering::Relaxed) {
            return Err(StorageError::Unavailable("the storage is closed".into()));
        }
        Ok(())
    }

    async fn read_with(
        &self,
        commands: &[Cmd],
        size: Size,
        deadline: Instant,
    ) -> Result<Vec<Value>, StorageError> {
        self.send(commands, (size, Effect::Read), deadline).await
    }

    async fn send(
        &self,
        commands: &[Cmd],
        (size, effect): (Size, Effect),
        deadline: Instant,
    ) -> Result<Vec<Value>, StorageError> {
        self.check_open()?;
        let end = self.limits.end(deadline)?.into();
        self.connections.run(&scripts::pipeline(commands), size, effect, end).await
    }

    async fn run_script(
        &self,
        script: &Source,
        calls: Vec<Cmd>,
        kind: (Size, Effect),
        deadline: Instant,
    ) -> Result<Vec<Value>, StorageError> {
        self.check_open()?;
        let end = self.limits.end(deadline)?.into();
        scripts::run(&self.connections, script, calls, kind, end).await
    }
}

/// The call that performs `write`.
fn write_call(keys: &Keys, tenant: &TenantId, write: &Write, room: Room) -> Cmd {
    let mut call = scripts::WRITE.call(&[
        keys.fact(&write.id),
        keys.order(),
        keys.pending(),
        keys.revision(),
        keys.vector(&write.id),
        keys::TENANTS.to_owned(),
        keys.bytes(),
    ]);
    let condition = match write.condition {
        Condition::Absent => "absent",
        Condition::Present => "present",
    };
    call.arg(write.id.as_str()).arg(tenant.as_str()).arg(condition);
    call.arg(write.order.min(MAX_EXACT));
    let most = |quota: Option<u64>| quota.map_or(MAX_EXACT, |most| most.min(MAX_EXACT));
    call.arg(most(room.facts)).arg(most(room.bytes));
    // Each name once, so that the script can add up what changes.
    let fields: BTreeMap<&str, &str> =
        write.fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    for (name, value) in fields {
        call.arg(name).arg(value);
    }
    call
}

/// The call that stores `new`.
fn vector_call(keys: &Keys, new: &StoredVector) -> Cmd {
    let mut call =
        scripts::PUT_VECTOR.call(&[keys.fact(&new.id), keys.vector(&new.id), keys.pending()]);
    call.arg(new.id.as_str()).arg(new.revision.0).arg(&new.vector.profile);
    call.arg(&new.vector.digest[..]).arg(vector_bytes::to_bytes(&new.vector.values));
    call
}

#[async_trait]
impl Storage for Redis {
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
        answers::hashes(answers::one(values)?, max_bytes)
    }

    async fn page(
        &self,
        tenant: &TenantId,
        cursor: Option<&str>,
        limit: usize,
        deadline: Instant,
    ) -> Result<IdPage, StorageError> {
        let after = cursor.map(Place::decode).transpose()?;
        let limit = page_size(limit);
        let mut call = scripts::PAGE.call(&[self.keys(tenant).order()]);
        call.arg(limit + 1);
        if let Some(place) = after {
            call.arg(place.order).arg(place.id.as_str());
        }
        let kind = (Size::Small, Effect::Read);
        let values = self.run_script(&scripts::PAGE, vec![call], kind, deadline).await?;
        answers::page(answers::one(values)?, limit)
    }

    async fn write_within(
        &self,
        tenant: &TenantId,
        writes: &[Write],
        room: Room,
        deadline: Instant,
    ) -> Result<Vec<Option<Revision>>, StorageError> {
        check_batch(writes.len())?;
        let keys = self.keys(tenant);
        let possible = |write: &&Write| !write.fields.is_empty();
        let calls: Vec<Cmd> =
            writes.iter().filter(possible).map(|w| write_call(&keys, tenant, w, room)).collect();
        if calls.is_empty() {
            return Ok(vec![None; writes.len()]);
        }
        let kind = (Size::Small, Effect::Write);
        let values = self.run_script(&scripts::WRITE, calls, kind, deadline).await?;
        let mut revisions = answers::revisions(values, room)?.into_iter();
        let answer = |write: &Write| {
            if write.fields.is_empty() { None } else { revisions.next().flatten() }
        };
        Ok(writes.iter().map(answer).collect())
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
        Ok(answers::one::<Option<u64>>(values)?.map(Revision))
    }

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
        let calls = vectors.iter().map(|vector| vector_call(&keys, vector)).collect();
        let kind = (Size::Bulk, Effect::Write);
        let values = self.run_script(&scripts::PUT_VECTOR, calls, kind, deadline).await?;
        values.into_iter().try_for_each(|value| answers::parse::<u64>(value).map(|_| ()))
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
        let call = |id: &FactId| {
            let mut call = scripts::MARK.call(&[keys.fact(id), keys.pending(), keys.revision()]);
            call.arg(id.as_str());
            call
        };
        let kind = (Size::Small, Effect::Write);
        let calls = ids.iter().map(call).collect();
        let values = self.run_script(&scripts::MARK, calls, kind, deadline).await?;
        values.into_iter().try_for_each(|value| answers::parse::<u64>(value).map(|_| ()))
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
        values.into_iter().map(answers::vector).collect()
    }

    async fn pending(
        &self,
        tenant: &TenantId,
        after: Option<Revision>,
        limit: usize,
        deadline: Instant,
    ) -> Result<Vec<(FactId, Revision)>, StorageError> {
        let begin = after.map_or_else(|| "-inf".to_owned(), |Revision(after)| format!("({after}"));
        let mut command = redis::cmd("ZRANGEBYSCORE");
        command.arg(self.keys(tenant).pending()).arg(begin).arg("+inf");
        command.arg("WITHSCORES").arg("LIMIT").arg(0).arg(page_size(limit));
        let values = self.read_with(&[command], Size::Small, deadline).await?;
        answers::pending(answers::one(values)?)
    }

    async fn tenants(&self, deadline: Instant) -> Result<Vec<TenantId>, StorageError> {
        let mut command = redis::cmd("SMEMBERS");
        command.arg(keys::TENANTS);
        let values = self.read_with(&[command], Size::Bulk, deadline).await?;
        let names: Vec<String> = answers::one(values)?;
        let parse = |name: String| {
            TenantId::parse(&name).map_err(|error| StorageError::Corrupt(error.to_string()))
        };
        let mut tenants = names.into_iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        tenants.sort();
        Ok(tenants)
    }

    async fn usage(&self, tenant: &TenantId, deadline: Instant) -> Result<Usage, StorageError> {
        let keys = self.keys(tenant);
        let (mut facts, mut bytes) = (redis::cmd("ZCARD"), redis::cmd("GET"));
        facts.arg(keys.order());
        bytes.arg(keys.bytes());
        answers::usage(self.read_with(&[facts, bytes], Size::Small, deadline).await?)
    }

    async fn count(&self, tenant: &TenantId, deadline: Instant) -> Result<u64, StorageError> {
        let mut command = redis::cmd("ZCARD");
        command.arg(self.keys(tenant).order());
        answers::one(self.read_with(&[command], Size::Small, deadline).await?)
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
            keys::TENANTS.to_owned(),
            keys.bytes(),
        ]);
        call.arg(tenant.as_str()).arg(DELETION_STEP).arg(keys.facts()).arg(keys.vectors());
        let kind = (Size::Bulk, Effect::Write);
        let values = self.run_script(&scripts::DELETE_TENANT, vec![call], kind, deadline).await?;
        Ok(answers::one::<usize>(values)? == DELETION_STEP)
    }

    async fn read_document(
        &self,
        name: &DocumentName,
        max_bytes: usize,
        deadline: Instant,
    ) -> Result<Option<Document>, StorageError> {
        self.read_document_whole(name, max_bytes, deadline).await
    }

    async fn write_document(
        &self,
        name: &DocumentName,
        bytes: &[u8],
        expected: Option<u64>,
        deadline: Instant,
    ) -> Result<Option<u64>, StorageError> {
        self.write_document_whole(name, bytes, expected, deadline).await
    }

    async fn delete_document(
        &self,
        name: &DocumentName,
        expected: u64,
        deadline: Instant,
    ) -> Result<bool, StorageError> {
        let call = documents::delete_call(name, expected);
        let kind = (Size::Small, Effect::Write);
        let values = self.run_script(&scripts::DELETE_DOCUMENT, vec![call], kind, deadline).await?;
        Ok(answers::one::<u64>(values)? == 1)
    }

    async fn list_documents(
        &self,
        prefix: &str,
        deadline: Instant,
    ) -> Result<Vec<(DocumentName, u64)>, StorageError> {
        let mut call =
            scripts::LIST_DOCUMENTS.call(&[keys::DOCUMENT_NAMES, keys::DOCUMENT_VERSIONS]);
        call.arg(prefix);
        let kind = (Size::Bulk, Effect::Read);
        let values = self.run_script(&scripts::LIST_DOCUMENTS, vec![call], kind, deadline).await?;
        answers::documents(answers::one(values)?)
    }

    async fn documents_revision(&self, deadline: Instant) -> Result<u64, StorageError> {
        let mut command = redis::cmd("GET");
        command.arg(keys::DOCUMENTS_REVISION);
        let values = self.read_with(&[command], Size::Small, deadline).await?;
        Ok(answers::one::<Option<u64>>(values)?.unwrap_or_default())
    }

    async fn ping(&self, deadline: Instant) -> Result<(), StorageError> {
        // Unlike PING, this asks whether data can be read: a server that loads refuses it.
        let mut command = redis::cmd("EXISTS");
        command.arg(keys::TENANTS);
        let values = self.read_with(&[command], Size::Small, deadline).await?;
        answers::one::<u64>(values).map(|_| ())
    }

    fn describe(&self) -> Description {
        Description {
            backend: "redis",
            layout: Some(self.layout),
            address: self.connections.address().to_owned(),
        }
    }

    fn adoption(&self) -> Option<watch::Receiver<Adoption>> {
        self.adopter.as_ref().map(Adopter::watch)
    }

    async fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
        if let Some(adopter) = &self.adopter {
            adopter.stop();
        }
    }
}
