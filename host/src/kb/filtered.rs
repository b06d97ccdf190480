//! Lists, counts and deletes the facts that a filter matches.
//!
//! All three read the facts from storage, page by page and newest first, as a listing does, and
//! leave out what does not match. So they are right while the index is still being built, and a
//! fact that exists from the first page to the last is met exactly once. The filter is evaluated
//! on what the tenant's `on-read` hooks return: it cannot tell what they hide.
//!
//! Each page has a session of its own, so that a long scan waits its turn like any other calls.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future;
use kenning_index::{Filter, Metadata};
use kenning_storage::Revision;
use serde_json::json;

use super::caller::Purpose;
use super::pipeline::Pipeline;
use super::{Caller, Kb, Request, Response};
use kenning_core::error::{Code, Error};
use kenning_core::provenance::ServedBy;
use kenning_runtime::Verb;
use kenning_runtime::wit::{Fact, FactPage};

/// Most facts that one page of a filtered listing looks at.
const SCANNED: usize = 10_000;

/// How long filters are evaluated before other calls may compute.
const SLICE: Duration = Duration::from_millis(1);

/// Sessions that delete at the same time, and the facts that each deletes. Storage writes what
/// several sessions delete in one step.
const DELETERS: usize = 4;
const DELETED_TOGETHER: usize = 25;

/// Which facts are listed.
#[derive(Clone)]
pub struct Selection {
    /// Text that the facts contain, ignoring case.
    pub containing: Option<String>,
    /// What their metadata must match.
    pub filter: Arc<Filter>,
}

/// What a deletion by filter did.
pub struct Deletion {
    /// Facts that are known to be deleted.
    pub deleted: u64,
    /// Where to go on, unless it is complete.
    pub rest: Option<Rest>,
}

/// Where a deletion ended that is not complete.
pub struct Rest {
    /// The cursor of the page to go on with; `None` is the first page.
    pub cursor: Option<String>,
    /// The failure that ended it, unless its time was up.
    pub stopped_by: Option<Error>,
}

/// The matching facts of one page.
struct Matching {
    /// With their positions among the facts of the page.
    facts: Vec<(usize, Fact)>,
    /// How many facts the page has.
    read: usize,
    cursor: Option<String>,
}

/// What a deletion did so far.
#[derive(Clone, Copy, Default)]
struct Done {
    deleted: u64,
    /// That of its last write.
    revision: Option<Revision>,
}

/// What one session deleted.
struct Deleted {
    count: u64,
    failed: Option<Error>,
}

impl Kb {
    /// Returns one page of the facts in `selection`, newest first. It ends early, with a cursor,
    /// after [`SCANNED`] facts or half of the caller's time.
    ///
    /// # Errors
    /// When the cursor is invalid; see [`Self::store`].
    pub async fn list_matching(
        &self,
        caller: &Caller,
        selection: Selection,
        limit: u32,
        cursor: Option<String>,
    ) -> Result<Response<FactPage>, Error> {
        self.check_quota(caller, false).await?;
        if cursor.is_none() {
            let containing = selection.containing.clone();
            self.record(caller, || Request::List { containing, limit });
        }
        let until = share_of(caller, 1, 2);
        let (mut facts, mut withheld, mut scanned) = (Vec::new(), 0, 0);
        let (mut cursor, mut size, mut before) = (cursor, limit, None);
        loop {
            let wanted = limit as usize - facts.len();
            let page = self.matching(caller, selection.clone(), size, cursor.clone()).await?;
            if let Some((after, _)) = page.value.facts.get(wanted) {
                // A page ends where storage ends one: read fewer, up to the last that fits.
                size = (*after).max(1) as u32;
                continue;
            }
            let Matching { facts: found, read, cursor: next } = page.value;
            facts.extend(found.into_iter().map(|(_, fact)| fact));
            let served_by = and(before, page.served_by);
            withheld += page.withheld;
            scanned += read.max(1);
            let is_full = facts.len() >= limit as usize || scanned >= SCANNED;
            if next.is_none() || is_full || Instant::now() >= until {
                let value = FactPage { facts, cursor: next };
                return Ok(Response { withheld, ..Response::whole(value, served_by) });
            }
            (cursor, size, before) = (next, self.larger(size), Some(served_by));
        }
    }

