//! One TCP connection to Redis, from the attempt to make it until it is given up.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, PushInfo, PushKind, RedisError};
use tokio::sync::watch;
use tokio::time::Instant;

/// A connection that all callers share, and that none of them owns: it is made in a task of its
/// own, so a caller with little time does not take the attempt with it.
pub(super) struct Link {
    state: watch::Receiver<State>,
    is_closed: Arc<AtomicBool>,
    hearing: Mutex<Hearing>,
}

#[derive(Clone)]
enum State {
    Dialling,
    Up(MultiplexedConnection),
    Failed(RedisError),
}

/// What came back so far, and what is awaited.
struct Hearing {
    /// The last answer, or the attempt to connect.
    heard: Instant,
    /// Since when an answer has been awaited and none has come.
    silent_since: Option<Instant>,
    awaited: usize,
}

impl Link {
    /// Begins to connect.
    pub(super) fn dial(client: Client, config: AsyncConnectionConfig) -> Self {
        let is_closed = Arc::new(AtomicBool::new(false));
        // Only RESP3 tells of a closed connection before the next command fails on it.
        let config = match client.get_connection_info().redis_settings().protocol() {
            redis::ProtocolVersion::RESP2 => config,
            _ => config.set_push_sender(notice_closing(Arc::clone(&is_closed))),
        };
        let (report, state) = watch::channel(State::Dialling);
        tokio::spawn(async move {
            let made = client.get_multiplexed_async_connection_with_config(&config).await;
            // Nobody may be waiting any more; then this closes what was made.
            let _ = report.send(made.map_or_else(State::Failed, State::Up));
        });
        let hearing = Hearing { heard: Instant::now(), silent_since: None, awaited: 0 };
        Self { state, is_closed, hearing: Mutex::new(hearing) }
    }

    /// Whether there is a point in waiting for it or asking it.
    pub(super) fn is_usable(&self) -> bool {
        let is_possible = match &*self.state.borrow() {
            State::Up(_) => true,
            // Without its task an attempt never ends.
            State::Dialling => self.state.has_changed().is_ok(),
            State::Failed(_) => false,
        };
        is_possible && !self.is_closed.load(Ordering::Relaxed)
    }

    /// Takes no further request; whether it would have until now.
    pub(super) fn close(&self) -> bool {
        !self.is_closed.swap(true, Ordering::Relaxed)
    }

    /// The connection, once it is made.
    pub(super) async fn connection(&self) -> Result<MultiplexedConnection, RedisError> {
        let mut state = self.state.clone();
        loop {
            match &*state.borrow_and_update() {
                State::Up(connection) => return Ok(connection.clone()),
                State::Failed(error) => return Err(error.clone()),
                State::Dialling => {}
            }
            if state.changed().await.is_err() {
                let reason = "the attempt to connect was given up";
                return Err(RedisError::from(std::io::Error::other(reason)));
            }
        }
    }

    /// Notes that an answer is awaited, until what this gives is dropped.
    pub(super) fn ask(&self) -> Awaited<'_> {
        let mut hearing = self.hearing();
        hearing.awaited += 1;
        hearing.silent_since.get_or_insert_with(Instant::now);
        Awaited(self)
    }

    /// Since when an answer has been awaited and none at all has come.
    pub(super) fn silent_since(&self) -> Option<Instant> {
        self.hearing().silent_since
    }

    /// Whether anything came after `instant`.
    pub(super) fn was_heard_after(&self, instant: Instant) -> bool {
        self.hearing().heard > instant
    }

    fn hearing(&self) -> MutexGuard<'_, Hearing> {
        self.hearing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn notice_closing(is_closed: Arc<AtomicBool>) -> impl Fn(PushInfo) -> Result<(), ()> {
    move |push| {
        if push.kind == PushKind::Disconnection {
            is_closed.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// A caller's wait for an answer. It ends with the answer, or when the caller leaves.
pub(super) struct Awaited<'a>(&'a Link);

impl Awaited<'_> {
    /// The answer came.
    pub(super) fn heard(self) {
        let mut hearing = self.0.hearing();
        hearing.heard = Instant::now();
        // Others still wait, as does this one until it is dropped.
        hearing.silent_since = (hearing.awaited > 1).then_some(hearing.heard);
    }
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        self.0.hearing().awaited -= 1;
    }
}
