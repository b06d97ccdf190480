//! The changes of a tenant's facts, for callers who follow them and for other hosts on the same
//! storage.

use std::time::{Duration, Instant};

use async_trait::async_trait;

use crate::{FactId, Revision, StorageError, TenantId};

/// What happened to a fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// It was stored, or adopted from another program.
    Stored,
    /// It was written again.
    Changed,
    /// It was marked as pending again, and is the same as before.
    Marked,
    /// It was deleted, or storage lost it.
    Deleted,
    /// Its vector was stored.
    Embedded,
}

/// One change in a tenant's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The number of this change. A stored vector has its own, later than its fact's.
    pub revision: Revision,
    /// The fact.
    pub id: FactId,
    /// What happened to it.
    pub kind: ChangeKind,
    /// The revision of the fact: that of the write whose text was embedded, otherwise the same as
    /// `revision`.
    pub of: Revision,
    /// Whether it was made through this very storage value, and not by another host.
    pub is_own: bool,
}

/// What follows a position in a tenant's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changes {
    /// The next changes, oldest first. There are none if the position is the last one.
    Next(Vec<Change>),
    /// Changes after the position are no longer kept, or the tenant was deleted and its revisions
    /// began anew. The reader has to read the whole tenant. It may continue after `until`, to be
    /// told what is still kept, or after `last`.
    Gap {
        /// What is missing ends with this revision. It is before the reader's position if the
        /// revisions began anew.
        until: Revision,
        /// The tenant's revision when the gap was found.
        last: Revision,
    },
}

/// Each tenant's stream of changes. It holds every change since it was created or since the oldest
/// that is kept, in the order of their revisions, without a hole.
///
/// **Atomicity.** A change is appended in the same step as the write that it tells of, so a reader
/// that is told of it finds at least that write.
///
/// **Bounds.** Of each tenant, a number of changes is kept for some time (`StorageLimits`).
/// Deleting a tenant deletes its stream. What versions without streams wrote is a gap.
///
/// **Timeouts.** All of these can be repeated.
#[async_trait]
pub trait ChangeStorage: Send + Sync {
    /// The last revision of each of `tenants`, in their order; 0 for one that never had a fact.
    ///
    /// # Errors
    /// Those of every operation.
    async fn last_revisions(
        &self,
        tenants: &[TenantId],
        deadline: Instant,
    ) -> Result<Vec<Revision>, StorageError>;

    /// Up to `limit` changes (clamped to 1..=1,000) after a position.
    ///
    /// # Errors
    /// Those of every operation.
    async fn changes(
        &self,
        tenant: &TenantId,
        after: Revision,
        limit: usize,
        deadline: Instant,
    ) -> Result<Changes, StorageError>;

    /// Waits until at least one of several tenants has changes after its position, at most for
    /// `wait`, and returns up to `limit` of each. Tenants without any are left out, and may be
    /// left out if their stream is gone, which [`changes`](Self::changes) tells apart.
    ///
    /// # Errors
    /// Those of every operation.
    async fn next_changes(
        &self,
        after: &[(TenantId, Revision)],
        limit: usize,
        wait: Duration,
    ) -> Result<Vec<(TenantId, Changes)>, StorageError>;

    /// Claims the making of a tenant's vectors for `lease`, or longer if this storage value has the
    /// claim already. `false` while another host has it.
    ///
    /// # Errors
    /// Those of every operation.
    async fn claim_embedding(
        &self,
        _tenant: &TenantId,
        _lease: Duration,
        _deadline: Instant,
    ) -> Result<bool, StorageError> {
        Ok(true)
    }
}

impl ChangeKind {
    /// The name under which it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Changed => "changed",
            Self::Marked => "marked",
            Self::Deleted => "deleted",
            Self::Embedded => "embedded",
        }
    }

    /// The kind with this name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Stored, Self::Changed, Self::Marked, Self::Deleted, Self::Embedded]
            .into_iter()
            .find(|kind| kind.as_str() == name)
    }
}

impl Changes {
    /// `changes` as what follows `after`, of a tenant whose revision is `last`: those before the
    /// first hole, or a gap if there are none.
    pub(crate) fn following(after: Revision, last: Revision, mut changes: Vec<Change>) -> Self {
        let first = changes.first().map(|change| change.revision.0);
        match first {
            Some(first) if first == after.0 + 1 => {
                let expected = first..;
                let whole = changes.iter().zip(expected);
                let whole = whole.take_while(|(change, expected)| change.revision.0 == *expected);
                let whole = whole.count();
                changes.truncate(whole);
                Self::Next(changes)
            }
            None if last == after => Self::Next(changes),
            Some(first) => Self::Gap { until: Revision(first.saturating_sub(1)), last },
            None => Self::Gap { until: last, last },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn following(after: u64, last: u64, revisions: &[u64]) -> Result<Vec<u64>, (u64, u64)> {
        let change = |revision: &u64| Change {
            revision: Revision(*revision),
            id: FactId::parse("f").unwrap(),
            kind: ChangeKind::Stored,
            of: Revision(*revision),
            is_own: true,
        };
        let changes = revisions.iter().map(change).collect();
        match Changes::following(Revision(after), Revision(last), changes) {
            Changes::Next(changes) => Ok(changes.iter().map(|change| change.revision.0).collect()),
            Changes::Gap { until, last } => Err((until.0, last.0)),
        }
    }

    #[test]
    fn changes_end_before_a_hole_and_the_hole_is_a_gap() {
        assert_eq!(following(0, 3, &[1, 2, 3]), Ok(vec![1, 2, 3]));
        assert_eq!(following(0, 5, &[1, 2, 5]), Ok(vec![1, 2]));
        assert_eq!(following(2, 5, &[5]), Err((4, 5)));
        assert_eq!(following(5, 5, &[]), Ok(vec![]));
        assert_eq!(following(4, 5, &[]), Err((5, 5)));
        assert_eq!(following(9, 5, &[]), Err((5, 5)), "the revisions began anew");
    }
}
