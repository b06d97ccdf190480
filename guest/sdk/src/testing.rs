//! A fake host for native tests.
//!
//! It differs from the real host: vectors are made of words alone, scores are counts of
//! shared words, and filters are not supported. Use it to test what a hook does with its
//! input. The quality of search results can only be tested on a real server.
//!
//! ```
//! use kenning_extension::{Draft, Fact, index, log, testing::Host};
//!
//! let host = Host::new().with_facts([Fact::new("a", "Tea is hot.")]);
//! let found = host.run(|| {
//!     log::info("looking");
//!     index::matching("hot soup", None, 10)
//! });
//! assert_eq!(found.unwrap()[0].id, "a");
//! assert_eq!(host.lines(), ["looking"]);
//! ```
//!
//! Outside of [`Host::run`], log lines are discarded, the budget is large, and every other
//! call fails.

#[cfg(feature = "http")]
mod http;
mod state;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use state::State;

use crate::log::Level;
use crate::{Allowance, Backend, Caller, Error, Fact, Failure, Query, Request};

/// A fake host: a tenant's facts, a budget, who asks, and the lines that a hook logs.
#[derive(Clone, Debug, Default)]
pub struct Host {
    facts: Vec<Fact>,
    allowance: Option<Allowance>,
    fails: bool,
    caller: Caller,
    request: Request,
    query: Option<Query>,
    options: Option<String>,
    settings: Option<String>,
    secrets: BTreeMap<String, String>,
    notes: Rc<RefCell<BTreeMap<String, String>>>,
    state: Rc<RefCell<State>>,
    #[cfg(feature = "http")]
    answers: BTreeMap<String, Result<crate::http::Response, crate::http::Error>>,
    #[cfg(feature = "http")]
    requests: Rc<RefCell<Vec<crate::http::Request>>>,
    lines: Rc<RefCell<Vec<(Level, String)>>>,
}

thread_local! {
    static CURRENT: RefCell<Option<Host>> = const { RefCell::new(None) };
}

impl Host {
    /// A host without facts.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds facts, stored and indexed, newest first.
    #[must_use]
    pub fn with_facts(mut self, facts: impl IntoIterator<Item = Fact>) -> Self {
        self.facts.extend(facts);
        self
    }

    /// Sets what the call may still use.
    #[must_use]
    pub fn with_budget(mut self, allowance: Allowance) -> Self {
        self.allowance = Some(allowance);
        self
    }

    /// Sets who asks.
    #[must_use]
    pub fn with_caller(mut self, caller: Caller) -> Self {
        self.caller = caller;
        self
    }

    /// Sets what is asked.
    #[must_use]
    pub fn with_request(mut self, request: Request) -> Self {
        self.request = request;
        self
    }

    /// Sets the query as the caller sent it.
    #[must_use]
    pub fn with_query(mut self, query: Query) -> Self {
        self.query = Some(query);
        self
    }

    /// Sets the extension's options in the request, as JSON text.
    #[must_use]
    pub fn with_options(mut self, options: impl Into<String>) -> Self {
        self.options = Some(options.into());
        self
    }

    /// Sets what the extension reads as its settings, as JSON text.
    #[must_use]
    pub fn with_settings(mut self, settings: impl Into<String>) -> Self {
        self.settings = Some(settings.into());
        self
    }

    /// Gives the extension a secret.
    #[must_use]
    pub fn with_secret(mut self, name: impl Into<String>, secret: impl Into<String>) -> Self {
        self.secrets.insert(name.into(), secret.into());
        self
    }

    /// Leaves a note, as an earlier extension would.
    #[must_use]
    pub fn with_note(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.notes.borrow_mut().insert(name.into(), value.into());
        self
    }

    /// The note of this name that hooks left.
    pub fn note(&self, name: &str) -> Option<String> {
        self.notes.borrow().get(name).cloned()
    }

    /// Sets a key of the extension's state, as an earlier call would.
    ///
    /// # Panics
    /// If there is no room.
    #[must_use]
    pub fn with_state(self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        let set = self.state.borrow_mut().set(key.as_ref(), value.as_ref(), None);
        set.expect("the state has room");
        self
    }

