//! Where the connections of a pool go: to one server, or to the one that the Sentinels name.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::{MultiplexedConnection, PubSub};
use redis::{AsyncConnectionConfig, ErrorKind, RedisConnectionInfo, RedisError, Value};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::address::Place;
use super::error;
use super::sentinel::Sentinels;
use super::stream::{self, Duplex};
use super::tls::Tls;
use crate::StorageError;

/// How to connect.
pub(super) struct Target {
    pub(super) settings: RedisConnectionInfo,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) server: Server,
    /// How long one attempt may take.
    pub(super) within: Duration,
}

/// Which server.
pub(super) enum Server {
    At(Place),
    /// The master that the Sentinels name when the connection is made.
    Master(Arc<Sentinels>),
}

/// A connection that was made. Dropping the last clone closes it.
#[derive(Clone)]
pub(super) struct Made {
    pub(super) commands: MultiplexedConnection,
    /// Where the server is.
    pub(super) place: Arc<Place>,
    _driver: Arc<Driver>,
}

/// The task that carries requests and replies.
struct Driver(AbortHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Why an attempt to connect failed.
#[derive(Clone)]
pub(super) enum Attempt {
    /// It took too long.
    Late,
    Failed(StorageError),
}

impl Target {
    /// Connects once.
    pub(super) async fn connect(&self, config: AsyncConnectionConfig) -> Result<Made, Attempt> {
        match timeout(self.within, self.attempt(config)).await {
            Ok(made) => made.map_err(Attempt::Failed),
            Err(_) => Err(Attempt::Late),
        }
    }

    async fn attempt(&self, config: AsyncConnectionConfig) -> Result<Made, StorageError> {
        let (place, stream) = self.stream().await?;
        let made = MultiplexedConnection::new_with_config(&self.settings, stream, config).await;
        let (mut commands, driver) = made.map_err(|error| self.explain(&error))?;
        let driver = Arc::new(Driver(tokio::spawn(driver).abort_handle()));
        if self.is_named_by_sentinels() {
            is_master(&mut commands, &place).await?;
        }
        Ok(Made { commands, place: Arc::new(place), _driver: driver })
    }

    /// Whether the server may be another one at the next attempt.
    pub(super) fn is_named_by_sentinels(&self) -> bool {
        matches!(self.server, Server::Master(_))
    }

    /// A connection for messages.
    pub(super) async fn messages(&self) -> Result<PubSub, StorageError> {
        let (_, stream) = self.stream().await?;
        PubSub::new(&self.settings, stream).await.map_err(|error| self.explain(&error))
    }

    async fn stream(&self) -> Result<(Place, Box<dyn Duplex>), StorageError> {
        let place = match &self.server {
            Server::At(place) => place.clone(),
            Server::Master(sentinels) => sentinels.master().await?,
        };
        let stream = stream::open(&place, self.tls.as_ref(), self.within).await?;
        Ok((place, stream))
    }

    /// Why a server did not take a connection.
    fn explain(&self, error: &RedisError) -> StorageError {
        match &self.tls {
            Some(tls) => tls.explain_later(error).unwrap_or_else(|| error::unreachable(error)),
            None if matches!(self.server, Server::At(Place::Unix(_))) => error::unreachable(error),
            // A port for TLS closes a connection that does not begin with a handshake.
            None if error.kind() == ErrorKind::Io && !error.is_timeout() => {
                StorageError::Unavailable(format!(
                    "Redis closed the connection at once ({error}); if this port is one for TLS, \
                     use rediss://"
                ))
            }
            None => error::unreachable(error),
        }
    }
}

/// Refuses a server that is no master: Sentinels name one a moment before it is.
async fn is_master(
    commands: &mut MultiplexedConnection,
    place: &Place,
) -> Result<(), StorageError> {
    let role: Value = redis::cmd("ROLE")
        .query_async(commands)
        .await
        .map_err(|error| error::unreachable(&error))?;
    let is_master = match &role {
        Value::Array(parts) => parts.first().is_some_and(|part| {
            matches!(part, Value::BulkString(role) if role == b"master")
                || matches!(part, Value::SimpleString(role) if role == "master")
        }),
        _ => false,
    };
    if is_master {
        return Ok(());
    }
    Err(StorageError::Unavailable(format!(
        "the Sentinels name {place} as the master, and it is still a replica; a failover may be \
         going on"
    )))
}
