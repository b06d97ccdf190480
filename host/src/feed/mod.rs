//! Tenants' changes as they happen, for callers who follow them.
//!
//! Storage keeps a stream of changes for each tenant. One task reads what is new of all tenants
//! that somebody follows here, into the `latest` changes of each, which all of its subscribers
//! share. A subscriber is no more than a position: it takes what follows from there, or from
//! storage if it is further behind, at the pace of its caller.
//!
//! | file | holds |
//! |---|---|
//! | `latest` | a tenant's latest changes in memory |
//! | `reader` | the task that reads what is new |
//! | `shown` | which changes the tenant's hooks let callers know of |
//! | `subscriber` | one caller's position |

mod latest;
mod reader;
mod shown;
mod subscriber;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kenning_core::error::Error;
use kenning_core::limits::Limits;
use kenning_storage::{Changes, Revision, TenantId};
use tokio::sync::{Notify, watch};

use crate::kb::Kb;
use latest::Latest;
use shown::Shown;
pub use subscriber::{Found, Subscriber, Told};

/// The tenants that somebody follows.
pub struct Feeds {
    kb: Arc<Kb>,
    subscribers: usize,
    per_tenant: usize,
    feeds: Mutex<HashMap<TenantId, Joined>>,
    /// Notified when a tenant is followed that was not.
    wanted: Notify,
}

/// One tenant that is followed.
struct Joined {
    feed: Arc<Feed>,
    subscribers: usize,
}

/// What a tenant's subscribers share.
struct Feed {
    latest: Mutex<Latest>,
    /// Changes whenever `latest` does.
    moved: watch::Sender<()>,
    shown: tokio::sync::Mutex<Shown>,
}

/// The right of one subscriber to follow a tenant, until it is dropped.
struct Seat {
    feeds: Arc<Feeds>,
    tenant: TenantId,
    feed: Arc<Feed>,
}

impl Feeds {
    /// Nobody follows anything yet.
    pub fn new(kb: Arc<Kb>, limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            kb,
            subscribers: limits.subscribers,
            per_tenant: limits.subscribers_per_tenant,
            feeds: Mutex::default(),
            wanted: Notify::new(),
        })
    }

    /// A subscriber of a tenant whose revision is `last`, from `position` on.
    ///
    /// # Errors
    /// `overloaded` if the tenant, or all tenants together, have as many as they may.
    pub fn subscribe(
        self: &Arc<Self>,
        tenant: &TenantId,
        position: Revision,
        last: Revision,
    ) -> Result<Subscriber, Error> {
        let feed = {
            let mut feeds = self.feeds();
            let all: usize = feeds.values().map(|joined| joined.subscribers).sum();
            let of_tenant = feeds.get(tenant).map_or(0, |joined| joined.subscribers);
            if of_tenant >= self.per_tenant {
                return Err(Error::overloaded("subscribers_per_tenant", self.per_tenant));
            }
            if all >= self.subscribers {
                return Err(Error::overloaded("subscribers", self.subscribers));
            }
            let joined = feeds.entry(tenant.clone()).or_insert_with(|| Joined::at(last));
            joined.subscribers += 1;
            joined.feed.clone()
        };
        metrics::gauge!("kenning_subscribers").increment(1.0);
        self.wanted.notify_one();
        let seat = Seat { feeds: self.clone(), tenant: tenant.clone(), feed };
        Ok(Subscriber::new(seat, position))
    }

    /// How far each tenant that is followed was read.
    fn positions(&self) -> Vec<(TenantId, Revision)> {
        let feeds = self.feeds();
        let position =
            |(tenant, joined): (&TenantId, &Joined)| (tenant.clone(), joined.feed.latest().last());
        feeds.iter().map(position).collect()
    }

    /// Takes what was read of a tenant from the position `after`.
    fn take(&self, tenant: &TenantId, after: Revision, found: Changes) {
        let feed = self.feeds().get(tenant).map(|joined| joined.feed.clone());
        if let Some(feed) = feed {
            feed.latest().take(after, found);
            // Nobody hears it if the last subscriber has just left.
            let _ = feed.moved.send(());
        }
    }

    fn feeds(&self) -> MutexGuard<'_, HashMap<TenantId, Joined>> {
        self.feeds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Joined {
    fn at(last: Revision) -> Self {
        let (moved, _) = watch::channel(());
        let feed = Feed { latest: Mutex::new(Latest::new(last)), moved, shown: Default::default() };
        Self { feed: Arc::new(feed), subscribers: 0 }
    }
}

impl Feed {
    fn latest(&self) -> MutexGuard<'_, Latest> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        metrics::gauge!("kenning_subscribers").decrement(1.0);
        let mut feeds = self.feeds.feeds();
        if let Some(joined) = feeds.get_mut(&self.tenant) {
            joined.subscribers -= 1;
            if joined.subscribers == 0 {
                feeds.remove(&self.tenant);
            }
        }
    }
}