    /// Sets how many keys the state may have, and how many bytes with their values.
    #[must_use]
    pub fn with_state_quota(self, keys: usize, bytes: usize) -> Self {
        self.state.borrow_mut().quota = (keys, bytes);
        self
    }

    /// What hooks left under this key of the state.
    pub fn state(&self, key: impl AsRef<[u8]>) -> Option<Vec<u8>> {
        let entry = self.state.borrow().get(key.as_ref()).ok()??;
        Some(entry.value)
    }

    /// Makes storage, embedder and index fail.
    #[must_use]
    pub fn failing(mut self) -> Self {
        self.fails = true;
        self
    }

    /// Runs `hook` with this host.
    pub fn run<T>(&self, hook: impl FnOnce() -> T) -> T {
        /// Restores the previous host, also if the hook panics.
        struct Previous(Option<Host>);
        impl Drop for Previous {
            fn drop(&mut self) {
                CURRENT.set(self.0.take());
            }
        }
        let _previous = Previous(CURRENT.replace(Some(self.clone())));
        hook()
    }

    /// The lines that hooks logged, in order.
    pub fn lines(&self) -> Vec<String> {
        self.lines.borrow().iter().map(|(_, line)| line.clone()).collect()
    }

    /// The lines that hooks logged at this level or above, in order.
    pub fn lines_at(&self, minimum: Level) -> Vec<String> {
        let lines = self.lines.borrow();
        let lines = lines.iter().filter(|(level, _)| *level >= minimum);
        lines.map(|(_, line)| line.clone()).collect()
    }
}

/// The current host, unless there is none or it is set to fail.
fn current() -> Result<Host, Error> {
    let none = || Error::Other("there is no host; call this inside testing::Host::run".into());
    let host = CURRENT.with_borrow(Clone::clone).ok_or_else(none)?;
    match host.fails {
        true => Err(Error::Unavailable(Failure {
            backend: Backend::Storage,
            message: "the fake host is set to fail".into(),
        })),
        false => Ok(host),
    }
}

/// Implements the functions of `host`.
pub(crate) mod fake {
    use std::collections::HashSet;
    use std::time::Duration;

    use super::{CURRENT, Host, current};
    use crate::embedding::Purpose;
    use crate::log::Level;
    use crate::{
        Allowance, Caller, Candidate, Embeddings, Error, Fact, Hash, IdPage, KeyPage, Query,
        Request, StateEntry,
    };

    #[cfg(feature = "http")]
    pub(crate) use super::http::send as http_send;

    const PROFILE: &str = "fake";
    const DIMENSIONS: usize = 256;
    const NOTE_BYTES: usize = 16 * 1024;
    const PLENTY: Allowance =
        Allowance { milliseconds: 5_000, fuel: 2_000_000_000, host_calls: 1_000, bytes: 4 << 20 };

    pub(crate) fn log(level: Level, message: &str) {
        CURRENT.with_borrow(|host| {
            if let Some(host) = host {
                host.lines.borrow_mut().push((level, message.to_string()));
            }
        });
    }

    pub(crate) fn remaining() -> Allowance {
        CURRENT.with_borrow(|host| host.as_ref()?.allowance).unwrap_or(PLENTY)
    }

    /// The current host, or one without anything.
    fn any() -> Host {
        CURRENT.with_borrow(Clone::clone).unwrap_or_default()
    }

    pub(crate) fn caller() -> Caller {
        any().caller
    }

    pub(crate) fn request() -> Request {
        any().request
    }

    pub(crate) fn query() -> Option<Query> {
        any().query
    }

    pub(crate) fn options() -> Option<String> {
        any().options
    }

    pub(crate) fn settings() -> String {
        any().settings.unwrap_or_else(|| "{}".into())
    }

    pub(crate) fn secret(name: &str) -> Option<String> {
        any().secrets.get(name).cloned()
    }

    pub(crate) fn note(name: &str) -> Option<String> {
        any().note(name)
    }

    pub(crate) fn set_note(name: &str, value: &str) -> bool {
        let host = any();
        let mut notes = host.notes.borrow_mut();
        let others = notes.iter().filter(|(other, _)| *other != name);
        let others: usize = others.map(|(name, value)| name.len() + value.len()).sum();
        let fits = others + name.len() + value.len() <= NOTE_BYTES;
        if fits {
            notes.insert(name.into(), value.into());
        }
        fits
    }

