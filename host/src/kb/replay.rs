//! Requests made again for a candidate: everything is read, nothing is written.

use std::time::{Duration, Instant};

use kenning_storage::TenantId;

use super::errors::ErrorMapper;
use super::pipeline::Pipeline;
use super::recorder::Request;
use super::{Kb, Purpose};
use crate::registry::Snapshot;
use kenning_core::error::Error;
use kenning_runtime::Session;

/// What came of a request that was made again.
pub struct Observed {
    pub error: Option<Error>,
    /// Of the facts in the answer, in its order.
    pub ids: Vec<String>,
    pub degraded: bool,
    /// By all of its guests.
    pub fuel: u64,
    pub took: Duration,
}

impl Kb {
    /// Does `work` in a turn whose writes are captured and dropped.
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
        session.await.map_err(|ended| errors.ended(&ended))
    }

    /// Makes a request again, with the guests in `snapshot`. An error means that there
    /// was no room for it now, which says nothing of the guests.
    pub async fn replay(
        &self,
        tenant: &TenantId,
        snapshot: Snapshot,
        request: Request,
    ) -> Result<Observed, Error> {
        let purpose = match request {
            Request::Search(_) => Purpose::Search,
            _ => Purpose::Read,
        };
        let errors = ErrorMapper { storage: self.storage_name, purpose };
        let limits = &self.services.limits;
        let time = if purpose == Purpose::Search { limits.search } else { limits.call };
        self.dry_run(tenant.clone(), time, move |session| async move {
            let begun = Instant::now();
            let mut pipeline = Pipeline::new(session, snapshot, errors);
            let (ids, degraded, error) = match pipeline.answer(request).await {
                Ok((ids, degraded)) => (ids, degraded, None),
                Err(error) => (Vec::new(), false, Some(error)),
            };
            let (fuel, took) = (pipeline.session.fuel_used(), begun.elapsed());
            Observed { error, ids, degraded, fuel, took }
        })
        .await
    }
}

impl Pipeline {
    /// The ids in the answer, and whether something was left out of it.
    async fn answer(&mut self, request: Request) -> Result<(Vec<String>, bool), Error> {
        match request {
            Request::Store(draft) => {
                let stored = self.store(vec![Ok(draft)]).await?;
                // A fresh id says nothing; how many there are does.
                let kept = stored.into_iter().collect::<Result<Vec<_>, _>>()?;
                let count: usize = kept.iter().map(|kept| kept.ids.len()).sum();
                Ok(((0..count).map(|n| n.to_string()).collect(), false))
            }
            Request::Get(id) => Ok((vec![self.get(id).await?.id], false)),
            Request::List { containing, limit } => {
                let page = self.list(containing, limit, None).await?;
                Ok((page.facts.into_iter().map(|fact| fact.id).collect(), false))
            }
            Request::Search(query) => {
                let answer = self.search(query).await?;
                let ids = answer.hits.into_iter().map(|hit| hit.fact.id).collect();
                Ok((ids, !answer.degraded.is_empty()))
            }
        }
    }
}
