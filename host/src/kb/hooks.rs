//! The tenant's extensions around the logic: one after the other in the operator's order, each
//! on the result of the one before it.
//!
//! A hook that refuses ends the call. A hook that fails either ends the call or is left out, as
//! its policy says. By default the hooks that protect (`on-store`, `on-query`, `on-read`) end
//! the call, and the one that improves (`rerank`) is left out. What ran and what was left out is
//! logged for the answer.

use std::collections::HashMap;
use std::sync::Arc;

use super::errors::{
    self, ErrorMapper, contract_violated, guest_exceeded, quarantine_error, rejected,
};
use super::pipeline::Pipeline;
use super::returned;
use crate::registry::Extension;
use kenning_core::error::Error;
use kenning_runtime::wit::{Answer, Draft, Fact, Hit, Query, Ranked, Refusal};
use kenning_runtime::{GuestError, Hook, OnFailure};

/// Most facts in one call of `on-read`; their bytes are limited, too.
const FACTS: usize = 100;

/// Why a hook has no result.
enum HookError {
    /// The extension refused the call, which is final.
    Refused(Error),
    /// The hook failed; its policy decides.
    Failed(Error),
    /// The hook was not called, since its extension is in quarantine; its policy decides.
    NotCalled(Error),
}

impl From<Error> for HookError {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// The result of a hook, or why it is left out.
type HookOutcome<T> = Result<T, Error>;

impl Pipeline {
    /// The drafts to store instead of `draft`.
    pub(super) async fn on_store(&mut self, draft: Draft) -> Result<Vec<Draft>, Error> {
        let most = self.session.services().limits.batch_facts;
        let mut drafts = vec![draft];
        for extension in self.extensions_with(Hook::OnStore) {
            let mut next = Vec::with_capacity(drafts.len());
            for draft in drafts {
                match self.on_store_of(&extension, &draft).await? {
                    Ok(replacements) => next.extend(replacements),
                    Err(_) => next.push(draft),
                }
            }
            if next.len() > most {
                let error = guest_exceeded(&extension.guest, "batch_facts", most, next.len());
                self.session.refuse(&error.message);
                return Err(error);
            }
            drafts = next;
        }
        Ok(drafts)
    }

    async fn on_store_of(
        &mut self,
        extension: &Extension,
        draft: &Draft,
    ) -> Result<HookOutcome<Vec<Draft>>, Error> {
        let hook = self.session.on_store(extension.hooks(), draft.clone());
        let drafts = run_hook(self.errors, extension, hook).await;
        let drafts = drafts.and_then(|drafts| Ok(self.check_drafts(extension, draft, drafts)?));
        self.apply_policy(extension, Hook::OnStore, drafts)
    }

    fn check_drafts(
        &self,
        extension: &Extension,
        given: &Draft,
        drafts: Vec<Draft>,
    ) -> Result<Vec<Draft>, Error> {
        let guest = &extension.guest;
        if drafts.is_empty() {
            let why = "a draft that is not to be stored is refused, with a reason";
            return Err(contract_violated(guest, "no draft", why));
        }
        let limits = &self.session.services().limits;
        let checked = drafts.iter().try_for_each(|draft| returned::draft(limits, given, draft));
        checked.map_err(|violation| errors::violation(guest, &violation))?;
        Ok(drafts)
    }

    /// The query to run instead of `query`.
    pub(super) async fn on_query(&mut self, mut query: Query) -> Result<Query, Error> {
        for extension in self.extensions_with(Hook::OnQuery) {
            let hook = self.session.on_query(extension.hooks(), query.clone());
            let replaced = run_hook(self.errors, &extension, hook).await;
            let replaced =
                replaced.and_then(|changed| Ok(self.check_query(&extension, &query, changed)?));
            if let Ok(replaced) = self.apply_policy(&extension, Hook::OnQuery, replaced)? {
                query = replaced;
            }
        }
        Ok(query)
    }