    /// Counts the facts that `filter` matches, or all.
    ///
    /// # Errors
    /// [`Code::Timeout`] when the caller's time does not suffice; see [`Self::store`].
    pub async fn count(
        &self,
        caller: &Caller,
        filter: Option<Arc<Filter>>,
    ) -> Result<Response<u64>, Error> {
        self.check_quota(caller, false).await?;
        let (begun, until) = (Instant::now(), share_of(caller, 3, 4));
        let selection = Selection { containing: None, filter: filter.unwrap_or_else(every_fact) };
        let (mut counted, mut withheld, mut scanned) = (0, 0, 0);
        let (mut cursor, mut before) = (None, None);
        loop {
            let page = self.matching(caller, selection.clone(), self.largest(), cursor).await?;
            let served_by = and(before, page.served_by);
            counted += page.value.facts.len() as u64;
            scanned += page.value.read as u64;
            withheld += page.withheld;
            cursor = page.value.cursor;
            if cursor.is_none() {
                return Ok(Response { withheld, ..Response::whole(counted, served_by) });
            }
            if Instant::now() >= until {
                let allowed = caller.deadline.duration_since(begun);
                return Err(too_many_to_count(allowed, scanned).from_guests(served_by));
            }
            before = Some(served_by);
        }
    }

    /// Deletes the facts that `filter` matches, newest first, from `cursor` on.
    ///
    /// # Errors
    /// When no fact is known to be deleted: the cursor is invalid, or see [`Self::store`].
    pub async fn delete_matching(
        &self,
        caller: &Caller,
        filter: Arc<Filter>,
        cursor: Option<String>,
    ) -> Result<Response<Deletion>, Error> {
        self.check_quota(caller, false).await?;
        let until = share_of(caller, 3, 4);
        let selection = Selection { containing: None, filter };
        let (mut done, mut withheld, mut cursor) = (Done::default(), 0, cursor);
        let caller = &caller.clone().asking_to(Verb::Delete);
        let mut before = None;
        loop {
            let page =
                self.matching(caller, selection.clone(), self.largest(), cursor.clone()).await;
            let page = match page {
                Ok(page) => page,
                Err(error) => return stopped(done, withheld, cursor, error, before),
            };
            let ids: Vec<_> = page.value.facts.into_iter().map(|(_, fact)| fact.id).collect();
            let failed = self.delete_each(caller, &ids, until, &mut done).await;
            let served_by = and(before, page.served_by);
            withheld += page.withheld;
            if let Some(error) = failed {
                return stopped(done, withheld, cursor, error, Some(served_by));
            }
            let is_late = Instant::now() >= until;
            let rest = match page.value.cursor {
                None if !is_late => None,
                // Facts of this page may be left.
                _ if is_late => Some(Rest { cursor, stopped_by: None }),
                next => {
                    (cursor, before) = (next, Some(served_by));
                    continue;
                }
            };
            let value = Deletion { deleted: done.deleted, rest };
            return Ok(Response { value, served_by, withheld, revision: done.revision });
        }
    }

    /// Deletes facts until `until` or the first failure, which it returns. Those that are gone
    /// already do not count.
    async fn delete_each(
        &self,
        caller: &Caller,
        ids: &[String],
        until: Instant,
        done: &mut Done,
    ) -> Option<Error> {
        for group in ids.chunks(DELETERS * DELETED_TOGETHER) {
            if Instant::now() >= until {
                break;
            }
            let parts: Vec<_> = group.chunks(DELETED_TOGETHER).map(<[String]>::to_vec).collect();
            let sessions = parts.into_iter().map(|ids| self.delete_part(caller, ids, until));
            let mut failed = None;
            for outcome in future::join_all(sessions.collect::<Vec<_>>()).await {
                match outcome {
                    Ok(Response { value, revision, .. }) => {
                        done.deleted += value.count;
                        done.revision = done.revision.max(revision);
                        failed = failed.or(value.failed);
                    }
                    Err(error) => failed = failed.or(Some(error)),
                }
            }
            if failed.is_some() {
                return failed;
            }
        }
        None
    }

