//! What is checked of a server before it is used: whose layout its data has, and whether it evicts.
//!
//! Both are asked at the first connection and again once a minute, since the server behind an
//! address may be replaced or configured anew. Data of a newer layout is neither read nor written.
//! A server whose policy evicts facts is read, and not written to unless that was allowed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::Value;
use tokio::time::{Instant, timeout_at};

use super::keys::FORMAT;
use super::pool::{Effect, Size};
use super::replies;
use super::servers::Servers;
use crate::StorageError;

/// The layout that this version reads and writes. Databases without the key have the first.
const FORMAT_VERSION: u64 = 1;

/// How long a result is relied on.
const RECHECK: Duration = Duration::from_secs(60);

/// How long the nodes of a cluster may take to answer again.
const CLUSTER_QUESTION: Duration = Duration::from_millis(500);

/// The checks of one storage.
pub(super) struct Guard {
    servers: Arc<Servers>,
    allow_eviction: bool,
    /// Whether data that does not say its layout gets its version.
    marks_format: bool,
    state: Mutex<State>,
    checking: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    /// When the last check was; `None` before the first.
    checked: Option<Instant>,
    verdict: Verdict,
}

/// What may be done with a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Verdict {
    /// Why it may not be used at all.
    unusable: Option<String>,
    /// Why nothing may be written.
    no_writes: Option<String>,
    /// What the operator should know.
    warning: Option<String>,
}

impl Guard {
    pub(super) fn new(servers: Arc<Servers>, allow_eviction: bool) -> Self {
        let (state, checking) = (Mutex::default(), tokio::sync::Mutex::default());
        Self { servers, allow_eviction, marks_format: true, state, checking }
    }

    /// The same, and data that does not say its layout stays as it is.
    pub(super) fn without_marking(self) -> Self {
        Self { marks_format: false, ..self }
    }

    /// Checks the server at the start. Fails with the reason only if it answers by `end` and must
    /// not be used; one that does not is checked at its first connection.
    pub(super) async fn check_at_start(&self, end: Instant) -> Result<(), String> {
        match self.ask(end).await {
            Ok(()) => self.verdict().reason_against(Effect::Write).map_or(Ok(()), Err),
            Err(_) => Ok(()),
        }
    }

    /// Checks the server unless that was done lately. Fails if it must not be used for `effect`.
    pub(super) async fn check(&self, effect: Effect, end: Instant) -> Result<(), StorageError> {
        if self.is_fresh(effect) {
            return Ok(());
        }
        let Ok(_one_at_a_time) = timeout_at(end, self.checking.lock()).await else {
            return Err(StorageError::Timeout { outcome_unknown: false });
        };
        if self.is_fresh(effect) {
            return Ok(());
        }
        if let Err(error) = self.ask(self.end_of_question(end)).await {
            // One node of a cluster that is away must not stop calls to the others: what is known
            // counts for a while longer.
            let mut state = self.state();
            if !self.servers.is_cluster() || state.checked.is_none() {
                return Err(error);
            }
            state.checked = Some(Instant::now());
        }
        match self.verdict().reason_against(effect) {
            Some(reason) => Err(StorageError::Refused(reason)),
            None => Ok(()),
        }
    }

    /// Nodes of a cluster that hang must leave the call time for the one that it needs.
    fn end_of_question(&self, end: Instant) -> Instant {
        match self.servers.is_cluster() && self.state().checked.is_some() {
            true => end.min(Instant::now() + CLUSTER_QUESTION),
            false => end,
        }
    }

    fn is_fresh(&self, effect: Effect) -> bool {
        let state = self.state();
        let is_recent = state.checked.is_some_and(|checked| checked.elapsed() < RECHECK);
        // What is refused asks again: the server may have been changed.
        is_recent && state.verdict.reason_against(effect).is_none()
    }

