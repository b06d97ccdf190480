//! What a server says of itself; of a cluster, one of its masters.

use std::time::{Duration, Instant, SystemTime};

use redis::Value;

use super::{Redis, replies};
use crate::inspect::{RedisInspection, ahead, fields};
use crate::{OpenError, StorageError};

/// How long a server may take to say anything at all.
const ANSWER: Duration = Duration::from_secs(5);

impl Redis {
    /// Waits for an answer, whatever it is, so that nobody waits for each step of something long
    /// that cannot be done.
    pub(crate) async fn answers(&self) -> Result<(), OpenError> {
        let end = Instant::now() + ANSWER;
        let asked = self.servers.run_everywhere(&redis::cmd("PING"), end.into()).await;
        let failed = match asked {
            Ok(answers) => answers.into_iter().find_map(Result::err),
            Err(error) => Some(error),
        };
        let Some(error) = failed else { return Ok(()) };
        let (address, seconds) = (self.servers.address(), ANSWER.as_secs());
        Err(OpenError::Refused(match error {
            StorageError::Timeout { .. } => format!(
                "Redis at {address} did not answer within {seconds} s; see whether it runs, and \
                 whether it can be reached from here"
            ),
            error => format!("Redis at {address}: {error}"),
        }))
    }

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
