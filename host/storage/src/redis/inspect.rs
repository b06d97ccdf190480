//! What a server says of itself.

use std::time::{Instant, SystemTime};

use super::pool::Size;
use super::{Redis, replies};
use crate::StorageError;
use crate::inspect::{RedisInspection, ahead, fields};

impl Redis {
    /// Asks the server for its settings, its state and its time.
    pub(crate) async fn inspect(&self) -> Result<RedisInspection, StorageError> {
        let deadline = Instant::now() + self.limits.operation;
        let begun = Instant::now();
        let commands = [redis::cmd("INFO"), redis::cmd("TIME")];
        let mut said = self.read_with(&commands, Size::Small, deadline).await?.into_iter();
        let (round_trip, now) = (begun.elapsed(), SystemTime::now() - begun.elapsed() / 2);
        let info = said.next().unwrap_or(redis::Value::Nil);
        let info = fields(&replies::parse::<String>(info)?);
        let time = said.next().and_then(|time| replies::parse::<(i64, i64)>(time).ok());
        let clock_ahead = time.map(|(seconds, microseconds)| ahead(seconds, microseconds, now));
        Ok(RedisInspection { info, clock_ahead, round_trip })
    }
}
