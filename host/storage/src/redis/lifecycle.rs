//! The state of the backend itself.

use std::sync::atomic::Ordering;
use std::time::Instant;

use async_trait::async_trait;
use tokio::sync::watch;

use super::adoption::Adopter;
use super::keys::TENANTS;
use super::pool::Size;
use super::{Redis, replies};
use crate::{Adoption, Backend, Description, Lifecycle, StorageError};

#[async_trait]
impl Lifecycle for Redis {
    async fn ping(&self, deadline: Instant) -> Result<(), StorageError> {
        // Unlike PING, this checks that data can be read: a server that is loading refuses it.
        let mut command = redis::cmd("EXISTS");
        command.arg(TENANTS);
        let values = self.read_with(&[command], Size::Small, deadline).await?;
        replies::one::<u64>(values).map(|_| ())
    }

    fn describe(&self) -> Description {
        Description {
            backend: Backend::Redis,
            layout: Some(self.layout),
            address: self.pool.address().to_owned(),
        }
    }

    fn adoption(&self) -> Option<watch::Receiver<Adoption>> {
        self.adopter.as_ref().map(Adopter::watch)
    }

    async fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
        if let Some(adopter) = &self.adopter {
            adopter.stop();
        }
    }
}
