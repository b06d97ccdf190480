//! Tells extensions of what has changed: the hook `on-change`.
//!
//! For each extension with the hook, one host at a time reads the tenant's stream of changes from
//! where it was left, and calls the hook with one change after the other. A change that is not
//! taken after some attempts is set aside as a dead letter, and the next one follows. The position
//! is stored after each page and each dead letter, so a change is told at least once.
//!
//! A telling ends when the extension or its tenant goes, when another host has the claim, or when
//! storage fails; the next round begins again from the stored position.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kenning_core::error::Error;
use kenning_runtime::{FactChangeKind, Hook};
use kenning_storage::{Change, ChangeKind, Changes, Revision, StorageError, TenantId};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::journal::{DeadLetter, ToldChanges, is_of_told};
use crate::kb::{Kb, Told, ToldChange};

/// How often streams are looked at: one read of numbers for all tenants with such extensions.
const PAUSE: Duration = Duration::from_millis(200);

/// How often all records are looked through for extensions of tenants that nobody called here.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Extensions that are told at once on this host.
const TELLINGS: usize = 4;

/// How long an extension is told before others have their turn.
const TURN: Duration = Duration::from_secs(2);

/// Changes of one read.
const PAGE: usize = 100;

/// How long after a renewal the claim is renewed. A claim lasts so long, and for two calls.
const RENEW_AFTER: Duration = Duration::from_secs(5);

/// How often a change is told, and the pause before the second time; it doubles each time.
const ATTEMPTS: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The pause after a failure of storage, or while an extension is in quarantine.
const LATER: Duration = Duration::from_secs(1);

/// One extension of one tenant.
type Target = (TenantId, String);

/// Runs until the task is aborted; then every telling ends, too.
pub async fn tell_changes(kb: Arc<Kb>, host: String) {
    let teller = Arc::new(Teller {
        kb,
        host: host.into(),
        permits: Semaphore::new(TELLINGS),
        states: Mutex::default(),
    });
    let mut tellings = JoinSet::new();
    let mut looked: Option<Instant> = None;
    loop {
        if looked.is_none_or(|looked| looked.elapsed() >= LOOK_EVERY) {
            teller.load_unknown().await;
            looked = Some(Instant::now());
        }
        for target in teller.due().await {
            let teller = teller.clone();
            tellings.spawn(async move { teller.tell_all(target).await });
        }
        while tellings.try_join_next().is_some() {}
        sleep(PAUSE).await;
    }
}

struct Teller {
    kb: Arc<Kb>,
    /// What names this host in claims.
    host: Arc<str>,
    permits: Semaphore,
    states: Mutex<HashMap<Target, TargetState>>,
}

/// What this host knows of one extension.
#[derive(Default)]
struct TargetState {
    /// A telling is under way.
    is_told: bool,
    /// Up to where everything was told, as far as this host knows.
    position: Option<Revision>,
    /// Not before then.
    after: Option<Instant>,
}

/// How a telling ended.
enum End {
    /// There is nothing more to tell.
    Done,
    /// The extension or the tenant is gone.
    Gone,
    /// Its turn is over, and there is more.
    More,
    /// It has to wait: for another host, for storage, or for the end of a quarantine.
    Later,
}

impl Teller {
    /// Loads the guests of tenants that have extensions with the hook and were not called here.
    async fn load_unknown(&self) {
        let registry = self.kb.registry();
        let Ok(tenants) = registry.archive.tenants().await else { return };
        for tenant in tenants.into_keys() {
            if registry.loaded(&tenant).is_some() {
                continue;
            }
            let spaces = self.kb.services().storage.state_spaces(&tenant, self.until()).await;
            let follows =
                spaces.is_ok_and(|spaces| spaces.iter().any(|(name, _)| is_of_told(name.as_str())));
            if follows && let Err(error) = registry.load_tenant(&tenant).await {
                tracing::warn!(%tenant, %error, "its extensions are not told of changes yet");
            }
        }
    }

