//! Counts what one tenant uses, and refuses what exceeds its quotas.
//!
//! Each host counts what it does in memory: a swap of the logic resets nothing, a restart does.
//! Where several hosts may share storage, requests, fuel and tokens with a quota are counted by all
//! of them together ([`SharedUse`]), and each host for itself only while storage does not answer.
//! Fuel and tokens are known only after they are used. So a call may begin while any of the quota
//! is left, and what it uses beyond the quota delays later calls.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kenning_storage::Rate;

use super::credential::Credential;
use super::last_use::LastUse;
use super::quotas::{QuotaExceeded, Quotas};
use super::record::{KeyRecord, Timestamp, now};
use super::shared_use::{OfRates, SharedUse, Taken};
use super::windows::{Bucket, Minute, ZERO_QUOTA_WAIT};

/// `Retry-After` when all concurrent calls are in use.
const CONCURRENT_WAIT: Duration = Duration::from_secs(1);

/// Counts the usage of one tenant.
pub struct Meter {
    begun: Instant,
    counts: Mutex<Counts>,
    /// What hosts count together.
    shared: Option<Arc<SharedUse>>,
    /// When each key was used last.
    pub(super) last_use: LastUse,
}

#[derive(Default)]
struct Counts {
    requests: Bucket,
    running: u64,
    fuel: Minute,
    tokens: Minute,
}

/// What is used at one moment.
#[derive(Debug, PartialEq)]
pub struct Used {
    /// Requests in the last second.
    pub requests: u64,
    /// Requests in progress.
    pub running: u64,
    /// Fuel in the last 60 seconds.
    pub fuel: u64,
    /// Embedding tokens in the last 60 seconds.
    pub tokens: u64,
}

/// Permission for one request; dropping it ends the request.
pub struct Permit {
    meter: Arc<Meter>,
    /// What the request came with, and when, if it needed something.
    with: Option<(Credential, Timestamp)>,
}

impl Permit {
    /// The same for a request that came with `credential` now.
    #[must_use]
    pub(super) fn with(mut self, credential: Credential) -> Self {
        let now = now();
        if let Some(id) = &credential.key_id {
            self.meter.last_use.note(id, now);
        }
        self.with = Some((credential, now));
        self
    }

    /// What the request came with, if it needed something.
    pub fn credential(&self) -> Option<&Credential> {
        self.with.as_ref().map(|(credential, _)| credential)
    }

    /// Whether the request's key is among these, and had not expired when the request came. A token
    /// was checked then.
    pub(super) fn has_key_among(&self, keys: &[KeyRecord]) -> bool {
        let Some((Credential { key_id: Some(id), .. }, since)) = &self.with else { return true };
        keys.iter().any(|key| key.id == **id && key.is_valid_at(*since))
    }

    /// Whether `meter` gave it. If not, it belongs to an earlier tenant of the same name.
    pub(super) fn is_of(&self, meter: &Arc<Meter>) -> bool {
        Arc::ptr_eq(&self.meter, meter)
    }
}

impl std::fmt::Debug for Permit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Permit")
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.meter.counts().running -= 1;
    }
}

impl Default for Meter {
    fn default() -> Self {
        let (counts, shared, last_use) = Default::default();
        Self { begun: Instant::now(), counts, shared, last_use }
    }
}

impl Meter {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    /// The same for a tenant whose requests, fuel and tokens hosts count together.
    pub(super) fn sharing(shared: Arc<SharedUse>) -> Self {
        Self { shared: Some(shared), ..Self::default() }
    }

    /// Begins one request, which [`Self::count_request`] has yet to count.
    ///
    /// # Errors
    /// If `concurrent_calls` is used up.
    pub(super) fn enter(self: &Arc<Self>, quotas: &Quotas) -> Result<Permit, QuotaExceeded> {
        let mut counts = self.counts();
        if let Some(allowed) = quotas.concurrent_calls
            && counts.running >= allowed
        {
            let (quota, used) = ("concurrent_calls", counts.running);
            let after = if allowed == 0 { ZERO_QUOTA_WAIT } else { CONCURRENT_WAIT };
            return Err(QuotaExceeded { quota, allowed, used, after });
        }
        counts.running += 1;
        Ok(Permit { meter: self.clone(), with: None })
    }

    /// Counts a request. Waits at most `until` then, and only if this host has no allowance.
    ///
    /// # Errors
    /// If `requests_per_second` is used up.
    pub(super) async fn count_request(
        &self,
        quotas: &Quotas,
        until: Instant,
    ) -> Result<(), QuotaExceeded> {
        self.take(Rate::Requests, quotas, until).await
    }

    /// Whether a guest call may begin. `embeds` says whether it may need embeddings. Waits like
    /// [`Self::count_request`].
    ///
    /// # Errors
    /// If `fuel_per_minute` or, with `embeds`, `embedding_tokens_per_minute` is used up.
    pub(super) async fn check(
        &self,
        quotas: &Quotas,
        embeds: bool,
        until: Instant,
    ) -> Result<(), QuotaExceeded> {
        self.take(Rate::Fuel, quotas, until).await?;
        if embeds {
            self.take(Rate::Tokens, quotas, until).await?;
        }
        Ok(())
    }

