//! Bounds the requests to a remote embedder, and keeps queries from waiting behind background
//! work.

use std::time::Instant;

use smallvec::SmallVec;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout_at;

use crate::{EmbedError, Lane};

const LANES: usize = 3;

/// Permits for requests. Of every eight, stores and background work together may hold six, and
/// background work alone three, so that a query soon finds a free one.
pub(super) struct Lanes {
    requests: Semaphore,
    not_queries: Semaphore,
    background: Semaphore,
    /// For texts that wait or are being embedded, in each lane.
    texts: [Semaphore; LANES],
    most_texts: usize,
}

/// All permits of one request, returned when dropped.
pub(super) struct Permits<'a> {
    _held: SmallVec<[SemaphorePermit<'a>; 4]>,
}

impl Lanes {
    /// For `requests` requests at once, and `texts` texts in each lane.
    pub(super) fn new(requests: usize, texts: usize) -> Self {
        let share = |eighths: usize| Semaphore::new((requests * eighths / 8).max(1));
        Self {
            requests: share(8),
            not_queries: share(6),
            background: share(3),
            texts: std::array::from_fn(|_| Semaphore::new(texts)),
            most_texts: texts,
        }
    }

    /// Waits for the permits of a request with so many texts.
    pub(super) async fn enter(
        &self,
        lane: Lane,
        texts: usize,
        until: Instant,
    ) -> Result<Permits<'_>, EmbedError> {
        let texts = texts.min(self.most_texts) as u32;
        let waiting = self.texts[lane as usize].acquire_many(texts);
        let mut held = SmallVec::new();
        match timeout_at(until.into(), waiting).await {
            Ok(Ok(permits)) => held.push(permits),
            _ => return Err(EmbedError::Overloaded),
        }
        // From the narrowest to the widest, so that a request that waits for the widest holds
        // no more than its lane may.
        let narrower: &[&Semaphore] = match lane {
            Lane::Query => &[],
            Lane::Document => &[&self.not_queries],
            Lane::Background => &[&self.background, &self.not_queries],
        };
        for permits in narrower.iter().copied().chain([&self.requests]) {
            match timeout_at(until.into(), permits.acquire()).await {
                Ok(Ok(permit)) => held.push(permit),
                _ => return Err(EmbedError::Timeout),
            }
        }
        Ok(Permits { _held: held })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    /// Acquires permits until there are none.
    async fn fill(lanes: &Lanes, lane: Lane) -> Vec<Permits<'_>> {
        let mut held = Vec::new();
        while let Ok(permits) = lanes.enter(lane, 1, Instant::now()).await {
            held.push(permits);
        }
        held
    }

    #[tokio::test]
    async fn a_query_gets_a_permit_however_busy_the_other_lanes_are() {
        let lanes = Lanes::new(8, 100);
        let background = fill(&lanes, Lane::Background).await;
        let stores = fill(&lanes, Lane::Document).await;
        assert_eq!((background.len(), stores.len()), (3, 3));
        assert!(lanes.enter(Lane::Query, 1, soon()).await.is_ok());
    }

    #[tokio::test]
    async fn permits_are_returned_when_their_request_ends() {
        let lanes = Lanes::new(1, 2);
        for _ in 0..3 {
            assert_eq!(fill(&lanes, Lane::Background).await.len(), 1);
        }
    }

    #[tokio::test]
    async fn texts_up_to_the_bound_are_taken_obeyed() {
        let lanes = Lanes::new(8, 100);
        assert!(lanes.enter(Lane::Query, 100, soon()).await.is_ok());
        assert!(lanes.enter(Lane::Query, 1_000, soon()).await.is_ok(), "all of the lane's permits");
    }

    #[tokio::test]
    async fn texts_above_the_bound_are_refused_at_their_deadline_violated() {
        let lanes = Lanes::new(8, 100);
        let _held = lanes.enter(Lane::Query, 60, soon()).await.unwrap();
        let refused = lanes.enter(Lane::Query, 60, Instant::now()).await;
        assert_eq!(refused.err(), Some(EmbedError::Overloaded));
    }
}
