//! The steps of each verb in its session: the tenant's hooks around the logic, and the
//! validation of what both return.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::SessionEnd;
use super::errors::{self, ErrorMapper, not_found};
use super::hook_log::HookLog;
use super::returned::{self, Violation};
use crate::kb::validate;
use crate::registry::Snapshot;
use kenning_core::error::{Blame, Code, Error};
use kenning_runtime::wit::{Entry, Fact, FactPage};
use kenning_runtime::{CallEffects, Generation, Guest, LogicResult, Session};
use kenning_storage::Revision;

/// What one draft was stored as.
#[derive(Clone, Debug)]
pub struct StoreOutcome {
    /// The ids of its facts: one, unless an extension split the draft.
    pub ids: Vec<String>,
    /// Whether vector search finds all of them already.
    pub indexed: bool,
    /// How many bytes of the text vector search can find, if that is not all of it; of the first
    /// fact of which it is so.
    pub embedded_bytes: Option<usize>,
    /// Whether all of them were there before, and were changed.
    pub replaced: bool,
}

impl StoreOutcome {
    /// Of no fact yet.
    pub(super) const NONE: Self =
        Self { ids: Vec::new(), indexed: true, embedded_bytes: None, replaced: true };
}

/// One call in its session, with the guests that it uses.
pub struct Pipeline {
    pub(super) session: Session,
    pub(super) snapshot: Snapshot,
    pub(super) errors: ErrorMapper,
    pub(super) hooks: HookLog,
    withheld: Withheld,
}

/// The facts that a guest spoilt on their way to the caller.
#[derive(Default)]
struct Withheld {
    count: u64,
    /// What was wrong with the first of them.
    first: Option<Error>,
}

impl Pipeline {
    pub(super) fn new(session: Session, snapshot: Snapshot, errors: ErrorMapper) -> Self {
        let (hooks, withheld) = Default::default();
        Self { session, snapshot, errors, hooks, withheld }
    }

    /// The same, with a log of what its hooks do.
    pub(super) fn logging(self, hooks: HookLog) -> Self {
        Self { hooks, ..self }
    }

    /// How many facts the caller is not shown because a guest spoilt them.
    pub(super) fn withheld(&self) -> u64 {
        self.withheld.count
    }

    /// Counts a fact that `guest` spoilt. The log has one line for the first of a call.
    pub(super) fn withhold(&mut self, guest: &Guest, violation: &Violation) {
        self.withheld.count += 1;
        self.session.refuse(&errors::violation(guest, violation).message);
        if !self.session.is_dry_run() {
            metrics::counter!("kenning_withheld_facts_total", "component" => guest.component.kind())
                .increment(1);
        }
        if self.withheld.first.is_none() {
            let error = errors::violation(guest, violation);
            if !self.session.is_dry_run() {
                tracing::warn!(component = guest.component.name(), %error, "facts withheld");
            }
            self.withheld.first = Some(error);
        }
    }

    /// Without the facts that the logic spoilt.
    pub(super) fn keep_valid<T>(&mut self, all: Vec<T>, fact: impl Fn(&T) -> &Fact) -> Vec<T> {
        let guest = self.snapshot.logic.guest.clone();
        let mut valid = Vec::with_capacity(all.len());
        for one in all {
            match returned::fact(fact(&one)) {
                Ok(()) => valid.push(one),
                Err(violation) => self.withhold(&guest, &violation),
            }
        }
        valid
    }

    /// The tenant's revision after the last write of this call, if it wrote.
    pub(super) fn revision(&self) -> Option<Revision> {
        self.session.revision()
    }

    /// How the session ends if it ends now.
    pub(super) fn ended(&self) -> SessionEnd {
        SessionEnd {
            wrote: self.revision().is_some(),
            outcome_unknown: self.outcome_unknown(),
            validity: self.snapshot.registry.map(|_| self.session.validity()),
        }
    }

    pub(super) fn outcome_unknown(&self) -> bool {
        self.session.outcome_unknown()
    }

