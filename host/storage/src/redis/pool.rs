//! A pool of connections that never hang and always recover.
//!
//! Callers share a few multiplexed connections. Replies on a connection arrive in the order of the
//! requests, so a caller that stops waiting does not affect the others.
//!
//! - Connections are made on demand, and failures are not remembered: a call that finds no
//!   connection starts one, and calls that arrive meanwhile share the attempt.
//! - Every operation ends in time, also while there is no connection. A refused connection is
//!   reported at once; an attempt that times out is repeated until the operation's end.
//! - A connection whose state a firewall has dropped looks slow and never recovers. Therefore a
//!   connection on which an operation timed out, and which has been silent for nearly the duration
//!   of an operation, is abandoned. So are all others that have been silent since then: firewalls
//!   rarely drop a single connection, and reconnecting takes a millisecond. Replies that still
//!   arrive on them are delivered.
//!
//! Small commands and bulk transfers use different connections, so that a large reply does not
//! delay a small one.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kenning_trace::{Kind, OpenSpan};
use redis::{Arg, Cmd, Pipeline, RedisError, ServerErrorKind, Value};
use tokio::time::{Instant, timeout_at};

use super::address::Place;
use super::connection::Connection;
use super::error;
use super::target::{Attempt, Made, Target};
use crate::{StorageError, StorageLimits};

/// How long a connection may be silent, as a fraction of an operation's duration. Less than 1,
/// because an operation starts a moment before it sends its request.
const MAX_SILENCE: f32 = 0.9;

/// Connections for requests that Redis answers late: of the host that follows others, and of the
/// callers who follow a tenant.
const WAITING: usize = 2;

/// The expected size of requests and replies.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    Small,
    Bulk,
    /// Requests that Redis answers once something has happened. Others on the same connection
    /// would wait for that too.
    Waiting,
}

/// What an operation does. It decides whether a lost request may be sent again, and what is
/// reported otherwise.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    Read,
    Write,
}

/// The connections to one server.
pub(super) struct Pool {
    target: Arc<Target>,
    max_silence: Duration,
    small: RoundRobin,
    bulk: RoundRobin,
    waiting: Exclusive,
}

/// Connections that are used in rotation.
struct RoundRobin {
    slots: Vec<Slot>,
    next: AtomicUsize,
}

/// Connections that serve one request at a time each, as long as there are enough.
struct Exclusive {
    slots: Vec<(Slot, AtomicBool)>,
}

/// The use of one of these connections.
struct Use<'e> {
    slot: &'e Slot,
    is_used: Option<&'e AtomicBool>,
}

/// Holds one connection; empty until the first call.
type Slot = Mutex<Option<Arc<Connection>>>;

impl Pool {
    /// Prepares connections to `target`, without connecting.
    pub(super) fn new(target: Target, limits: &StorageLimits) -> Self {
        Self {
            target: Arc::new(target),
            max_silence: limits.operation.mul_f32(MAX_SILENCE),
            small: RoundRobin::new(limits.small_connections),
            bulk: RoundRobin::new(limits.bulk_connections),
            waiting: Exclusive::new(WAITING),
        }
    }

    /// What other connections to the same server are made with.
    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    /// Uses no connection any more that goes elsewhere than to `place`. Replies that still arrive
    /// on one are delivered.
    pub(super) fn leave_all_but(&self, place: &Place) {
        let mut left = false;
        for slot in self.slots() {
            if let Some(connection) = &*lock(slot)
                && connection.is_elsewhere(place)
            {
                left |= connection.close();
            }
        }
        if left {
            tracing::warn!(master = %place, "Redis has another master; reconnecting");
        }
    }

    fn slots(&self) -> impl Iterator<Item = &Slot> {
        let waiting = self.waiting.slots.iter().map(|(slot, _)| slot);
        self.small.slots.iter().chain(&self.bulk.slots).chain(waiting)
    }

    /// Sends `pipeline` and waits for its replies, one per command. The error of a refused command
    /// is among the replies. Ends by `end`.
    pub(super) async fn run(
        &self,
        pipeline: &Pipeline,
        size: Size,
        effect: Effect,
        end: Instant,
    ) -> Result<Vec<Value>, StorageError> {
        let mut span = round_trip(pipeline, effect);
        let begun = Instant::now();
        let replied = self.send(pipeline, size, effect, end).await;
        // What is awaited says nothing of Redis.
        if size != Size::Waiting {
            let effect = if effect == Effect::Read { "read" } else { "write" };
            metrics::histogram!("kenning_redis_seconds", "effect" => effect)
                .record(begun.elapsed().as_secs_f64());
        }
        replied.map_err(|failure| {
            let kind = failure.kind();
            if let Some(span) = &mut span {
                span.fail(kind);
            }
            metrics::counter!("kenning_redis_failures_total", "kind" => kind).increment(1);
            failure.into_error(effect)
        })
    }

    async fn send(
        &self,
        pipeline: &Pipeline,
        size: Size,
        effect: Effect,
        end: Instant,
    ) -> Result<Vec<Value>, Failure> {
        let waiting;
        let slot = match size {
            Size::Small => self.small.next(),
            Size::Bulk => self.bulk.next(),
            Size::Waiting => {
                waiting = self.waiting.take();
                waiting.slot
            }
        };
        match self.attempt(slot, pipeline, end).await {
            // A read can be repeated. A write may have happened, and then the reply to a second
            // attempt would be wrong.
            Err(Failure::Broken(_)) if effect == Effect::Read => {
                self.attempt(slot, pipeline, end).await
            }
            result => result,
        }
    }

