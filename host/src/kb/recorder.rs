//! Recent requests, kept so that they can be replayed for a candidate. In memory only, bounded,
//! and never logged.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use kenning_runtime::CallerIdentity;
use kenning_storage::TenantId;
use quick_cache::sync::Cache;

use super::search::Search;
use super::storing::Submission;

/// Most tenants whose requests are kept; the least recently active ones are dropped.
const TENANTS: usize = 128;

/// Most requests of one tenant; a quota can set fewer.
const REQUESTS: usize = 200;

/// Most bytes of text in one tenant's requests.
const BYTES: usize = 256 * 1024;

/// A request that can be replayed.
#[derive(Clone, Debug)]
pub enum Request {
    /// Store one draft.
    Store(Submission),
    /// Read the fact with this id.
    Get(String),
    /// Read the first page of facts.
    List {
        /// Text that the facts contain.
        containing: Option<String>,
        /// Most facts on the page.
        limit: u32,
    },
    /// Search.
    Search(Search),
}

/// A request with who made it.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// What was asked for.
    pub request: Request,
    /// Who asked, as it was known then.
    pub caller: CallerIdentity,
}

impl Recorded {
    fn bytes(&self) -> usize {
        let bytes = |text: &Option<Arc<str>>| text.as_ref().map_or(0, |text| text.len());
        self.request.bytes() + bytes(&self.caller.attributes) + bytes(&self.caller.subject)
    }
}

/// Kinds of requests, each kept in a queue of its own.
const KINDS: usize = 4;

impl Request {
    fn kind(&self) -> usize {
        match self {
            Self::Store(_) => 0,
            Self::Get(_) => 1,
            Self::List { .. } => 2,
            Self::Search(_) => 3,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Store(Submission { draft, vector, .. }) => {
                let vector = vector.as_ref().map_or(0, |vector| size_of_val(&vector[..]));
                vector + draft.text.len() + draft.metadata.len()
            }
            Self::Get(id) => id.len(),
            Self::List { containing, .. } => containing.as_ref().map_or(0, String::len),
            Self::Search(search) => search.bytes(),
        }
    }
}

/// Keeps the last requests of the most recently active tenants.
pub struct RequestRecorder {
    /// `None` if nothing is kept.
    tenants: Option<Cache<TenantId, Arc<Mutex<TenantRequests>>>>,
}

/// The requests of one tenant.
#[derive(Default)]
struct TenantRequests {
    /// How many requests were added so far.
    pushed: u64,
    kinds: [Kind; KINDS],
}

/// The requests of one kind, oldest first, each with its number among all requests.
#[derive(Default)]
struct Kind {
    bytes: usize,
    requests: VecDeque<(u64, Recorded)>,
}

impl RequestRecorder {
    /// A recorder that keeps requests only if `enabled`.
    pub fn new(enabled: bool) -> Self {
        Self { tenants: enabled.then(|| Cache::new(TENANTS)) }
    }

    /// Adds a request and keeps at most `most` of the tenant's.
    pub(super) fn record(
        &self,
        tenant: &TenantId,
        most: Option<u64>,
        recorded: impl FnOnce() -> Recorded,
    ) {
        let Some(tenants) = &self.tenants else { return };
        let most = most.map_or(REQUESTS, |most| REQUESTS.min(most as usize));
        if most == 0 {
            return self.forget(tenant);
        }
        let requests = match tenants.get(tenant) {
            Some(requests) => requests,
            None => {
                let requests = Arc::<Mutex<TenantRequests>>::default();
                tenants.insert(tenant.clone(), requests.clone());
                requests
            }
        };
        let recorded = recorded();
        requests.lock().unwrap_or_else(PoisonError::into_inner).push(recorded, most);
    }

    /// A tenant's requests, newest first.
    pub fn of(&self, tenant: &TenantId) -> Vec<Recorded> {
        let requests = self.tenants.as_ref().and_then(|tenants| tenants.get(tenant));
        let newest_first = |requests: Arc<Mutex<TenantRequests>>| {
            requests.lock().unwrap_or_else(PoisonError::into_inner).newest_first()
        };
        requests.map(newest_first).unwrap_or_default()
    }

    /// The tenants that have requests.
    pub fn tenants(&self) -> Vec<TenantId> {
        let tenants = self.tenants.as_ref();
        tenants.map(|all| all.iter().map(|(tenant, _)| tenant).collect()).unwrap_or_default()
    }

    /// Drops a tenant's requests.
    pub fn forget(&self, tenant: &TenantId) {
        if let Some(tenants) = &self.tenants {
            tenants.remove(tenant);
        }
    }
}