    /// The extensions that there is something to tell, and that nobody tells here yet.
    async fn due(&self) -> Vec<Target> {
        let mut targets = self.kb.registry().running_with(Hook::OnChange);
        let known: HashSet<&Target> = targets.iter().collect();
        self.states().retain(|target, state| state.is_told || known.contains(target));
        drop(known);
        let mut tenants: Vec<TenantId> = targets.iter().map(|target| target.0.clone()).collect();
        tenants.dedup();
        if tenants.is_empty() {
            return Vec::new();
        }
        let storage = &self.kb.services().storage;
        let Ok(last) = storage.last_revisions(&tenants, self.until()).await else {
            return Vec::new();
        };
        let last: HashMap<TenantId, Revision> = tenants.into_iter().zip(last).collect();
        let mut states = self.states();
        targets.retain(|target| {
            let state = states.entry(target.clone()).or_default();
            let is_behind = state.position != last.get(&target.0).copied();
            let is_due = state.after.is_none_or(|after| after <= Instant::now());
            let begins = !state.is_told && is_behind && is_due;
            state.is_told |= begins;
            begins
        });
        targets
    }

    /// Tells one extension everything that it was not told yet.
    async fn tell_all(&self, target: Target) {
        let Ok(_permit) = self.permits.acquire().await else { return };
        let ended = match self.kb.services().tenants.begin(&target.0, None) {
            // The deletion of a tenant waits for this.
            Ok(running) => tokio::select! {
                ended = self.tell_from_position(&target) => ended,
                () = running.ended() => Ok((End::Gone, Revision::default())),
            },
            Err(_) => Ok((End::Gone, Revision::default())),
        };
        let (end, position) = ended.unwrap_or_else(|error| {
            let (tenant, extension) = &target;
            tracing::debug!(%tenant, extension, %error, "telling changes goes on later");
            (End::Later, Revision::default())
        });
        let mut states = self.states();
        let state = states.entry(target).or_default();
        state.is_told = false;
        state.position = matches!(end, End::Done).then_some(position);
        let waits = matches!(end, End::Later | End::Gone);
        state.after = waits.then(|| Instant::now() + LATER);
    }

    /// The end, and up to where everything was told.
    async fn tell_from_position(&self, target: &Target) -> Result<(End, Revision), Error> {
        let mut telling = Telling::new(self, target)?;
        let Some(mut position) = telling.begin().await? else {
            return Ok((End::Later, Revision::default()));
        };
        loop {
            let before = position;
            let ended = telling.tell_page(&mut position).await;
            let is_gone = matches!(ended, Ok(Some(End::Gone)));
            if position != before && !is_gone {
                telling.stored(telling.told.set_position(position).await)?;
            }
            if let Some(end) = ended? {
                return Ok((telling.end(end).await?, position));
            }
        }
    }

    fn until(&self) -> Instant {
        Instant::now() + self.kb.services().limits.storage_operation
    }

    fn states(&self) -> MutexGuard<'_, HashMap<Target, TargetState>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One extension that is being told.
struct Telling<'a> {
    teller: &'a Teller,
    target: &'a Target,
    told: ToldChanges,
    /// When the claim was renewed; `None` where no other host could tell the extension.
    claimed: Option<Instant>,
    begun: Instant,
}

impl<'a> Telling<'a> {
    fn new(teller: &'a Teller, target: &'a Target) -> Result<Self, Error> {
        let services = teller.kb.services();
        let told = ToldChanges::of(&services.storage, &services.limits, &target.0, &target.1);
        let told = told.map_err(|error| teller.kb.storage_error(&error))?;
        Ok(Self { teller, target, told, claimed: None, begun: Instant::now() })
    }

    fn stored<T>(&self, result: Result<T, StorageError>) -> Result<T, Error> {
        result.map_err(|error| self.teller.kb.storage_error(&error))
    }

    /// Claims the telling. Returns from where to tell; `None` while another host tells.
    async fn begin(&mut self) -> Result<Option<Revision>, Error> {
        if !self.keep_claim().await? {
            return Ok(None);
        }
        if let Some(position) = self.stored(self.told.position().await)? {
            return Ok(Some(position));
        }
        // The record of where to begin was lost.
        let storage = &self.teller.kb.services().storage;
        let tenant = std::slice::from_ref(&self.target.0);
        let last = storage.last_revisions(tenant, self.teller.until()).await;
        let last = self.stored(last)?.first().copied().unwrap_or_default();
        self.stored(self.told.begin(last).await)?;
        Ok(Some(last))
    }

