//! One connection to Redis, from the attempt to connect until it is abandoned.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redis::{AsyncConnectionConfig, ProtocolVersion, PushInfo, PushKind};
use tokio::sync::watch;
use tokio::time::Instant;

use super::address::Place;
use super::target::{Attempt, Made, Target};
use crate::StorageError;

/// A connection that all callers share and none of them owns. A separate task makes it, so a caller
/// that gives up early does not abort the attempt for the others.
pub(super) struct Connection {
    state: watch::Receiver<State>,
    is_closed: Arc<AtomicBool>,
    activity: Mutex<Activity>,
}

#[derive(Clone)]
enum State {
    Connecting,
    Up(Made),
    Failed(Attempt),
}

/// When replies arrived, and how many are outstanding.
struct Activity {
    /// When the last reply arrived; at first, when the attempt to connect began.
    last_reply: Instant,
    /// Since when replies have been outstanding without any arriving.
    silent_since: Option<Instant>,
    /// The number of callers waiting for a reply.
    outstanding: usize,
}

impl Connection {
    /// Starts to connect.
    pub(super) fn start(target: Arc<Target>) -> Self {
        let is_closed = Arc::new(AtomicBool::new(false));
        // Operations have deadlines of their own.
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        // RESP3 reports a closed connection at once; RESP2 only when the next command fails.
        let config = match target.settings.protocol() {
            ProtocolVersion::RESP2 => config,
            _ => config.set_push_sender(report_disconnection(Arc::clone(&is_closed))),
        };
        let (report, state) = watch::channel(State::Connecting);
        tokio::spawn(async move {
            let made = target.connect(config).await;
            let result = if made.is_ok() { "made" } else { "failed" };
            metrics::counter!("kenning_redis_connects_total", "result" => result).increment(1);
            // If nobody is waiting any more, dropping the result closes the connection.
            let _ = report.send(made.map_or_else(State::Failed, State::Up));
        });
        metrics::gauge!("kenning_redis_connections").increment(1.0);
        let activity = Activity { last_reply: Instant::now(), silent_since: None, outstanding: 0 };
        Self { state, is_closed, activity: Mutex::new(activity) }
    }

    /// Whether it can be waited for or used.
    pub(super) fn is_usable(&self) -> bool {
        let is_possible = match &*self.state.borrow() {
            State::Up(_) => true,
            // If the task is gone, the attempt never ends.
            State::Connecting => self.state.has_changed().is_ok(),
            State::Failed(_) => false,
        };
        is_possible && !self.is_closed.load(Ordering::Relaxed)
    }

    /// Accepts no further requests. Returns whether it accepted them until now.
    pub(super) fn close(&self) -> bool {
        !self.is_closed.swap(true, Ordering::Relaxed)
    }

    /// Whether it goes to a server other than the one at `place`.
    pub(super) fn is_elsewhere(&self, place: &Place) -> bool {
        matches!(&*self.state.borrow(), State::Up(made) if *made.place != *place)
    }

    /// Waits until it is connected.
    pub(super) async fn connected(&self) -> Result<Made, Attempt> {
        let mut state = self.state.clone();
        loop {
            match &*state.borrow_and_update() {
                State::Up(made) => return Ok(made.clone()),
                State::Failed(reason) => return Err(reason.clone()),
                State::Connecting => {}
            }
            if state.changed().await.is_err() {
                let reason = "the attempt to connect was abandoned".to_owned();
                return Err(Attempt::Failed(StorageError::Unavailable(reason)));
            }
        }
    }

    /// Records that a reply is outstanding until the returned value is dropped.
    pub(super) fn expect_reply(&self) -> PendingReply<'_> {
        let mut activity = self.activity();
        activity.outstanding += 1;
        activity.silent_since.get_or_insert_with(Instant::now);
        PendingReply(self)
    }

    /// Since when replies have been outstanding without any arriving.
    pub(super) fn silent_since(&self) -> Option<Instant> {
        self.activity().silent_since
    }

    /// Whether a reply arrived after `instant`.
    pub(super) fn replied_after(&self, instant: Instant) -> bool {
        self.activity().last_reply > instant
    }

    fn activity(&self) -> MutexGuard<'_, Activity> {
        self.activity.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        metrics::gauge!("kenning_redis_connections").decrement(1.0);
    }
}

fn report_disconnection(is_closed: Arc<AtomicBool>) -> impl Fn(PushInfo) -> Result<(), ()> {
    move |push| {
        if push.kind == PushKind::Disconnection {
            is_closed.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// An outstanding reply. Dropped when the reply arrives or the caller stops waiting.
pub(super) struct PendingReply<'a>(&'a Connection);

impl PendingReply<'_> {
    /// Records that the reply arrived.
    pub(super) fn arrived(self) {
        let mut activity = self.0.activity();
        activity.last_reply = Instant::now();
        // This reply counts as outstanding until it is dropped; only others restart the silence.
        activity.silent_since = (activity.outstanding > 1).then_some(activity.last_reply);
    }
}

impl Drop for PendingReply<'_> {
    fn drop(&mut self) {
        self.0.activity().outstanding -= 1;
    }
}