    pub(crate) fn state_get(key: &[u8]) -> Result<Option<StateEntry>, Error> {
        current()?.state.borrow().get(key)
    }

    pub(crate) fn state_set(key: &[u8], value: &[u8], ttl: Option<u64>) -> Result<u64, Error> {
        current()?.state.borrow_mut().set(key, value, ttl.map(Duration::from_millis))
    }

    pub(crate) fn state_compare_and_set(
        key: &[u8],
        expected: Option<u64>,
        value: &[u8],
        ttl: Option<u64>,
    ) -> Result<u64, Error> {
        let ttl = ttl.map(Duration::from_millis);
        current()?.state.borrow_mut().compare_and_set(key, expected, value, ttl)
    }

    pub(crate) fn state_increment(key: &[u8], by: i64, ttl: Option<u64>) -> Result<i64, Error> {
        current()?.state.borrow_mut().increment(key, by, ttl.map(Duration::from_millis))
    }

    pub(crate) fn state_delete(key: &[u8]) -> Result<bool, Error> {
        current()?.state.borrow_mut().delete(key)
    }

    pub(crate) fn state_list(
        prefix: &[u8],
        cursor: Option<&[u8]>,
        limit: u32,
    ) -> Result<KeyPage, Error> {
        Ok(current()?.state.borrow().list(prefix, cursor, limit))
    }

    pub(crate) fn embed(texts: &[&str], _purpose: Purpose) -> Result<Embeddings, Error> {
        current()?;
        let values = texts.iter().flat_map(|text| vector(text)).collect();
        Ok(Embeddings { profile: PROFILE.into(), dimensions: DIMENSIONS as u32, values })
    }

