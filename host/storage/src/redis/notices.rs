//! What Redis tells of single keys, where it is configured to (`notify-keyspace-events`).

use std::time::Duration;

use futures::{Stream, StreamExt};
use redis::Client;
use tokio::time::timeout;

use super::keys::{FLAT_PREFIX, flat_id};
use crate::{FactId, StorageError};

/// The facts of which Redis tells that something happened to their keys, on a connection of its
/// own. Redis tells nothing unless its configuration says so. Ends with the connection.
pub(super) async fn listen(
    client: &Client,
    within: Duration,
) -> Result<impl Stream<Item = FactId> + use<>, StorageError> {
    let db = client.get_connection_info().redis_settings().db();
    let channels = format!("__keyspace@{db}__:");
    let connecting = async {
        let mut connection = client.get_async_pubsub().await?;
        connection.psubscribe(format!("{channels}{}*", FLAT_PREFIX)).await?;
        Ok(connection)
    };
    let connection = timeout(within, connecting)
        .await
        .map_err(|_| StorageError::Timeout { outcome_unknown: false })?
        .map_err(|error: redis::RedisError| StorageError::Unavailable(error.to_string()))?;
    let id = move |message: redis::Msg| {
        let key = message.get_channel_name().strip_prefix(&channels)?;
        flat_id(key.as_bytes())
    };
    Ok(connection.into_on_message().filter_map(move |message| std::future::ready(id(message))))
}
