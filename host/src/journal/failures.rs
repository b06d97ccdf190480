//! What is known of calls that failed through no fault of the caller. The last thousand of each
//! host are kept for a day, first in memory and a moment later in storage, so that no request waits
//! for it, and so that any host can tell. Never with the text of a fact or query, nor with secrets.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kenning_storage::{Storage, StorageError, TenantId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::chunks::{Bounds, Chunks, Timed};
use super::now;
use kenning_core::error::{Blame, Code, Error};
use kenning_core::limits::Limits;

/// How many failures are kept of each host.
const RECORDS: usize = 1_000;

/// How long they are kept.
const AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// The members of an error's details that the host makes, and that quote nobody.
const DETAILS: [&str; 8] =
    ["limit", "allowed", "used", "component", "generation", "violation", "outcome", "pointer"];

/// A request that failed.
pub struct FailedRequest<'a> {
    /// The id in `x-request-id`.
    pub id: &'a str,
    /// The id of its trace, if it is part of one.
    pub trace_id: Option<&'a str>,
    /// The HTTP method.
    pub method: &'a str,
    /// The route.
    pub route: &'a str,
    /// From the request's head to its answer.
    pub took: Duration,
    /// What was answered.
    pub error: &'a Error,
}

/// What is known of a failed request.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct FailureRecord {
    request_id: String,
    /// Missing where the request was part of no trace, and in records of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
    time: String,
    host: String,
    method: String,
    route: String,
    status: u16,
    code: String,
    blame: String,
    /// What the answer said, where nobody but the host had a word in it.
    message: Option<String>,
    took_ms: f64,
    details: Map<String, Value>,
    /// The guests whose snapshot the call had.
    served_by: Option<Value>,
    /// What the call did: `CallTracer` describes it.
    call: Option<Value>,
}

impl Timed for FailureRecord {
    fn time(&self) -> &str {
        &self.time
    }
}

/// The failures of this host, and those that are in storage.
pub struct Failures {
    chunks: Chunks<FailureRecord>,
    host: String,
    recent: Mutex<Recent>,
    /// Held while failures are written, or deleted.
    writing: tokio::sync::Mutex<()>,
}

/// The last failures of this host with their numbers, oldest first.
#[derive(Default)]
struct Recent {
    kept: VecDeque<(u64, FailureRecord)>,
    /// The number of the next one.
    next: u64,
    /// Those from this number on are not in storage yet.
    unwritten: u64,
}

impl Failures {
    /// The failures in `storage`, of all hosts; this one is `host`.
    pub fn new(storage: Arc<dyn Storage>, host: String, limits: &Limits) -> Self {
        let bounds = Bounds { records: RECORDS, of_each_host: true, age: AGE };
        let operation = limits.storage_operation;
        let chunks = Chunks::new(storage, "failures", host.clone(), bounds, operation);
        Self { chunks, host, recent: Mutex::default(), writing: tokio::sync::Mutex::default() }
    }

    /// Keeps a failure, unless the caller is to blame. Does not wait.
    pub fn add(&self, failed: &FailedRequest<'_>) {
        if failed.error.blame == Blame::Caller {
            return;
        }
        let record = FailureRecord::new(failed, &self.host);
        let mut recent = self.lock();
        if recent.kept.len() == RECORDS {
            recent.kept.pop_front();
        }
        let number = recent.next;
        recent.kept.push_back((number, record));
        recent.next += 1;
    }

    /// What is known of a request on any host; of several with this id, the newest.
    ///
    /// # Errors
    /// When it is not this host's and storage fails.
    pub async fn find(&self, id: &str) -> Result<Option<FailureRecord>, StorageError> {
        let is_it = |record: &&FailureRecord| record.request_id == id;
        if let Some(found) = self.lock().kept.iter().rev().map(|(_, record)| record).find(is_it) {
            return Ok(Some(found.clone()));
        }
        Ok(self.chunks.all().await?.iter().find(is_it).cloned())
    }

    /// The last failures of all hosts, newest first, at most `most`. While storage fails, those of
    /// this host.
    pub async fn list(&self, most: usize) -> Vec<FailureRecord> {
        let mut records = self.chunks.all().await.unwrap_or_default();
        let known: HashSet<(String, String)> = records.iter().map(FailureRecord::name).collect();
        let recent = self.lock().kept.iter().map(|(_, one)| one.clone()).collect::<Vec<_>>();
        records.extend(recent.into_iter().filter(|record| !known.contains(&record.name())));
        records.sort_by(|one, other| other.time.cmp(&one.time));
        records.truncate(most);
        records
    }

