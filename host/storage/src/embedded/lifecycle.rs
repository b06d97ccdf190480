//! The state of the backend itself.

use std::time::Instant;

use async_trait::async_trait;

use super::Embedded;
use crate::{Backend, Description, Lifecycle, StorageError};

#[async_trait]
impl Lifecycle for Embedded {
    async fn ping(&self, deadline: Instant) -> Result<(), StorageError> {
        self.snapshot(deadline, |_| Ok(())).await
    }

    async fn check_writable(&self, deadline: Instant) -> Result<(), StorageError> {
        match self.handle.room().shortage() {
            Some(full) => Err(full),
            None => self.ping(deadline).await,
        }
    }

    fn describe(&self) -> Description {
        let address = self.dir.display().to_string();
        Description { backend: Backend::Embedded, layout: None, address }
    }

    async fn close(&self) {
        self.writer.close().await;
    }
}
