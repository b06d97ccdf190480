//! One caller: what it does in its turn, and what it makes of the answer.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use http::Method;
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::knowledge::{Knowledge, Text};
use super::tally::Tally;
use crate::{Answer, Caller, error_body_fault, send, spelled, until};

/// What a caller does, in turn.
pub const VERBS: [&str; 8] =
    ["store", "get", "search", "list", "update", "find", "export", "delete"];

/// The same where there are several hosts: each write is followed by a search for what it changed.
const HOSTS_VERBS: [&str; 12] = [
    "store", "recheck", "list", "update", "recheck", "get", "recheck", "delete", "recheck",
    "search", "find", "export",
];

/// How a call is cut short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// It is not.
    Not,
    /// The caller closes its connection after so long.
    CallerLeaves(Duration),
    /// The call gets so little time, in milliseconds.
    Deadline(u32),
    /// A store whose guest does this when it has written, where the logic is hostile.
    Deed(&'static str),
}

impl Cut {
    fn name(self) -> Option<&'static str> {
        match self {
            Self::Not => None,
            Self::CallerLeaves(_) => Some("caller left"),
            Self::Deadline(_) => Some("deadline"),
            Self::Deed(command) => Some(command),
        }
    }
}

pub(super) struct Member {
    pub(super) caller: Caller,
    pub(super) name: String,
    pub(super) known: Knowledge,
    verbs: Vec<&'static str>,
    /// Whether a store can be repeated.
    repeats: bool,
    /// How it calls several hosts, if it does.
    pub(super) hosts: Option<AcrossHosts>,
    turn: usize,
    made: usize,
    pub(super) random: fastrand::Rng,
    pub(super) tally: Tally,
}

/// A caller of several hosts behind a proxy, which has errors of its own.
#[derive(Default)]
pub(super) struct AcrossHosts {
    /// The revision of its last write.
    pub(super) revision: Option<u64>,
    /// Whether it sends that back with what it reads.
    pub(super) sends_revision: bool,
    /// Whether it finds out at once what became of a change.
    pub(super) reads_doubtful: bool,
}

impl Member {
    pub(super) fn new(server: &Caller, name: &str, number: usize, seed: u64) -> Self {
        let name = format!("{name}{number}");
        Self {
            caller: server.tenant(&name),
            name,
            known: Knowledge::default(),
            verbs: VERBS.to_vec(),
            repeats: true,
            hosts: None,
            // Not all do the same at the same time.
            turn: number,
            made: 0,
            random: fastrand::Rng::with_seed(seed + number as u64),
            tally: Tally::default(),
        }
    }

    /// The hostile logic changes no fact, and takes a repeated store for a conflict.
    pub(super) fn of_hostile_logic(&mut self) {
        self.verbs.retain(|verb| *verb != "update");
        self.repeats = false;
    }

    /// Calls several hosts, and searches for what it has just written.
    pub(super) fn of_hosts(&mut self) {
        self.verbs = HOSTS_VERBS.to_vec();
        self.hosts = Some(AcrossHosts::default());
    }

    pub(super) fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    pub(super) async fn store_surely(&mut self, facts: usize) -> Result<()> {
        for _ in 0..facts {
            let (id, text) = self.new_fact("fact");
            let stored = until("a fact is stored", async || {
                let answer = send(self.store_request(&id, &text)).await?;
                Ok((answer.status == 201).then_some(answer))
            });
            let answer = stored.await?;
            self.known.is(&id, Some(text));
            self.note_revision(&answer);
        }
        Ok(())
    }