    /// Renews the claim if it is time to; `false` if another host has it.
    async fn keep_claim(&mut self) -> Result<bool, Error> {
        if !self.teller.kb.registry().is_shared()
            || self.claimed.is_some_and(|claimed| claimed.elapsed() < RENEW_AFTER)
        {
            return Ok(true);
        }
        let call = self.teller.kb.services().limits.call;
        let claimed = Instant::now();
        let has = self.told.claim(&self.teller.host, 2 * call + RENEW_AFTER).await;
        let has = self.stored(has)?;
        self.claimed = has.then_some(claimed);
        Ok(has)
    }

    async fn end(&self, end: End) -> Result<End, Error> {
        if self.claimed.is_some() && matches!(end, End::Done) {
            self.stored(self.told.release().await)?;
        }
        Ok(end)
    }

    /// Tells what follows `position`, which it moves with each change that needs not be told again.
    async fn tell_page(&mut self, position: &mut Revision) -> Result<Option<End>, Error> {
        let storage = &self.teller.kb.services().storage;
        let changes = storage.changes(&self.target.0, *position, PAGE, self.teller.until()).await;
        let changes = match self.stored(changes)? {
            Changes::Next(changes) if changes.is_empty() => return Ok(Some(End::Done)),
            Changes::Next(changes) => changes,
            Changes::Gap { until, .. } if until < *position => {
                // The revisions began anew.
                *position = until;
                return Ok(None);
            }
            Changes::Gap { until, .. } => {
                if let Some(end) = self.tell(until, "", FactChangeKind::Missed).await? {
                    return Ok(Some(end));
                }
                *position = until;
                return Ok(None);
            }
        };
        for change in changes {
            if self.begun.elapsed() >= TURN {
                return Ok(Some(End::More));
            }
            if let Some(kind) = told_kind(&change)
                && let Some(end) = self.tell(change.revision, change.id.as_str(), kind).await?
            {
                return Ok(Some(end));
            }
            *position = change.revision;
        }
        Ok(None)
    }

    /// Tells one change until it is taken or set aside.
    async fn tell(
        &mut self,
        revision: Revision,
        id: &str,
        kind: FactChangeKind,
    ) -> Result<Option<End>, Error> {
        let (tenant, extension) = self.target;
        let mut pause = FIRST_PAUSE;
        for attempt in 1..=ATTEMPTS {
            if !self.keep_claim().await? {
                return Ok(Some(End::Later));
            }
            let change = ToldChange { id: id.to_string(), kind, revision: revision.0, attempt };
            match self.teller.kb.tell(tenant, extension, change).await? {
                Told::Taken => break,
                Told::Gone => return Ok(Some(End::Gone)),
                Told::InQuarantine => return Ok(Some(End::Later)),
                Told::Failed(_) if attempt < ATTEMPTS => {
                    sleep(pause).await;
                    pause *= 2;
                }
                Told::Failed(error) => {
                    let revision = revision.0;
                    tracing::warn!(%tenant, extension, revision, "a change is set aside");
                    metrics::counter!("kenning_dead_letters_total").increment(1);
                    let letter = DeadLetter::new(revision, id, name(kind), &error, attempt);
                    self.stored(self.told.set_aside(&letter).await)?;
                }
            }
        }
        Ok(None)
    }
}

/// What an extension is told of a change; `None` if the fact is the same as before.
fn told_kind(change: &Change) -> Option<FactChangeKind> {
    match change.kind {
        ChangeKind::Stored => Some(FactChangeKind::Stored),
        ChangeKind::Changed => Some(FactChangeKind::Changed),
        ChangeKind::Deleted => Some(FactChangeKind::Deleted),
        ChangeKind::Marked | ChangeKind::Embedded => None,
    }
}

/// The kind as a letter names it.
fn name(kind: FactChangeKind) -> &'static str {
    match kind {
        FactChangeKind::Stored => "stored",
        FactChangeKind::Changed => "changed",
        FactChangeKind::Deleted => "deleted",
        FactChangeKind::Missed => "missed",
    }
}
