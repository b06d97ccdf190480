//! Connections that never hang and always come back.
//!
//! `redis::aio::ConnectionManager` shares one connection between all callers and reconnects when
//! it breaks. Three things it leaves open are closed here:
//!
//! - While it reconnects, callers wait without a bound: every operation has one.
//! - A response that does not come never makes it reconnect, so a flow that a firewall forgot
//!   stays dead: after three timeouts in a row without a success a fresh manager takes its place.
//! - A connection attempt that Redis itself refused (a wrong password, say) is its answer for
//!   ever: the manager is replaced, so that the next caller tries anew.
//!
//! Small commands and bulk reads use different connections, because answers on one come in order.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{
    Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, Pipeline, ProtocolVersion,
    RedisError, Value,
};
use tokio::time::{Instant, timeout_at};

use super::fault;
use crate::{OpenError, StorageError, StorageLimits};

/// After how many timeouts in a row a connection is given up.
const TIMEOUTS_TO_GIVE_UP: u32 = 3;

/// How large answers may be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    Small,
    Bulk,
}

/// What an operation does, and so what a lost answer means and whether it may be sent again.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    Read,
    Write,
}

pub(super) struct Connections {
    address: String,
    small: Vec<Connection>,
    bulk: Vec<Connection>,
    turn: AtomicUsize,
}

impl Connections {
    /// Prepares connections to `url`; none is made yet. Must be called within a tokio runtime.
    pub(super) fn new(url: &str, limits: &StorageLimits) -> Result<Self, OpenError> {
        let info = connection_info(url)?;
        let address = address(&info);
        let client = Client::open(info).map_err(|error| malformed(&error))?;
        let config = manager_config(limits);
        let make = |count: usize| -> Result<Vec<Connection>, OpenError> {
            let one = |_| Connection::new(client.clone(), config.clone());
            (0..count.max(1)).map(one).collect::<Result<_, _>>().map_err(|e| malformed(&e))
        };
        let (small, bulk) = (make(limits.small_connections)?, make(limits.bulk_connections)?);
        Ok(Self { address, small, bulk, turn: AtomicUsize::new(0) })
    }

    /// `host:port/db`.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Sends `pipeline` and awaits its answers, one for each command; a command that Redis
    /// refused has its error among them. Ends by `end`.
    pub(super) async fn run(
        &self,
        pipeline: &Pipeline,
        size: Size,
        effect: Effect,
        end: Instant,
    ) -> Result<Vec<Value>, StorageError> {
        let connections = if size == Size::Small { &self.small } else { &self.bulk };
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        connections[turn % connections.len()].run(pipeline, effect, end).await
    }
}

/// One connection, and what replaces it.
struct Connection {
    client: Client,
    config: ConnectionManagerConfig,
    current: Mutex<Current>,
    timeouts: AtomicU32,
}

#[derive(Clone)]
struct Current {
    manager: ConnectionManager,
    /// Counts replacements, so that many callers of a dead manager replace it once.
    number: u64,
}

impl Connection {
    fn new(client: Client, config: ConnectionManagerConfig) -> Result<Self, RedisError> {
        let manager = ConnectionManager::new_lazy_with_config(client.clone(), config.clone())?;
        let current = Mutex::new(Current { manager, number: 0 });
        Ok(Self { client, config, current, timeouts: AtomicU32::new(0) })
    }

    async fn run(
        &self,
        pipeline: &Pipeline,
        effect: Effect,
        end: Instant,
    ) -> Result<Vec<Value>, StorageError> {
        match self.attempt(pipeline, end).await {
            Err(failure) if failure.may_repeat(effect) => self.attempt(pipeline, end).await,
            result => result,
        }
        .map_err(|failure| failure.into_error(effect))
    }