    /// Asks for some of a rate.
    async fn take(&self, rate: Rate, quotas: &Quotas, until: Instant) -> Result<(), QuotaExceeded> {
        let rates = rates(quotas);
        let allowed = rates[rate as usize];
        // A request counts also where only fuel or tokens have a quota, so that it is shown.
        let is_shared = match allowed {
            Some(allowed) => allowed > 0,
            None => rate == Rate::Requests && rates.iter().any(Option::is_some),
        };
        let Some(shared) = self.shared.as_ref().filter(|_| is_shared) else {
            return self.take_here(rate, allowed);
        };
        let mut has_waited = false;
        loop {
            match shared.take(rate, rates, || self.recent(), has_waited) {
                Taken::Granted => {
                    if rate == Rate::Requests {
                        self.counts().requests.count(self.now(), allowed);
                    }
                    return Ok(());
                }
                Taken::Refused { used, after } => {
                    let (quota, allowed) = (name(rate), allowed.unwrap_or_default());
                    return Err(QuotaExceeded { quota, allowed, used, after });
                }
                Taken::Wait(waiting) => has_waited = waiting.wait(until).await,
                Taken::Alone => return self.take_alone(shared, rate, allowed),
            }
            if !has_waited {
                return self.take_alone(shared, rate, allowed);
            }
        }
    }

    /// Asks this host's own count, of its part of the quota.
    fn take_alone(
        &self,
        shared: &Arc<SharedUse>,
        rate: Rate,
        allowed: Option<u64>,
    ) -> Result<(), QuotaExceeded> {
        let part = allowed.map(|allowed| (allowed / shared.hosts()).max(1));
        self.take_here(rate, part).map_err(|exceeded| QuotaExceeded {
            allowed: allowed.unwrap_or(exceeded.allowed),
            ..exceeded
        })?;
        if rate == Rate::Requests {
            shared.charge(rate, 1);
        }
        Ok(())
    }

    fn take_here(&self, rate: Rate, allowed: Option<u64>) -> Result<(), QuotaExceeded> {
        let (now, mut counts) = (self.now(), self.counts());
        match rate {
            Rate::Requests => counts.requests.take(now, allowed),
            Rate::Fuel => counts.fuel.check(now, name(rate), allowed),
            Rate::Tokens => counts.tokens.check(now, name(rate), allowed),
        }
    }

    /// Counts fuel that a guest used.
    pub fn charge_fuel(&self, fuel: u64) {
        self.counts().fuel.add(self.now(), fuel);
        if let Some(shared) = &self.shared {
            shared.charge(Rate::Fuel, fuel);
        }
    }

    /// Counts tokens passed to the embedder.
    pub fn charge_tokens(&self, tokens: u64) {
        self.counts().tokens.add(self.now(), tokens);
        if let Some(shared) = &self.shared {
            shared.charge(Rate::Tokens, tokens);
        }
    }

    /// What is used now: requests, fuel and tokens by all hosts if they count together and storage
    /// answers `until` then, else by this one.
    pub async fn used(&self, quotas: &Quotas, until: Instant) -> Used {
        let by_all = match &self.shared {
            Some(shared) => shared.used(rates(quotas), || self.recent(), until).await,
            None => None,
        };
        let [requests, fuel, tokens] = by_all.unwrap_or_else(|| self.recent());
        Used { requests, running: self.counts().running, fuel, tokens }
    }

    /// What this host used lately.
    fn recent(&self) -> OfRates<u64> {
        let (now, mut counts) = (self.now(), self.counts());
        [counts.requests.used(now), counts.fuel.sum(now), counts.tokens.sum(now)]
    }

    /// Tells the other hosts what this one used: it ends.
    pub(super) async fn end(&self) {
        if let Some(shared) = &self.shared {
            shared.end().await;
        }
    }
}

/// The name of the quota.
fn name(rate: Rate) -> &'static str {
    match rate {
        Rate::Requests => "requests_per_second",
        Rate::Fuel => "fuel_per_minute",
        Rate::Tokens => "embedding_tokens_per_minute",
    }
}

/// The quotas that hosts count together.
fn rates(quotas: &Quotas) -> OfRates<Option<u64>> {
    [quotas.requests_per_second, quotas.fuel_per_minute, quotas.embedding_tokens_per_minute]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permit_is_returned_when_it_is_dropped() {
        let meter = Arc::new(Meter::default());
        let quotas = Quotas { concurrent_calls: Some(2), ..Quotas::default() };
        let first = meter.enter(&quotas).ok().unwrap();
        let _second = meter.enter(&quotas).ok().unwrap();
        let refused = meter.enter(&quotas).err().unwrap();
        assert_eq!((refused.quota, refused.allowed, refused.used), ("concurrent_calls", 2, 2));
        drop(first);
        assert!(meter.enter(&quotas).is_ok());
    }
}