    async fn delete_part(
        &self,
        caller: &Caller,
        ids: Vec<String>,
        until: Instant,
    ) -> Result<Response<Deleted>, Error> {
        let request = caller.request(Verb::Delete);
        self.run(caller, Purpose::Write, request, move |pipeline| {
            Box::pin(pipeline.delete_each(ids, until))
        })
        .await
    }

    /// The facts in `selection` of the page of `size` facts after `cursor`.
    async fn matching(
        &self,
        caller: &Caller,
        selection: Selection,
        size: u32,
        cursor: Option<String>,
    ) -> Result<Response<Matching>, Error> {
        let request = caller.request(Verb::List);
        self.run(caller, Purpose::Read, request, move |pipeline| {
            Box::pin(pipeline.list_matching(selection, size, cursor))
        })
        .await
    }

    fn largest(&self) -> u32 {
        self.services.limits.page_facts as u32
    }

    fn larger(&self, size: u32) -> u32 {
        size.saturating_mul(2).min(self.largest())
    }
}

impl Pipeline {
    /// One page of facts as the extensions show them, without those that do not match.
    async fn list_matching(
        &mut self,
        selection: Selection,
        size: u32,
        cursor: Option<String>,
    ) -> Result<Matching, Error> {
        let page = self.list(selection.containing, size, cursor).await?;
        let (read, cursor) = (page.facts.len(), page.cursor);
        let mut facts = Vec::new();
        let mut begun = Instant::now();
        for (position, fact) in page.facts.into_iter().enumerate() {
            if matches(&selection.filter, &fact) {
                facts.push((position, fact));
            }
            if begun.elapsed() >= SLICE {
                self.session.next_slice().await;
                begun = Instant::now();
            }
        }
        Ok(Matching { facts, read, cursor })
    }

    /// Deletes facts one after the other, until `until` or the first failure.
    async fn delete_each(&mut self, ids: Vec<String>, until: Instant) -> Result<Deleted, Error> {
        let mut deleted = Deleted { count: 0, failed: None };
        for id in ids {
            if Instant::now() >= until {
                break;
            }
            match self.delete(id).await {
                Ok(()) => deleted.count += 1,
                // Somebody else deleted it.
                Err(error) if error.code == Code::NotFound => {}
                Err(error) => {
                    deleted.failed = Some(error.with_trace(self.session.trace()));
                    break;
                }
            }
        }
        Ok(deleted)
    }
}

/// Metadata that no filter can read matches none.
fn matches(filter: &Filter, fact: &Fact) -> bool {
    Metadata::of_fact(&fact.metadata, &fact.timestamp)
        .is_ok_and(|metadata| filter.matches(&metadata))
}

fn every_fact() -> Arc<Filter> {
    Arc::new(Filter::every_fact())
}

/// The guests of all pages so far.
fn and(before: Option<ServedBy>, page: ServedBy) -> ServedBy {
    match before {
        Some(before) => before.and(page),
        None => page,
    }
}

/// The instant at which this share of the caller's time is over.
fn share_of(caller: &Caller, part: u32, of: u32) -> Instant {
    let now = Instant::now();
    now + caller.deadline.saturating_duration_since(now) * part / of
}

fn too_many_to_count(allowed: Duration, scanned: u64) -> Error {
    let allowed = allowed.as_millis() as u64;
    let message = format!(
        "counting takes longer than this call may take (call_ms: {allowed} ms): {scanned} facts \
         were read in that time; list the facts page by page instead, or raise call_ms"
    );
    let details = json!({ "limit": "call_ms", "allowed": allowed, "facts_read": scanned });
    Error::new(Code::Timeout, message).with_details(details).not_retryable()
}

/// The answer to a deletion that `error` ended: the error itself, if nothing was deleted.
fn stopped(
    done: Done,
    withheld: u64,
    cursor: Option<String>,
    error: Error,
    served_by: Option<ServedBy>,
) -> Result<Response<Deletion>, Error> {
    match served_by {
        Some(served_by) if done.deleted > 0 => {
            let rest = Some(Rest { cursor, stopped_by: Some(error) });
            let value = Deletion { deleted: done.deleted, rest };
            Ok(Response { value, served_by, withheld, revision: done.revision })
        }
        Some(served_by) => Err(error.from_guests(served_by)),
        None => Err(error),
    }
}
