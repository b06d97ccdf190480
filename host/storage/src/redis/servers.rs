//! The servers behind one storage: one, or the nodes of a cluster.

use std::sync::{Arc, Weak};
use std::time::Duration;

use redis::{Cmd, Value};
use tokio::time::{Instant, sleep, timeout};

use super::address::{self, Address};
use super::cluster::Cluster;
use super::error;
use super::pool::{Effect, Pool, Size, pipeline};
use super::sentinel::Sentinels;
use super::target::{Server, Target};
use super::tls::Tls;
use crate::{OpenError, StorageError, StorageLimits, TlsFiles};

/// How often Sentinels are asked for the master while nothing fails. A master that was replaced and
/// does not know it takes writes, which are lost; it is left within this time.
const WATCH: Duration = Duration::from_secs(1);

/// What commands are sent to.
pub(super) struct Servers {
    address: String,
    kind: Kind,
}

enum Kind {
    One(Arc<Pool>),
    Cluster(Arc<Cluster>),
}

impl Servers {
    /// Prepares connections to what `url` names, without connecting. Must be called within a tokio
    /// runtime.
    pub(super) fn new(
        url: &str,
        files: &TlsFiles,
        limits: &StorageLimits,
    ) -> Result<Self, OpenError> {
        let address = Address::parse(url)?;
        let tls = match address.is_tls {
            true => Some(Arc::new(Tls::new(files)?)),
            false if files.is_empty() => None,
            false => return Err(OpenError::Address(
                "--storage-ca, --storage-cert and --storage-key are for addresses with TLS, such \
                 as rediss://, and --storage has none"
                    .into(),
            )),
        };
        let shown = address.to_string();
        let Address { servers, settings, .. } = address;
        let one = |server, tls| {
            let settings = settings.clone();
            let target = Target { settings, tls, server, within: limits.connect };
            Arc::new(Pool::new(target, limits))
        };
        let kind = match servers {
            address::Servers::One(place) => Kind::One(one(Server::At(place), tls)),
            address::Servers::Sentinels { places, name, settings: asking } => {
                let within = limits.connect;
                let sentinels =
                    Sentinels { places, name, settings: asking, tls: tls.clone(), within };
                let sentinels = Arc::new(sentinels);
                let pool = one(Server::Master(Arc::clone(&sentinels)), tls);
                tokio::spawn(follow_master(sentinels, Arc::downgrade(&pool)));
                Kind::One(pool)
            }
            address::Servers::Cluster(seeds) => {
                Kind::Cluster(Cluster::new(seeds, settings, tls, limits))
            }
        };
        Ok(Self { address: shown, kind })
    }

    /// The address without credentials.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    pub(super) fn is_cluster(&self) -> bool {
        matches!(self.kind, Kind::Cluster(_))
    }

    /// What other connections to the one server are made with; `None` if there are several.
    pub(super) fn target(&self) -> Option<&Target> {
        match &self.kind {
            Kind::One(pool) => Some(pool.target()),
            Kind::Cluster(_) => None,
        }
    }

    /// Sends commands in one round trip, and waits for their replies, one per command. The error of
    /// a refused command is among the replies. Ends by `end`.
    pub(super) async fn run(
        &self,
        commands: &[Cmd],
        kind: (Size, Effect),
        end: Instant,
    ) -> Result<Vec<Value>, StorageError> {
        match &self.kind {
            Kind::One(pool) => pool.run(&pipeline(commands), kind.0, kind.1, end).await,
            Kind::Cluster(cluster) => cluster.run(None, commands, kind, end).await,
        }
    }

    /// The same, and before them `first`, to each server that gets any of them. Its reply is left
    /// out.
    pub(super) async fn run_after(
        &self,
        first: &Cmd,
        commands: &[&Cmd],
        kind: (Size, Effect),
        end: Instant,
    ) -> Result<Vec<Value>, StorageError> {
        match &self.kind {
            Kind::One(pool) => {
                let all = std::iter::once(first).chain(commands.iter().copied());
                let mut replies = pool.run(&pipeline(all), kind.0, kind.1, end).await?;
                if replies.is_empty() {
                    return Err(error::no_value());
                }
                replies.remove(0);
                Ok(replies)
            }
            Kind::Cluster(cluster) => {
                let commands: Vec<Cmd> = commands.iter().copied().cloned().collect();
                cluster.run(Some(first), &commands, kind, end).await
            }
        }
    }

    /// Sends a command that names no key, and only reads, to every server that keeps facts: one
    /// result from each.
    pub(super) async fn run_everywhere(
        &self,
        command: &Cmd,
        end: Instant,
    ) -> Result<Vec<Result<Value, StorageError>>, StorageError> {
        match &self.kind {
            Kind::One(pool) => {
                let asked = pipeline([command]);
                let replies = pool.run(&asked, Size::Small, Effect::Read, end).await?;
                Ok(replies.into_iter().map(Ok).collect())
            }
            Kind::Cluster(cluster) => cluster.run_everywhere(command, end).await,
        }
    }

    /// The positions of `commands` by the server that each would be sent to.
    pub(super) async fn by_server(
        &self,
        commands: &[Cmd],
        end: Instant,
    ) -> Result<Vec<Vec<usize>>, StorageError> {
        match &self.kind {
            Kind::One(_) => Ok(vec![(0..commands.len()).collect()]),
            Kind::Cluster(cluster) => cluster.by_node(commands, end).await,
        }
    }
}

/// Asks for the master now and then, and has `pool` leave one that is not it any more, until the
/// pool is gone.
async fn follow_master(sentinels: Arc<Sentinels>, pool: Weak<Pool>) {
    loop {
        sleep(WATCH).await;
        if pool.strong_count() == 0 {
            return;
        }
        let Ok(Ok(master)) = timeout(sentinels.within, sentinels.master()).await else { continue };
        let Some(pool) = pool.upgrade() else { return };
        pool.leave_all_but(&master);
    }
}