    /// Writes to storage what is not there yet. What cannot be written is tried again next time.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn flush(&self) -> Result<(), StorageError> {
        let _writing = self.writing.lock().await;
        let (records, next) = {
            let recent = self.lock();
            let unwritten = recent.kept.iter().filter(|(number, _)| *number >= recent.unwritten);
            (unwritten.map(|(_, record)| record.clone()).collect::<Vec<_>>(), recent.next)
        };
        if !records.is_empty() {
            self.chunks.append(records).await?;
        }
        self.lock().unwritten = next;
        Ok(())
    }

    /// Drops what this host remembers of a tenant's failures. Does not wait.
    pub fn forget_here(&self, tenant: &TenantId) {
        self.lock().kept.retain(|(_, record)| record.tenant() != Some(tenant.as_str()));
    }

    /// Deletes what is known of a tenant's failures here and in storage, of all hosts.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn forget_tenant(&self, tenant: &TenantId) -> Result<(), StorageError> {
        // What is written now was taken before.
        let _writing = self.writing.lock().await;
        self.forget_here(tenant);
        self.chunks.retain(|record| record.tenant() != Some(tenant.as_str())).await
    }

    /// Deletes what is beyond the bounds.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn prune(&self) -> Result<(), StorageError> {
        self.chunks.prune().await
    }

    fn lock(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FailureRecord {
    /// Whose call it was, if guests were to be called.
    fn tenant(&self) -> Option<&str> {
        self.call.as_ref()?.get("tenant")?.as_str()
    }

    /// Tells it from others: a caller may give several requests one id.
    fn name(&self) -> (String, String) {
        (self.request_id.clone(), self.time.clone())
    }

    fn new(failed: &FailedRequest<'_>, host: &str) -> Self {
        let FailedRequest { id, trace_id, method, route, took, error } = failed;
        let body = error.body();
        let blame = body["blame"].as_str().unwrap_or_default().to_string();
        let served_by = error.served_by.as_ref().map(|served_by| {
            serde_json::json!({
                "generation": served_by.logic.number,
                "digest": &*served_by.logic.digest,
                "extensions": served_by.extensions.as_deref(),
            })
        });
        Self {
            request_id: (*id).to_string(),
            trace_id: trace_id.map(str::to_owned),
            time: now(),
            host: host.to_string(),
            method: (*method).to_string(),
            route: (*route).to_string(),
            status: error.code.status(),
            code: error.code.as_str().to_string(),
            blame,
            message: message(error),
            took_ms: (took.as_secs_f64() * 1e6).round() / 1e3,
            details: details(error),
            served_by,
            call: error.trace.as_deref().cloned(),
        }
    }
}

/// The answer's message, unless a guest, a backend or the request had a word in it.
fn message(error: &Error) -> Option<String> {
    match error.code {
        Code::GuestTrapped
        | Code::GuestOutOfFuel
        | Code::GuestOutOfMemory
        | Code::GuestLimit
        | Code::Overloaded
        | Code::Internal => Some(error.message.clone()),
        _ => None,
    }
}

fn details(error: &Error) -> Map<String, Value> {
    let Some(Value::Object(details)) = error.details.as_deref() else { return Map::new() };
    let known = details.iter().filter(|(name, value)| {
        DETAILS.contains(&name.as_str()) && !value.is_object() && !value.is_array()
    });
    known.map(|(name, value)| (name.clone(), value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use kenning_storage::{Layout, StorageLimits};
    use serde_json::json;

    use super::*;

    async fn failures(folder: &tempfile::TempDir) -> [Failures; 2] {
        let url = format!("embedded:{}", folder.path().display());
        let storage = kenning_storage::open(&url, Layout::Tenant, StorageLimits::default());
        let storage = storage.await.unwrap();
        let of = |host: &str| Failures::new(storage.clone(), host.into(), &Limits::default());
        [of("one"), of("other")]
    }

    fn add(failures: &Failures, id: &str, error: &Error) {
        let took = Duration::from_millis(3);
        let (trace_id, method, route) = (None, "GET", "/v1/facts");
        failures.add(&FailedRequest { id, trace_id, method, route, took, error });
    }

    #[tokio::test]
    async fn a_failure_is_known_at_once_here_and_then_on_every_host() {
        let folder = tempfile::tempdir().unwrap();
        let [one, other] = failures(&folder).await;
        add(&one, "a", &Error::new(Code::GuestTrapped, "the logic trapped"));
        assert_eq!(one.find("a").await.unwrap().unwrap().code, "guest_trapped");
        assert!(other.find("a").await.unwrap().is_none());
        one.flush().await.unwrap();
        one.flush().await.unwrap();
        assert_eq!(other.find("a").await.unwrap().unwrap().host, "one");
        assert_eq!(other.chunks.all().await.unwrap().len(), 1, "it was written once");
    }

    #[tokio::test]
    async fn the_failures_of_all_hosts_are_listed_newest_first_and_each_once() {
        let folder = tempfile::tempdir().unwrap();
        let [one, other] = failures(&folder).await;
        let error = Error::new(Code::GuestTrapped, "the logic trapped");
        add(&one, "a", &error);
        one.flush().await.unwrap();
        tokio::time::sleep(Duration::from_millis(2)).await;
        add(&other, "b", &error);
        let ids = |records: Vec<FailureRecord>| {
            records.into_iter().map(|record| record.request_id).collect::<Vec<_>>()
        };
        assert_eq!(ids(other.list(10).await), ["b", "a"]);
        assert_eq!(ids(one.list(10).await), ["a"], "the other's is not in storage yet");
        assert_eq!(ids(other.list(1).await), ["b"]);
    }

    #[tokio::test]
    async fn a_tenants_failures_go_on_every_host_and_the_others_stay() {
        let folder = tempfile::tempdir().unwrap();
        let [one, other] = failures(&folder).await;
        let of = |tenant: &str| {
            let call = json!({ "tenant": tenant });
            Error::new(Code::GuestTrapped, "the logic trapped").with_trace(call)
        };
        add(&one, "a", &of("acme"));
        add(&one, "b", &of("other"));
        add(&other, "c", &of("acme"));
        one.flush().await.unwrap();
        other.flush().await.unwrap();
        add(&one, "d", &of("acme"));
        let acme = TenantId::parse("acme").unwrap();
        one.forget_tenant(&acme).await.unwrap();
        other.forget_here(&acme);
        add(&other, "e", &of("other"));
        for failures in [&one, &other] {
            failures.flush().await.unwrap();
            for (id, is_known) in
                [("a", false), ("b", true), ("c", false), ("d", false), ("e", true)]
            {
                // The other's last one is in storage after both were written.
                other.flush().await.unwrap();
                assert_eq!(failures.find(id).await.unwrap().is_some(), is_known, "{id}");
            }
        }
    }

    #[tokio::test]
    async fn what_the_caller_did_wrong_is_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        let [one, _] = failures(&folder).await;
        add(&one, "a", &Error::invalid("/text", "blank"));
        assert!(one.find("a").await.unwrap().is_none());
    }

    #[tokio::test]
    async fn the_last_thousand_are_kept_in_memory() {
        let folder = tempfile::tempdir().unwrap();
        let [one, _] = failures(&folder).await;
        let error = Error::overloaded("guests", 1);
        (0..RECORDS + 5).for_each(|n| add(&one, &n.to_string(), &error));
        assert_eq!(one.lock().kept.len(), RECORDS);
        one.flush().await.unwrap();
        assert!(one.find("4").await.unwrap().is_none());
        assert!(one.find("5").await.unwrap().is_some());
    }

    #[test]
    fn a_record_quotes_nobody() {
        let secret = "the text of a fact";
        let error = Error::new(Code::StorageUnavailable, secret)
            .with_details(json!({ "limit": "facts", "proof": { "reasons": [secret] } }));
        let (id, trace_id, method, route) = ("a", None, "GET", "/v1/facts");
        let took = Duration::ZERO;
        let failed = FailedRequest { id, trace_id, method, route, took, error: &error };
        let record = serde_json::to_string(&FailureRecord::new(&failed, "one")).unwrap();
        assert!(record.contains("facts") && !record.contains(secret), "{record}");
    }
}
