//! What Redis tells of single keys, where it is configured to (`notify-keyspace-events`).

use std::time::Duration;

use futures::{Stream, StreamExt};
use tokio::time::timeout;

use super::error;
use super::keys::{FLAT_PREFIX, flat_id};
use super::target::Target;
use crate::{FactId, StorageError};

/// The facts of which Redis tells that something happened to their keys, on a connection of its
/// own. Redis tells nothing unless its configuration says so. Ends with the connection.
pub(super) async fn listen(
    target: &Target,
    within: Duration,
) -> Result<impl Stream<Item = FactId> + use<>, StorageError> {
    let db = target.settings.db();
    let channels = format!("__keyspace@{db}__:");
    let connecting = async {
        let mut connection = target.messages().await?;
        let pattern = format!("{channels}{FLAT_PREFIX}*");
        let asked = connection.psubscribe(pattern).await;
        asked.map(|()| connection).map_err(|error| error::unreachable(&error))
    };
    let connection = timeout(within, connecting)
        .await
        .map_err(|_| StorageError::Timeout { outcome_unknown: false })??;
    let id = move |message: redis::Msg| {
        let key = message.get_channel_name().strip_prefix(&channels)?;
        flat_id(key.as_bytes())
    };
    Ok(connection.into_on_message().filter_map(move |message| std::future::ready(id(message))))
}