    fn check_query(
        &self,
        extension: &Extension,
        given: &Query,
        changed: Query,
    ) -> Result<Query, Error> {
        match returned::query(&self.session.services().limits, given, &changed) {
            Ok(()) => Ok(changed),
            Err(violation) => Err(errors::violation(&extension.guest, &violation)),
        }
    }

    /// The facts that may be returned, as the extensions show them.
    pub(super) async fn on_read(&mut self, mut facts: Vec<Fact>) -> Result<Vec<Fact>, Error> {
        for extension in self.extensions_with(Hook::OnRead) {
            if facts.is_empty() {
                // It was its turn, and there was nothing to show.
                self.hooks.ran(&extension);
            }
            let mut shown = Vec::with_capacity(facts.len());
            for group in self.read_groups(facts) {
                shown.extend(self.on_read_of(&extension, group).await?);
            }
            facts = shown;
        }
        Ok(facts)
    }

    /// Splits facts so that the result for each group fits a host call.
    fn read_groups(&self, facts: Vec<Fact>) -> Vec<Vec<Fact>> {
        let most = self.session.services().limits.host_call_bytes / 2;
        let mut groups: Vec<Vec<Fact>> = Vec::new();
        let mut bytes = 0;
        for fact in facts {
            let size = fact.text.len() + fact.metadata.len();
            match groups.last_mut() {
                Some(group) if group.len() < FACTS && bytes + size <= most => {
                    bytes += size;
                    group.push(fact);
                }
                _ => {
                    bytes = size;
                    groups.push(vec![fact]);
                }
            }
        }
        groups
    }

    async fn on_read_of(
        &mut self,
        extension: &Extension,
        facts: Vec<Fact>,
    ) -> Result<Vec<Fact>, Error> {
        let hook = infallible(self.session.on_read(extension.hooks(), facts.clone()));
        let returned = run_hook(self.errors, extension, hook).await;
        Ok(match self.apply_policy(extension, Hook::OnRead, returned)? {
            Ok(returned) => self.shown(extension, redact(facts, returned)),
            Err(_) => facts,
        })
    }

    /// The facts as the hook shows them, without those that it spoilt: they are withheld whatever
    /// its policy, because it may have had a reason to change them.
    fn shown(&mut self, extension: &Extension, redacted: Vec<Redacted>) -> Vec<Fact> {
        let mut facts = Vec::with_capacity(redacted.len());
        for Redacted { stored, shown } in redacted {
            match returned::shown(&self.session.services().limits, &stored, &shown) {
                Ok(()) => facts.push(shown),
                Err(violation) => self.withhold(&extension.guest, &violation),
            }
        }
        facts
    }

    /// Runs `on-read` on the hits: removes hidden facts and shows the others redacted.
    pub(super) async fn read_hits(&mut self, answer: &mut Answer) -> Result<(), Error> {
        if !self.snapshot.has(Hook::OnRead) {
            return Ok(());
        }
        let facts = answer.hits.iter().map(|hit| hit.fact.clone()).collect();
        let shown = self.on_read(facts).await?;
        let mut shown = first_by_id(shown, |fact| &fact.id);
        answer.hits.retain_mut(|hit| match shown.remove(&hit.fact.id) {
            Some(fact) => {
                hit.fact = fact;
                true
            }
            None => false,
        });
        Ok(())
    }

    /// Asks every extension whether the fact may be deleted; the first that refuses keeps it.
    pub(super) async fn on_delete(&mut self, fact: &Fact) -> Result<(), Error> {
        for extension in self.extensions_with(Hook::OnDelete) {
            let asked = match quarantine_error(&extension.guest) {
                Some(error) => Err(HookError::NotCalled(error)),
                None => match self.session.on_delete(extension.hooks(), fact.clone()).await {
                    Ok(Some(Err(refusal))) => match returned::deletion_refusal(&refusal) {
                        Ok(()) => Err(HookError::Refused(errors::kept(&extension, refusal))),
                        Err(violation) => {
                            Err(errors::violation(&extension.guest, &violation).into())
                        }
                    },
                    Ok(_) => Ok(()),
                    Err(error) => Err(self.errors.guest_error(&error, false).into()),
                },
            };
            // A hook that is left out does not keep the fact.
            let _ = self.apply_policy(&extension, Hook::OnDelete, asked)?;
        }
        Ok(())
    }

