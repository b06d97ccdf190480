//! Connections that never hang and always come back.
//!
//! Callers share a few connections; a caller who leaves takes nothing of another's with it,
//! because each answer on a connection belongs to the request that was sent on it in that turn.
//!
//! - Nothing is connected until a call needs it, and no failure is remembered: a call that finds
//!   no connection makes one, together with whoever comes meanwhile.
//! - Every operation has an end, also while there is no connection. Redis refusing one is known at
//!   once; an attempt that gets no answer is begun again until the operation's end.
//! - A flow that a firewall forgot looks like one that is slow, and stays dead for ever. So a
//!   connection that an operation timed out on, and that has been silent for nearly an operation's
//!   time, is given up, and with it all others from which nothing came since: it is rarely one flow
//!   alone that is forgotten, and to connect again costs a millisecond. What was asked on them may
//!   still be answered.
//!
//! Small commands and bulk reads use different connections, because answers on one come in order.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, Pipeline,
    ProtocolVersion, RedisError, Value,
};
use tokio::time::{Instant, timeout_at};

use super::fault;
use super::link::Link;
use crate::{OpenError, StorageError, StorageLimits};

/// How long a connection may be silent, as a share of an operation's time. Less than all of it, as
/// an operation begins a moment before it asks.
const SILENCE: f32 = 0.9;

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
    client: Client,
    config: AsyncConnectionConfig,
    silence: Duration,
    small: Pool,
    bulk: Pool,
}

/// Connections that are taken in turn.
struct Pool {
    slots: Vec<Slot>,
    turn: AtomicUsize,
}

/// A place for one connection; empty until the first call.
type Slot = Mutex<Option<Arc<Link>>>;

impl Connections {
    /// Prepares connections to `url`; none is made yet.
    pub(super) fn new(url: &str, limits: &StorageLimits) -> Result<Self, OpenError> {
        let info = connection_info(url)?;
        Ok(Self {
            address: address(&info),
            client: Client::open(info).map_err(|error| malformed(&error))?,
            config: AsyncConnectionConfig::new()
                // Operations have ends of their own.
                .set_response_timeout(None)
                .set_connection_timeout(Some(limits.connect)),
            silence: limits.operation.mul_f32(SILENCE),
            small: Pool::new(limits.small_connections),
            bulk: Pool::new(limits.bulk_connections),
        })
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
        let slot = if size == Size::Small { self.small.next() } else { self.bulk.next() };
        match self.attempt(slot, pipeline, end).await {
            // A read may be read twice. A write may have happened, and the answer to a second one
            // would be about the first.
            Err(Failure::Broken(_)) if effect == Effect::Read => {
                self.attempt(slot, pipeline, end).await
            }
            result => result,
        }
        .map_err(|failure| failure.into_error(effect))
    }

    async fn attempt(
        &self,
        slot: &Slot,
        pipeline: &Pipeline,
        end: Instant,
    ) -> Result<Vec<Value>, Failure> {
        let (link, mut connection) = self.connect(slot, end).await?;
        let awaited = link.ask();
        match timeout_at(end, pipeline.query_async(&mut connection)).await {
            Ok(Ok(answers)) => {
                awaited.heard();
                Ok(answers)
            }
            // A command's own error is among the answers; this one is the connection's.
            Ok(Err(error)) => {
                link.close();
                Err(Failure::Broken(error))
            }
            Err(_) => {
                self.give_up_if_silent(&link);
                Err(Failure::Late)
            }
        }
    }

    /// The connection of `slot`, made anew where there is none.
    async fn connect(
        &self,
        slot: &Slot,
        end: Instant,
    ) -> Result<(Arc<Link>, redis::aio::MultiplexedConnection), Failure> {
        loop {
            let link = self.link(slot);
            match timeout_at(end, link.connection()).await {
                Ok(Ok(connection)) => return Ok((link, connection)),
                Ok(Err(error)) if error.is_timeout() => {}
                Ok(Err(error)) => return Err(Failure::Unreachable(error)),
                Err(_) => return Err(Failure::Unasked),
            }
        }
    }

    fn link(&self, slot: &Slot) -> Arc<Link> {
        let mut link = lock(slot);
        match &*link {
            Some(link) if link.is_usable() => Arc::clone(link),
            _ => {
                let dialled = Link::dial(self.client.clone(), self.config.clone());
                Arc::clone(link.insert(Arc::new(dialled)))
            }
        }
    }

    fn give_up_if_silent(&self, link: &Link) {
        let Some(since) = link.silent_since().filter(|since| since.elapsed() >= self.silence)
        else {
            return;
        };
        if !link.close() {
            return;
        }
        for slot in self.small.slots.iter().chain(&self.bulk.slots) {
            if let Some(other) = &*lock(slot)
                && !other.was_heard_after(since)
            {
                other.close();
            }
        }
        tracing::warn!(
            silent_ms = since.elapsed().as_millis(),
            "Redis is silent; connecting to it again"
        );
    }
}

impl Pool {
    fn new(connections: usize) -> Self {
        let slots = (0..connections.max(1)).map(|_| Slot::default()).collect();
        Self { slots, turn: AtomicUsize::new(0) }
    }

    fn next(&self) -> &Slot {
        &self.slots[self.turn.fetch_add(1, Ordering::Relaxed) % self.slots.len()]
    }
}

fn lock(slot: &Slot) -> MutexGuard<'_, Option<Arc<Link>>> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How an operation failed, by how far it came.
enum Failure {
    /// There was no connection in time: nothing was sent.
    Unasked,
    /// Redis refused the connection: nothing was sent.
    Unreachable(RedisError),
    /// It was sent, and the connection broke.
    Broken(RedisError),
    /// It was sent, and no answer came in time.
    Late,
}

impl Failure {
    fn into_error(self, effect: Effect) -> StorageError {
        let wrote = effect == Effect::Write;
        match self {
            Self::Unasked => StorageError::Timeout { wrote: false },
            Self::Late => StorageError::Timeout { wrote },
            Self::Broken(_) if wrote => StorageError::Timeout { wrote },
            Self::Broken(error) | Self::Unreachable(error) => fault::unreachable(&error),
        }
    }
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
