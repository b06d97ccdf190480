//! One caller who follows a tenant's changes, until one of them ends it.
//!
//! A task of its own looks for changes and passes them on in pieces. It waits while the caller does
//! not read, with one piece in its hand; and it ends at once when the server stops or the tenant is
//! deleted, also while the caller reads nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::{Either, pending};
use kenning_storage::Revision;
use tokio::sync::mpsc;
use tokio::time::{interval, sleep_until};

use super::events::{KEEP_ALIVE, beginning, events, reached};
use crate::feed::Subscriber;
use crate::http::App;
use crate::http::auth::Who;
use kenning_core::error::Error;
use kenning_tenants::Running;

/// How often a caller's key is looked at, and what failed is tried again.
const LOOK: Duration = Duration::from_secs(1);

/// A caller who follows changes.
pub(super) struct Following {
    pub(super) app: Arc<App>,
    pub(super) who: Who,
    pub(super) subscriber: Subscriber,
    pub(super) running: Running,
    /// Whether it goes on once there are no more changes.
    pub(super) waits: bool,
    pub(super) until: Option<Instant>,
    /// The position that the caller knows.
    pub(super) said: Revision,
}

impl Following {
    /// The first piece: where the stream begins, and the first changes.
    pub(super) async fn first(&mut self) -> Result<Bytes, Error> {
        let text = beginning(self.said);
        match self.look(text.clone()).await? {
            Some(piece) => Ok(piece),
            None => Ok(text.into()),
        }
    }

    /// Passes changes on until the caller leaves, its time is over, the server stops, the tenant is
    /// deleted or the key is no longer valid.
    pub(super) async fn run(mut self, pieces: mpsc::Sender<Bytes>) {
        let (stopping, running) = (self.app.stopping.clone(), self.running.again());
        let late = match self.until {
            Some(until) => Either::Left(sleep_until(until.into())),
            None => Either::Right(pending()),
        };
        tokio::select! {
            biased;
            () = stopping.cancelled() => {}
            () = running.ended() => {}
            () = pieces.closed() => {}
            () = late => {}
            () = self.follow(&pieces) => {}
        }
    }

    async fn follow(&mut self, pieces: &mpsc::Sender<Bytes>) {
        let keep_alive = self.app.limits.stream_keep_alive;
        let mut looks = interval(LOOK.min(keep_alive));
        let mut last_said = Instant::now();
        while self.who.is_authentic(self.app.kb.tenants()).await {
            let has_failed = match self.look(String::new()).await {
                Ok(Some(piece)) => {
                    if pieces.send(piece).await.is_err() {
                        return;
                    }
                    last_said = Instant::now();
                    continue;
                }
                Ok(None) if !self.waits => {
                    let _ = pieces.send(reached(self.subscriber.position()).into()).await;
                    return;
                }
                Ok(None) => false,
                Err(error) if error.retryable => {
                    tracing::debug!(%error, "changes are not sent yet");
                    true
                }
                Err(error) => {
                    // The caller connects again, and is told.
                    tracing::warn!(%error, "changes cannot be sent");
                    return;
                }
            };
            if last_said.elapsed() >= keep_alive {
                let position = self.subscriber.position();
                let sent = match self.said == position {
                    true => pieces.send(KEEP_ALIVE).await,
                    false => pieces.send(reached(position).into()).await,
                };
                if sent.is_err() {
                    return;
                }
                (self.said, last_said) = (position, Instant::now());
            }
            tokio::select! {
                () = self.subscriber.moved(), if !has_failed => {}
                _ = looks.tick() => {}
            }
        }
    }

    /// The next changes that the caller is told of, behind `text`. What it must not know of is
    /// passed over.
    async fn look(&mut self, mut text: String) -> Result<Option<Bytes>, Error> {
        loop {
            let caller = self.who.within(self.app.limits.call);
            let Some(found) = self.subscriber.look(&caller).await? else { return Ok(None) };
            let begun = text.len();
            let changes = events(&found.told, &mut text)?;
            if text.len() == begun {
                self.subscriber.advance(&found);
                continue;
            }
            let reserved = self.app.bodies.reserve_until(text.len(), caller.deadline).await?;
            self.subscriber.advance(&found);
            self.said = found.position;
            metrics::counter!("kenning_changes_sent_total").increment(changes);
            return Ok(Some(reserved.attach(text.into())));
        }
    }
}
