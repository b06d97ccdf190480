//! Copies of everything that is stored, for backups.

use std::time::Instant;

use async_trait::async_trait;
use kenning_backup::{Blob, Position, Record, Since, VectorRecord, WholeBecause};
use tokio::sync::mpsc::Sender;

use crate::{Hash, Revision, SpaceName, StorageError, TOLD_BY, TenantId};

/// What to copy.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// One tenant, or all.
    pub tenant: Option<TenantId>,
    /// Tenants whose extensions may keep something although they have no facts, which no list of
    /// tenants names.
    pub also: Vec<TenantId>,
    /// The documents: each of these names, and all below it. All of them if `tenant` is `None`.
    pub documents: Vec<String>,
    /// What the reader has already.
    pub since: Since,
}

/// Copies of what is stored, as records of a backup: the tenants, then the documents, from
/// [`Record::Tenant`] to [`Record::End`].
///
/// **Consistency.** Embedded: everything is of one moment. Redis: each tenant's facts are of the
/// moment that its [`Record::TenantEnd`] names; so are the documents together. What its extensions
/// keep is read shortly before that moment, page by page: how far one was told of changes first, so
/// that what it keeps is at least of then.
///
/// **Since.** Of a tenant that the reader has, only what was changed since then is sent, if the
/// stream of its changes reaches that far; otherwise all of it. What extensions keep is sent as a
/// whole each time: it has no stream, and limits bound it.
///
/// **Bounds.** Records are read as fast as the reader takes them. Memory holds a page of facts, or
/// one document.
#[async_trait]
pub trait CopyStorage: Send + Sync {
    /// Sends all records. Ends early if nobody receives them any more.
    ///
    /// # Errors
    /// Those of every operation.
    async fn copy(&self, wanted: &Wanted, to: &Sender<Record>) -> Result<(), StorageError>;

    /// Sets a tenant's revision to at least `revision`, and empties its stream: whoever follows it
    /// finds a gap. For a tenant that was restored.
    ///
    /// # Errors
    /// Those of every operation.
    async fn raise_revision(
        &self,
        tenant: &TenantId,
        revision: Revision,
        deadline: Instant,
    ) -> Result<(), StorageError>;
}

/// What a document has of pieces.
const PIECE_BYTES: usize = 1 << 20;

impl Wanted {
    pub(crate) fn wants_tenant(&self, tenant: &str) -> bool {
        self.tenant.as_ref().is_none_or(|wanted| wanted.as_str() == tenant)
    }

