//! Runs a search on an index, so that it delays nobody else.
//!
//! A brief search runs where the guest does. One that takes longer is run again on a thread of its
//! own. There it computes in time slices, as a busy guest does, and looks at the deadline and at
//! whether the call was cancelled after each piece of its work. Its work is charged as fuel.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kenning_core::fair_semaphore::Permit;
use kenning_index::{Index, IndexError, Work};
use tokio::runtime::Handle;
use tokio::time::timeout_at;

use crate::schedule::time_slice::Slice;
use crate::tenant_index::{LongSearch, TenantIndex};

/// How long a search may take where the guest runs. In this time 10,000 vectors are compared.
const BRIEF: Duration = Duration::from_millis(1);

/// How long a long search computes before tenants that wait have their turn.
const SLICE: Duration = Duration::from_millis(1);

/// What is done with the index.
pub(crate) type Search<T> = Arc<dyn Fn(&Index, &Work<'_>) -> Result<T, IndexError> + Send + Sync>;

/// A search that ended, and the fuel that it used.
pub(crate) struct Searched<T> {
    pub(crate) result: Result<T, IndexError>,
    pub(crate) fuel: u64,
}

/// The bounds of a search.
pub(crate) struct Bounds {
    pub(crate) fuel: u64,
    pub(crate) deadline: Instant,
    pub(crate) slice: Slice,
}

/// Runs `search`. It is stopped ([`IndexError::Stopped`]) at the deadline, or when it has used up
/// its fuel.
pub(crate) async fn run<T: Send + 'static>(
    index: Arc<TenantIndex>,
    search: Search<T>,
    bounds: Bounds,
) -> Searched<T> {
    if !bounds.slice.is_busy() {
        let searched = run_brief(&index, &search, bounds.fuel);
        let is_done = !matches!(searched.result, Err(IndexError::Stopped));
        if is_done || searched.fuel > bounds.fuel {
            return searched;
        }
    }
    run_long(index, search, bounds).await
}

fn run_brief<T>(index: &Index, search: &Search<T>, fuel: u64) -> Searched<T> {
    let (begun, mut used) = (Instant::now(), 0);
    let mut go_on = |units| {
        used += units;
        used <= fuel && begun.elapsed() < BRIEF
    };
    let result = search(index, &Work::bounded(&mut go_on));
    Searched { result, fuel: used }
}

async fn run_long<T: Send + 'static>(
    index: Arc<TenantIndex>,
    search: Search<T>,
    bounds: Bounds,
) -> Searched<T> {
    let turn = index.search_long().await;
    let permit = bounds.slice.acquire().await;
    let cancelled = CancelOnDrop::default();
    let slices = Slices {
        bounds,
        used: 0,
        since: Instant::now(),
        permit: Some(permit),
        cancelled: cancelled.0.clone(),
        runtime: Handle::current(),
    };
    let searching = tokio::task::spawn_blocking(move || search_at(slices, &turn, &index, &search));
    match searching.await {
        Ok(searched) => searched,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The server ends.
        Err(_) => Searched { result: Err(IndexError::Stopped), fuel: 0 },
    }
}

fn search_at<T>(
    mut slices: Slices,
    _turn: &LongSearch,
    index: &Index,
    search: &Search<T>,
) -> Searched<T> {
    slices.since = Instant::now();
    let mut go_on = |units| slices.go_on(units);
    let result = search(index, &Work::bounded(&mut go_on));
    slices.pause();
    Searched { result, fuel: slices.used }
}

/// Tells the thread of a search that nobody waits for it any longer.
#[derive(Default)]
struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The time slices of a long search.
struct Slices {
    bounds: Bounds,
    used: u64,
    /// When it began to compute with the permit that it holds.
    since: Instant,
    permit: Option<Permit>,
    cancelled: Arc<AtomicBool>,
    runtime: Handle,
}

impl Slices {
    /// Called after each piece of work. Waits for the next time slice if this one is used up.
    fn go_on(&mut self, units: u64) -> bool {
        self.used += units;
        let is_late = Instant::now() >= self.bounds.deadline;
        if self.used > self.bounds.fuel || is_late || self.cancelled.load(Ordering::Relaxed) {
            return false;
        }
        self.since.elapsed() < SLICE || self.next_slice()
    }