impl TenantRequests {
    fn push(&mut self, recorded: Recorded, most: usize) {
        let bytes = recorded.bytes();
        if bytes > BYTES / 8 {
            // One request must not displace all others.
            return;
        }
        self.pushed += 1;
        let kind = &mut self.kinds[recorded.request.kind()];
        kind.bytes += bytes;
        kind.requests.push_back((self.pushed, recorded));
        // The oldest request of the largest kind goes, so that many searches do not displace
        // the few stores.
        while self.sum(|kind| kind.requests.len()) > most {
            self.drop_one(|kind| kind.requests.len());
        }
        while self.sum(|kind| kind.bytes) > BYTES {
            self.drop_one(|kind| kind.bytes);
        }
    }

    fn sum(&self, size: impl Fn(&Kind) -> usize) -> usize {
        self.kinds.iter().map(size).sum()
    }

    fn drop_one(&mut self, size: impl Fn(&Kind) -> usize) {
        let largest = self.kinds.iter_mut().max_by_key(|kind| size(kind));
        if let Some(kind) = largest
            && let Some((_, oldest)) = kind.requests.pop_front()
        {
            kind.bytes -= oldest.bytes();
        }
    }

    fn newest_first(&self) -> Vec<Recorded> {
        let mut all: Vec<_> = self.kinds.iter().flat_map(|kind| &kind.requests).collect();
        all.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
        all.into_iter().map(|(_, recorded)| recorded.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(request: Request) -> Recorded {
        Recorded { request, caller: CallerIdentity::default() }
    }

    fn get(id: &str) -> Recorded {
        recorded(Request::Get(id.to_string()))
    }

    fn is_get(recorded: &Recorded, number: usize) -> bool {
        matches!(&recorded.request, Request::Get(id) if *id == number.to_string())
    }

    #[test]
    fn the_newest_requests_are_kept_of_each_tenant() {
        let recorder = RequestRecorder::new(true);
        let (a, b) = (TenantId::parse("a").unwrap(), TenantId::parse("b").unwrap());
        (0..REQUESTS + 5).for_each(|n| recorder.record(&a, None, || get(&n.to_string())));
        recorder.record(&b, None, || get("of b"));
        let kept = recorder.of(&a);
        assert_eq!(kept.len(), REQUESTS);
        assert!(is_get(&kept[0], REQUESTS + 4));
        assert_eq!(recorder.of(&b).len(), 1);
        assert_eq!(recorder.tenants().len(), 2);
        recorder.forget(&a);
        assert!(recorder.of(&a).is_empty());
    }

    #[test]
    fn one_large_request_does_not_displace_all_others() {
        let recorder = RequestRecorder::new(true);
        let a = TenantId::parse("a").unwrap();
        recorder.record(&a, None, || get("small"));
        recorder.record(&a, None, || get(&"x".repeat(BYTES / 8 + 1)));
        assert_eq!(recorder.of(&a).len(), 1);
        (0..20).for_each(|_| recorder.record(&a, None, || get(&"x".repeat(BYTES / 8))));
        assert_eq!(recorder.of(&a).len(), 8);
    }

    #[test]
    fn many_requests_of_one_kind_do_not_displace_the_few_of_another() {
        let recorder = RequestRecorder::new(true);
        let a = TenantId::parse("a").unwrap();
        let list = || recorded(Request::List { containing: None, limit: 1 });
        (0..5).for_each(|_| recorder.record(&a, None, list));
        (0..REQUESTS).for_each(|n| recorder.record(&a, None, || get(&n.to_string())));
        let kept = recorder.of(&a);
        let lists = kept.iter().filter(|kept| matches!(kept.request, Request::List { .. })).count();
        assert_eq!((kept.len(), lists), (REQUESTS, 5));
        assert!(is_get(&kept[0], REQUESTS - 1));
    }

    #[test]
    fn a_tenants_quota_limits_how_many_requests_are_kept() {
        let recorder = RequestRecorder::new(true);
        let a = TenantId::parse("a").unwrap();
        (0..5).for_each(|n| recorder.record(&a, Some(3), || get(&n.to_string())));
        assert_eq!(recorder.of(&a).len(), 3);
        recorder.record(&a, Some(0), || unreachable!("its quota is 0"));
        assert!(recorder.of(&a).is_empty() && recorder.tenants().is_empty());
    }

    #[test]
    fn a_disabled_recorder_keeps_nothing() {
        let recorder = RequestRecorder::new(false);
        let a = TenantId::parse("a").unwrap();
        recorder.record(&a, None, || unreachable!("it is disabled"));
        assert!(recorder.of(&a).is_empty());
    }
}