    /// The next verb.
    pub(super) async fn call(&mut self, cut: impl Fn(&mut fastrand::Rng) -> Cut) {
        let cut = cut(&mut self.random);
        if let Cut::Deed(command) = cut {
            return self.store(command, cut).await;
        }
        if self.hosts.as_ref().is_some_and(|hosts| hosts.reads_doubtful) {
            self.read_doubtful().await;
        }
        let verb = self.verbs[self.turn % self.verbs.len()];
        self.turn += 1;
        let (any, certain) = (self.any_id(), self.certain_fact());
        match (verb, any, certain) {
            ("get", Some(id), _) => self.get(&id, cut).await,
            ("search", Some(id), _) => self.search(&id, cut).await,
            ("recheck", Some(_), _) => self.recheck(cut).await,
            ("find", Some(id), _) => self.list(Some(&id), cut).await,
            ("update", _, Some(id)) => self.update(&id, cut).await,
            ("delete", _, Some(id)) => self.delete(&id, cut).await,
            ("list", ..) => self.list(None, cut).await,
            ("export", ..) => self.export(cut).await,
            _ => self.store("fact", cut).await,
        }
    }

    fn any_id(&mut self) -> Option<String> {
        let at = self.random.usize(..self.known.ids().len().max(1));
        self.known.ids().nth(at).cloned()
    }

    fn certain_fact(&mut self) -> Option<String> {
        let count = self.known.certain().count();
        let at = self.random.usize(..count.max(1));
        self.known.certain().nth(at).map(|(id, _)| id.to_string())
    }

    /// An id that is a word, and a text that names it and the caller.
    fn new_fact(&mut self, first_word: &str) -> (String, String) {
        self.made += 1;
        let id = format!("{}f{}", self.name, self.made);
        let text = self.text(first_word, &id);
        (id, text)
    }

    /// A text that ends with a word of its own.
    fn text(&self, first_word: &str, id: &str) -> String {
        let word = spelled("word", self.made);
        format!("{first_word} {id} of {} version {} {word}", self.name, self.made)
    }

    fn store_request(&self, id: &str, text: &str) -> RequestBuilder {
        let fact = json!({ "fact_id": id, "text": text, "metadata": { "of": self.name } });
        self.caller.request(Method::POST, "/v1/facts").json(&fact)
    }

    pub(super) async fn store(&mut self, first_word: &str, cut: Cut) {
        let (id, text) = self.new_fact(first_word);
        self.change(&id, Some(text.clone()), 201, self.store_request(&id, &text), cut).await;
    }

    async fn update(&mut self, id: &str, cut: Cut) {
        self.made += 1;
        let text = self.text("fact", id);
        let path = format!("/v1/facts/{id}");
        let request = self.caller.request(Method::PATCH, &path).json(&json!({ "text": text }));
        self.change(id, Some(text), 200, request, cut).await;
    }

    async fn delete(&mut self, id: &str, cut: Cut) {
        let request = self.caller.request(Method::DELETE, &format!("/v1/facts/{id}"));
        self.change(id, None, 200, request, cut).await;
    }

    async fn change(&mut self, id: &str, text: Text, good: u16, request: RequestBuilder, cut: Cut) {
        match self.send(request, cut).await {
            None => self.known.may_be_too(id, text),
            Some(answer) if answer.status == good => {
                let said = ["fact_id", "id"].iter().find_map(|name| answer.json[name].as_str());
                if said.is_some_and(|said| said != id) {
                    self.wrong("was told of another fact", id, &answer);
                }
                self.known.is(id, text);
                self.note_revision(&answer);
            }
            Some(answer) if answer.status == 404 => self.lost("is not found", id, &answer),
            Some(answer) => {
                self.error(&answer);
                // Without this word it did not happen, which the next reading will show.
                if answer.json["details"]["outcome"] == "unknown" || self.is_of_proxy(&answer) {
                    self.tally.count_error("unknown outcome");
                    self.known.may_be_too(id, text);
                }
            }
        }
    }

    async fn get(&mut self, id: &str, cut: Cut) {
        let request = self.read_request(Method::GET, &format!("/v1/facts/{id}"));
        let Some(answer) = self.send(request, cut).await else { return };
        match answer.status {
            200 => self.check_fact(&answer.json, &answer),
            404 if self.known.may_be(id).contains(&None) => self.tally.checked += 1,
            404 => self.lost("is not found", id, &answer),
            _ => self.error(&answer),
        }
        if answer.status == 200 && answer.json["id"] != id {
            self.wrong("was asked for, and another came", id, &answer);
        }
    }