    /// Puts the hits into the extensions' order.
    pub(super) async fn rerank(&mut self, query: &Query, answer: &mut Answer) -> Result<(), Error> {
        for extension in self.extensions_with(Hook::Rerank) {
            if answer.hits.is_empty() {
                break;
            }
            let (query, hits) = (query.clone(), answer.hits.clone());
            let hook = infallible(self.session.rerank(extension.hooks(), query, hits));
            let ranked = run_hook(self.errors, &extension, hook).await;
            let ranked = ranked.and_then(|ranked| Ok(check_ranks(&extension, ranked)?));
            if let Ok(ranked) = self.apply_policy(&extension, Hook::Rerank, ranked)? {
                reorder(&mut answer.hits, ranked);
            }
        }
        Ok(())
    }

    /// Decides by the hook's policy whether a failure ends the call, and logs what the hook did. A
    /// replay is not counted.
    fn apply_policy<T>(
        &mut self,
        extension: &Extension,
        hook: Hook,
        result: Result<T, HookError>,
    ) -> Result<HookOutcome<T>, Error> {
        let on_failure = extension.on_failure(hook);
        let error = match result {
            Ok(value) => {
                self.hooks.ran(extension);
                return Ok(Ok(value));
            }
            Err(HookError::Refused(error)) => {
                self.hooks.ran(extension);
                return Err(error);
            }
            Err(HookError::Failed(error)) => {
                self.session.refuse(&error.message);
                if on_failure == OnFailure::Close {
                    self.hooks.ran(extension);
                }
                error
            }
            Err(HookError::NotCalled(error)) => error,
        };
        if !self.session.is_dry_run() {
            metrics::counter!("kenning_hook_failures_total", "hook" => hook.name()).increment(1);
        }
        match on_failure {
            OnFailure::Close => Err(error),
            OnFailure::LeaveOut => {
                self.leave_out(extension.name(), hook, &error);
                Ok(Err(error))
            }
        }
    }

    fn leave_out(&self, extension: &str, hook: Hook, error: &Error) {
        self.hooks.left_out(extension, hook, &error.message);
        let hook = hook.name();
        if self.session.is_dry_run() {
            return tracing::debug!(extension, hook, %error, replay = true, "hook left out");
        }
        metrics::counter!("kenning_hooks_left_out_total", "hook" => hook).increment(1);
        tracing::warn!(extension, hook, %error, "hook left out");
    }

