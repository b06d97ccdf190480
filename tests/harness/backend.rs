//! Storage that outlives the servers a test starts on it.

use anyhow::Result;
use kenning_storage::testing::RedisServer;
use tempfile::TempDir;

use crate::{Server, Setup};

/// One test's storage; everything in it is gone with its value.
pub struct Backend {
    directory: TempDir,
    redis: Option<RedisServer>,
}

impl Backend {
    pub fn embedded() -> Result<Self> {
        Ok(Self { directory: tempfile::tempdir()?, redis: None })
    }

    /// A Redis of its own.
    pub fn redis() -> Result<Self> {
        Ok(Self { redis: Some(RedisServer::start()), ..Self::embedded()? })
    }

    /// Its Redis, if it has one.
    pub fn redis_server(&self) -> Option<&RedisServer> {
        self.redis.as_ref()
    }

    /// Its Redis, to be killed and started.
    pub fn redis_server_mut(&mut self) -> Option<&mut RedisServer> {
        self.redis.as_mut()
    }

    /// What a server needs to know to serve it.
    pub fn setup(&self) -> Setup {
        Setup {
            storage: self.redis.as_ref().map(RedisServer::url),
            data_dir: Some(self.directory.path().join("data")),
            ..Setup::patient()
        }
    }

    /// A patient server on it.
    pub async fn serve(&self) -> Result<Server> {
        Server::start_with(self.setup()).await
    }
}

/// Makes two tests of each case, an `async fn(&Backend) -> anyhow::Result<()>`:
/// `on_embedded::case` and `on_redis::case`.
#[macro_export]
macro_rules! on_both_backends {
    ($($case:ident),+ $(,)?) => {
        mod on_embedded {
            $(#[tokio::test]
            async fn $case() -> anyhow::Result<()> {
                super::$case(&$crate::Backend::embedded()?).await
            })+
        }

        mod on_redis {
            $(#[tokio::test]
            async fn $case() -> anyhow::Result<()> {
                super::$case(&$crate::Backend::redis()?).await
            })+
        }
    };
}