    async fn attempt(
        &self,
        slot: &Slot,
        pipeline: &Pipeline,
        end: Instant,
    ) -> Result<Vec<Value>, Failure> {
        let (connection, mut made) = self.connect(slot, end).await?;
        let pending = connection.expect_reply();
        let asked = pipeline.query_async::<Vec<Value>>(&mut made.commands);
        match timeout_at(end, asked).await {
            Ok(Ok(replies)) => {
                pending.arrived();
                // What was a master is none any more: the next attempt looks for the new one.
                if self.target.is_named_by_sentinels() && replies.iter().any(is_read_only) {
                    connection.close();
                }
                Ok(replies)
            }
            // Errors of single commands are among the replies; this is one of the connection.
            Ok(Err(error)) => {
                connection.close();
                Err(Failure::Broken(error))
            }
            Err(_) => {
                self.abandon_if_silent(&connection);
                Err(Failure::Late)
            }
        }
    }

    /// The connection of `slot`, connecting if there is none.
    async fn connect(&self, slot: &Slot, end: Instant) -> Result<(Arc<Connection>, Made), Failure> {
        loop {
            let connection = self.usable(slot);
            match timeout_at(end, connection.connected()).await {
                Ok(Ok(made)) => return Ok((connection, made)),
                Ok(Err(Attempt::Late)) => {}
                Ok(Err(Attempt::Failed(error))) => return Err(Failure::Unreachable(error)),
                Err(_) => return Err(Failure::NotConnected),
            }
        }
    }

    /// The connection of `slot`, replaced by a new one if it cannot be used.
    fn usable(&self, slot: &Slot) -> Arc<Connection> {
        let mut slot = lock(slot);
        match &*slot {
            Some(connection) if connection.is_usable() => Arc::clone(connection),
            _ => {
                let new = Connection::start(Arc::clone(&self.target));
                Arc::clone(slot.insert(Arc::new(new)))
            }
        }
    }

    fn abandon_if_silent(&self, connection: &Connection) {
        let is_too_long = |since: &Instant| since.elapsed() >= self.max_silence;
        let Some(since) = connection.silent_since().filter(is_too_long) else {
            return;
        };
        if !connection.close() {
            return;
        }
        for slot in self.slots() {
            if let Some(other) = &*lock(slot)
                && !other.replied_after(since)
            {
                other.close();
            }
        }
        tracing::warn!(
            silent_ms = since.elapsed().as_millis(),
            "Redis does not reply; reconnecting"
        );
    }
}

impl RoundRobin {
    fn new(connections: usize) -> Self {
        let slots = (0..connections.max(1)).map(|_| Slot::default()).collect();
        Self { slots, next: AtomicUsize::new(0) }
    }

    fn next(&self) -> &Slot {
        &self.slots[self.next.fetch_add(1, Ordering::Relaxed) % self.slots.len()]
    }
}

impl Exclusive {
    fn new(connections: usize) -> Self {
        Self { slots: (0..connections.max(1)).map(|_| Default::default()).collect() }
    }

    /// A connection that nobody uses, or the first if all are used.
    fn take(&self) -> Use<'_> {
        let free = self.slots.iter().find(|(_, used)| !used.swap(true, Ordering::Relaxed));
        match free {
            Some((slot, used)) => Use { slot, is_used: Some(used) },
            None => Use { slot: &self.slots[0].0, is_used: None },
        }
    }
}

impl Drop for Use<'_> {
    fn drop(&mut self) {
        if let Some(used) = self.is_used {
            used.store(false, Ordering::Relaxed);
        }
    }
}

fn lock(slot: &Slot) -> MutexGuard<'_, Option<Arc<Connection>>> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How an operation failed.
enum Failure {
    /// No connection in time: nothing was sent.
    NotConnected,
    /// No connection could be made: nothing was sent.
    Unreachable(StorageError),
    /// The connection was lost after the request was sent.
    Broken(RedisError),
    /// The request was sent, and no reply arrived in time.
    Late,
}

impl Failure {
    /// Its kind, in metrics.
    fn kind(&self) -> &'static str {
        match self {
            Self::NotConnected => "not_connected",
            Self::Unreachable(_) => "unreachable",
            Self::Broken(_) => "broken",
            Self::Late => "late",
        }
    }

    fn into_error(self, effect: Effect) -> StorageError {
        let outcome_unknown = effect == Effect::Write;
        match self {
            Self::NotConnected => StorageError::Timeout { outcome_unknown: false },
            Self::Late => StorageError::Timeout { outcome_unknown },
            Self::Broken(error) if outcome_unknown => error::reply_lost(&error),
            Self::Broken(error) => error::unreachable(&error),
            Self::Unreachable(error) => error,
        }
    }
}

/// The span of a round trip, with the name of its first command and never a key.
fn round_trip(pipeline: &Pipeline, effect: Effect) -> Option<OpenSpan> {
    let mut span = kenning_trace::begin("redis", Kind::Client)?;
    span.set("db.system.name", "redis");
    span.set("db.operation.batch.size", pipeline.len() as u64);
    if let Some(Arg::Simple(name)) =
        pipeline.cmd_iter().next().and_then(|cmd| cmd.args_iter().next())
    {
        span.set("db.operation.name", String::from_utf8_lossy(name).into_owned());
    }
    span.set("kenning.effect", if effect == Effect::Read { "read" } else { "write" });
    Some(span)
}

fn is_read_only(reply: &Value) -> bool {
    matches!(reply, Value::ServerError(e) if e.kind() == Some(ServerErrorKind::ReadOnly))
}

/// A pipeline of commands for one round trip. The error of a refused command is among the replies,
/// so that an error of the whole pipeline is one of the connection.
pub(super) fn pipeline<'c>(commands: impl IntoIterator<Item = &'c Cmd>) -> Pipeline {
    let mut pipeline = redis::pipe();
    pipeline.ignore_errors();
    for command in commands {
        pipeline.add_command(command.clone());
    }
    pipeline
}
