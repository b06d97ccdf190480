//! Compiles the guests on record whose machine code this machine does not have, before the server
//! says that it is ready: after an upgrade, on a new host, or when files were deleted or damaged.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::{StreamExt, stream};
use kenning_storage::StorageError;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::{Owner, Registry, THE_LOGIC};
use kenning_runtime::Urgency;

/// Pause after the records could not be read.
const RETRY: Duration = Duration::from_secs(1);

/// How far a start is with the guests on record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preparation {
    /// What is recorded is being read, and its machine code verified.
    #[default]
    Reading,
    /// So many of the missing components are compiled.
    Compiling {
        /// Compiled, or given up.
        done: usize,
        /// All that were missing.
        total: usize,
    },
    /// Done, or the time for it is over.
    Over,
}

/// A guest's active generation.
struct Wanted {
    owner: Owner,
    name: String,
    digest: String,
}

impl Registry {
    /// How far the preparation is.
    pub fn preparation(&self) -> watch::Receiver<Preparation> {
        self.preparation.subscribe()
    }

    /// Compiles what is missing, `at_once` components at once. After `within` the server counts as
    /// prepared, and the rest is compiled all the same. Zero compiles nothing.
    pub async fn prepare(self: Arc<Self>, within: Duration, at_once: usize) {
        if within.is_zero() {
            self.preparation.send_replace(Preparation::Over);
            return;
        }
        let mut all = pin!(self.compile_missing(at_once));
        let in_time = timeout(within, &mut all).await.is_ok();
        self.preparation.send_replace(Preparation::Over);
        if !in_time {
            let waited = within.as_millis();
            tracing::warn!(waited, "guests are still being compiled (compile_before_ready_ms)");
            all.await;
        }
    }

    async fn compile_missing(&self, at_once: usize) {
        let _ = self.ready().wait_for(|ready| *ready).await;
        let recorded = self.read_until_known().await;
        let mut missing = Vec::new();
        for wanted in recorded {
            if !self.loader.is_compiled(&wanted.digest).await {
                missing.push(wanted);
            }
        }
        let (total, done) = (missing.len(), AtomicUsize::new(0));
        self.report(0, total);
        let compile = |wanted| async {
            self.compile(wanted).await;
            self.report(done.fetch_add(1, Ordering::Relaxed) + 1, total);
        };
        stream::iter(missing).for_each_concurrent(at_once, compile).await;
    }

    fn report(&self, done: usize, total: usize) {
        self.preparation.send_if_modified(|now| {
            let changes = *now != Preparation::Over;
            if changes {
                *now = Preparation::Compiling { done, total };
            }
            changes
        });
    }

    async fn compile(&self, Wanted { owner, name, digest }: Wanted) {
        if let Err(error) = self.component(&owner, &name, &digest, Urgency::Usual).await {
            tracing::warn!(?owner, name, digest, %error, "a guest on record cannot be loaded");
        }
    }

    async fn read_until_known(&self) -> Vec<Wanted> {
        loop {
            match self.recorded().await {
                Ok(recorded) => return recorded,
                Err(error) => {
                    tracing::debug!(%error, "cannot read the guests on record");
                    sleep(RETRY).await;
                }
            }
        }
    }

    /// The active guests of all tenants, each component once.
    async fn recorded(&self) -> Result<Vec<Wanted>, StorageError> {
        let mut all = Vec::new();
        for tenant in self.archive.tenants().await?.into_keys() {
            let extensions = self.archive.extensions(&tenant).await?.value.extensions;
            let owner = Owner::Tenant(tenant);
            let logic = self.archive.logic(&owner).await?.value;
            let mut guests = vec![(THE_LOGIC.to_string(), logic)];
            guests.extend(extensions.into_iter().map(|(name, record)| (name, record.guest)));
            all.extend(guests.into_iter().filter_map(|(name, guest)| {
                let digest = guest.active()?.digest.clone();
                Some(Wanted { owner: owner.clone(), name, digest })
            }));
        }
        let mut seen = HashSet::new();
        all.retain(|wanted| seen.insert(wanted.digest.clone()));
        Ok(all)
    }
}
