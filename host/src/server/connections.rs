//! Limits open connections. At the limit, one closes for a new one: first one whose request's head
//! has not arrived, then one that is idle, the longest first. Without need, one closes that keeps
//! the server waiting for too long.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

use super::Rejection;
use kenning_core::limits::Limits;

/// A connection that was opened or used more recently than this is not closed: its request is
/// likely to be on the way and would fail.
const IDLE_AFTER: Duration = Duration::from_secs(1);

/// How often it is looked whether a connection keeps the server waiting for too long.
const TICK: Duration = Duration::from_secs(1);

/// All open connections, and the permits for more.
pub(super) struct Connections {
    permits: Arc<Semaphore>,
    connections: usize,
    /// Most connections of one peer on which no head has arrived yet.
    heads_per_peer: usize,
    /// How long a connection must be idle before it may be closed.
    idle_after: Duration,
    /// How long a new connection waits for another one to close.
    wait: Duration,
    /// How long a head may take.
    head: Duration,
    /// How long a connection stays open between two requests.
    idle: Duration,
    stopping: CancellationToken,
    open: Arc<Mutex<Open>>,
}

/// The open connections, by number.
#[derive(Default)]
struct Open {
    next: u64,
    connections: HashMap<u64, Arc<Connection>>,
}

/// The state of one open connection.
pub(super) struct Connection {
    /// `None` of a proxy that is trusted, which speaks for many.
    peer: Option<IpAddr>,
    state: Mutex<State>,
    /// Whether several requests are on it at once, as HTTP/2 has them.
    is_multiplexed: AtomicBool,
    /// Cancelled when the connection must not take another request.
    closing: CancellationToken,
}

/// What a connection waits for. In the order in which connections are closed for new ones.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    /// The head of its first request, since it was opened.
    FirstHead(Instant),
    /// The next request, since its last call ended; and since when a part of its head is there.
    NextRequest(Instant, Option<Instant>),
    /// The responses to so many requests.
    Responses(usize),
}

impl Connections {
    pub(super) fn new(limits: &Limits, stopping: CancellationToken) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(limits.connections)),
            connections: limits.connections,
            heads_per_peer: limits.heads_per_peer,
            idle_after: IDLE_AFTER,
            wait: limits.guest_wait,
            head: limits.request,
            idle: limits.idle,
            stopping,
            open: Arc::default(),
        }
    }

    /// A permit for a connection, if one is free or another connection closes for it. It counts
    /// among those of `peer`; without one, among nobody's.
    pub(super) async fn acquire(
        &self,
        peer: Option<IpAddr>,
    ) -> Result<ConnectionPermit, Rejection> {
        let peer = peer.map(network);
        let closes = peer.map_or(Ok(false), |peer| self.make_room_for_head(peer))?;
        let rejection = Rejection { limit: "connections", allowed: self.connections };
        let permits = &self.permits;
        let permit = match permits.clone().try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) if closes || lock(&self.open).close_one(self.idle_after, |_| true) => {
                let permit = timeout(self.wait, permits.clone().acquire_owned()).await;
                permit.ok().and_then(Result::ok).ok_or(rejection)?
            }
            Err(_) => return Err(rejection),
        };
        Ok(self.open(permit, peer))
    }

    /// Ensures that one more head of `peer` may be waited for; `true` if one of the peer's own
    /// connections closes for it.
    fn make_room_for_head(&self, peer: IpAddr) -> Result<bool, Rejection> {
        let is_head = |one: &Connection| one.peer == Some(peer) && one.awaits_first_head();
        let open = lock(&self.open);
        let heads = open.connections.values().filter(|one| one.may_close() && is_head(one)).count();
        if heads < self.heads_per_peer {
            return Ok(false);
        }
        match open.close_one(self.idle_after, is_head) {
            true => Ok(true),
            false => Err(Rejection { limit: "heads_per_peer", allowed: self.heads_per_peer }),
        }
    }

    fn open(&self, permit: OwnedSemaphorePermit, peer: Option<IpAddr>) -> ConnectionPermit {
        let state = Mutex::new(State::FirstHead(Instant::now()));
        let closing = self.stopping.child_token();
        let is_multiplexed = AtomicBool::new(false);
        let connection = Arc::new(Connection { peer, state, is_multiplexed, closing });
        let mut open = lock(&self.open);
        let number = open.next;
        open.next += 1;
        open.connections.insert(number, connection.clone());
        let (head, idle) = (self.head, self.idle);
        let open = self.open.clone();
        ConnectionPermit { number, connection, head, idle, open, _permit: permit }
    }

    /// Whether connections close because the server stops.
    pub(super) fn are_stopping(&self) -> bool {
        self.stopping.is_cancelled()
    }
}

