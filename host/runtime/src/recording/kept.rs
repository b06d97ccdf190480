//! The recordings of calls that failed, in memory, bounded in number, bytes and age.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kenning_core::limits::Limits;

use super::document::Recording;

/// Most recordings of one request: an import may fail with every line.
const OF_ONE_REQUEST: usize = 8;

/// The recordings that this host keeps.
pub struct Recordings {
    most: usize,
    bytes: usize,
    age: Duration,
    kept: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    /// Oldest first.
    all: VecDeque<One>,
    bytes: usize,
}

struct One {
    since: Instant,
    bytes: usize,
    recording: Arc<Recording>,
}

impl Recordings {
    /// Keeps as much as `limits` allow.
    pub fn new(limits: &Limits) -> Self {
        let (most, bytes, age) =
            (limits.recordings, limits.recordings_bytes, limits.recordings_age);
        Self { most, bytes, age, kept: Mutex::default() }
    }

    /// Whether anything is kept.
    pub(crate) fn is_enabled(&self) -> bool {
        self.most > 0
    }

    /// Keeps a recording. If there is no room, the tenant that has most loses its oldest.
    pub(crate) fn keep(&self, recording: Recording) {
        let bytes = recording.bytes();
        if bytes > self.bytes {
            return;
        }
        let mut kept = self.kept();
        let is_of_request = |one: &&One| one.recording.request_id == recording.request_id;
        if kept.all.iter().filter(is_of_request).count() >= OF_ONE_REQUEST {
            return;
        }
        while kept.all.len() >= self.most || kept.bytes + bytes > self.bytes {
            kept.drop_one();
        }
        kept.bytes += bytes;
        let (since, recording) = (Instant::now(), Arc::new(recording));
        kept.all.push_back(One { since, bytes, recording });
    }

    /// The recordings of this request, the last one first.
    pub fn of(&self, request_id: &str) -> Vec<Arc<Recording>> {
        let kept = self.kept();
        let of_request = kept.all.iter().rev().map(|one| &one.recording);
        of_request.filter(|recording| recording.request_id == request_id).cloned().collect()
    }

    /// Drops the recordings of this request; returns how many there were.
    pub fn forget(&self, request_id: &str) -> usize {
        self.kept().retain(|one| one.recording.request_id != request_id)
    }

    /// Drops the recordings of a tenant.
    pub fn forget_tenant(&self, tenant: &str) {
        self.kept().retain(|one| one.recording.tenant != tenant);
    }

    fn kept(&self) -> MutexGuard<'_, Queue> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|one| one.since.elapsed() <= self.age);
        kept
    }
}

impl Queue {
    fn retain(&mut self, keep: impl Fn(&One) -> bool) -> usize {
        let before = self.all.len();
        self.all.retain(keep);
        self.bytes = self.all.iter().map(|one| one.bytes).sum();
        before - self.all.len()
    }

    fn drop_one(&mut self) {
        let mut by_tenant: HashMap<&str, usize> = HashMap::new();
        for one in &self.all {
            *by_tenant.entry(&one.recording.tenant).or_default() += one.bytes;
        }
        let most = by_tenant.into_iter().max_by_key(|(_, bytes)| *bytes);
        let of_most = most
            .and_then(|(tenant, _)| self.all.iter().position(|one| one.recording.tenant == tenant));
        if let Some(one) = of_most.and_then(|at| self.all.remove(at)) {
            self.bytes -= one.bytes;
        }
    }
}