    fn extensions_with(&self, hook: Hook) -> Vec<Arc<Extension>> {
        let extensions = self.snapshot.extensions.iter();
        extensions.filter(|extension| extension.has(hook)).cloned().collect()
    }
}

/// What the session returns for a hook: `None` if the extension does not have it.
type HookResult<T> = Result<Option<Result<T, Refusal>>, GuestError>;

/// Runs `hook`, a call of one of the extension's hooks. While the extension is in quarantine
/// the call fails without being made.
async fn run_hook<T>(
    errors: ErrorMapper,
    extension: &Extension,
    hook: impl Future<Output = HookResult<T>>,
) -> Result<T, HookError> {
    if let Some(error) = quarantine_error(&extension.guest) {
        return Err(HookError::NotCalled(error));
    }
    match hook.await {
        Ok(Some(Ok(value))) => Ok(value),
        Ok(Some(Err(refusal))) => {
            Err(HookError::Refused(rejected(&extension.guest.component, refusal.message)))
        }
        Ok(None) => {
            Err(Error::internal("a hook was called that the extension does not have").into())
        }
        Err(error) => Err(errors.guest_error(&error, false).into()),
    }
}

/// A hook that cannot refuse, as one that does not.
async fn infallible<T>(hook: impl Future<Output = Result<Option<T>, GuestError>>) -> HookResult<T> {
    hook.await.map(|value| value.map(Ok))
}

/// The first item of each id.
fn first_by_id<T>(items: Vec<T>, id: impl Fn(&T) -> &String) -> HashMap<String, T> {
    let mut first = HashMap::with_capacity(items.len());
    for item in items {
        first.entry(id(&item).clone()).or_insert(item);
    }
    first
}

/// A fact before and after `on-read`.
struct Redacted {
    stored: Fact,
    shown: Fact,
}

/// `facts` in their order, with the text and metadata that the hook returned, without those that
/// it did not return. Ids and times stay: a hook cannot forge them.
fn redact(facts: Vec<Fact>, returned: Vec<Fact>) -> Vec<Redacted> {
    let mut returned = first_by_id(returned, |fact| &fact.id);
    let redacted = |stored: Fact| {
        let Fact { text, metadata, .. } = returned.remove(&stored.id)?;
        let (id, timestamp) = (stored.id.clone(), stored.timestamp.clone());
        Some(Redacted { stored, shown: Fact { id, text, metadata, timestamp } })
    };
    facts.into_iter().filter_map(redacted).collect()
}

fn check_ranks(extension: &Extension, ranked: Vec<Ranked>) -> Result<Vec<Ranked>, Error> {
    match ranked.iter().try_for_each(|ranked| returned::score(ranked.score)) {
        Ok(()) => Ok(ranked),
        Err(violation) => Err(errors::violation(&extension.guest, &violation)),
    }
}

/// Keeps the hits that `ranked` names, best score first; hits with equal scores keep their order.
fn reorder(hits: &mut Vec<Hit>, ranked: Vec<Ranked>) {
    let ranked = first_by_id(ranked, |ranked| &ranked.id);
    hits.retain_mut(|hit| match ranked.get(&hit.fact.id) {
        Some(ranked) => {
            hit.score = ranked.score;
            true
        }
        None => false,
    });
    hits.sort_by(|one, other| other.score.total_cmp(&one.score));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fact(id: &str, text: &str) -> Fact {
        let (text, metadata, timestamp) = (text.into(), "{}".into(), "then".into());
        Fact { id: id.into(), text, metadata, timestamp }
    }

    fn hit(id: &str, score: f64) -> Hit {
        Hit { fact: fact(id, id), score, explanation: None }
    }

    fn ranked(id: &str, score: f64) -> Ranked {
        Ranked { id: id.into(), score }
    }

    #[test]
    fn rerank_drops_hits_it_does_not_name_and_adds_none() {
        let mut hits = vec![hit("a", 3.0), hit("b", 2.0), hit("c", 1.0), hit("d", 0.0)];
        let new = [("d", 5.0), ("invented", 9.0), ("a", 1.0), ("d", -5.0), ("b", 1.0)];
        reorder(&mut hits, new.map(|(id, score)| ranked(id, score)).into());
        let order: Vec<_> = hits.iter().map(|hit| (&*hit.fact.id, hit.score)).collect();
        assert_eq!(order, [("d", 5.0), ("a", 1.0), ("b", 1.0)]);
    }

    #[test]
    fn on_read_changes_neither_order_nor_ids_nor_times() {
        let returned = vec![
            Fact { timestamp: "forged".into(), ..fact("b", "redacted") },
            fact("invented", "x"),
            fact("b", "again"),
        ];
        let shown = redact(vec![fact("a", "1"), fact("b", "2")], returned);
        assert_eq!(shown.len(), 1);
        let Redacted { stored, shown } = &shown[0];
        assert_eq!((&*shown.id, &*shown.text, &*shown.timestamp), ("b", "redacted", "then"));
        assert_eq!(&*stored.text, "2");
    }
}