impl Open {
    /// Tells a connection to close, of those that `may` close and have waited for `idle_after`;
    /// `false` if there is none.
    fn close_one(&self, idle_after: Duration, may: impl Fn(&Connection) -> bool) -> bool {
        let open = self.connections.values().filter(|one| one.may_close() && may(one));
        let idle = open.filter_map(|one| {
            let state = *lock(&one.state);
            (state.waits_since()?.elapsed() >= idle_after).then_some((state, one))
        });
        let first = idle.min_by_key(|(state, _)| *state);
        first.map(|(_, connection)| connection.closing.cancel()).is_some()
    }
}

impl Connection {
    /// Whether it was not told to close already.
    fn may_close(&self) -> bool {
        !self.closing.is_cancelled()
    }

    fn awaits_first_head(&self) -> bool {
        matches!(*lock(&self.state), State::FirstHead(_))
    }

    /// Notes that the peer has sent something. On a connection with one request at a time, what
    /// arrives after a response begins the next head.
    pub(super) fn note_arrival(&self) {
        if self.is_multiplexed.load(Ordering::Relaxed) {
            return;
        }
        if let State::NextRequest(_, begun @ None) = &mut *lock(&self.state) {
            *begun = Some(Instant::now());
        }
    }

    /// When it has kept the server waiting for too long, if it does.
    fn deadline(&self, head: Duration, idle: Duration) -> Option<Instant> {
        match *lock(&self.state) {
            State::FirstHead(since) | State::NextRequest(_, Some(since)) => since.checked_add(head),
            State::NextRequest(since, None) => since.checked_add(idle),
            State::Responses(_) => None,
        }
    }
}

impl State {
    /// Since when it has waited for its peer, if it does.
    fn waits_since(self) -> Option<Instant> {
        match self {
            Self::FirstHead(since) | Self::NextRequest(since, _) => Some(since),
            Self::Responses(_) => None,
        }
    }
}

/// What counts as one peer: an IPv4 address, or the network of an IPv6 address, of which one
/// machine commonly has all.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address => address,
    }
}

/// The right of one connection to be open, until it is dropped.
pub(super) struct ConnectionPermit {
    number: u64,
    connection: Arc<Connection>,
    head: Duration,
    idle: Duration,
    open: Arc<Mutex<Open>>,
    _permit: OwnedSemaphorePermit,
}

impl ConnectionPermit {
    /// Marks the connection as in use until the result is dropped.
    pub(super) fn begin_call(&self) -> RunningCall {
        let mut state = lock(&self.connection.state);
        *state = match *state {
            State::Responses(calls) => State::Responses(calls + 1),
            _ => State::Responses(1),
        };
        RunningCall(self.connection.clone())
    }

    /// The connection, for whoever notes what arrives on it.
    pub(super) fn connection(&self) -> Arc<Connection> {
        self.connection.clone()
    }

    /// Notes whether several requests may be on it at once.
    pub(super) fn set_multiplexed(&self, is_multiplexed: bool) {
        self.connection.is_multiplexed.store(is_multiplexed, Ordering::Relaxed);
    }

