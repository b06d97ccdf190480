//! Imports under way and those that ended lately, by the ids that their callers gave them. They are
//! kept in memory, so another host knows nothing of them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use kenning_storage::{Revision, TenantId};
use serde::Serialize;
use utoipa::ToSchema;

use kenning_core::error::{Code, Error};

/// Ended imports that are remembered, of one tenant and of all.
const OF_TENANT: usize = 20;
const OF_ALL: usize = 2_000;

/// Bytes of an id.
const ID_BYTES: usize = 128;

/// All imports, in the order in which they began.
#[derive(Default)]
pub struct Imports(Mutex<VecDeque<Arc<Tracked>>>);

/// One import.
pub(super) struct Tracked {
    tenant: TenantId,
    id: String,
    begun: Instant,
    counts: Mutex<Counts>,
}

/// How far an import is.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    /// Lines whose facts are stored.
    pub(super) imported: u64,
    /// Lines that were not taken.
    pub(super) failed: u64,
    /// The first of those.
    pub(super) first_refused_line: Option<u64>,
    /// The last line that was taken or refused.
    pub(super) last_line: u64,
    /// Lines that were read, blank ones too.
    pub(super) lines: u64,
    /// Bytes that were read.
    pub(super) bytes: u64,
    /// The tenant's revision after the last group.
    pub(super) revision: Option<Revision>,
    /// Why it is not going on at the moment.
    pub(super) waiting_for: Option<String>,
    /// The status and the message of the answer, once it has ended.
    pub(super) ended: Option<(u16, Option<String>)>,
}

/// How far an import is.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct ImportProgress {
    /// The id that the import was given.
    id: String,
    state: ImportState,
    /// Lines whose facts are stored.
    imported: u64,
    /// Lines that were not taken.
    failed: u64,
    /// The first of those; `null` if there is none.
    #[schema(required)]
    first_refused_line: Option<u64>,
    /// Lines that were read, blank ones too.
    lines: u64,
    /// Bytes that were read.
    bytes: u64,
    /// Why the import is not going on at the moment; it tries again by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    waiting_for: Option<String>,
    /// The HTTP status of the import's answer, once it has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    http_status: Option<u16>,
    /// The message of that answer, if it is an error.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    message: Option<String>,
    /// Since the import began.
    age_ms: u64,
}

/// Whether the import is under way.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::http) enum ImportState {
    Running,
    #[serde(rename = "ended")]
    Done,
}

impl Imports {
    fn all(&self) -> MutexGuard<'_, VecDeque<Arc<Tracked>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to track an import.
    ///
    /// # Errors
    /// `conflict` if the tenant has another import with this id under way.
    pub(super) fn begin(&self, tenant: &TenantId, id: &str) -> Result<Arc<Tracked>, Error> {
        let mut all = self.all();
        if let Some(at) = position(&all, tenant, id) {
            if !all[at].has_ended() {
                let message = format!("an import with the id {id:?} is under way; use another");
                return Err(Error::new(Code::Conflict, message));
            }
            all.remove(at);
        }
        let begun = Instant::now();
        let counts = Mutex::default();
        let tracked = Arc::new(Tracked { tenant: tenant.clone(), id: id.into(), begun, counts });
        all.push_back(tracked.clone());
        forget(&mut all, OF_TENANT, |other| other.tenant == *tenant);
        forget(&mut all, OF_ALL, |_| true);
        Ok(tracked)
    }

    pub(super) fn get(&self, tenant: &TenantId, id: &str) -> Option<ImportProgress> {
        let all = self.all();
        position(&all, tenant, id).map(|at| all[at].progress())
    }
}

fn position(all: &VecDeque<Arc<Tracked>>, tenant: &TenantId, id: &str) -> Option<usize> {
    all.iter().position(|tracked| tracked.tenant == *tenant && tracked.id == id)
}

