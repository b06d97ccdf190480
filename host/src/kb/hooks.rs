//! The tenant's extensions around the logic, one after the other in the operator's
//! order, each on what the one before it gave.
//!
//! A hook that refuses ends the call. A hook that fails ends it too, or is left out,
//! as its policy says: by default what protects (`on-store`, `on-query`, `on-read`)
//! closes, and what improves (`rerank`) is left out.

use std::collections::HashMap;
use std::sync::Arc;

use super::errors::{guest_broke, guest_lied, quarantine_error, rejected};
use super::pipeline::Pipeline;
use crate::registry::Extension;
use kenning_core::error::Error;
use kenning_runtime::wit::{Answer, Draft, Fact, Hit, Query, Ranked, Refusal};
use kenning_runtime::{GuestError, Hook, OnFailure};

/// Facts handed to `on-read` at once; their bytes are bounded, too.
const FACTS: usize = 100;

/// How a hook ended that gave nothing.
enum End {
    /// It said no, which is final.
    Refused(Error),
    Failed(Error),
}

/// What a hook gave, or why it is left out.
type Given<T> = Result<T, Error>;

impl Pipeline {
    /// The drafts to store in place of `draft`.
    pub(super) async fn on_store(&mut self, draft: Draft) -> Result<Vec<Draft>, Error> {
        let most = self.session.services().limits.batch_facts;
        let mut drafts = vec![draft];
        for extension in self.with(Hook::OnStore) {
            let mut next = Vec::with_capacity(drafts.len());
            for draft in drafts {
                match self.store_hook(&extension, &draft).await? {
                    Ok(given) => next.extend(given),
                    Err(_) => next.push(draft),
                }
            }
            if next.len() > most {
                return Err(guest_broke(&extension.guest, "batch_facts", most, next.len()));
            }
            drafts = next;
        }
        Ok(drafts)
    }

    async fn store_hook(
        &mut self,
        extension: &Extension,
        draft: &Draft,
    ) -> Result<Given<Vec<Draft>>, Error> {
        let end = match quarantine_error(&extension.guest) {
            Some(error) => Err(End::Failed(error)),
            None => {
                let given = self.session.on_store(extension.hooks(), draft.clone()).await;
                self.given(extension, given)
                    .and_then(|drafts| self.check_drafts(extension, drafts).map_err(End::Failed))
            }
        };
        settle(extension, Hook::OnStore, end)
    }

    fn check_drafts(&self, extension: &Extension, drafts: Vec<Draft>) -> Result<Vec<Draft>, Error> {
        let limits = &self.session.services().limits;
        if drafts.is_empty() {
            return Err(guest_lied(&extension.guest, "gave no draft and no reason"));
        }
        for draft in &drafts {
            for (limit, allowed, used) in [
                ("fact_text_bytes", limits.fact_text_bytes, draft.text.len()),
                ("fact_metadata_bytes", limits.fact_metadata_bytes, draft.metadata.len()),
            ] {
                if used > allowed {
                    return Err(guest_broke(&extension.guest, limit, allowed, used));
                }
            }
        }
        Ok(drafts)
    }

    /// The query to answer in place of `query`.
    pub(super) async fn on_query(&mut self, mut query: Query) -> Result<Query, Error> {
        for extension in self.with(Hook::OnQuery) {
            let end = match quarantine_error(&extension.guest) {
                Some(error) => Err(End::Failed(error)),
                None => {
                    let given = self.session.on_query(extension.hooks(), query.clone()).await;
                    self.given(&extension, given)
                        .and_then(|query| self.check_query(&extension, query).map_err(End::Failed))
                }
            };
            if let Ok(given) = settle(&extension, Hook::OnQuery, end)? {
                query = given;
            }
        }
        Ok(query)
    }

    fn check_query(&self, extension: &Extension, query: Query) -> Result<Query, Error> {
        let limits = &self.session.services().limits;
        let (hits, asked) = (limits.search_hits, query.top_k as usize);
        if !(1..=hits).contains(&asked) {
            return Err(guest_broke(&extension.guest, "search_hits", hits, asked));
        }
        if query.text.len() > limits.query_bytes {
            let (allowed, used) = (limits.query_bytes, query.text.len());
            return Err(guest_broke(&extension.guest, "query_bytes", allowed, used));
        }
        Ok(query)
    }

    /// The facts that may leave, as they may be seen.
    pub(super) async fn on_read(&mut self, mut facts: Vec<Fact>) -> Result<Vec<Fact>, Error> {
        for extension in self.with(Hook::OnRead) {
            let mut left = Vec::with_capacity(facts.len());
            for group in self.readable(facts) {
                left.extend(self.read_hook(&extension, group).await?);
            }
            facts = left;
        }
        Ok(facts)
    }