    async fn search(&mut self, id: &str, cut: Cut) {
        let mode = if self.random.bool() { "text" } else { "hybrid" };
        let query = json!({ "query": id, "mode": mode, "top_k": 20 });
        let request = self.read_request(Method::POST, "/v1/search").json(&query);
        let Some((answer, found)) = self.search_for(id, request, cut).await else { return };
        let whole = answer.json["degraded"] == json!([]);
        if mode == "text" && !found && matches!(self.known.must_be(id), Some(Some(_))) {
            match self.hosts {
                Some(_) => self.stale("is not found by its word", id, &answer),
                None if whole => self.lost("is not found by its word", id, &answer),
                None => {}
            }
        }
    }

    /// The answer to a search, all of which is checked, and whether `id` is among the hits.
    pub(super) async fn search_for(
        &mut self,
        id: &str,
        request: RequestBuilder,
        cut: Cut,
    ) -> Option<(Answer, bool)> {
        let answer = self.send(request, cut).await?;
        if answer.status != 200 {
            self.error(&answer);
            return None;
        }
        let hits = answer.json["results"].as_array().map_or(&[][..], Vec::as_slice);
        hits.iter().for_each(|hit| self.check_fact(hit, &answer));
        let found = hits.iter().any(|hit| hit["doc_id"] == id);
        Some((answer, found))
    }

    async fn list(&mut self, containing: Option<&str>, cut: Cut) {
        let query = containing.map(|word| format!("&query={word}+of")).unwrap_or_default();
        let request = self.read_request(Method::GET, &format!("/v1/facts?limit=1000{query}"));
        let Some(answer) = self.send(request, cut).await else { return };
        if answer.status != 200 {
            return self.error(&answer);
        }
        let facts = answer.json["facts"].as_array().map_or(&[][..], Vec::as_slice);
        facts.iter().for_each(|fact| self.check_fact(fact, &answer));
        if answer.json["next_cursor"].is_null() {
            self.check_all(containing, facts, &answer);
        }
    }

    async fn export(&mut self, cut: Cut) {
        let request = self.caller.request(Method::GET, "/v1/export");
        let Some(answer) = self.send(request, cut).await else { return };
        if answer.status != 200 {
            return self.error(&answer);
        }
        let facts: Vec<Value> =
            answer.text.lines().map(|line| line.parse().unwrap_or_default()).collect();
        facts.iter().for_each(|fact| self.check_fact(fact, &answer));
        self.check_all(None, &facts, &answer);
    }

    /// Whether all that must be in a listing is in it, once.
    fn check_all(&mut self, containing: Option<&str>, facts: &[Value], answer: &Answer) {
        let is_meant = |id: &str| containing.is_none_or(|one| one == id);
        let certain = self.known.certain().filter(|(id, _)| is_meant(id));
        let missing = certain.filter(|(id, _)| facts.iter().all(|fact| fact["id"] != *id));
        let missing: Vec<String> = missing.map(|(id, _)| id.to_string()).collect();
        missing.iter().for_each(|id| self.lost("is not listed", id, answer));
        let mut ids: Vec<&str> = facts.iter().filter_map(|fact| fact["id"].as_str()).collect();
        ids.sort_unstable();
        if let Some(twice) = ids.windows(2).find(|pair| pair[0] == pair[1]) {
            self.wrong("is listed twice", twice[0], answer);
        }
    }

    /// Whether a fact is one of this caller's, and as it may be.
    fn check_fact(&mut self, fact: &Value, answer: &Answer) {
        self.tally.checked += 1;
        let id = ["id", "doc_id"].iter().find_map(|name| fact[name].as_str()).unwrap_or_default();
        let text = fact["content"].as_str().map(str::to_string);
        if fact["metadata"]["of"] == self.name && self.known.may_be(id).contains(&text) {
            return;
        }
        if self.known.former().any(|(one, former)| one == id && Some(former) == text.as_deref()) {
            self.stale("is as it was earlier", id, answer);
        } else {
            self.wrong("is not its own, or not what it was made", id, answer);
        }
    }