/// Forgets the oldest that ended while there are more than `most` of those that `counts`.
fn forget(all: &mut VecDeque<Arc<Tracked>>, most: usize, counts: impl Fn(&Tracked) -> bool) {
    let mut surplus = all.iter().filter(|tracked| counts(tracked)).count().saturating_sub(most);
    if surplus > 0 {
        all.retain(|tracked| {
            let goes = surplus > 0 && counts(tracked) && tracked.has_ended();
            surplus -= usize::from(goes);
            !goes
        });
    }
}

impl Tracked {
    /// What it counts; locked for a moment only.
    pub(super) fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Milliseconds since it began.
    pub(super) fn age_ms(&self) -> u64 {
        self.begun.elapsed().as_millis() as u64
    }

    fn has_ended(&self) -> bool {
        self.counts().ended.is_some()
    }

    fn progress(&self) -> ImportProgress {
        let counts = self.counts().clone();
        let (http_status, message) = counts.ended.map_or((None, None), |(s, m)| (Some(s), m));
        ImportProgress {
            id: self.id.clone(),
            state: if http_status.is_some() { ImportState::Done } else { ImportState::Running },
            imported: counts.imported,
            failed: counts.failed,
            first_refused_line: counts.first_refused_line,
            lines: counts.lines,
            bytes: counts.bytes,
            waiting_for: counts.waiting_for,
            http_status,
            message,
            age_ms: self.age_ms(),
        }
    }
}

/// Checks the id of an import: 1 to 128 ASCII letters, digits, `.`, `_` and `-`.
pub(super) fn is_valid_id(id: &[u8]) -> bool {
    let valid = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=ID_BYTES).contains(&id.len()) && id.iter().all(valid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(name: &str) -> TenantId {
        TenantId::parse(name).unwrap()
    }

    fn end(tracked: &Tracked) {
        tracked.counts().ended = Some((200, None));
    }

    #[test]
    fn an_id_is_a_tenants_own_and_free_again_when_its_import_has_ended() {
        let imports = Imports::default();
        let first = imports.begin(&tenant("a"), "x").ok().unwrap();
        assert!(imports.begin(&tenant("a"), "x").is_err());
        imports.begin(&tenant("b"), "x").ok().unwrap().counts().imported = 7;
        assert_eq!(imports.get(&tenant("b"), "x").map(|said| said.imported), Some(7));
        assert_eq!(imports.get(&tenant("a"), "x").map(|said| said.imported), Some(0));
        assert!(imports.get(&tenant("c"), "x").is_none());
        end(&first);
        assert!(imports.begin(&tenant("a"), "x").is_ok());
    }

    #[test]
    fn the_oldest_that_ended_are_forgotten_and_none_that_is_under_way() {
        let imports = Imports::default();
        let running = imports.begin(&tenant("a"), "running").ok().unwrap();
        let other = imports.begin(&tenant("b"), "other").ok().unwrap();
        end(&other);
        for number in 0..2 * OF_TENANT {
            end(&imports.begin(&tenant("a"), &number.to_string()).ok().unwrap());
        }
        let of_a = imports.all().iter().filter(|tracked| tracked.tenant == tenant("a")).count();
        assert_eq!(of_a, OF_TENANT);
        assert!(imports.get(&tenant("a"), &running.id).is_some());
        assert!(imports.get(&tenant("b"), "other").is_some());
        assert!(imports.get(&tenant("a"), "0").is_none());
    }

    #[test]
    fn an_id_obeys_its_rule() {
        for (id, valid) in [
            ("a", true),
            ("A-1._x", true),
            ("", false),
            ("a b", false),
            ("ä", false),
            ("a/b", false),
        ] {
            assert_eq!(is_valid_id(id.as_bytes()), valid, "{id}");
        }
        assert!(is_valid_id(&[b'x'; ID_BYTES]) && !is_valid_id(&[b'x'; ID_BYTES + 1]));
    }
}