    /// Splits facts so that each group fits a host call on its way back.
    fn readable(&self, facts: Vec<Fact>) -> Vec<Vec<Fact>> {
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

    async fn read_hook(
        &mut self,
        extension: &Extension,
        facts: Vec<Fact>,
    ) -> Result<Vec<Fact>, Error> {
        let end = match quarantine_error(&extension.guest) {
            Some(error) => Err(End::Failed(error)),
            None => {
                let given = self.session.on_read(extension.hooks(), facts.clone()).await;
                self.given(extension, given.map(|given| given.map(Ok)))
            }
        };
        Ok(match settle(extension, Hook::OnRead, end)? {
            Ok(given) => as_seen(facts, given),
            Err(_) => facts,
        })
    }

    /// Lets leave what of the hits may.
    pub(super) async fn read_hits(&mut self, answer: &mut Answer) -> Result<(), Error> {
        if !self.snapshot.has(Hook::OnRead) {
            return Ok(());
        }
        let facts = answer.hits.iter().map(|hit| hit.fact.clone()).collect();
        let left = self.on_read(facts).await?;
        let mut left = by_id(left, |fact| &fact.id);
        answer.hits.retain_mut(|hit| match left.remove(&hit.fact.id) {
            Some(fact) => {
                hit.fact = fact;
                true
            }
            None => false,
        });
        Ok(())
    }

    /// Puts the hits into the extensions' order.
    pub(super) async fn rerank(&mut self, query: &Query, answer: &mut Answer) -> Result<(), Error> {
        for extension in self.with(Hook::Rerank) {
            if answer.hits.is_empty() {
                break;
            }
            let end = match quarantine_error(&extension.guest) {
                Some(error) => Err(End::Failed(error)),
                None => {
                    let given = self
                        .session
                        .rerank(extension.hooks(), query.clone(), answer.hits.clone())
                        .await;
                    self.given(&extension, given.map(|given| given.map(Ok)))
                        .and_then(|ranked| check_ranks(&extension, ranked).map_err(End::Failed))
                }
            };
            match settle(&extension, Hook::Rerank, end)? {
                Ok(ranked) => reorder(&mut answer.hits, ranked),
                Err(why) => {
                    answer.degraded.push(format!(
                        "extension {}: {}",
                        extension.name(),
                        why.message
                    ));
                }
            }
        }
        Ok(())
    }

    fn with(&self, hook: Hook) -> Vec<Arc<Extension>> {
        let extensions = self.snapshot.extensions.iter();
        extensions.filter(|extension| extension.has(hook)).cloned().collect()
    }

    fn given<T>(
        &self,
        extension: &Extension,
        given: Result<Option<Result<T, Refusal>>, GuestError>,
    ) -> Result<T, End> {
        match given {
            Ok(Some(Ok(given))) => Ok(given),
            Ok(Some(Err(refusal))) => {
                Err(End::Refused(rejected(&extension.guest.component, refusal.message)))
            }
            Ok(None) => Err(End::Failed(guest_lied(&extension.guest, "does not have this hook"))),
            Err(error) => Err(End::Failed(self.errors.guest_error(&error, false))),
        }
    }
}

/// Whether a hook that gave nothing ends the call.
fn settle<T>(extension: &Extension, hook: Hook, end: Result<T, End>) -> Result<Given<T>, Error> {
    match end {
        Ok(given) => Ok(Ok(given)),
        Err(End::Refused(error)) => Err(error),
        Err(End::Failed(error)) => {
            metrics::counter!("kenning_hook_failures_total", "hook" => hook.name()).increment(1);
            match extension.on_failure(hook) {
                OnFailure::Close => Err(error),
                OnFailure::LeaveOut => {
                    let (extension, hook) = (extension.name(), hook.name());
                    tracing::warn!(extension, hook, %error, "hook left out");
                    Ok(Err(error))
                }
            }
        }
    }
}

/// The first of each id.
fn by_id<T>(things: Vec<T>, id: impl Fn(&T) -> &String) -> HashMap<String, T> {
    let mut first = HashMap::with_capacity(things.len());
    for thing in things {
        first.entry(id(&thing).clone()).or_insert(thing);
    }
    first
}

/// `facts` in their order, with the text and metadata that a hook gave, without those
/// that it did not give back.
fn as_seen(facts: Vec<Fact>, given: Vec<Fact>) -> Vec<Fact> {
    let mut given = by_id(given, |fact| &fact.id);
    let seen = |fact: Fact| {
        let Fact { text, metadata, .. } = given.remove(&fact.id)?;
        Some(Fact { text, metadata, ..fact })
    };
    facts.into_iter().filter_map(seen).collect()
}

fn check_ranks(extension: &Extension, ranked: Vec<Ranked>) -> Result<Vec<Ranked>, Error> {
    match ranked.iter().all(|one| one.score.is_finite()) {
        true => Ok(ranked),
        false => Err(guest_lied(&extension.guest, "gave a score that is no number")),
    }
}

/// The hits that `ranked` names, best first; of equal scores the one that stood before.
fn reorder(hits: &mut Vec<Hit>, ranked: Vec<Ranked>) {
    let ranked = by_id(ranked, |one| &one.id);
    hits.retain_mut(|hit| match ranked.get(&hit.fact.id) {
        Some(one) => {
            hit.score = one.score;
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
    fn a_new_order_drops_what_it_does_not_name_and_invents_nothing() {
        let mut hits = vec![hit("a", 3.0), hit("b", 2.0), hit("c", 1.0), hit("d", 0.0)];
        let new = [("d", 5.0), ("invented", 9.0), ("a", 1.0), ("d", -5.0), ("b", 1.0)];
        reorder(&mut hits, new.map(|(id, score)| ranked(id, score)).into());
        let order: Vec<_> = hits.iter().map(|hit| (&*hit.fact.id, hit.score)).collect();
        assert_eq!(order, [("d", 5.0), ("a", 1.0), ("b", 1.0)]);
    }

    #[test]
    fn what_is_read_keeps_its_order_its_id_and_its_time() {
        let given = vec![
            Fact { timestamp: "forged".into(), ..fact("b", "redacted") },
            fact("invented", "x"),
            fact("b", "again"),
        ];
        let seen = as_seen(vec![fact("a", "1"), fact("b", "2")], given);
        assert_eq!(seen.len(), 1);
        assert_eq!((&*seen[0].id, &*seen[0].text, &*seen[0].timestamp), ("b", "redacted", "then"));
    }
}
