//! Limits open connections. When all slots are taken, the connection that has been idle the
//! longest closes for a new one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

use kenning_core::limits::Limits;

/// A connection that was used more recently than this is not closed: its next request is likely
/// to be on the way and would fail.
const IDLE_AFTER: Duration = Duration::from_secs(1);

pub(super) struct Connections {
    slots: Arc<Semaphore>,
    /// How long a connection must be idle before it may be closed.
    idle_after: Duration,
    /// How long a new connection waits for an idle one to close.
    wait: Duration,
    stopping: CancellationToken,
    open: Arc<Mutex<Open>>,
}

/// The open connections, by number.
#[derive(Default)]
struct Open {
    next: u64,
    connections: HashMap<u64, Arc<Connection>>,
}

struct Connection {
    /// When its last call ended; `None` during a call.
    idle_since: Mutex<Option<Instant>>,
    /// Cancelled when the connection must not take another request.
    closing: CancellationToken,
}

impl Connections {
    pub(super) fn new(limits: &Limits, stopping: CancellationToken) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(limits.connections)),
            idle_after: IDLE_AFTER,
            wait: limits.guest_wait,
            stopping,
            open: Arc::default(),
        }
    }

    /// A slot, if one is free or an idle connection closes for it.
    pub(super) async fn acquire(&self) -> Option<Slot> {
        let slots = &self.slots;
        let permit = match slots.clone().try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) if lock(&self.open).close_idlest(self.idle_after) => {
                timeout(self.wait, slots.clone().acquire_owned()).await.ok()?.ok()?
            }
            Err(_) => return None,
        };
        Some(self.open_slot(permit))
    }

    fn open_slot(&self, permit: OwnedSemaphorePermit) -> Slot {
        let idle_since = Mutex::new(Some(Instant::now()));
        let closing = self.stopping.child_token();
        let connection = Arc::new(Connection { idle_since, closing });
        let mut open = lock(&self.open);
        let number = open.next;
        open.next += 1;
        open.connections.insert(number, connection.clone());
        Slot { number, connection, open: self.open.clone(), _permit: permit }
    }
}

impl Open {
    /// Tells the connection that has been idle the longest to close; `false` if none has been idle
    /// for `idle_after`.
    fn close_idlest(&self, idle_after: Duration) -> bool {
        let open = self.connections.values().filter(|one| !one.closing.is_cancelled());
        let idle = open.filter_map(|one| Some((lock(&one.idle_since).as_ref().copied()?, one)));
        let idle = idle.filter(|(since, _)| since.elapsed() >= idle_after);
        let idlest = idle.min_by_key(|(since, _)| *since);
        idlest.map(|(_, connection)| connection.closing.cancel()).is_some()
    }
}

/// The slot of one open connection; free again when it is dropped.
pub(super) struct Slot {
    number: u64,
    connection: Arc<Connection>,
    open: Arc<Mutex<Open>>,
    _permit: OwnedSemaphorePermit,
}

impl Slot {
    /// Marks the connection as busy until the result is dropped.
    pub(super) fn begin_call(&self) -> Busy {
        *lock(&self.connection.idle_since) = None;
        Busy(self.connection.clone())
    }

    /// Waits until the connection must not take another request.
    pub(super) fn closing(&self) -> WaitForCancellationFuture<'_> {
        self.connection.closing.cancelled()
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        lock(&self.open).connections.remove(&self.number);
    }
}

/// A running call.
pub(super) struct Busy(Arc<Connection>);

impl Drop for Busy {
    fn drop(&mut self) {
        *lock(&self.0.idle_since) = Some(Instant::now());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connections(connections: usize) -> Connections {
        let limits = Limits { connections, ..Limits::default() };
        let connections = Connections::new(&limits, CancellationToken::new());
        Connections { idle_after: Duration::ZERO, ..connections }
    }

    #[tokio::test]
    async fn the_connection_that_is_idle_the_longest_closes_for_a_new_one() {
        let connections = connections(2);
        let [first, second] =
            [connections.acquire().await.unwrap(), connections.acquire().await.unwrap()];
        drop(first.begin_call());
        let closing = async {
            second.closing().await;
            assert!(!first.connection.closing.is_cancelled());
            drop(second);
        };
        let (third, ()) = tokio::join!(connections.acquire(), closing);
        assert!(third.is_some());
    }

    #[tokio::test]
    async fn a_connection_does_not_close_during_a_call() {
        let connections = connections(1);
        let first = connections.acquire().await.unwrap();
        let call = first.begin_call();
        assert!(connections.acquire().await.is_none());
        drop(call);
        let (second, ()) = tokio::join!(connections.acquire(), async { drop(first) });
        assert!(second.is_some());
    }

    #[tokio::test]
    async fn a_connection_that_was_used_recently_stays_open() {
        let connections = Connections { idle_after: Duration::from_secs(60), ..connections(1) };
        let first = connections.acquire().await.unwrap();
        drop(first.begin_call());
        assert!(connections.acquire().await.is_none());
    }

    #[tokio::test]
    async fn one_idle_connection_closes_for_only_one_new_one() {
        let connections = connections(1);
        let _first = connections.acquire().await.unwrap();
        let mut second = std::pin::pin!(connections.acquire());
        assert!(futures::poll!(second.as_mut()).is_pending());
        assert!(connections.acquire().await.is_none());
    }
}
