//! Where facts live in a measurement.

use anyhow::{Context, Result};
use kenning_tests::{RedisServer, Server, Setup};
use tempfile::TempDir;

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Backend {
    Embedded,
    Redis,
}

pub(crate) const BACKENDS: [Backend; 2] = [Backend::Embedded, Backend::Redis];

impl Backend {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Redis => "redis",
        }
    }
}

/// A storage with nothing in it, and a data directory; both end with this value.
pub(crate) struct Place {
    directory: TempDir,
    redis: Option<RedisServer>,
}

impl Place {
    pub(crate) fn new(backend: Backend) -> Result<Self> {
        let redis = (backend == Backend::Redis)
            .then(|| RedisServer::start_with_options(&["--appendfsync", "everysec"]));
        Ok(Self { directory: tempfile::tempdir()?, redis })
    }

    pub(crate) fn redis(&self) -> Option<&RedisServer> {
        self.redis.as_ref()
    }

    pub(crate) fn redis_pid(&self) -> Result<Option<u32>> {
        let Some(redis) = &self.redis else { return Ok(None) };
        let info = redis.command(&["INFO", "server"]);
        let pid = info.lines().find_map(|line| line.strip_prefix("process_id:"));
        Ok(Some(pid.context("Redis names no process")?.trim().parse()?))
    }

    pub(crate) fn setup(&self, embedder: &'static str) -> Setup {
        Setup {
            storage: self.redis.as_ref().map(RedisServer::url),
            data_dir: Some(self.directory.path().join("data")),
            embedder: Some(embedder),
            ..Setup::default()
        }
    }

    pub(crate) async fn serve(&self, embedder: &'static str) -> Result<Server> {
        Server::start_with(self.setup(embedder)).await
    }
}
