//! What a server says of itself; of a cluster, one of its masters.

use std::time::{Instant, SystemTime};

use redis::Value;

use super::{Redis, replies};
use crate::StorageError;
use crate::inspect::{RedisInspection, ahead, fields};

impl Redis {
    /// Asks the server for its settings, its state and its time.
    pub(crate) async fn inspect(&self) -> Result<RedisInspection, StorageError> {
        let info = fields(&replies::parse::<String>(self.said("INFO").await?)?);
        let begun = Instant::now();
        let time = self.said("TIME").await?;
        let (round_trip, now) = (begun.elapsed(), SystemTime::now() - begun.elapsed() / 2);
        let time = replies::parse::<(i64, i64)>(time).ok();
        let clock_ahead = time.map(|(seconds, microseconds)| ahead(seconds, microseconds, now));
        Ok(RedisInspection { info, clock_ahead, round_trip })
    }

    /// The first answer to a command without arguments.
    async fn said(&self, command: &str) -> Result<Value, StorageError> {
        let end = Instant::now() + self.limits.operation;
        let said = self.servers.run_everywhere(&redis::cmd(command), end.into()).await?;
        said.into_iter().next().unwrap_or(Ok(Value::Nil))
    }
}
