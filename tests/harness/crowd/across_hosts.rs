//! What a caller of several hosts does besides: it sends back the revision of its last write,
//! searches for what it has just written, and compares the hosts with storage.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use http::Method;
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use super::member::{Cut, Member};
use crate::{Answer, Caller};

const REVISION: &str = "x-kenning-revision";
const MIN_REVISION: &str = "x-kenning-min-revision";

/// How many former texts of a caller's facts are looked for when hosts are compared with storage.
const FORMER: usize = 200;

impl Member {
    /// Whether a proxy answered, and no host.
    pub(super) fn is_of_proxy(&self, answer: &Answer) -> bool {
        self.hosts.is_some() && answer.json.is_null()
    }

    pub(super) fn read_request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.caller.request(method, path);
        let sent = self.hosts.as_ref().filter(|hosts| hosts.sends_revision);
        match sent.and_then(|hosts| hosts.revision) {
            Some(revision) => request.header(MIN_REVISION, revision),
            None => request,
        }
    }

    pub(super) fn note_revision(&mut self, answer: &Answer) {
        let Some(hosts) = &mut self.hosts else { return };
        let revision = answer.header(REVISION).parse().ok();
        let is_later = revision > hosts.revision;
        hosts.revision = revision.max(hosts.revision);
        if !is_later {
            self.tally.wrong.push(format!("{}: a write without a later revision", self.name));
        }
    }

    /// Searches for the fact that was written last, by the word that it has or by one that it had.
    pub(super) async fn recheck(&mut self, cut: Cut) {
        let Some(id) = self.known.last().cloned() else { return };
        let Some(now) = self.known.must_be(&id).cloned() else { return };
        let former = self.known.former().find(|(one, _)| *one == id);
        let former = former.map(|(_, text)| text.to_string());
        let wants_former = former.is_some() && self.random.bool();
        let Some(text) = (if now.is_none() || wants_former { former } else { now.clone() }) else {
            return;
        };
        let by_text = self.random.bool();
        let mut query = json!({ "query": own_word(&text), "top_k": 20 });
        if by_text {
            query["mode"] = json!("text");
        }
        let request = self.read_request(Method::POST, "/v1/search").json(&query);
        let Some((answer, found)) = self.search_for(&id, request, cut).await else { return };
        if now.as_ref() == Some(&text) {
            if !found {
                self.stale("is not found by the word it has", &id, &answer);
            }
        } else if found && by_text && now.is_some() {
            self.stale("is found by a word it had", &id, &answer);
        }
    }

    /// Reads what became of changes whose outcome is not known. Nothing may be under way any more.
    pub(super) async fn read_doubtful(&mut self) {
        let mut read = Vec::new();
        for id in self.known.doubtful() {
            let request = self.caller.request(Method::GET, &format!("/v1/facts/{id}"));
            let Some(answer) = self.send(request, Cut::Not).await else { return };
            let text = answer.json["content"].as_str().map(str::to_string);
            if !matches!(answer.status, 200 | 404) || self.is_of_proxy(&answer) {
                return self.error(&answer);
            }
            if !self.known.may_be(&id).contains(&text) {
                self.wrong("is neither as before nor as after", &id, &answer);
            }
            read.push((id, text));
        }
        if read.is_empty() {
            return;
        }
        // Only the revision of a later write says that a host has these changes, too.
        let revision = |member: &Self| member.hosts.as_ref().and_then(|hosts| hosts.revision);
        let before = revision(self);
        self.store("fact", Cut::Not).await;
        if revision(self) > before {
            read.into_iter().for_each(|(id, text)| self.known.is(&id, text));
        }
    }

    /// Compares what each host finds with what storage has, fact by fact: each is found by its own
    /// word, and nothing by words that facts had. Gives how many searches agreed.
    pub(super) async fn compare(&self, hosts: &[Caller]) -> Result<usize> {
        let exported = hosts.first().context("a host")?.tenant(&self.name).export().await?;
        let facts = exported.lines().map(|line| {
            let fact: Value = line.parse()?;
            let of = |name: &str| fact[name].as_str().map(str::to_string).context("no fact");
            Ok((of("id")?, of("content")?))
        });
        let facts: BTreeMap<String, String> = facts.collect::<Result<_>>()?;
        for (id, text) in &facts {
            let may_be = self.known.may_be(id);
            ensure!(may_be.contains(&Some(text.clone())), "{id} is {text:?} and not {may_be:?}");
        }
        for (id, text) in self.known.certain() {
            ensure!(facts.get(id).is_some_and(|one| one == text), "{id} is not stored as {text:?}");
        }
        let is_gone = |(id, text): &(&str, &str)| facts.get(*id).is_none_or(|one| one != text);
        let former: Vec<_> = self.known.former().take(FORMER).filter(is_gone).collect();
        for host in hosts {
            let (url, host) = (host.url(), host.tenant(&self.name));
            for (id, text) in &facts {
                let found = found_by(&host, text).await?;
                let wanted = [(id.clone(), text.clone())];
                ensure!(found == wanted, "{url}: {found:?} instead of {wanted:?}");
            }
            for (id, text) in &former {
                let found = found_by(&host, text).await?;
                ensure!(found.is_empty(), "{url}: {found:?} by a word that {id} had: {text:?}");
            }
            // The searches have it loaded.
            let stats = host.get("/v1/stats").await?;
            let indexed = &stats.json["index"]["facts"];
            ensure!(*indexed == facts.len(), "{url}: {indexed} of {} facts", facts.len());
        }
        Ok(hosts.len() * (facts.len() + former.len()))
    }
}

/// The word that no other text of the caller has.
fn own_word(text: &str) -> &str {
    text.rsplit(' ').next().unwrap_or_default()
}

/// Ids and texts of what is found by a text's own word.
async fn found_by(host: &Caller, text: &str) -> Result<Vec<(String, String)>> {
    let query = json!({ "query": own_word(text), "mode": "text", "top_k": 20 });
    let answer = host.post("/v1/search", query).await?;
    ensure!(answer.status == 200, "not searched: {}", answer.text);
    let hits = answer.json["results"].as_array().context("no results")?;
    let of = |hit: &Value, name: &str| hit[name].as_str().unwrap_or_default().to_string();
    Ok(hits.iter().map(|hit| (of(hit, "doc_id"), of(hit, "content"))).collect())
}
