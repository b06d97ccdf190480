//! A Redis Cluster: each command goes to the node that serves its key, and on to where that node
//! sends it.
//!
//! The nodes are asked who serves what at the first call, at once when one fails or sends a command
//! elsewhere, and once a second while there are calls. What most of those say that answer in time
//! counts. Each node has a pool of connections of its own, so that all that `pool` promises holds
//! for each node, and a node that fails delays no call to another.
//!
//! A command that a node sends elsewhere (`MOVED`, `ASK`) or puts off (`TRYAGAIN`, while its slot
//! is being moved) has not happened, so that writes are repeated too, for as long as the operation
//! may take. What could not be sent to a node, or was lost on the way, is reported as of a single
//! server.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures::StreamExt;
use futures::future::join_all;
use futures::stream::FuturesUnordered;
use redis::{Cmd, RedisConnectionInfo, ServerErrorKind, Value};
use tokio::time::{Instant, sleep, timeout_at};

use super::address::Place;
use super::error;
use super::pool::{Effect, Pool, Size, pipeline};
use super::slots::{self, SlotMap, redirected};
use super::target::{Server, Target};
use super::tls::Tls;
use crate::{StorageError, StorageLimits};

/// How many nodes are asked at a time who serves what.
const ASKED: usize = 5;

/// After so long, nodes are asked again although nothing failed: one that hangs says nothing.
const MAX_AGE: Duration = Duration::from_secs(1);

/// The shortest time between two questions.
const MIN_AGE: Duration = Duration::from_millis(100);

/// How long a command waits that a node puts off, or that is sent to and fro.
const PAUSE: Duration = Duration::from_millis(20);

/// So many times a command is sent elsewhere at once.
const AT_ONCE: usize = 2;

/// What is left of an operation's time when it gives up waiting and says why.
const REPORT: Duration = Duration::from_millis(100);

/// The nodes of one cluster.
pub(super) struct Cluster {
    me: Weak<Cluster>,
    seeds: Vec<Place>,
    settings: RedisConnectionInfo,
    tls: Option<Arc<Tls>>,
    limits: StorageLimits,
    state: Mutex<State>,
    asking: tokio::sync::Mutex<()>,
    next: AtomicUsize,
}

#[derive(Default)]
struct State {
    nodes: HashMap<Place, Arc<Pool>>,
    map: Option<Arc<SlotMap>>,
    /// Slots that a node said are elsewhere than on the map.
    moved: HashMap<u16, Place>,
    /// When the nodes were last asked.
    asked: Option<Instant>,
    is_asking: bool,
}

/// A command on its way.
#[derive(Clone)]
struct Part<'c> {
    index: usize,
    command: &'c Cmd,
    slot: u16,
    /// The node to ask in place of the slot's owner, once.
    ask: Option<Place>,
}

/// What a node says instead of performing a command.
enum Elsewhere {
    Moved(u16, Place),
    Ask(Place),
    Later,
}

