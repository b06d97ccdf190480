//! The backends under test.

use std::sync::Arc;

use async_trait::async_trait;
use kenning_storage::testing::{RedisCluster, RedisServer, Release};
use kenning_storage::{Layout, Storage, StorageLimits, TlsFiles, open};
use tempfile::TempDir;

use crate::durability::{crash_a_child, crash_a_server};
use crate::tls::TlsServer;

/// Something that keeps its data while storages on it are opened and closed.
#[async_trait]
pub(crate) trait Backend: Send + Sync {
    /// Opens a storage on it. The previous one must be closed.
    async fn open(&self) -> Arc<dyn Storage> {
        self.open_with(StorageLimits::default()).await
    }

    /// The same with other limits.
    async fn open_with(&self, limits: StorageLimits) -> Arc<dyn Storage>;

    /// Kills the process that holds the data (SIGKILL) while facts are written, and restarts it.
    /// Returns the ids whose writes were acknowledged.
    async fn crash_while_writing(&mut self) -> Vec<String>;

    /// The kind that `describe` should report.
    fn kind(&self) -> kenning_storage::Backend;
}

pub(crate) struct Embedded {
    dir: TempDir,
}

impl Embedded {
    pub(crate) fn new() -> Self {
        Self { dir: TempDir::new().unwrap() }
    }

    pub(crate) fn url(&self) -> String {
        format!("embedded:{}", self.dir.path().display())
    }
}

#[async_trait]
impl Backend for Embedded {
    async fn open_with(&self, limits: StorageLimits) -> Arc<dyn Storage> {
        open(&self.url(), Layout::Tenant, limits).await.unwrap()
    }

    async fn crash_while_writing(&mut self) -> Vec<String> {
        crash_a_child(&self.url()).await
    }

    fn kind(&self) -> kenning_storage::Backend {
        kenning_storage::Backend::Embedded
    }
}

/// One Redis, however it is reached.
pub(crate) struct Redis {
    pub(crate) server: RedisServer,
    url: String,
    layout: Layout,
    tls: TlsFiles,
    _files: Option<TempDir>,
}

impl Redis {
    pub(crate) fn tenant() -> Self {
        Self::of(RedisServer::start(), Layout::Tenant)
    }

    pub(crate) fn flat() -> Self {
        Self::of(RedisServer::start(), Layout::Flat)
    }

    pub(crate) fn release(release: Release) -> Self {
        Self::of(RedisServer::start_release(release, &[]), Layout::Tenant)
    }

    pub(crate) fn over_a_socket() -> Self {
        let server = RedisServer::start_with_options(&["--unixsocket", "DIR/redis.sock"]);
        let url = format!("redis+unix://{}/redis.sock", server.dir().display());
        Self { url, ..Self::of(server, Layout::Tenant) }
    }

    /// With certificates on both sides.
    pub(crate) fn over_tls() -> Self {
        let server = TlsServer::start(&["--tls-auth-clients", "yes"]);
        let tls = server.files_with_certificate();
        let (url, files) = (server.url(), Some(server.dir));
        Self { url, tls, _files: files, ..Self::of(server.redis, Layout::Tenant) }
    }

    fn of(server: RedisServer, layout: Layout) -> Self {
        Self { url: server.url(), server, layout, tls: TlsFiles::default(), _files: None }
    }
}

#[async_trait]
impl Backend for Redis {
    async fn open_with(&self, limits: StorageLimits) -> Arc<dyn Storage> {
        let limits = StorageLimits { tls: self.tls.clone(), ..limits };
        open(&self.url, self.layout, limits).await.unwrap()
    }

    async fn crash_while_writing(&mut self) -> Vec<String> {
        let storage = self.open().await;
        crash_a_server(storage, &mut self.server).await
    }

    fn kind(&self) -> kenning_storage::Backend {
        kenning_storage::Backend::Redis
    }
}

/// A cluster, which takes seconds to start and is therefore used again.
pub(crate) struct Cluster(pub(crate) RedisCluster);

#[async_trait]
impl Backend for Cluster {
    async fn open_with(&self, limits: StorageLimits) -> Arc<dyn Storage> {
        open(&self.0.url(), Layout::Tenant, limits).await.unwrap()
    }

    /// Of the node with the tenant's facts.
    async fn crash_while_writing(&mut self) -> Vec<String> {
        let storage = self.open().await;
        let node = self.0.owner_of("kenning:{default}:order");
        let acknowledged = crash_a_server(storage, &mut self.0.nodes[node]).await;
        self.0.until_agreed();
        acknowledged
    }

    fn kind(&self) -> kenning_storage::Backend {
        kenning_storage::Backend::Redis
    }
}
