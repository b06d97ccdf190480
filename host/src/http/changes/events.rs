//! Changes as server-sent events.

use std::borrow::Cow;

use bytes::Bytes;
use kenning_storage::{Change, ChangeKind, Revision};
use serde::Serialize;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::feed::Told;
use crate::http::openapi::FactId;
use kenning_core::error::Error;

/// How long a client is told to wait before it connects again, in milliseconds.
const RETRY_MS: u64 = 1_000;

/// What is sent so that nobody takes the connection for dead: a comment.
pub(super) const KEEP_ALIVE: Bytes = Bytes::from_static(b":\n");

/// The body as the description has it: OpenAPI 3.1 has no word for events.
pub(super) enum ChangeStream {}

impl PartialSchema for ChangeStream {
    fn schema() -> RefOr<Schema> {
        let description = "Server-sent events. The data of each is a `ChangeEvent`, as JSON.";
        ObjectBuilder::new().schema_type(Type::String).description(Some(description)).into()
    }
}

impl ToSchema for ChangeStream {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("ChangeStream")
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((ChangeEvent::name().into(), ChangeEvent::schema()));
        ChangeEvent::schemas(schemas);
    }
}

/// The data of an event.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase", tag = "kind")]
pub(super) enum ChangeEvent {
    /// A fact was stored.
    Stored(ChangedFact),
    /// A fact's text or metadata was written again.
    Changed(ChangedFact),
    /// A fact was deleted.
    Deleted(ChangedFact),
    /// Changes are no longer kept.
    Gap(MissedChanges),
}

/// The fact that a change is of.
#[derive(Serialize, ToSchema)]
pub(super) struct ChangedFact {
    #[schema(value_type = FactId)]
    id: String,
    /// The number of the change, which is also the event's `id`.
    #[schema(minimum = 1)]
    revision: u64,
}

/// Which changes are missing: those after `from`, up to `to`. If `to` is less, the tenant was
/// deleted and its revisions began anew.
#[derive(Serialize, ToSchema)]
pub(super) struct MissedChanges {
    from: u64,
    to: u64,
}

/// The beginning of a stream: when to come again, and the position from which it goes on.
pub(super) fn beginning(position: Revision) -> String {
    format!("retry: {RETRY_MS}\n{}", reached(position))
}

/// A position without an event: clients send it when they connect again.
pub(super) fn reached(Revision(position): Revision) -> String {
    format!("id: {position}\n\n")
}

/// What a caller is told, and how many changes that are.
pub(super) fn events(told: &Told, text: &mut String) -> Result<u64, Error> {
    match told {
        Told::Gap(from, to) => {
            let missed = MissedChanges { from: from.0, to: to.0 };
            event(to.0, "gap", &ChangeEvent::Gap(missed), text)?;
            Ok(0)
        }
        Told::Changes(changes) => {
            changes.iter().try_for_each(|change| add(change, text))?;
            Ok(changes.len() as u64)
        }
    }
}

fn add(change: &Change, text: &mut String) -> Result<(), Error> {
    let Change { revision: Revision(revision), id, kind, .. } = change;
    let fact = ChangedFact { id: id.as_str().to_owned(), revision: *revision };
    let data = match kind {
        ChangeKind::Stored => ChangeEvent::Stored(fact),
        ChangeKind::Changed => ChangeEvent::Changed(fact),
        ChangeKind::Deleted => ChangeEvent::Deleted(fact),
        // Nobody is told of these.
        ChangeKind::Marked | ChangeKind::Embedded => return Ok(()),
    };
    event(*revision, kind.as_str(), &data, text)
}

fn event(id: u64, name: &str, data: &ChangeEvent, text: &mut String) -> Result<(), Error> {
    let data = serde_json::to_string(data).map_err(Error::internal)?;
    *text += &format!("id: {id}\nevent: {name}\ndata: {data}\n\n");
    Ok(())
}

#[cfg(test)]
mod tests {
    use kenning_storage::FactId;

    use super::*;

    #[test]
    fn an_event_has_the_change_and_nothing_else() {
        let change = |revision, kind, id: &str| Change {
            revision: Revision(revision),
            id: FactId::parse(id).unwrap(),
            kind,
            of: Revision(revision),
            is_own: true,
        };
        let changes = vec![
            change(7, ChangeKind::Stored, "mia-pets"),
            change(9, ChangeKind::Deleted, "port-7"),
        ];
        let mut text = beginning(Revision(6));
        assert_eq!(events(&Told::Changes(changes), &mut text).unwrap(), 2);
        assert_eq!(events(&Told::Gap(Revision(9), Revision(12)), &mut text).unwrap(), 0);
        assert_eq!(
            text,
            "retry: 1000\nid: 6\n\n\
             id: 7\nevent: stored\n\
             data: {\"kind\":\"stored\",\"id\":\"mia-pets\",\"revision\":7}\n\n\
             id: 9\nevent: deleted\n\
             data: {\"kind\":\"deleted\",\"id\":\"port-7\",\"revision\":9}\n\n\
             id: 12\nevent: gap\ndata: {\"kind\":\"gap\",\"from\":9,\"to\":12}\n\n"
        );
    }
}
