//! The state of the backend itself.

use std::sync::atomic::Ordering;
use std::time::Instant;

use async_trait::async_trait;
use tokio::sync::watch;

use super::adoption::Adopter;
use super::keys::{DOCUMENT_NAMES, TENANTS};
use super::pool::{Effect, Size};
use super::{Redis, replies};
use crate::{Adoption, Backend, Description, Lifecycle, StorageError};

#[async_trait]
impl Lifecycle for Redis {
    async fn ping(&self, deadline: Instant) -> Result<(), StorageError> {
        // Unlike PING, this checks that data can be read: a server that is loading refuses it, and
        // no write would succeed if the key had another type.
        let mut command = redis::cmd("SCARD");
        command.arg(TENANTS);
        let values = self.read_with(&[command], Size::Small, deadline).await?;
        replies::one::<u64>(values).map(|_| ())
    }

    async fn check_writable(&self, deadline: Instant) -> Result<(), StorageError> {
        // Adds no name, because the set has none that is empty, and is refused like every write.
        let mut command = redis::cmd("ZADD");
        command.arg(DOCUMENT_NAMES).arg("XX").arg(0).arg("");
        let kind = (Size::Small, Effect::Write);
        replies::one::<u64>(self.send(&[command], kind, deadline).await?).map(|_| ())
    }

    fn describe(&self) -> Description {
        Description {
            backend: Backend::Redis,
            layout: Some(self.layout),
            address: self.servers.address().to_owned(),
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