    pub(crate) fn wants_document(&self, name: &str) -> bool {
        let is_below = |root: &String| {
            let rest = name.strip_prefix(root.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.tenant.is_none() || self.documents.iter().any(is_below)
    }
}

/// A tenant's state as of one moment, without a cursor.
pub(crate) struct State {
    pub(crate) position: Position,
    /// What tells the change of the reader's revision from others; empty if it is not kept.
    pub(crate) change_of_reader: String,
}

/// What is to be sent of a tenant.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// All of it; and why, if the reader has something of it.
    Whole(Option<WholeBecause>),
    /// What was changed after a revision, and the listing from a cursor on, if it was not complete.
    Rest(u64, Option<String>),
}

impl State {
    /// What a reader with `known` needs.
    pub(crate) fn extent(&self, known: Option<&Position>) -> Extent {
        let Some(known) = known else { return Extent::Whole(None) };
        let now = &self.position;
        let is_same_change = !known.change.is_empty() && known.change == self.change_of_reader;
        let had_no_facts = (known.revision, known.facts) == (0, 0);
        // The change itself may have been dropped from the stream by now.
        let is_unchanged = (now.revision, now.facts, now.bytes, &now.newest)
            == (known.revision, known.facts, known.bytes, &known.newest);
        let is_known = is_same_change || is_unchanged || had_no_facts;
        // Of a stream that was cut, or begun anew, the reader's change is not kept.
        let may_be_kept_no_more = self.change_of_reader.is_empty() || known.change.is_empty();
        match now.revision >= known.revision {
            true if is_known => Extent::Rest(known.revision, known.cursor.clone()),
            true if may_be_kept_no_more => Extent::Whole(Some(WholeBecause::ChangesNotKept)),
            _ => Extent::Whole(Some(WholeBecause::OtherHistory)),
        }
    }
}

/// A fact as a record.
pub(crate) fn fact(
    id: &str,
    order: u64,
    pending: bool,
    fields: Hash,
    vector: Option<VectorRecord>,
) -> Record {
    let fields = fields.into_iter().collect();
    Record::Fact { id: id.to_owned(), order, pending, fields, vector }
}

/// A key that an extension keeps, as a record. `None` for a host's claim, which is no other host's.
pub(crate) fn state_key(
    space: &SpaceName,
    key: &[u8],
    value: Vec<u8>,
    expires: Option<u64>,
) -> Option<Record> {
    let is_claim = space.is_hosts() && key == TOLD_BY;
    let (space, key, value) = (space.to_string(), Blob(key.to_vec()), Blob(value));
    (!is_claim).then_some(Record::State { space, key, value, expires })
}

/// A document as records.
pub(crate) fn document<'a>(name: &'a str, bytes: &'a [u8]) -> impl Iterator<Item = Record> + 'a {
    let count = bytes.len().div_ceil(PIECE_BYTES).max(1);
    (0..count).map(move |n| {
        let piece = &bytes[n * PIECE_BYTES..bytes.len().min((n + 1) * PIECE_BYTES)];
        let bytes = Blob(piece.to_vec());
        Record::Document { name: name.to_owned(), bytes, more: n + 1 < count }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(revision: u64, newest: &str, change_of_reader: &str) -> State {
        let position = Position { revision, newest: newest.into(), ..Position::default() };
        State { position, change_of_reader: change_of_reader.into() }
    }

    fn known(revision: u64, newest: &str, change: &str) -> Position {
        let (newest, change) = (newest.into(), change.into());
        Position { revision, newest, change, ..Position::default() }
    }

    #[test]
    fn only_a_reader_of_the_same_history_is_sent_the_rest() {
        let rest = |revision| Extent::Rest(revision, None);
        let of = |state: State, known| state.extent(Some(&known));
        let not_kept = || Extent::Whole(Some(WholeBecause::ChangesNotKept));
        let other = || Extent::Whole(Some(WholeBecause::OtherHistory));
        assert_eq!(state(5, "n", "").extent(None), Extent::Whole(None));
        assert_eq!(of(state(5, "n", "by-at"), known(3, "m", "by-at")), rest(3));
        assert_eq!(of(state(5, "n", ""), known(3, "m", "by-at")), not_kept(), "dropped");
        assert_eq!(of(state(5, "n", "other"), known(3, "m", "by-at")), other(), "new tenant");
        assert_eq!(of(state(5, "n", ""), known(5, "n", "by-at")), rest(5), "unchanged for long");
        assert_eq!(of(state(5, "n", ""), known(5, "m", "")), not_kept());
        assert_eq!(of(state(2, "n", "by-at"), known(5, "n", "by-at")), other(), "set back");
        assert_eq!(of(state(5, "n", ""), known(0, "", "")), rest(0), "it had no facts");
    }

    #[test]
    fn a_document_is_sent_in_pieces() {
        for (length, pieces) in [(0, 1), (PIECE_BYTES, 1), (PIECE_BYTES + 1, 2)] {
            let bytes = vec![7; length];
            let records: Vec<_> = document("a", &bytes).collect();
            assert_eq!(records.len(), pieces);
            let more = |record: &Record| matches!(record, Record::Document { more: true, .. });
            assert_eq!(records.iter().filter(|one| more(one)).count(), pieces - 1);
        }
    }

    #[test]
    fn of_one_tenant_only_its_documents_are_copied() {
        let tenant = TenantId::parse("acme").ok();
        let documents = vec!["tenant/acme".into(), "component/tenant/acme".into()];
        let wanted = Wanted { tenant, documents, ..Wanted::default() };
        assert!(wanted.wants_document("tenant/acme"));
        assert!(wanted.wants_document("component/tenant/acme/0"));
        assert!(!wanted.wants_document("tenant/acme2") && !wanted.wants_document("logic"));
        assert!(Wanted::default().wants_document("logic"));
    }
}