    async fn attempt(&self, pipeline: &Pipeline, end: Instant) -> Result<Vec<Value>, Failure> {
        let Current { mut manager, number } = self.current().clone();
        match timeout_at(end, pipeline.query_async(&mut manager)).await {
            Ok(Ok(answers)) => {
                self.timeouts.store(0, Ordering::Relaxed);
                Ok(answers)
            }
            Ok(Err(error)) if !error.is_timeout() => {
                // A command's own error is among the answers; this one is the connection's, and
                // what is not I/O the manager would keep.
                if !error.is_io_error() {
                    self.replace(number);
                }
                Err(Failure::Broken(error))
            }
            Ok(Err(_)) | Err(_) => {
                if self.timeouts.fetch_add(1, Ordering::Relaxed) + 1 >= TIMEOUTS_TO_GIVE_UP {
                    self.replace(number);
                }
                Err(Failure::Timeout)
            }
        }
    }

    fn current(&self) -> std::sync::MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a fresh manager in place of the one with `number`, unless another caller did.
    fn replace(&self, number: u64) {
        let mut current = self.current();
        if current.number != number {
            return;
        }
        let (client, config) = (self.client.clone(), self.config.clone());
        match ConnectionManager::new_lazy_with_config(client, config) {
            Ok(manager) => *current = Current { manager, number: number + 1 },
            Err(error) => tracing::error!(%error, "no new Redis connection could be prepared"),
        }
        self.timeouts.store(0, Ordering::Relaxed);
    }
}

enum Failure {
    Timeout,
    Broken(RedisError),
}

impl Failure {
    /// Whether to send again: a refused connection carried nothing (and the refusal may be that of
    /// an attempt made long ago), and a read may be read twice. A write whose answer was lost may
    /// have happened, and its second answer would be about the first.
    fn may_repeat(&self, effect: Effect) -> bool {
        match self {
            Self::Timeout => false,
            Self::Broken(error) => {
                error.is_connection_refusal()
                    || (effect == Effect::Read && error.is_connection_dropped())
            }
        }
    }

    fn into_error(self, effect: Effect) -> StorageError {
        let wrote = effect == Effect::Write;
        match self {
            Self::Timeout => StorageError::Timeout { wrote },
            Self::Broken(error) if wrote && is_lost_answer(&error) => {
                StorageError::Timeout { wrote }
            }
            Self::Broken(error) => fault::unreachable(&error),
        }
    }
}

/// Whether the connection broke after there was one.
fn is_lost_answer(error: &RedisError) -> bool {
    error.is_connection_dropped() && !error.is_connection_refusal()
}

fn manager_config(limits: &StorageLimits) -> ConnectionManagerConfig {
    ConnectionManagerConfig::new()
        // Just inside the operation's bound, so that the manager gives up before its caller does.
        .set_response_timeout(Some(limits.operation.mul_f32(0.95)))
        .set_connection_timeout(Some(limits.connect))
        .set_number_of_retries(1)
        .set_min_delay(Duration::from_millis(50))
        .set_max_delay(Duration::from_millis(200))
}

/// Nagle's algorithm off, and a dead peer found within seconds.
fn tcp_settings() -> TcpSettings {
    let second = Duration::from_secs(1);
    let keepalive = TcpKeepalive::new().with_time(second).with_interval(second).with_retries(2);
    TcpSettings::default().set_nodelay(true).set_user_timeout(2 * second).set_keepalive(keepalive)
}

fn connection_info(url: &str) -> Result<ConnectionInfo, OpenError> {
    let info = url.into_connection_info().map_err(|error| malformed(&error))?;
    let mut settings = info.redis_settings().clone();
    // RESP3 tells of a closed connection at once; RESP2 only when the next command fails on it.
    if !url.contains("protocol=") {
        settings = settings.set_protocol(ProtocolVersion::RESP3);
    }
    Ok(info.set_redis_settings(settings).set_tcp_settings(tcp_settings()))
}

fn address(info: &ConnectionInfo) -> String {
    let db = info.redis_settings().db();
    match info.addr() {
        ConnectionAddr::Tcp(host, port) => format!("{host}:{port}/{db}"),
        other => format!("{other}/{db}"),
    }
}

/// The client's words say what is wrong with an address without quoting it.
fn malformed(error: &RedisError) -> OpenError {
    OpenError::Address(format!("this is no redis://[user:pass@]host:port[/db]: {error}"))
}