    /// Whether several requests may be on it at once.
    pub(super) fn is_multiplexed(&self) -> bool {
        self.connection.is_multiplexed.load(Ordering::Relaxed)
    }

    /// Waits until the peer has kept the server waiting for too long: for a head, or between two
    /// requests. By up to a second longer, so that a request wakes nothing.
    pub(super) async fn overdue(&self) {
        loop {
            let deadline = self.connection.deadline(self.head, self.idle);
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            match left {
                Some(Duration::ZERO) => return,
                Some(left) => sleep(left.min(TICK)).await,
                None => sleep(TICK).await,
            }
        }
    }

    /// Whether a call is under way on it.
    pub(super) fn is_in_use(&self) -> bool {
        matches!(*lock(&self.connection.state), State::Responses(_))
    }

    /// Whether a part of a head is missing, so that nothing is lost if the connection breaks.
    pub(super) fn awaits_head(&self) -> bool {
        let state = *lock(&self.connection.state);
        matches!(state, State::FirstHead(_) | State::NextRequest(_, Some(_)))
    }

    /// Waits until the connection must not take another request.
    pub(super) fn closing(&self) -> WaitForCancellationFuture<'_> {
        self.connection.closing.cancelled()
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        lock(&self.open).connections.remove(&self.number);
    }
}

/// A running call; the connection is idle again when it is dropped.
pub(super) struct RunningCall(Arc<Connection>);

impl Drop for RunningCall {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        *state = match *state {
            State::Responses(calls @ 2..) => State::Responses(calls - 1),
            _ => State::NextRequest(Instant::now(), None),
        };
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn connections(connections: usize) -> Connections {
        let limits = Limits { connections, ..Limits::default() };
        let connections = Connections::new(&limits, CancellationToken::new());
        Connections { idle_after: Duration::ZERO, ..connections }
    }

    async fn acquire<const N: usize>(from: &Connections) -> [ConnectionPermit; N] {
        let mut permits = Vec::new();
        for _ in 0..N {
            permits.push(from.acquire(Some(PEER)).await.ok().unwrap());
        }
        permits.try_into().ok().unwrap()
    }

    fn is_closing(permit: &ConnectionPermit) -> bool {
        permit.connection.closing.is_cancelled()
    }

    #[tokio::test]
    async fn the_connection_that_is_idle_the_longest_closes_for_a_new_one() {
        let connections = connections(2);
        let [first, second] = acquire(&connections).await;
        drop(second.begin_call());
        drop(first.begin_call());
        let closing = async {
            second.closing().await;
            assert!(!is_closing(&first));
            drop(second);
        };
        let (third, ()) = tokio::join!(connections.acquire(Some(PEER)), closing);
        assert!(third.is_ok());
    }

    #[tokio::test]
    async fn a_connection_without_a_head_closes_before_one_that_is_idle_for_longer() {
        let connections = connections(3);
        let [idle, older, newer] = acquire(&connections).await;
        drop(idle.begin_call());
        let closing = async {
            older.closing().await;
            assert!(older.awaits_head());
            assert!(!is_closing(&idle) && !is_closing(&newer));
            drop(older);
        };
        let (fourth, ()) = tokio::join!(connections.acquire(Some(PEER)), closing);
        assert!(fourth.is_ok());
    }

    #[tokio::test]
    async fn a_connection_does_not_close_during_a_call() {
        let connections = connections(1);
        let [first] = acquire(&connections).await;
        let call = first.begin_call();
        let rejection = connections.acquire(Some(PEER)).await.err().unwrap();
        assert_eq!((rejection.limit, rejection.allowed), ("connections", 1));
        drop(call);
        let (second, ()) = tokio::join!(connections.acquire(Some(PEER)), async { drop(first) });
        assert!(second.is_ok());
    }