    /// Returns the permit and waits for another one.
    fn next_slice(&mut self) -> bool {
        self.pause();
        let permit = timeout_at(self.bounds.deadline.into(), self.bounds.slice.acquire());
        self.permit = self.runtime.block_on(permit).ok();
        self.since = Instant::now();
        self.permit.is_some()
    }

    fn pause(&mut self) {
        self.bounds.slice.add(self.since.elapsed());
        self.permit = None;
    }
}

#[cfg(test)]
mod tests {
    use kenning_index::{Candidate, Entry, FactIndex, Filter};
    use kenning_storage::TenantId;

    use super::*;
    use crate::schedule::time_slice::TimeSlicer;

    const FACTS: usize = 200;

    /// An index whose texts take long to be searched by `heavy`.
    fn index() -> Arc<TenantIndex> {
        let index = TenantIndex::default();
        for number in 0..FACTS {
            let metadata = format!(r#"{{"note": "{number} {}"}}"#, "filler ".repeat(1_000));
            let id = number.to_string();
            let entry =
                Entry { id: &id, revision: 1, text: "tea", metadata: &metadata, vector: None };
            index.upsert(&entry).unwrap();
        }
        Arc::new(index)
    }

    /// A search that looks for something in every text.
    fn heavy() -> Search<Vec<Candidate>> {
        let filter = Filter::parse_text(r#"{"NOT": {"note": {"icontains": "absent"}}}"#).unwrap();
        Arc::new(move |index, work| index.matching_within("tea", Some(&filter), FACTS, work))
    }

    /// The same again and again, until it is stopped.
    fn endless() -> Search<Vec<Candidate>> {
        let heavy = heavy();
        Arc::new(move |index, work| {
            loop {
                heavy(index, work)?;
            }
        })
    }

    fn bounds(slicer: &TimeSlicer, tenant: &str) -> Bounds {
        let slice = slicer.slice(TenantId::parse(tenant).unwrap());
        // It is busy, so that its searches are long ones.
        slice.add(Duration::from_secs(1));
        Bounds { fuel: u64::MAX, deadline: Instant::now() + Duration::from_secs(3_600), slice }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn brief_and_long_searches_find_the_same_for_the_same_fuel() {
        let (index, slicer) = (index(), TimeSlicer::new());
        let brief: Search<Vec<Candidate>> =
            Arc::new(|index, work| index.matching_within("tea", None, 10, work));
        let long = run(index.clone(), brief.clone(), bounds(&slicer, "one")).await;
        let here = run_brief(&index, &brief, u64::MAX);
        assert_eq!(long.result.unwrap().len(), 10);
        // A machine that is very busy may stop the brief one.
        if here.result.is_ok() {
            assert_eq!(here.fuel, long.fuel);
        }
        let heavy = run(index, heavy(), bounds(&slicer, "one")).await;
        assert_eq!(heavy.result.unwrap().len(), FACTS);
        assert!(heavy.fuel > long.fuel + FACTS as u64 * 7_000, "each byte counts");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_search_ends_at_its_deadline_and_when_its_fuel_is_used_up() {
        let (index, slicer) = (index(), TimeSlicer::new());
        let soon = Instant::now() + Duration::from_millis(20);
        let late = Bounds { deadline: soon, ..bounds(&slicer, "one") };
        let searched = run(index.clone(), endless(), late).await;
        assert_eq!(searched.result, Err(IndexError::Stopped));
        let little = Bounds { fuel: 1_000_000, ..bounds(&slicer, "one") };
        let searched = run(index, endless(), little).await;
        assert_eq!(searched.result, Err(IndexError::Stopped));
        assert!(searched.fuel > 1_000_000);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn searches_without_end_leave_time_slices_to_others_and_end_when_nobody_waits() {
        let slicer = TimeSlicer::new();
        let indexes: Vec<_> = (0..8).map(|_| index()).collect();
        let searching = indexes
            .iter()
            .map(|index| tokio::spawn(run(index.clone(), endless(), bounds(&slicer, "greedy"))));
        let searching: Vec<_> = searching.collect();
        for index in &indexes {
            // Until its search has begun, a write does not wait.
            while index.write_is_free() {
                tokio::task::yield_now().await;
            }
        }
        for _ in 0..10 {
            drop(bounds(&slicer, "other").slice.acquire().await);
        }
        searching.iter().for_each(tokio::task::JoinHandle::abort);
        for index in &indexes {
            drop(index.write().await);
        }
    }
}
