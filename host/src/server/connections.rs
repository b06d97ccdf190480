//! A place for each connection. When all are taken, the connection that has been
//! waiting for a request the longest gives up its own to a new one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

use kenning_core::limits::Limits;

/// A connection that was used this recently is not idle: its caller is likely to have a
/// request on the way, which would meet a closed connection.
const RECENTLY: Duration = Duration::from_secs(1);

pub(super) struct Connections {
    places: Arc<Semaphore>,
    recently: Duration,
    /// How long a new connection waits for one that gives up its place.
    wait: Duration,
    stopping: CancellationToken,
    open: Arc<Mutex<Open>>,
}

/// The connections that have a place, by number.
#[derive(Default)]
struct Open {
    next: u64,
    connections: HashMap<u64, Arc<Connection>>,
}

struct Connection {
    /// Since when none of its calls is under way; `None` while one is.
    idle_since: Mutex<Option<Instant>>,
    /// Cancelled when it is to take no further request.
    given_up: CancellationToken,
}

impl Connections {
    pub(super) fn new(limits: &Limits, stopping: CancellationToken) -> Self {
        Self {
            places: Arc::new(Semaphore::new(limits.connections)),
            recently: RECENTLY,
            wait: limits.guest_wait,
            stopping,
            open: Arc::default(),
        }
    }

    /// A place, if one is free or an idle connection gives up its own.
    pub(super) async fn place(&self) -> Option<Place> {
        let places = &self.places;
        let permit = match places.clone().try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) if lock(&self.open).close_idlest(self.recently) => {
                timeout(self.wait, places.clone().acquire_owned()).await.ok()?.ok()?
            }
            Err(_) => return None,
        };
        Some(self.take(permit))
    }

    fn take(&self, permit: OwnedSemaphorePermit) -> Place {
        let idle_since = Mutex::new(Some(Instant::now()));
        let given_up = self.stopping.child_token();
        let connection = Arc::new(Connection { idle_since, given_up });
        let mut open = lock(&self.open);
        let number = open.next;
        open.next += 1;
        open.connections.insert(number, connection.clone());
        Place { number, connection, open: self.open.clone(), _permit: permit }
    }
}

impl Open {
    /// Whether there was one to close, idle for longer than `recently`.
    fn close_idlest(&self, recently: Duration) -> bool {
        let open = self.connections.values().filter(|one| !one.given_up.is_cancelled());
        let idle = open.filter_map(|one| Some((lock(&one.idle_since).as_ref().copied()?, one)));
        let idle = idle.filter(|(since, _)| since.elapsed() >= recently);
        let idlest = idle.min_by_key(|(since, _)| *since);
        idlest.map(|(_, connection)| connection.given_up.cancel()).is_some()
    }
}

/// One connection's place; free again when it is dropped.
pub(super) struct Place {
    number: u64,
    connection: Arc<Connection>,
    open: Arc<Mutex<Open>>,
    _permit: OwnedSemaphorePermit,
}

impl Place {
    /// Until what it gives is dropped, the connection is not idle.
    pub(super) fn begin_call(&self) -> Busy {
        *lock(&self.connection.idle_since) = None;
        Busy(self.connection.clone())
    }

    /// Waits until the connection is to take no further request.
    pub(super) fn given_up(&self) -> WaitForCancellationFuture<'_> {
        self.connection.given_up.cancelled()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.open).connections.remove(&self.number);
    }
}

/// A call under way.
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
        Connections { recently: Duration::ZERO, ..connections }
    }

    #[tokio::test]
    async fn the_connection_that_is_idle_the_longest_gives_up_its_place() {
        let connections = connections(2);
        let [first, second] =
            [connections.place().await.unwrap(), connections.place().await.unwrap()];
        drop(first.begin_call());
        let closing = async {
            second.given_up().await;
            assert!(!first.connection.given_up.is_cancelled());
            drop(second);
        };
        let (third, ()) = tokio::join!(connections.place(), closing);
        assert!(third.is_some());
    }

    #[tokio::test]
    async fn no_connection_gives_up_its_place_during_a_call() {
        let connections = connections(1);
        let first = connections.place().await.unwrap();
        let call = first.begin_call();
        assert!(connections.place().await.is_none());
        drop(call);
        let (second, ()) = tokio::join!(connections.place(), async { drop(first) });
        assert!(second.is_some());
    }

    #[tokio::test]
    async fn a_connection_that_was_used_recently_keeps_its_place() {
        let connections = Connections { recently: Duration::from_secs(60), ..connections(1) };
        let first = connections.place().await.unwrap();
        drop(first.begin_call());
        assert!(connections.place().await.is_none());
    }

    #[tokio::test]
    async fn one_idle_connection_makes_room_for_one() {
        let connections = connections(1);
        let _first = connections.place().await.unwrap();
        let mut second = std::pin::pin!(connections.place());
        assert!(futures::poll!(second.as_mut()).is_pending());
        assert!(connections.place().await.is_none());
    }
}
