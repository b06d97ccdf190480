//! Memory for bodies, shared by all connections.
//!
//! Each body is bounded by itself, and a thousand callers may each send or fetch one.
//! So what they hold together is counted, and bounded, too: what arrives until its call
//! has ended, and what is answered until the caller has taken it.

use std::sync::Arc;
use std::time::Instant;

use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout_at;

use super::answer::Refusal;
use crate::http::App;
use kenning_core::error::Error;

/// Answers up to this size are not counted: the system's own buffer takes them, and
/// those of writes are never larger.
const SMALL_ANSWER: u64 = 64 * 1024;

/// The bound on all bodies, and what is left of it.
pub struct BodyBudget {
    allowed: usize,
    left: Arc<Semaphore>,
}

/// Bytes that are counted until it is dropped.
#[derive(Default)]
pub(super) struct Reservation(Option<OwnedSemaphorePermit>);

impl BodyBudget {
    pub fn new(allowed: usize) -> Self {
        Self { allowed, left: Arc::new(Semaphore::new(allowed)) }
    }

    /// How many bytes are counted now.
    pub(super) fn counted(&self) -> usize {
        self.allowed - self.left.available_permits()
    }

    /// Counts `bytes` that are there already.
    pub(super) fn hold(&self, bytes: usize) -> Result<Reservation, Error> {
        match self.left.clone().try_acquire_many_owned(self.countable(bytes)) {
            Ok(permit) => Ok(Reservation(Some(permit))),
            Err(_) => Err(self.full()),
        }
    }

    /// The same, waiting until `until` for others to give back theirs.
    pub(super) async fn wait(&self, bytes: usize, until: Instant) -> Result<Reservation, Error> {
        let permit = self.left.clone().acquire_many_owned(self.countable(bytes));
        match timeout_at(until.into(), permit).await {
            Ok(Ok(permit)) => Ok(Reservation(Some(permit))),
            _ => Err(self.full()),
        }
    }

    /// A body above the bound on all counts as all there is.
    fn countable(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.min(self.allowed)).unwrap_or(u32::MAX)
    }

    fn full(&self) -> Error {
        Error::overloaded("bodies_bytes", self.allowed)
    }
}

impl Reservation {
    pub(super) fn add(&mut self, other: Self) {
        match (&mut self.0, other.0) {
            (Some(held), Some(other)) => held.merge(other),
            (held @ None, other) => *held = other,
            (Some(_), None) => {}
        }
    }

    /// Gives back all but `bytes`.
    pub(super) fn keep(&mut self, bytes: usize) {
        if let Some(held) = &mut self.0 {
            drop(held.split(held.num_permits().saturating_sub(bytes)));
        }
    }

    /// `bytes`, counted until their last copy is gone.
    pub(super) fn within(self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(HeldBytes { bytes, _held: self })
    }
}

struct HeldBytes {
    bytes: Bytes,
    _held: Reservation,
}

impl AsRef<[u8]> for HeldBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Counts an answer until its caller has taken it; one for which nothing is left
/// becomes a refusal. Answers that come in pieces count those themselves.
pub(super) async fn count_answer(
    State(app): State<Arc<App>>,
    request: Request,
    next: Next,
) -> Response {
    let response = next.run(request).await;
    match response.body().size_hint().exact() {
        Some(SMALL_ANSWER..) => {
            counted(&app, response).await.unwrap_or_else(|error| Refusal(error).into_response())
        }
        _ => response,
    }
}

async fn counted(app: &App, response: Response) -> Result<Response, Error> {
    let (parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, usize::MAX).await.map_err(Error::internal)?;
    let bytes = app.bodies.hold(bytes.len())?.within(bytes);
    Ok(Response::from_parts(parts, Body::from(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_within_the_bound_are_held_obeyed() {
        let bodies = BodyBudget::new(10);
        let mut held = bodies.hold(4).unwrap();
        held.add(bodies.hold(6).unwrap());
        held.keep(7);
        assert_eq!(bodies.left.available_permits(), 3);
        let bytes = held.within(Bytes::from_static(b"sevenby"));
        let copy = bytes.slice(2..);
        drop(bytes);
        assert_eq!((&copy[..], bodies.left.available_permits()), (&b"venby"[..], 3));
        drop(copy);
        assert_eq!(bodies.left.available_permits(), 10);
    }

    #[tokio::test]
    async fn a_body_for_which_nothing_is_left_is_refused_violated() {
        let bodies = BodyBudget::new(10);
        let held = bodies.hold(8).unwrap();
        let error = bodies.hold(3).err().unwrap();
        assert_eq!(error.details.unwrap()["limit"], "bodies_bytes");
        assert!(bodies.wait(3, Instant::now()).await.is_err());
        let later = Instant::now() + std::time::Duration::from_secs(60);
        let (waited, ()) = tokio::join!(bodies.wait(3, later), async { drop(held) });
        assert!(waited.is_ok());
    }

    #[test]
    fn a_body_above_the_bound_on_all_has_it_to_itself() {
        let bodies = BodyBudget::new(10);
        let _held = bodies.hold(1_000).unwrap();
        assert!(bodies.hold(1).is_err());
    }
}
