//! Storage in a Redis server.
//!
//! Each write is one Lua script and therefore atomic; a batch of writes is one pipeline. No command
//! examines every key, except those of the background task that adopts other programs' facts.
//! Durability depends on the server's `appendfsync`, and a replica may lag behind: in return
//! several hosts can share one storage.
//!
//! `facts`, `vectors`, `changes`, `documents`, `registry`, `quotas`, `tenants` and `lifecycle`
//! implement the traits of those names.
//! `keys` defines the keys, `pool` reaches the server over a few shared `connection`s, `scripts`
//! runs the Lua files in `scripts/`, `replies` decodes what comes back and `error` maps what
//! failed. `inspect` asks a server about itself, `guard` checks whether the server may be used. `adoption` takes over facts that other
//! programs write, told by `notices`, with `timestamp` for their order; `lost` removes what remains
//! of facts that Redis or another program deleted.

pub(crate) mod adoption;
mod changes;
mod connection;
mod documents;
mod error;
mod facts;
mod guard;
mod inspect;
pub(crate) mod keys;
mod lifecycle;
mod lost;
mod notices;
mod pool;
mod quotas;
mod registry;
mod replies;
mod scripts;
mod tenants;
pub(crate) mod timestamp;
mod vectors;
pub(crate) mod verify;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use redis::{Cmd, Value};

use crate::{Layout, OpenError, StorageError, StorageLimits, TenantId};
use adoption::Adopter;
use changes::Appends;
use guard::Guard;
use keys::Keys;
use lost::Swept;
use pool::{Effect, Pool, Size};
use scripts::Source;

/// The Redis backend.
pub(crate) struct Redis {
    layout: Layout,
    limits: StorageLimits,
    pool: Arc<Pool>,
    guard: Arc<Guard>,
    appends: Appends,
    swept: Swept,
    adopter: Option<Adopter>,
    is_closed: AtomicBool,
}

impl Redis {
    /// Prepares connections; with the flat layout also starts to adopt other programs' facts. Fails
    /// if the server answers at once and must not be used. Must be called within a tokio runtime.
    pub(crate) async fn open(
        url: &str,
        layout: Layout,
        limits: StorageLimits,
    ) -> Result<Self, OpenError> {
        let pool = Arc::new(Pool::new(url, &limits)?);
        let guard = Guard::new(Arc::clone(&pool), limits.allow_eviction);
        Self::with(pool, guard, layout, limits).await
    }

    /// Checks an address without connecting. Must be called within a tokio runtime.
    pub(crate) fn check(url: &str) -> Result<(), OpenError> {
        Pool::new(url, &StorageLimits::default()).map(drop)
    }

    /// The same without changing anything by itself.
    pub(crate) async fn open_to_read(url: &str, limits: StorageLimits) -> Result<Self, OpenError> {
        let pool = Arc::new(Pool::new(url, &limits)?);
        let guard = Guard::new(Arc::clone(&pool), true).without_marking();
        // The flat layout's background task adopts facts.
        Self::with(pool, guard, Layout::Tenant, limits).await
    }

    async fn with(
        pool: Arc<Pool>,
        guard: Guard,
        layout: Layout,
        limits: StorageLimits,
    ) -> Result<Self, OpenError> {
        let guard = Arc::new(guard);
        let end = Instant::now() + limits.connect;
        if let Err(error) = guard.check_at_start(end.into()).await {
            return Err(OpenError::Refused(error));
        }
        let appends = Appends::new(&limits);
        let adopter = (layout == Layout::Flat).then(|| {
            let (pool, guard) = (Arc::clone(&pool), Arc::clone(&guard));
            Adopter::start(pool, guard, appends.clone(), limits.clone())
        });
        let (swept, is_closed) = (Swept::default(), AtomicBool::new(false));
        Ok(Self { layout, limits, pool, guard, appends, swept, adopter, is_closed })
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

    /// Sends commands that only read.
    async fn read_with(
        &self,
        commands: &[Cmd],
        size: Size,
        deadline: Instant,
    ) -> Result<Vec<Value>, StorageError> {
        self.send(commands, (size, Effect::Read), deadline).await
    }

    /// Sends commands in one round trip.
    async fn send(
        &self,
        commands: &[Cmd],
        (size, effect): (Size, Effect),
        deadline: Instant,
    ) -> Result<Vec<Value>, StorageError> {
        self.check_open()?;
        let end = self.limits.end(deadline)?.into();
        self.guard.check(effect, end).await?;
        self.pool.run(&scripts::pipeline(commands), size, effect, end).await
    }

    /// Runs calls of a script in one round trip.
    async fn run_script(
        &self,
        script: &Source,
        calls: Vec<Cmd>,
        kind: (Size, Effect),
        deadline: Instant,
    ) -> Result<Vec<Value>, StorageError> {
        self.check_open()?;
        let end = self.limits.end(deadline)?.into();
        self.guard.check(kind.1, end).await?;
        scripts::run(&self.pool, script, calls, kind, end).await
    }
}
