//! Who may ask a far embedder, and when: bounded, and never a query behind a bulk.

use std::time::Instant;

use smallvec::SmallVec;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout_at;

use super::super::{EmbedError, Lane};

const LANES: usize = 3;

/// Places for requests. Of every eight, stores and background together may have six
/// and background alone three, so that a query finds one that is free soon.
pub(super) struct Lanes {
    requests: Semaphore,
    not_queries: Semaphore,
    background: Semaphore,
    /// Texts that wait or are being embedded, in each lane.
    texts: [Semaphore; LANES],
    most_texts: usize,
}

/// A request's places, free again when dropped.
pub(super) struct Places<'a> {
    _held: SmallVec<[SemaphorePermit<'a>; 4]>,
}

impl Lanes {
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

    /// Waits for places for a request with so many texts.
    pub(super) async fn enter(
        &self,
        lane: Lane,
        texts: usize,
        until: Instant,
    ) -> Result<Places<'_>, EmbedError> {
        let texts = texts.min(self.most_texts) as u32;
        let waiting = self.texts[lane as usize].acquire_many(texts);
        let mut held = SmallVec::new();
        match timeout_at(until.into(), waiting).await {
            Ok(Ok(places)) => held.push(places),
            _ => return Err(EmbedError::Overloaded),
        }
        // From the narrowest to the widest, so that who waits for the widest holds no
        // more than their share.
        let narrower: &[&Semaphore] = match lane {
            Lane::Query => &[],
            Lane::Document => &[&self.not_queries],
            Lane::Background => &[&self.background, &self.not_queries],
        };
        for places in narrower.iter().copied().chain([&self.requests]) {
            match timeout_at(until.into(), places.acquire()).await {
                Ok(Ok(place)) => held.push(place),
                _ => return Err(EmbedError::Timeout),
            }
        }
        Ok(Places { _held: held })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    /// Takes places until there are none.
    async fn fill(lanes: &Lanes, lane: Lane) -> Vec<Places<'_>> {
        let mut held = Vec::new();
        while let Ok(places) = lanes.enter(lane, 1, Instant::now()).await {
            held.push(places);
        }
        held
    }

    #[tokio::test]
    async fn a_query_finds_a_place_whatever_the_others_do() {
        let lanes = Lanes::new(8, 100);
        let bulk = fill(&lanes, Lane::Background).await;
        let stores = fill(&lanes, Lane::Document).await;
        assert_eq!((bulk.len(), stores.len()), (3, 3));
        assert!(lanes.enter(Lane::Query, 1, soon()).await.is_ok());
    }

    #[tokio::test]
    async fn places_are_free_again_when_their_request_ended() {
        let lanes = Lanes::new(1, 2);
        for _ in 0..3 {
            assert_eq!(fill(&lanes, Lane::Background).await.len(), 1);
        }
    }

    #[tokio::test]
    async fn texts_up_to_the_bound_are_taken_obeyed() {
        let lanes = Lanes::new(8, 100);
        assert!(lanes.enter(Lane::Query, 100, soon()).await.is_ok());
        assert!(lanes.enter(Lane::Query, 1_000, soon()).await.is_ok(), "all of the lane's places");
    }

    #[tokio::test]
    async fn texts_above_the_bound_are_refused_at_their_deadline_violated() {
        let lanes = Lanes::new(8, 100);
        let _held = lanes.enter(Lane::Query, 60, soon()).await.unwrap();
        let refused = lanes.enter(Lane::Query, 60, Instant::now()).await;
        assert_eq!(refused.err(), Some(EmbedError::Overloaded));
    }
}
