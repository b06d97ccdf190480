//! The backends under test.

use std::sync::Arc;

use async_trait::async_trait;
use kenning_storage::testing::RedisServer;
use kenning_storage::{Layout, Storage, StorageLimits, open};
use tempfile::TempDir;

use crate::durability::{crash_a_child, crash_a_server};

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

pub(crate) struct RedisTenant {
    pub(crate) server: RedisServer,
}

impl RedisTenant {
    pub(crate) fn new() -> Self {
        Self { server: RedisServer::start() }
    }
}

#[async_trait]
impl Backend for RedisTenant {
    async fn open_with(&self, limits: StorageLimits) -> Arc<dyn Storage> {
        open(&self.server.url(), Layout::Tenant, limits).await.unwrap()
    }

    async fn crash_while_writing(&mut self) -> Vec<String> {
        let storage = self.open().await;
        crash_a_server(storage, &mut self.server).await
    }

    fn kind(&self) -> kenning_storage::Backend {
        kenning_storage::Backend::Redis
    }
}

pub(crate) struct RedisFlat {
    pub(crate) server: RedisServer,
}

impl RedisFlat {
    pub(crate) fn new() -> Self {
        Self { server: RedisServer::start() }
    }
}

#[async_trait]
impl Backend for RedisFlat {
    async fn open_with(&self, limits: StorageLimits) -> Arc<dyn Storage> {
        open(&self.server.url(), Layout::Flat, limits).await.unwrap()
    }

    async fn crash_while_writing(&mut self) -> Vec<String> {
        let storage = self.open().await;
        crash_a_server(storage, &mut self.server).await
    }

    fn kind(&self) -> kenning_storage::Backend {
        kenning_storage::Backend::Redis
    }
}
