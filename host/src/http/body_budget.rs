//! A budget of memory for bodies, shared by all connections.
//!
//! One body has a limit of its own, but a thousand callers may each send or fetch one. The
//! budget bounds all of them together: a request's bytes count until its call ends, and an
//! answer's until the caller has read it.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout_at;

use kenning_core::error::Error;

/// How many bytes all bodies may hold together, and how many of them are available.
pub struct BodyBudget {
    allowed: usize,
    available: Arc<Semaphore>,
}

/// A share of the budget, returned when it is dropped.
#[derive(Default)]
pub(super) struct Reservation(Option<OwnedSemaphorePermit>);

impl BodyBudget {
    /// A budget of `allowed` bytes.
    pub fn new(allowed: usize) -> Self {
        Self { allowed, available: Arc::new(Semaphore::new(allowed)) }
    }

    /// How many bytes are reserved now.
    pub(super) fn reserved(&self) -> usize {
        self.allowed - self.available.available_permits()
    }

    /// Reserves `bytes`, or fails at once if they are not available.
    pub(super) fn reserve(&self, bytes: usize) -> Result<Reservation, Error> {
        match self.available.clone().try_acquire_many_owned(self.permits(bytes)) {
            Ok(permit) => Ok(Reservation(Some(permit))),
            Err(_) => Err(self.full()),
        }
    }

    /// Reserves `bytes`, waiting until `until` for others to return theirs.
    pub(super) async fn reserve_until(
        &self,
        bytes: usize,
        until: Instant,
    ) -> Result<Reservation, Error> {
        let permit = self.available.clone().acquire_many_owned(self.permits(bytes));
        match timeout_at(until.into(), permit).await {
            Ok(Ok(permit)) => Ok(Reservation(Some(permit))),
            _ => Err(self.full()),
        }
    }

    /// A body larger than the whole budget reserves all of it.
    fn permits(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.min(self.allowed)).unwrap_or(u32::MAX)
    }

    fn full(&self) -> Error {
        Error::overloaded("bodies_bytes", self.allowed)
    }
}

impl Reservation {
    /// Takes over what `other` reserved.
    pub(super) fn merge(&mut self, other: Self) {
        match (&mut self.0, other.0) {
            (Some(permit), Some(other)) => permit.merge(other),
            (permit @ None, other) => *permit = other,
            (Some(_), None) => {}
        }
    }

    /// Returns all but `bytes`.
    pub(super) fn shrink_to(&mut self, bytes: usize) {
        if let Some(permit) = &mut self.0 {
            drop(permit.split(permit.num_permits().saturating_sub(bytes)));
        }
    }

    /// `bytes`, which hold the reservation until their last copy is dropped.
    pub(super) fn attach(self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(ReservedBytes { bytes, _reservation: self })
    }
}

struct ReservedBytes {
    bytes: Bytes,
    _reservation: Reservation,
}

impl AsRef<[u8]> for ReservedBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_within_the_budget_are_reserved() {
        let budget = BodyBudget::new(10);
        let mut reservation = budget.reserve(4).unwrap();
        reservation.merge(budget.reserve(6).unwrap());
        reservation.shrink_to(7);
        assert_eq!(budget.available.available_permits(), 3);
        let bytes = reservation.attach(Bytes::from_static(b"sevenby"));
        let copy = bytes.slice(2..);
        drop(bytes);
        assert_eq!((&copy[..], budget.available.available_permits()), (&b"venby"[..], 3));
        drop(copy);
        assert_eq!(budget.available.available_permits(), 10);
    }

    #[tokio::test]
    async fn a_body_beyond_the_budget_is_refused() {
        let budget = BodyBudget::new(10);
        let reservation = budget.reserve(8).unwrap();
        let error = budget.reserve(3).err().unwrap();
        assert_eq!(error.details.unwrap()["limit"], "bodies_bytes");
        assert!(budget.reserve_until(3, Instant::now()).await.is_err());
        let later = Instant::now() + std::time::Duration::from_secs(60);
        let (waited, ()) =
            tokio::join!(budget.reserve_until(3, later), async { drop(reservation) });
        assert!(waited.is_ok());
    }

    #[test]
    fn a_body_larger_than_the_budget_reserves_all_of_it() {
        let budget = BodyBudget::new(10);
        let _reservation = budget.reserve(1_000).unwrap();
        assert!(budget.reserve(1).is_err());
    }
}
