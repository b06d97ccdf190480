//! Runs recorded requests again for a candidate, without writing anything.

use std::time::{Duration, Instant};

use kenning_storage::TenantId;

use super::caller::{Purpose, Response};
use super::errors::ErrorMapper;
use super::pipeline::Pipeline;
use super::recorder::{Recorded, Request};
use super::search::{Found, Search};
use super::{Kb, unfinished};
use crate::registry::Snapshot;
use kenning_core::error::Error;
use kenning_runtime::{GuestCost, ReplayTurns, RequestContext, Session, Verb};

/// The outcome of a replayed request.
pub struct Observed {
    /// Why the request failed, if it did.
    pub error: Option<Error>,
    /// The ids of the facts that the caller would see, in their order.
    pub ids: Vec<String>,
    /// Whether part of the result is missing.
    pub degraded: bool,
    /// Fuel used by all guests of the call.
    pub fuel: u64,
    /// Time from the start of the session to the result.
    pub took: Duration,
    /// How much of it was spent computing.
    pub computed: Duration,
    /// What its guest calls used.
    pub costs: Vec<GuestCost>,
}

impl Kb {
    /// Runs `work` in a session whose writes are captured and dropped.
    ///
    /// # Errors
    /// When the session cannot start in time or does not return.
    pub async fn dry_run<T, F>(
        &self,
        tenant: TenantId,
        time: Duration,
        work: impl FnOnce(Session) -> F + Send + 'static,
    ) -> Result<T, Error>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let errors = ErrorMapper { storage: self.storage_name, purpose: Purpose::Read };
        let session = self.runtime.dry_run(tenant, Instant::now() + time, work);
        session.await.map_err(|error| errors.call_error(&error))
    }

    /// A proof begins to replay requests.
    pub fn begin_replays(&self) -> ReplayTurns {
        self.runtime.begin_replays()
    }

    /// Makes a proof pause after replays that computed for so long, if callers are served; not
    /// beyond `until`.
    pub async fn pause_replays(&self, turns: &ReplayTurns, computed: Duration, until: Instant) {
        self.runtime.pause_replays(turns, computed, until).await;
    }

    /// Searches with the guests in `snapshot`, without recording the request.
    ///
    /// # Errors
    /// As a search.
    pub async fn preview(
        &self,
        tenant: &TenantId,
        snapshot: Snapshot,
        search: Search,
    ) -> Result<Response<Found>, Error> {
        let errors = ErrorMapper { storage: self.storage_name, purpose: Purpose::Search };
        let (served_by, time) = (snapshot.served_by(), self.services.limits.search);
        let index = self.services.indexes.held().loaded(tenant, Instant::now() + time).await;
        let (admitted, unfinished) = (index.clone(), unfinished(&index));
        let session = self.dry_run(tenant.clone(), time, move |session| async move {
            let session = session.asked(search.asked(RequestContext::of(Verb::Search)));
            let mut pipeline = Pipeline::new(session, snapshot, errors);
            let found = pipeline.search_in(admitted, search).await;
            (found, pipeline.withheld())
        });
        let (found, withheld) = session.await?;
        let mut found = found?;
        found.degraded.extend(unfinished);
        Ok(Response { value: found, served_by, withheld, revision: None })
    }

    /// Runs a request again, with the guests in `snapshot`.
    ///
    /// # Errors
    /// When the session cannot start in time, or a search's index is not loaded in time, which says
    /// nothing about the guests. What the guests fail at is in [`Observed::error`].
    pub async fn replay(
        &self,
        tenant: &TenantId,
        snapshot: Snapshot,
        recorded: Recorded,
    ) -> Result<Observed, Error> {
        let purpose = match recorded.request {
            Request::Search(_) => Purpose::Search,
            _ => Purpose::Read,
        };
        let context = recorded.context();
        let request = recorded.request;
        let errors = ErrorMapper { storage: self.storage_name, purpose };
        let limits = &self.services.limits;
        let time = if purpose == Purpose::Search { limits.search } else { limits.call };
        let index = match purpose {
            Purpose::Search => Some(self.whole_index(tenant, Instant::now() + time).await?),
            Purpose::Read | Purpose::Write => None,
        };
        self.dry_run(tenant.clone(), time, move |session| async move {
            let started = Instant::now();
            let mut pipeline = Pipeline::new(session.asked(context), snapshot, errors);
            if let Some(index) = index {
                pipeline.session.use_index(index);
            }
            let (ids, degraded, error) = match pipeline.replay(request).await {
                Ok((ids, degraded)) => (ids, degraded, None),
                Err(error) => (Vec::new(), false, Some(error)),
            };
            let (fuel, took) = (pipeline.session.fuel_used(), started.elapsed());
            let (computed, costs) = (pipeline.session.computed(), pipeline.session.costs());
            Observed { error, ids, degraded, fuel, took, computed, costs }
        })
        .await
    }
}

impl Recorded {
    /// What the guests may know of it when it runs again.
    fn context(&self) -> RequestContext {
        let context = |verb| RequestContext::of(verb).anew(self.caller.clone());
        match &self.request {
            Request::Store(_) => context(Verb::Store),
            Request::Get(_) => context(Verb::Get),
            Request::List { .. } => context(Verb::List),
            Request::Search(search) => search.asked(context(Verb::Search)),
        }
    }
}

impl Pipeline {
    /// The ids in the result, and whether part of it is missing.
    async fn replay(&mut self, request: Request) -> Result<(Vec<String>, bool), Error> {
        match request {
            Request::Store(submission) => {
                let stored = self.store(vec![Ok(submission)]).await?;
                // New ids differ in every call, so only their number can be compared.
                let outcomes = stored.into_iter().collect::<Result<Vec<_>, _>>()?;
                let count: usize = outcomes.iter().map(|outcome| outcome.ids.len()).sum();
                Ok(((0..count).map(|n| n.to_string()).collect(), false))
            }
            Request::Get(id) => Ok((vec![self.get(id).await?.id], false)),
            Request::List { containing, limit } => {
                let page = self.list(containing, limit, None).await?;
                let ids = page.facts.into_iter().map(|fact| fact.id).collect();
                Ok((ids, self.withheld() > 0))
            }
            Request::Search(search) => {
                let found = self.search(search).await?;
                let ids = found.hits.into_iter().map(|found| found.hit.fact.id).collect();
                Ok((ids, !found.degraded.is_empty() || self.withheld() > 0))
            }
        }
    }
}
