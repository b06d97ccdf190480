//! Sentinels, which know where the master is.
//!
//! They are asked for each new connection, all at once, and once a second for as long as there are
//! connections. What most of those say that answer in time counts: a Sentinel that was cut off may
//! still name the last master.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisConnectionInfo, RedisError};
use tokio::time::{Instant, timeout_at};

use super::address::Place;
use super::error;
use super::stream;
use super::tls::Tls;
use crate::StorageError;

/// How long the others may take after the first answer.
const OTHERS: Duration = Duration::from_millis(50);

/// The Sentinels of one master.
pub(super) struct Sentinels {
    pub(super) places: Vec<Place>,
    pub(super) name: String,
    /// Who is asking.
    pub(super) settings: RedisConnectionInfo,
    pub(super) tls: Option<Arc<Tls>>,
    /// How long an answer may take.
    pub(super) within: Duration,
}

impl Sentinels {
    /// Where the master is.
    pub(super) async fn master(&self) -> Result<Place, StorageError> {
        let mut asked: FuturesUnordered<_> =
            self.places.iter().map(|sentinel| self.ask(sentinel)).collect();
        let mut votes: HashMap<Place, usize> = HashMap::new();
        let (mut unknown, mut failure) = (0, None);
        let mut end = Instant::now() + self.within;
        while let Ok(Some(answer)) = timeout_at(end, asked.next()).await {
            match answer {
                Ok(Some(master)) => {
                    let votes = votes.entry(master).or_default();
                    *votes += 1;
                    if 2 * *votes > self.places.len() {
                        break;
                    }
                    end = end.min(Instant::now() + OTHERS);
                }
                Ok(None) => unknown += 1,
                Err(error) => failure = Some(error),
            }
        }
        let most = votes.into_iter().max_by_key(|(_, votes)| *votes);
        match (most, failure) {
            (Some((master, _)), _) => Ok(master),
            (None, _) if unknown > 0 => Err(StorageError::Refused(format!(
                "the Sentinels know no master called {:?}; the address must end with the name that \
                 `sentinel monitor` gives it in their configuration",
                self.name
            ))),
            (None, Some(error @ StorageError::Refused(_))) => Err(error),
            (None, Some(error)) => {
                Err(StorageError::Unavailable(format!("no Sentinel can be asked: {error}")))
            }
            (None, None) => Err(StorageError::Unavailable("no Sentinel answers in time".into())),
        }
    }

    /// What one Sentinel says; `None` if it does not know the name.
    async fn ask(&self, sentinel: &Place) -> Result<Option<Place>, StorageError> {
        let stream = stream::open(sentinel, self.tls.as_ref(), self.within).await?;
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let made = MultiplexedConnection::new_with_config(&self.settings, stream, config);
        let (mut commands, driver) = made.await.map_err(|error| refused(&error))?;
        let mut ask = redis::cmd("SENTINEL");
        ask.arg("GET-MASTER-ADDR-BY-NAME").arg(&self.name);
        let answer = ask.query_async(&mut commands);
        let answer: Option<(String, u16)> = tokio::select! {
            answer = answer => answer.map_err(|error| refused(&error))?,
            () = driver => {
                return Err(StorageError::Unavailable("a Sentinel closed the connection".into()));
            }
        };
        Ok(answer.map(|(host, port)| Place::Tcp(host, port)))
    }
}

/// What a Sentinel said instead of an answer.
fn refused(error: &RedisError) -> StorageError {
    match error::unreachable(error) {
        StorageError::Refused(reason) => StorageError::Refused(format!(
            "a Sentinel refused the question ({reason}); its user and password are \
             ?sentinel_user=…&sentinel_password=… in the address"
        )),
        StorageError::Unavailable(reason) if reason.contains("unknown command") => {
            StorageError::Refused(
                "redis+sentinel:// names a server that is no Sentinel; use redis:// for it, or the \
                 Sentinels' port, which is 26379 by default"
                    .into(),
            )
        }
        other => other,
    }
}