    /// A histogram of hashed words, so that texts that share words are near.
    fn vector(text: &str) -> Vec<f32> {
        let mut vector = vec![0.0f32; DIMENSIONS];
        for word in words(text) {
            let hash = word
                .bytes()
                .fold(7usize, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte as usize));
            vector[hash % DIMENSIONS] += 1.0;
        }
        let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt().max(1.0);
        vector.iter().map(|value| value / length).collect()
    }

    fn words(text: &str) -> HashSet<String> {
        let words = text.split(|letter: char| !letter.is_alphanumeric());
        words.filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
    }

    pub(crate) fn nearest(
        target: &Embeddings,
        filter: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Candidate>, Error> {
        let target = target.vectors().next().unwrap_or_default();
        let score = |fact: &Fact| target.iter().zip(vector(&fact.text)).map(|(a, b)| a * b).sum();
        top_k(score, filter, limit)
    }

    pub(crate) fn matching(
        text: &str,
        filter: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Candidate>, Error> {
        let wanted = words(text);
        let score = |fact: &Fact| words(&fact.text).intersection(&wanted).count() as f32;
        top_k(score, filter, limit)
    }

    fn top_k(
        score: impl Fn(&Fact) -> f32,
        filter: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Candidate>, Error> {
        let host = current()?;
        if filter.is_some() {
            return Err(Error::Other(
                "the fake host does not support filters; test them on a server".into(),
            ));
        }
        let scored = host.facts.iter().map(|fact| (fact, score(fact)));
        let mut found: Vec<Candidate> = scored
            .filter(|(_, score)| *score > 0.0)
            .map(|(fact, score)| Candidate { id: fact.id.clone(), score })
            .collect();
        found.sort_by(|a, b| b.score.total_cmp(&a.score));
        found.truncate(limit as usize);
        Ok(found)
    }

    pub(crate) fn read(ids: &[&str]) -> Result<Vec<Option<Hash>>, Error> {
        let host = current()?;
        let find = |id: &&str| host.facts.iter().find(|fact| fact.id == *id).map(to_hash);
        Ok(ids.iter().map(find).collect())
    }

    /// The same fields as Kenning's own logic writes.
    fn to_hash(fact: &Fact) -> Hash {
        let fields = [
            ("content", fact.text.as_str()),
            ("metadata", fact.metadata.as_str()),
            ("timestamp", &fact.timestamp),
            ("id", &fact.id),
        ];
        Hash { fields: fields.map(|(name, value)| (name.into(), value.into())).to_vec() }
    }

    /// The cursor is the number of facts already listed.
    pub(crate) fn page(cursor: Option<&str>, limit: u32) -> Result<IdPage, Error> {
        let host = current()?;
        let no_cursor = |_| Error::Other("the cursor is invalid".into());
        let from: usize = cursor.map_or(Ok(0), |cursor| cursor.parse().map_err(no_cursor))?;
        let ids = host.facts.iter().skip(from).take(limit as usize);
        let ids: Vec<String> = ids.map(|fact| fact.id.clone()).collect();
        let next = from + ids.len();
        let cursor = (next < host.facts.len()).then(|| next.to_string());
        Ok(IdPage { ids, cursor })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Verb, context, embedding, index, log, storage};

    fn host() -> Host {
        let texts = ["Tea is hot.", "Ice is cold.", "Tea is tea, hot or cold."];
        let fact = |(n, text): (usize, &&str)| Fact::new(format!("f{n}"), *text);
        Host::new().with_facts(texts.iter().enumerate().map(fact))
    }

    #[test]
    fn facts_are_found_by_words_and_by_vectors_best_first() {
        let ids = |found: Vec<crate::Candidate>| {
            found.into_iter().map(|found| found.id).collect::<Vec<_>>()
        };
        host().run(|| {
            let found = index::matching("hot tea", None, 10).unwrap();
            assert_eq!(ids(found), ["f0", "f2"]);
            let same = embedding::embed(&["ice is cold"], embedding::Purpose::Query).unwrap();
            let found = index::nearest(&same, None, 1).unwrap();
            assert!(found[0].score > 0.999);
            assert_eq!(ids(found), ["f1"]);
            assert!(index::matching("tea", Some("{}"), 10).is_err(), "filters are refused");
        });
    }

    #[test]
    fn facts_are_read_and_paged() {
        host().run(|| {
            let read = storage::read(&["f1", "none"]).unwrap();
            assert_eq!(read[0].as_ref().unwrap().get("content"), Some("Ice is cold."));
            assert_eq!(read[1], None);
            let first = storage::page(None, 2).unwrap();
            assert_eq!(first.ids, ["f0", "f1"]);
            let last = storage::page(first.cursor.as_deref(), 2).unwrap();
            assert_eq!((last.ids, last.cursor), (vec!["f2".to_string()], None));
        });
    }

    #[test]
    fn log_lines_belong_to_the_host_that_runs_the_hook() {
        let (one, other) = (host(), host());
        one.run(|| {
            log::warn("one");
            other.run(|| log::debug("other"));
            log::info("one again");
        });
        log::error("outside of a host");
        assert_eq!(one.lines(), ["one", "one again"]);
        assert_eq!(one.lines_at(Level::Warn), ["one"]);
        assert_eq!(other.lines(), ["other"]);
    }

    #[test]
    fn a_hook_is_told_who_asks_and_notes_reach_later_ones() {
        let caller = Caller::new("k1").with("team", "research");
        let query = Query::new("tea");
        let host = host()
            .with_caller(caller.clone())
            .with_request(Request { verb: Verb::Search, ..Request::default() })
            .with_query(query.clone())
            .with_options("{}")
            .with_note("before", "1");
        host.run(|| {
            assert_eq!(context::caller(), caller);
            assert_eq!(context::request().verb, Verb::Search);
            assert_eq!((context::query(), context::options()), (Some(query), Some("{}".into())));
            assert_eq!(context::note("before").as_deref(), Some("1"));
            assert!(context::set_note("after", "2"));
            assert!(!context::set_note("more", &"x".repeat(16 * 1024)));
        });
        assert_eq!(host.note("after").as_deref(), Some("2"));
        assert_eq!(context::caller(), Caller::default(), "outside of a host, nobody asks");
    }

    #[test]
    fn calls_fail_without_a_host_and_with_a_failing_one() {
        let message = |error: Error| error.to_string();
        assert!(message(storage::read(&["f0"]).unwrap_err()).contains("testing::Host::run"));
        host().failing().run(|| {
            assert!(message(index::matching("tea", None, 1).unwrap_err()).contains("set to fail"));
            assert!(storage::page(None, 1).is_err());
        });
    }
}
