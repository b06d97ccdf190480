//! A call is answered by the guests, keys and quotas that are in force when it begins, on whichever
//! host it is.
//!
//! A snapshot has the number of the tenant's registry that it was loaded at. Storage compares it in
//! every read and change of facts, and refuses a call that goes by another one. Then this host
//! loads the tenant's registry again and repeats the whole call, unless the call has written. A
//! call that needed nothing of storage asks for the number at its end.

use std::slice;
use std::time::{Duration, Instant};

use kenning_core::error::Error;
use kenning_runtime::{RequestContext, Validity};
use kenning_storage::{LivingHost, RegistryRevision, StorageError, TenantId};
use tokio::time::sleep;

use super::caller::Purpose;
use super::{Caller, Done, HookLog, Kb, Response, SessionEnd, Steps};

/// How often a call is repeated. Each time somebody has changed the tenant since the last.
const REPEATS: usize = 5;

/// How often the leases are read while an act waits for other hosts.
const LEASES_EVERY: Duration = Duration::from_millis(20);

/// Stands for the hosts if storage does not say which there are.
const UNKNOWN: &str = "(unknown: storage did not answer)";

impl Kb {
    /// Runs `steps` for `caller` in one session, with one snapshot of the guests; again with
    /// another if that one is no longer in force.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        caller: &Caller,
        purpose: Purpose,
        request: RequestContext,
        steps: impl Steps<T>,
    ) -> Result<Response<T>, Error> {
        for _ in 0..=REPEATS {
            let snapshot = self.snapshot(caller).await?;
            let (guests, hooks) = (snapshot.clone(), HookLog::default());
            let request = request.anew(caller.identity(&self.services.tenants));
            let again = steps.clone();
            let (result, ended) =
                self.run_with(snapshot, hooks.clone(), caller, purpose, request, again).await;
            let is_stale = self.is_stale(caller, guests.registry, &result, ended).await?;
            let served_by = hooks.served_by(&guests);
            if is_stale && !ended.wrote && !ended.outcome_unknown {
                self.follow(caller, guests.registry).await?;
                continue;
            }
            return match result {
                Ok(Done { value, withheld, revision }) => {
                    let revision = match purpose {
                        Purpose::Write => self.revision_after(caller, revision).await,
                        Purpose::Read | Purpose::Search => None,
                    };
                    Ok(Response { value, served_by, withheld, revision })
                }
                // Part of the call has happened, so that only the caller can repeat it.
                Err(error) if is_stale => Err(error.with_unknown_outcome().from_guests(served_by)),
                Err(error) => Err(error.from_guests(served_by)),
            };
        }
        Err(self.storage_error(&StorageError::StaleRegistry))
    }

    /// Whether a call went by a registry that is not in force. One of which storage was asked
    /// nothing is found out now.
    async fn is_stale<T>(
        &self,
        caller: &Caller,
        registry: Option<RegistryRevision>,
        result: &Result<T, Error>,
        ended: SessionEnd,
    ) -> Result<bool, Error> {
        let is_stale = match (ended.validity, registry) {
            (Some(Validity::Stale), _) => true,
            (Some(Validity::NotAsked), Some(registry)) => {
                match self.is_in_force(caller, registry).await {
                    Ok(is_in_force) => !is_in_force,
                    // What the call itself failed of says more.
                    Err(_) if result.is_err() => false,
                    Err(error) => return Err(error),
                }
            }
            _ => false,
        };
        if is_stale {
            metrics::counter!("kenning_stale_calls_total").increment(1);
        }
        Ok(is_stale)
    }

    async fn is_in_force(
        &self,
        caller: &Caller,
        registry: RegistryRevision,
    ) -> Result<bool, Error> {
        if !self.registry.is_shared() {
            return Ok(true);
        }
        let tenant = slice::from_ref(&caller.tenant);
        let in_force = self.services.storage.registry_revisions(tenant, caller.deadline).await;
        let in_force = in_force.map_err(|error| self.storage_error(&error))?;
        Ok(in_force.first() == Some(&registry))
    }

    /// Loads what is in force for the caller's tenant now, instead of what was at `stale`.
    async fn follow(&self, caller: &Caller, stale: Option<RegistryRevision>) -> Result<(), Error> {
        let (registry, tenant) = (self.registry.clone(), caller.tenant.clone());
        let load = async move {
            // The first may join a load that began before the change.
            if Some(registry.load_tenant(&tenant).await?) == stale {
                registry.load_tenant(&tenant).await?;
            }
            Ok(())
        };
        self.load(caller, self.patience(caller), load).await?;
        self.follow_language(&caller.tenant).await;
        Ok(())
    }

    /// Checks a request that is answered without a call: by what is in force, the tenant still
    /// exists and has the request's key.
    ///
    /// # Errors
    /// [`Code::Unauthorized`](kenning_core::error::Code::Unauthorized) if not, or an error of
    /// storage.
    pub async fn check_caller(&self, caller: &Caller) -> Result<(), Error> {
        let registry = self.snapshot(caller).await?.registry;
        if let Some(known) = registry
            && !self.is_in_force(caller, known).await?
        {
            self.follow(caller, registry).await?;
        }
        self.services.tenants.begin(&caller.tenant, caller.permit.as_deref()).map(drop)
    }

    /// Waits until every living host goes by what was changed up to now, of `tenants` or, without
    /// any, of the server-wide logic. Returns the names of those that do not within the limit
    /// `follow_ms`.
    pub async fn behind(&self, tenants: &[TenantId]) -> Vec<String> {
        if !self.registry.is_shared() {
            return Vec::new();
        }
        for tenant in tenants {
            if let Err(error) = self.registry.load_tenant(tenant).await {
                tracing::warn!(%tenant, %error, "this tenant's guests cannot be loaded again");
            }
        }
        let behind = self.wait_for_hosts(tenants).await;
        if !behind.is_empty() {
            tracing::warn!(?tenants, ?behind, "hosts do not follow a change (follow_ms)");
        }
        behind
    }

    async fn wait_for_hosts(&self, tenants: &[TenantId]) -> Vec<String> {
        let (archive, limits) = (&self.registry.archive, &self.services.limits);
        let until = Instant::now() + limits.follow;
        let Ok(wanted) = archive.revision().await else { return vec![UNKNOWN.into()] };
        let is_behind = |LivingHost { lease, is_own }: &LivingHost| {
            let is_unfinished = tenants.iter().any(|tenant| lease.unfinished.contains(tenant));
            !is_own && (lease.revision < wanted || is_unfinished)
        };
        loop {
            let deadline = Instant::now() + limits.storage_operation;
            let living = self.services.storage.living_hosts(deadline).await;
            let Ok(living) = living else { return vec![UNKNOWN.into()] };
            let behind = living.into_iter().filter(is_behind).map(|living| living.lease.host);
            let mut behind: Vec<String> = behind.collect();
            if behind.is_empty() || Instant::now() >= until {
                behind.sort();
                return behind;
            }
            sleep(LEASES_EVERY).await;
        }
    }
}