    #[tokio::test]
    async fn a_connection_that_was_used_recently_stays_open() {
        let connections = Connections { idle_after: Duration::from_secs(60), ..connections(1) };
        let [first] = acquire(&connections).await;
        drop(first.begin_call());
        assert!(connections.acquire(Some(PEER)).await.is_err());
    }

    #[tokio::test]
    async fn one_idle_connection_closes_for_only_one_new_one() {
        let connections = connections(1);
        let [_first] = acquire(&connections).await;
        let mut second = std::pin::pin!(connections.acquire(Some(PEER)));
        assert!(futures::poll!(second.as_mut()).is_pending());
        assert!(connections.acquire(Some(PEER)).await.is_err());
    }

    #[tokio::test]
    async fn a_connection_is_overdue_without_a_head_and_idle_for_long_but_never_in_a_call() {
        let limits = Limits { idle: Duration::from_millis(30), ..Limits::default() };
        let limits = Limits { request: Duration::from_millis(10), ..limits };
        let connections = Connections::new(&limits, CancellationToken::new());
        let [first] = acquire(&connections).await;
        first.overdue().await;
        let (one, other) = (first.begin_call(), first.begin_call());
        drop(one);
        assert!(first.is_in_use());
        assert!(timeout(Duration::from_millis(300), first.overdue()).await.is_err());
        drop(other);
        assert!(!first.awaits_head());
        first.overdue().await;
        first.connection().note_arrival();
        assert!(first.awaits_head(), "what arrives then is a head");
    }

    #[tokio::test]
    async fn a_trusted_proxy_has_no_bound_of_heads_of_its_own() {
        let limits = Limits { connections: 8, heads_per_peer: 1, ..Limits::default() };
        let connections = Connections::new(&limits, CancellationToken::new());
        let _one = connections.acquire(None).await.ok().unwrap();
        let _other = connections.acquire(None).await.ok().unwrap();
        let _peer = connections.acquire(Some(PEER)).await.ok().unwrap();
        assert!(connections.acquire(Some(PEER)).await.is_err());
    }

    #[tokio::test]
    async fn heads_per_peer_is_obeyed_and_violated_by_one_peer_alone() {
        let limits = Limits { connections: 8, heads_per_peer: 2, ..Limits::default() };
        let connections = Connections::new(&limits, CancellationToken::new());
        let [first, second] = acquire(&connections).await;
        let rejection = connections.acquire(Some(PEER)).await.err().unwrap();
        assert_eq!((rejection.limit, rejection.allowed), ("heads_per_peer", 2));
        let other = IpAddr::from([192, 0, 2, 1]);
        assert!(connections.acquire(Some(other)).await.is_ok());
        let _call = first.begin_call();
        assert!(connections.acquire(Some(PEER)).await.is_ok(), "a head has arrived");
        assert!(!is_closing(&first) && !is_closing(&second));
    }

    #[tokio::test]
    async fn a_peer_with_too_many_heads_loses_its_own_oldest() {
        let limits = Limits { connections: 8, heads_per_peer: 2, ..Limits::default() };
        let connections = Connections::new(&limits, CancellationToken::new());
        let connections = Connections { idle_after: Duration::ZERO, ..connections };
        let other = connections.acquire(Some(IpAddr::from([192, 0, 2, 1]))).await.ok().unwrap();
        let [first, second] = acquire(&connections).await;
        assert!(connections.acquire(Some(PEER)).await.is_ok());
        assert!(is_closing(&first) && !is_closing(&second) && !is_closing(&other));
    }

    #[test]
    fn one_network_is_one_peer() {
        let peer = |text: &str| network(text.parse().unwrap());
        assert_eq!(peer("::ffff:192.0.2.1"), peer("192.0.2.1"));
        assert_eq!(peer("2001:db8::1"), peer("2001:db8::ffff:1:2"));
        assert_ne!(peer("2001:db8::1"), peer("2001:db8:0:1::1"));
        assert_ne!(peer("192.0.2.1"), peer("192.0.2.2"));
    }
}