    /// Reads one fact, as the extensions show it.
    pub(super) async fn get(&mut self, id: String) -> Result<Fact, Error> {
        let fact = self.read_one(&id).await?;
        let shown = self.on_read(vec![fact]).await?;
        let spoilt = self.withheld.first.take();
        shown.into_iter().next().ok_or_else(|| spoilt.unwrap_or_else(|| not_found(&id)))
    }

    /// The ids of those facts that exist, can be served and are shown by the extensions.
    pub(super) async fn visible(&mut self, ids: Vec<String>) -> Result<BTreeSet<String>, Error> {
        let mut facts = Vec::with_capacity(ids.len());
        for id in ids {
            match self.read_any(&id).await {
                Ok(fact) => facts.push(fact),
                Err(error) if error.code == Code::NotFound || errors::is_damaged(&error) => {}
                Err(error) => return Err(error),
            }
        }
        let facts = self.keep_valid(facts, |fact| fact);
        let shown = self.on_read(facts).await?;
        Ok(shown.into_iter().map(|fact| fact.id).collect())
    }

    /// The fact as it is stored.
    pub(super) async fn read_one(&mut self, id: &str) -> Result<Fact, Error> {
        let fact = self.read_any(id).await?;
        match returned::fact(&fact) {
            Ok(()) => Ok(fact),
            Err(violation) => Err(errors::violation(&self.logic().guest, &violation)),
        }
    }

    /// The same, whatever the logic made of it.
    async fn read_any(&mut self, id: &str) -> Result<Fact, Error> {
        let logic = self.logic();
        let read = self.session.get(&logic, vec![id.to_string()]).await;
        let (read, effects) =
            self.validated(read, |facts, effects| validate::got(id, facts, effects))?;
        let is_damaged = !effects.unreadable.is_empty();
        read.into_iter().next().flatten().ok_or_else(|| match is_damaged {
            true => errors::damaged(id),
            false => not_found(id),
        })
    }

    /// Returns one page of facts, as the extensions show them.
    pub(super) async fn list(
        &mut self,
        containing: Option<String>,
        limit: u32,
        cursor: Option<String>,
    ) -> Result<FactPage, Error> {
        let logic = self.logic();
        let page = self.session.list(&logic, containing, limit, cursor).await;
        let (mut page, _) =
            self.validated(page, |page, effects| validate::listed(limit, page, effects))?;
        let facts = self.keep_valid(page.facts, |fact| fact);
        page.facts = self.on_read(facts).await?;
        Ok(page)
    }

    /// Deletes one fact, unless an extension refuses.
    pub(super) async fn delete(&mut self, id: String) -> Result<(), Error> {
        self.may_delete(&id).await?;
        let logic = self.logic();
        let deleted = self.session.delete(&logic, id).await;
        self.validated(deleted, |(), _| Ok(())).map(|((), _)| ())
    }

    /// What to index of each fact.
    pub(super) async fn entries(&mut self, ids: Vec<String>) -> Result<Vec<Option<Entry>>, Error> {
        let logic = self.logic();
        let entries = self.session.entries(&logic, ids.clone()).await;
        let entries = self.validated(entries, |entries, _| validate::entries(&ids, entries));
        entries.map(|(entries, _)| entries)
    }

    pub(super) fn logic(&self) -> Arc<Generation> {
        self.snapshot.logic.clone()
    }

    /// The logic's result and effects, unless the call failed or `check` finds a violation.
    pub(super) fn validated<T>(
        &mut self,
        result: LogicResult<T>,
        check: impl FnOnce(&T, &CallEffects) -> Result<(), Error>,
    ) -> Result<(T, CallEffects), Error> {
        let unknown = self.outcome_unknown();
        let (result, effects) = result.map_err(|error| self.errors.guest_error(&error, unknown))?;
        let value = match result {
            Ok(value) => value,
            Err(error) => {
                let error = self.errors.logic_error(error, unknown, &effects);
                if error.blame == Blame::Guest {
                    self.session.refuse(&error.message);
                }
                return Err(error);
            }
        };
        match check(&value, &effects) {
            Ok(()) => Ok((value, effects)),
            Err(error) => {
                self.session.refuse(&error.message);
                let error = errors::with_generation(error, &self.snapshot.logic.guest);
                Err(if effects.wrote { error.with_unknown_outcome() } else { error })
            }
        }
    }
}