    /// `None` if the caller left before there was an answer, or the answer broke off.
    pub(super) async fn send(&mut self, request: RequestBuilder, cut: Cut) -> Option<Answer> {
        self.tally.calls += 1;
        if let Some(how) = cut.name() {
            *self.tally.cut.entry(how).or_default() += 1;
        }
        let begun = Instant::now();
        let answer = match cut {
            Cut::CallerLeaves(after) => timeout(after, send(request)).await.ok(),
            Cut::Deadline(ms) => Some(send(request.header("x-kenning-timeout-ms", ms)).await),
            Cut::Not | Cut::Deed(_) => Some(send(request).await),
        };
        self.tally.longest = self.tally.longest.max(begun.elapsed());
        match answer? {
            Ok(answer) => Some(answer),
            Err(_) => {
                self.tally.count_error("broken off");
                None
            }
        }
    }

    pub(super) fn error(&mut self, answer: &Answer) {
        if self.is_of_proxy(answer) {
            return self.tally.count_error(&format!("{} of a proxy", answer.status));
        }
        self.tally.count_error(if answer.code().is_empty() { "none" } else { answer.code() });
        if let Some(fault) = error_body_fault(&answer.json) {
            self.tally.wrong.push(format!("an error without {fault}: {}", answer.text));
        }
    }

    pub(super) fn wrong(&mut self, what: &str, id: &str, answer: &Answer) {
        self.tally.wrong.push(self.sentence(what, id, answer));
    }

    fn lost(&mut self, what: &str, id: &str, answer: &Answer) {
        self.tally.lost.push(self.sentence(what, id, answer));
    }

    pub(super) fn stale(&mut self, what: &str, id: &str, answer: &Answer) {
        self.tally.stale.push(self.sentence(what, id, answer));
    }

    fn sentence(&self, what: &str, id: &str, answer: &Answer) -> String {
        let (name, may_be) = (&self.name, self.known.may_be(id));
        format!("{name}: {id} {what}; it may be {may_be:?}; answered: {}", answer.text)
    }

    pub(super) async fn reckon(&mut self) -> Result<()> {
        for id in self.known.doubtful() {
            self.resolve(&id).await?;
        }
        let answer = self.caller.get("/v1/export").await?;
        ensure!(answer.status == 200, "not exported: {}", answer.text);
        self.export(Cut::Not).await;
        for (id, text) in self.texts() {
            let answer = self.caller.get(&format!("/v1/facts/{id}")).await?;
            if answer.json["content"].as_str() != Some(&text) {
                self.lost("is not what it was", &id, &answer);
            }
        }
        Ok(())
    }

    fn texts(&self) -> Vec<(String, String)> {
        self.known.certain().map(|(id, text)| (id.to_string(), text.to_string())).collect()
    }

    /// Finds out what became of a change: a store is repeated, which must come to the same fact;
    /// others are read.
    async fn resolve(&mut self, id: &str) -> Result<()> {
        let may_be = self.known.may_be(id).to_vec();
        if let ([None, Some(text)], true) = (&may_be[..], self.repeats) {
            let answer = send(self.store_request(id, text)).await?;
            if answer.status != 201 {
                self.wrong("cannot be stored again", id, &answer);
            }
            self.known.is(id, Some(text.clone()));
            return Ok(());
        }
        let answer = self.caller.get(&format!("/v1/facts/{id}")).await?;
        let text = answer.json["content"].as_str().map(str::to_string);
        if ![200, 404].contains(&answer.status) || !may_be.contains(&text) {
            self.wrong("is neither as before nor as after", id, &answer);
        }
        self.known.is(id, text);
        Ok(())
    }

    /// A store and a get that succeed; gives how long after this call they had.
    pub(super) async fn good_call(&mut self) -> Result<Duration> {
        let (id, text) = self.new_fact("fact");
        let begun = Instant::now();
        until("a call succeeds", async || {
            let answer = send(self.store_request(&id, &text)).await?;
            Ok((answer.status == 201).then_some(()))
        })
        .await?;
        self.known.is(&id, Some(text));
        Ok(begun.elapsed())
    }
}
