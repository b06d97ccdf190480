//! Storage in a Redis server.
//!
//! Each write is one Lua script and therefore atomic; a batch of writes is one pipeline. No command
//! examines every key, except those of the background task that adopts other programs' facts.
//! Durability depends on the server's `appendfsync`, and a replica may lag behind: in return
//! several hosts can share one storage.
//!
//! `facts`, `vectors`, `changes`, `documents`, `registry`, `quotas`, `state`, `tenants`, `copies`
//! and `lifecycle` implement the traits of those names.
//! `keys` defines the keys, `scripts` runs the Lua files in `scripts/`, `replies` decodes what
//! comes back and `error` maps what failed.
//!
//! `address` parses the address, and `servers` sends commands to what it names. `pool` reaches a
//! server over a few shared `connection`s, which a `target` makes over a `stream`, with `tls` where
//! the address wants it; `sentinel` asks where the master is. `cluster` has a pool for each node
//! and a map of `slots`; `directory` keeps the set of all tenants there.
//!
//! `inspect` asks a server about itself, `guard` checks whether the server may be used. `adoption`
//! takes over facts that other programs write, told by `notices`, with `timestamp` for their order;
//! `lost` removes what remains of facts that Redis or another program deleted.

mod address;
pub(crate) mod adoption;
mod changes;
mod cluster;
mod connection;
mod copies;
mod directory;
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
mod sentinel;
mod servers;
mod slots;
mod state;
mod stream;
mod target;
mod tenants;
pub(crate) mod timestamp;
mod tls;
mod vectors;
pub(crate) mod verify;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use redis::{Cmd, Value};

use crate::{Layout, OpenError, StorageError, StorageLimits, TenantId, TlsFiles};
pub(crate) use address::FORMS;
use adoption::Adopter;
use changes::Appends;
use directory::Directory;
use guard::Guard;
use keys::Keys;
use lost::Swept;
use pool::{Effect, Size};
use scripts::Source;
use servers::Servers;

/// The Redis backend.
pub(crate) struct Redis {
    layout: Layout,
    limits: StorageLimits,
    servers: Arc<Servers>,
    directory: Directory,
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
        let servers = Arc::new(servers(url, layout, &limits.tls, &limits)?);
        let guard = Guard::new(Arc::clone(&servers), limits.allow_eviction);
        Self::with(servers, guard, layout, limits).await
    }

    /// Checks an address without connecting. Must be called within a tokio runtime.
    pub(crate) fn check(url: &str, layout: Layout, tls: &TlsFiles) -> Result<(), OpenError> {
        servers(url, layout, tls, &StorageLimits::default()).map(drop)
    }

    /// The same without changing anything by itself.
    pub(crate) async fn open_to_read(url: &str, limits: StorageLimits) -> Result<Self, OpenError> {
        let servers = Arc::new(servers(url, Layout::Tenant, &limits.tls, &limits)?);
        let guard = Guard::new(Arc::clone(&servers), true).without_marking();
        // The flat layout's background task adopts facts.
        Self::with(servers, guard, Layout::Tenant, limits).await
    }

    async fn with(
        servers: Arc<Servers>,
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
            let (servers, guard) = (Arc::clone(&servers), Arc::clone(&guard));
            Adopter::start(servers, guard, appends.clone(), limits.clone())
        });
        let (swept, is_closed) = (Swept::default(), AtomicBool::new(false));
        let directory = Directory::default();
        Ok(Self { layout, limits, servers, directory, guard, appends, swept, adopter, is_closed })
    }

    fn keys(&self, tenant: &TenantId) -> Keys {
        match self.servers.is_cluster() {
            true => Keys::of_cluster(tenant),
            false => Keys::new(self.layout, tenant),
        }
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
        self.servers.run(commands, (size, effect), end).await
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
        scripts::run(&self.servers, script, calls, kind, end).await
    }
}

/// Prepares connections. A cluster does not have the flat layout.
fn servers(
    url: &str,
    layout: Layout,
    tls: &TlsFiles,
    limits: &StorageLimits,
) -> Result<Servers, OpenError> {
    let servers = Servers::new(url, tls, limits)?;
    if servers.is_cluster() && layout == Layout::Flat {
        return Err(OpenError::Address(
            "the flat layout needs a single Redis: on a cluster, facts at fact:ID would be on all \
             nodes, and no write could change them together with what belongs to them; use \
             --layout tenant, and import the facts"
                .into(),
        ));
    }
    Ok(servers)
}