impl Cluster {
    pub(super) fn new(
        seeds: Vec<Place>,
        settings: RedisConnectionInfo,
        tls: Option<Arc<Tls>>,
        limits: &StorageLimits,
    ) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            seeds,
            settings,
            tls,
            limits: limits.clone(),
            state: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
            next: AtomicUsize::new(0),
        })
    }

    /// Sends `commands`, each to the node of its key, and before them `first` to each of these
    /// nodes, whose reply is left out. Replies come in the order of `commands`.
    pub(super) async fn run(
        &self,
        first: Option<&Cmd>,
        commands: &[Cmd],
        kind: (Size, Effect),
        end: Instant,
    ) -> Result<Vec<Value>, StorageError> {
        let mut replies = vec![Value::Nil; commands.len()];
        let mut parts = parts(commands)?;
        let (mut has_happened, mut rounds) = (false, 0);
        loop {
            let map = self.map(end).await;
            let groups = map.and_then(|map| self.group(&map, parts));
            let groups = groups.map_err(|error| doubted(error, has_happened, kind.1))?;
            let sent = groups.into_iter().map(|(place, parts)| async move {
                let replies = self.send(&place, first, &parts, kind, end).await;
                (place, parts, replies)
            });
            let (mut failure, mut again, mut is_late) = (None, Vec::new(), false);
            for (place, parts, sent) in join_all(sent).await {
                let sent = match sent {
                    Ok(sent) => sent,
                    Err(error) => {
                        self.ask_soon();
                        failure.get_or_insert(error);
                        continue;
                    }
                };
                for (mut part, reply) in parts.into_iter().zip(sent) {
                    match elsewhere(&reply, &place) {
                        None => has_happened |= !matches!(reply, Value::ServerError(_)),
                        Some(to) => {
                            part.ask = None;
                            match to {
                                Elsewhere::Moved(slot, place) => self.note(slot, place),
                                Elsewhere::Ask(place) => part.ask = Some(place),
                                Elsewhere::Later => is_late = true,
                            }
                            again.push(part.clone());
                        }
                    }
                    replies[part.index] = reply;
                }
            }
            if let Some(error) = failure {
                return Err(doubted(error, has_happened, kind.1));
            }
            if again.is_empty() {
                return Ok(replies);
            }
            rounds += 1;
            if is_late || rounds > AT_ONCE {
                if Instant::now() + PAUSE + REPORT >= end {
                    let moving = "the cluster is moving these keys to another node";
                    let error = StorageError::Unavailable(moving.into());
                    return Err(doubted(error, has_happened, kind.1));
                }
                sleep(PAUSE).await;
            }
            parts = again;
        }
    }

    /// The positions of `commands` by the node that serves their keys.
    pub(super) async fn by_node(
        &self,
        commands: &[Cmd],
        end: Instant,
    ) -> Result<Vec<Vec<usize>>, StorageError> {
        let map = self.map(end).await?;
        let groups = self.group(&map, parts(commands)?)?;
        let indexes = |parts: Vec<Part<'_>>| parts.iter().map(|part| part.index).collect();
        Ok(groups.into_values().map(indexes).collect())
    }

    /// Sends `command`, which only reads, to every node that serves slots.
    pub(super) async fn run_everywhere(
        &self,
        command: &Cmd,
        end: Instant,
    ) -> Result<Vec<Result<Value, StorageError>>, StorageError> {
        let map = self.map(end).await?;
        let asked = map.masters().into_iter().map(|place| async move {
            let (node, asked) = (self.node(&place), pipeline([command]));
            let replies = node.run(&asked, Size::Small, Effect::Read, end).await?;
            replies.into_iter().next().ok_or_else(error::no_value)
        });
        Ok(join_all(asked).await)
    }

    fn group<'c>(
        &self,
        map: &SlotMap,
        parts: Vec<Part<'c>>,
    ) -> Result<HashMap<Place, Vec<Part<'c>>>, StorageError> {
        let moved = self.state().moved.clone();
        let mut groups: HashMap<Place, Vec<Part<'c>>> = HashMap::new();
        for part in parts {
            let owner = || moved.get(&part.slot).or_else(|| map.owner(part.slot)).cloned();
            let Some(place) = part.ask.clone().or_else(owner) else {
                self.ask_soon();
                return Err(StorageError::Unavailable(format!(
                    "no node of the cluster serves slot {}; a master may have failed without a \
                     replica, or slots were never assigned (redis-cli --cluster check)",
                    part.slot
                )));
            };
            groups.entry(place).or_default().push(part);
        }
        Ok(groups)
    }

    async fn send(
        &self,
        place: &Place,
        first: Option<&Cmd>,
        parts: &[Part<'_>],
        (size, effect): (Size, Effect),
        end: Instant,
    ) -> Result<Vec<Value>, StorageError> {
        let mut all = pipeline(first);
        let mut wanted = Vec::new();
        let mut sent = usize::from(first.is_some());
        for part in parts {
            if part.ask.is_some() {
                all.add_command(redis::cmd("ASKING"));
                sent += 1;
            }
            all.add_command(part.command.clone());
            wanted.push(sent);
            sent += 1;
        }
        let node = self.node(place);
        let mut replies = node.run(&all, size, effect, end).await?;
        if replies.len() != sent {
            return Err(error::no_value());
        }
        let replies = wanted.into_iter().map(|at| std::mem::replace(&mut replies[at], Value::Nil));
        Ok(replies.collect())
    }

    /// The connections to one node.
    fn node(&self, place: &Place) -> Arc<Pool> {
        let mut state = self.state();
        let make = || {
            let target = Target {
                settings: self.settings.clone(),
                tls: self.tls.clone(),
                server: Server::At(place.clone()),
                within: self.limits.connect,
            };
            Arc::new(Pool::new(target, &self.limits))
        };
        Arc::clone(state.nodes.entry(place.clone()).or_insert_with(make))
    }

    /// Who serves what, asking if that is not known. What is known for long is asked for again in
    /// the background.
    async fn map(&self, end: Instant) -> Result<Arc<SlotMap>, StorageError> {
        let (map, asked) = {
            let state = self.state();
            (state.map.clone(), state.asked)
        };
        match map {
            Some(map) => {
                if asked.is_none_or(|asked| asked.elapsed() > MAX_AGE) {
                    self.ask_soon();
                }
                Ok(map)
            }
            None => self.ask(end).await,
        }
    }

    fn note(&self, slot: u16, place: Place) {
        self.state().moved.insert(slot, place);
        self.ask_soon();
    }

    /// Asks in the background, unless that was just done.
    fn ask_soon(&self) {
        let mut state = self.state();
        let is_recent = state.asked.is_some_and(|asked| asked.elapsed() < MIN_AGE);
        let Some(me) = self.me.upgrade().filter(|_| !is_recent && !state.is_asking) else { return };
        state.is_asking = true;
        drop(state);
        tokio::spawn(async move {
            // The last map stays where nobody answers.
            let _ = me.ask(Instant::now() + me.limits.operation).await;
            me.state().is_asking = false;
        });
    }

    /// Asks several nodes at once who serves what, and goes by what most of them say.
    async fn ask(&self, end: Instant) -> Result<Arc<SlotMap>, StorageError> {
        let began = Instant::now();
        let Ok(_one_at_a_time) = timeout_at(end, self.asking.lock()).await else {
            return Err(StorageError::Timeout { outcome_unknown: false });
        };
        if let State { map: Some(map), asked: Some(asked), .. } = &*self.state()
            && *asked > began
        {
            return Ok(Arc::clone(map));
        }
        let places = self.places_to_ask();
        let count = places.len();
        let end = end.min(Instant::now() + self.limits.connect);
        let mut answers: FuturesUnordered<_> =
            places.into_iter().map(|place| self.ask_one(place, end)).collect();
        let (mut votes, mut failure): (Vec<(SlotMap, usize)>, _) = (Vec::new(), None);
        while let Some(answer) = answers.next().await {
            let map = match answer {
                Ok(map) => map,
                Err(error) => {
                    // What lasts until somebody acts tells more than a node that is away.
                    if !matches!(failure, Some(StorageError::Refused(_))) {
                        failure = Some(error);
                    }
                    continue;
                }
            };
            let at = votes.iter().position(|(known, _)| *known == map).unwrap_or_else(|| {
                votes.push((map, 0));
                votes.len() - 1
            });
            votes[at].1 += 1;
            if 2 * votes[at].1 > count {
                break;
            }
        }
        match votes.into_iter().max_by_key(|(_, votes)| *votes) {
            Some((map, _)) => Ok(self.use_map(map)),
            None => Err(failure.unwrap_or(StorageError::Timeout { outcome_unknown: false })),
        }
    }

    /// Some of the nodes, others each time, so that none is relied on.
    fn places_to_ask(&self) -> Vec<Place> {
        let mut places = self.state().map.as_ref().map(|map| map.nodes()).unwrap_or_default();
        for seed in &self.seeds {
            if !places.contains(seed) {
                places.push(seed.clone());
            }
        }
        let first = self.next.fetch_add(1, Ordering::Relaxed) % places.len().max(1);
        places.rotate_left(first);
        places.truncate(ASKED);
        places
    }

    async fn ask_one(&self, place: Place, end: Instant) -> Result<SlotMap, StorageError> {
        let mut ask = redis::cmd("CLUSTER");
        ask.arg("SLOTS");
        let (node, asked) = (self.node(&place), pipeline([&ask]));
        let replies = node.run(&asked, Size::Small, Effect::Read, end).await?;
        let reply = replies.into_iter().next().ok_or_else(error::no_value)?;
        if let Value::ServerError(refused) = &reply {
            return Err(not_a_cluster(error::refused(refused)));
        }
        match SlotMap::parse(&reply, &place) {
            Some(map) if map.is_empty() => Err(StorageError::Unavailable(
                "the nodes of the cluster serve no slots yet (redis-cli --cluster create)".into(),
            )),
            Some(map) => Ok(map),
            None => Err(StorageError::Corrupt("CLUSTER SLOTS has an unknown form".into())),
        }
    }

    fn use_map(&self, map: SlotMap) -> Arc<SlotMap> {
        let (map, mut state) = (Arc::new(map), self.state());
        if state.map.as_ref().is_some_and(|known| *known != map) {
            tracing::info!(masters = map.masters().len(), "the slots of the Redis Cluster moved");
        }
        let nodes = map.nodes();
        state.nodes.retain(|place, _| nodes.contains(place) || self.seeds.contains(place));
        state.moved.clear();
        state.asked = Some(Instant::now());
        state.map = Some(Arc::clone(&map));
        map
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn parts(commands: &[Cmd]) -> Result<Vec<Part<'_>>, StorageError> {
    let part = |(index, command)| {
        let slot = slots::of_command(command).ok_or_else(|| {
            StorageError::Corrupt("a command without a key was sent to a cluster".into())
        })?;
        Ok(Part { index, command, slot, ask: None })
    };
    commands.iter().enumerate().map(part).collect()
}

/// The failure of some commands after others happened.
fn doubted(error: StorageError, has_happened: bool, effect: Effect) -> StorageError {
    if has_happened && effect == Effect::Write {
        return StorageError::Uncertain(Box::new(error));
    }
    error
}

/// Where the node at `asked` sends a command that it did not perform.
fn elsewhere(reply: &Value, asked: &Place) -> Option<Elsewhere> {
    let Value::ServerError(refusal) = reply else { return None };
    let to = || redirected(refusal.details().unwrap_or_default(), asked);
    match refusal.kind()? {
        ServerErrorKind::Moved => to().map(|(slot, place)| Elsewhere::Moved(slot, place)),
        ServerErrorKind::Ask => to().map(|(_, place)| Elsewhere::Ask(place)),
        ServerErrorKind::TryAgain => Some(Elsewhere::Later),
        _ => None,
    }
}

/// A server without clusters answers with an error.
fn not_a_cluster(refused: StorageError) -> StorageError {
    match refused {
        StorageError::Unavailable(reason)
            if reason.contains("cluster support disabled")
                || reason.contains("unknown command") =>
        {
            StorageError::Refused(
                "redis+cluster:// names a Redis that is no cluster; use redis:// for it".into(),
            )
        }
        other => other,
    }
}
