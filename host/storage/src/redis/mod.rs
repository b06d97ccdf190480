//! Storage in a Redis server.
//!
//! Each write is one Lua script and therefore atomic; a batch of writes is one pipeline. No command
//! examines every key, except those of the background task that adopts other programs' facts.
//! Durability depends on the server's `appendfsync`, and a replica may lag behind: in return
//! several hosts can share one storage.
//!
//! `facts`, `vectors`, `documents`, `tenants` and `lifecycle` implement the traits of those names.
//! `keys` defines the keys, `pool` reaches the server over a few shared `connection`s, `scripts`
//! runs the Lua files in `scripts/`, `replies` decodes what comes back and `error` maps what
//! failed. `adoption` takes over facts that other programs write, with `timestamp` for their order.

pub(crate) mod adoption;
mod connection;
mod documents;
mod error;
mod facts;
pub(crate) mod keys;
mod lifecycle;
mod pool;
mod replies;
mod scripts;
mod tenants;
pub(crate) mod timestamp;
mod vectors;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use redis::{Cmd, Value};

use crate::{Layout, OpenError, StorageError, StorageLimits, TenantId};
use adoption::Adopter;
use keys::Keys;
use pool::{Effect, Pool, Size};
use scripts::Source;

/// The Redis backend.
pub(crate) struct Redis {
    layout: Layout,
    limits: StorageLimits,
    pool: Arc<Pool>,
    adopter: Option<Adopter>,
    is_closed: AtomicBool,
}

impl Redis {
    /// Prepares connections; with the flat layout also starts to adopt other programs' facts. Must
    /// be called within a tokio runtime.
    pub(crate) fn open(
        url: &str,
        layout: Layout,
        limits: StorageLimits,
    ) -> Result<Self, OpenError> {
        let pool = Arc::new(Pool::new(url, &limits)?);
        let adopter =
            (layout == Layout::Flat).then(|| Adopter::start(Arc::clone(&pool), limits.clone()));
        Ok(Self { layout, limits, pool, adopter, is_closed: AtomicBool::new(false) })
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
        scripts::run(&self.pool, script, calls, kind, end).await
    }
}