    fn verdict(&self) -> Verdict {
        self.state().verdict.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(&self, end: Instant) -> Result<(), StorageError> {
        let (mut format, mut policy) = (redis::cmd("GET"), redis::cmd("CONFIG"));
        format.arg(FORMAT);
        policy.arg("GET").arg("maxmemory-policy");
        let (format, policies) = tokio::join!(
            self.servers.run(std::slice::from_ref(&format), (Size::Small, Effect::Read), end),
            self.servers.run_everywhere(&policy, end),
        );
        let version = replies::one::<Option<u64>>(format?).map_err(name_format)?;
        let unusable = unusable(version.unwrap_or(0));
        let new = Verdict { unusable, ..strictest(policies?, self.allow_eviction)? };
        if version.is_none() && self.marks_format && new.reason_against(Effect::Write).is_none() {
            self.mark_format(end).await;
        }
        let mut state = self.state();
        if let Some(warning) = &new.warning
            && state.verdict.warning.as_ref() != Some(warning)
        {
            tracing::warn!("{warning}");
        }
        *state = State { checked: Some(Instant::now()), verdict: new };
        Ok(())
    }

    /// Says which layout the data has. A server that refuses writes is marked at the next check.
    async fn mark_format(&self, end: Instant) {
        let mut mark = redis::cmd("SET");
        mark.arg(FORMAT).arg(FORMAT_VERSION).arg("NX");
        let kind = (Size::Small, Effect::Write);
        if let Err(error) = self.servers.run(&[mark], kind, end).await {
            tracing::debug!(%error, "the version of the layout was not recorded");
        }
    }
}

/// Names the key that gave `error`, if what it holds is no number.
fn name_format(error: StorageError) -> StorageError {
    match error {
        StorageError::Refused(reason) | StorageError::Corrupt(reason) => {
            StorageError::Refused(format!("the version of the layout, {FORMAT}: {reason}"))
        }
        other => other,
    }
}

/// Why data of this layout cannot be used.
fn unusable(version: u64) -> Option<String> {
    (version > FORMAT_VERSION).then(|| {
        format!(
            "this Redis holds data of layout version {version}, which a newer Kenning wrote; this \
             one knows versions up to {FORMAT_VERSION}; use the newer Kenning"
        )
    })
}

/// What follows from the servers' replies: each must allow what is done. Fails if none answers.
fn strictest(
    replies: Vec<Result<Value, StorageError>>,
    allow_eviction: bool,
) -> Result<Verdict, StorageError> {
    let (mut strictest, mut failure) = (None::<Verdict>, None);
    for reply in replies {
        match reply {
            Ok(reply) => {
                let new = verdict(&reply, allow_eviction);
                let stands = strictest.as_ref().is_some_and(|it| it.strength() >= new.strength());
                if !stands {
                    strictest = Some(new);
                }
            }
            Err(error) => failure = Some(error),
        }
    }
    strictest.ok_or_else(|| failure.unwrap_or_else(super::error::no_value))
}

/// What follows from the reply to `CONFIG GET maxmemory-policy`.
fn verdict(reply: &Value, allow_eviction: bool) -> Verdict {
    let Some(policy) = policy(reply) else {
        return Verdict::warn(
            "Redis does not say whether it evicts keys (CONFIG GET maxmemory-policy was refused); \
             if it does, facts vanish: its policy should be noeviction"
                .into(),
        );
    };
    match (policy.split('-').next(), allow_eviction) {
        (Some("allkeys"), false) => Verdict {
            no_writes: Some(format!(
                "Redis evicts facts when its memory is full (maxmemory-policy {policy}); set the \
                 policy to noeviction, or accept the loss with --allow-eviction"
            )),
            ..Verdict::default()
        },
        (Some("allkeys"), true) => Verdict::warn(format!(
            "Redis evicts facts when its memory is full (maxmemory-policy {policy}), and \
             --allow-eviction accepts their loss"
        )),
        (Some("volatile"), _) => Verdict::warn(format!(
            "Redis evicts keys that expire when its memory is full (maxmemory-policy {policy}); \
             facts do not expire, unless another program makes them; noeviction is safer"
        )),
        _ => Verdict::default(),
    }
}

impl Verdict {
    fn warn(warning: String) -> Self {
        Self { warning: Some(warning), ..Self::default() }
    }

    fn strength(&self) -> (bool, bool) {
        (self.no_writes.is_some(), self.warning.is_some())
    }

    fn reason_against(&self, effect: Effect) -> Option<String> {
        let no_writes = self.no_writes.clone().filter(|_| effect == Effect::Write);
        self.unusable.clone().or(no_writes)
    }
}

/// The policy in a reply: name and value, as a map or as a list.
fn policy(reply: &Value) -> Option<String> {
    let pairs: std::collections::HashMap<String, String> =
        redis::FromRedisValue::from_redis_value(reply.clone()).ok()?;
    pairs.into_values().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(policy: &str) -> Value {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        Value::Array(vec![text("maxmemory-policy"), text(policy)])
    }

    #[test]
    fn a_policy_that_evicts_facts_forbids_writes_and_is_named() {
        for policy in ["allkeys-lru", "allkeys-lfu", "allkeys-random"] {
            let refused = verdict(&reply(policy), false).no_writes.unwrap();
            assert!(refused.contains(policy) && refused.contains("--allow-eviction"), "{refused}");
            let allowed = verdict(&reply(policy), true);
            assert_eq!(allowed.no_writes, None);
            assert!(allowed.warning.unwrap().contains(policy));
        }
    }

    #[test]
    fn a_policy_that_may_evict_or_is_unknown_warns() {
        for known in [reply("volatile-ttl"), Value::Nil, Value::Array(Vec::new())] {
            let Verdict { no_writes, warning, .. } = verdict(&known, false);
            assert_eq!((no_writes, warning.is_some()), (None, true), "{known:?}");
        }
        assert_eq!(verdict(&reply("noeviction"), false), Verdict::default());
    }

    #[test]
    fn a_newer_layout_is_refused_and_both_versions_are_named() {
        assert_eq!((unusable(0), unusable(FORMAT_VERSION)), (None, None));
        let refused = unusable(9).unwrap();
        assert!(refused.contains("version 9") && refused.contains("up to 1"), "{refused}");
    }
}
