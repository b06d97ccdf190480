//! Fills the indexes in the background: from storage at their first use, and whenever facts are
//! pending.
//!
//! The logic decides what to index of a fact (its export `entries`), so the host reads no field
//! of a fact here.
//!
//! | file | holds |
//! |---|---|
//! | `loading` | loads a tenant's index at its first use, and drops those that nobody uses |
//! | `rebuild` | reads facts and their vectors from storage into an index |
//! | `scheduler` | decides which tenant's pending facts are next |
//! | `step` | indexes one tenant's next facts: their text, then their vectors |
//! | `backlog` | how far one tenant is, and what to do when the embedder fails |
//! | `following` | applies what other hosts on the same storage change |
//! | `others` | decides which host makes a vector |
//! | `languages` | indexes a tenant's facts again when its language was changed |
//! | `missing` | facts that are listed and cannot be read |

mod backlog;
mod following;
mod languages;
mod loading;
mod missing;
mod others;
mod rebuild;
mod scheduler;
mod step;

use std::sync::Arc;
use std::time::{Duration, Instant};

use kenning_index::{Entry, FactIndex, IndexError};
use kenning_storage::{FactId, Revision, StorageError, TenantId};
use tokio::task::JoinHandle;

use crate::kb::{Caller, Kb};
use kenning_core::error::Error;
use kenning_embedder::EmbedError;
use kenning_runtime::held_indexes::HeldIndexes;
use kenning_runtime::tenant_indexes::TenantIndexes;
use kenning_runtime::windows::TextVectors;
use kenning_runtime::{TenantIndex, wit};
use others::Others;

/// Most facts in one call of the logic.
const FACTS: usize = 100;

/// Back-off after failures: doubled from the first to the last.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_LAST: Duration = Duration::from_secs(5);

/// The back-off after one of `backoff`.
fn next_backoff(backoff: Duration) -> Duration {
    (backoff * 2).clamp(RETRY_FIRST, RETRY_LAST)
}

/// Why the indexer had to stop a step.
#[derive(Debug, thiserror::Error)]
enum IndexerError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("embedding: {0}")]
    Embed(#[from] EmbedError),
    #[error("{0}")]
    Logic(#[from] Error),
}

/// Loads indexes as they are used, and indexes pending facts as they appear, until aborted.
pub fn start(kb: Arc<Kb>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let others = Others::new(kb.services().limits.store_embedding);
        let indexer = Indexer { kb, others };
        indexer.probe_embedder().await;
        indexer.watch_adoption();
        tokio::join!(
            indexer.load_used(),
            indexer.warm_up(),
            indexer.keep_to_budget(),
            indexer.keep_up(),
            indexer.sweep(),
            indexer.examine_suspects(),
            indexer.follow_losses(),
            indexer.follow_changes(),
            indexer.follow_languages(),
        );
    })
}

struct Indexer {
    kb: Arc<Kb>,
    others: Others,
}

impl Indexer {
    /// What to index of each of `ids`, in their order; `None` for ids without a fact. The logic is
    /// called again for ids that it did not reach.
    async fn entries(
        &self,
        tenant: &TenantId,
        ids: &[FactId],
    ) -> Result<Vec<Option<wit::Entry>>, IndexerError> {
        let mut entries: Vec<Option<wit::Entry>> = ids.iter().map(|_| None).collect();
        let mut done = 0;
        let mut most = ids.len();
        while done < ids.len() {
            let requested = &ids[done..ids.len().min(done + most)];
            let caller =
                Caller::within(tenant.clone(), self.kb.services().limits.call).in_background();
            let names = requested.iter().map(ToString::to_string).collect();
            let returned = self.kb.entries(&caller, names).await?;
            let unreached = returned.iter().rev().take_while(|entry| entry.is_none()).count();
            align(returned, requested, &mut entries[done..])?;
            if unreached < requested.len() {
                done += requested.len() - unreached;
                most = ids.len();
            } else if requested.len() > 1 {
                most = 1;
            } else {
                // Requested alone and still without an entry: treated as no fact.
                done += 1;
            }
        }
        self.note_missing(tenant, ids, &entries).await?;
        Ok(entries)
    }

    /// Marks the default tenant as late whenever storage adopts facts of other programs.
    fn watch_adoption(&self) {
        let Some(mut adoption) = self.kb.services().storage.adoption() else { return };
        let kb = self.kb.clone();
        tokio::spawn(async move {
            let Ok(tenant) = TenantId::parse(kenning_core::limits::DEFAULT_TENANT) else { return };
            // Marked once at first: facts may have been adopted before this task started.
            loop {
                kb.services().indexes.mark_pending(&tenant);
                if adoption.changed().await.is_err() {
                    return;
                }
            }
        });
    }

    fn indexes(&self) -> &TenantIndexes {
        &self.kb.services().indexes
    }

    fn held(&self) -> &HeldIndexes {
        self.indexes().held()
    }

    fn until(&self) -> Instant {
        Instant::now() + self.kb.services().limits.storage_operation
    }
}

/// Puts the entries that the logic returned at the positions of their ids in `requested`. They
/// come in that order, without ids that have no fact.
fn align(
    returned: Vec<Option<wit::Entry>>,
    requested: &[FactId],
    entries: &mut [Option<wit::Entry>],
) -> Result<(), IndexerError> {
    let mut slots = requested.iter().zip(entries);
    for entry in returned.into_iter().flatten() {
        let Some((_, slot)) = slots.find(|(id, _)| id.as_str() == entry.id) else {
            let reason = "the logic gave an entry that was not requested, or out of order";
            return Err(Error::internal(reason).into());
        };
        *slot = Some(entry);
    }
    Ok(())
}

/// Adds a fact to the index. A failure is only logged, so that one fact does not stop the others.
/// A fact whose metadata cannot be parsed is found by its text alone. Waits for long searches, as
/// every writer does: it would keep a thread waiting for the index otherwise.
async fn upsert(
    (indexes, tenant, index): (&TenantIndexes, &TenantId, &TenantIndex),
    id: &FactId,
    revision: Revision,
    entry: &wit::Entry,
    vectors: Option<&TextVectors>,
) {
    let (id, text, revision) = (id.as_str(), entry.text.as_str(), revision.0);
    let vector = vectors.map(|vectors| vectors.values.as_slice());
    let embedded = vectors.map_or(text.len(), |vectors| vectors.embedded_bytes);
    let _turn = index.write().await;
    // A newer revision with the same text takes the vectors, if it has none. Another text does not.
    let known = index.revision(id).filter(|_| vector.is_some() && !index.has_vector(id));
    let revision = known.map_or(revision, |known| known.max(revision));
    let add = |metadata| {
        let entry = Entry { id, revision, text, metadata, vector };
        indexes.upsert_entry(tenant, index, &entry, embedded)
    };
    let mut upserted = add(&entry.metadata);
    if let Err(error @ IndexError::Metadata(_)) = &upserted {
        tracing::warn!(%id, %error, "a fact is indexed without its metadata");
        upserted = add("{}");
    }
    if let Err(error) = upserted {
        tracing::warn!(%id, %error, "fact not indexed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: &str) -> wit::Entry {
        wit::Entry { id: id.into(), text: format!("text of {id}"), metadata: "{}".into() }
    }

    fn aligned(returned: Vec<Option<wit::Entry>>) -> Result<Vec<Option<String>>, IndexerError> {
        let requested = ["a", "b", "c", "d"].map(|id| FactId::parse(id).unwrap());
        let mut entries = vec![None; requested.len()];
        align(returned, &requested, &mut entries)?;
        Ok(entries.into_iter().map(|entry| entry.map(|entry| entry.id)).collect())
    }

    #[test]
    fn entries_are_aligned_with_their_ids_when_others_are_missing() {
        let ids = aligned(vec![Some(entry("b")), Some(entry("d"))]).unwrap();
        assert_eq!(ids, [None, Some("b".into()), None, Some("d".into())]);
        let ids = aligned(vec![Some(entry("a")), None, None]).unwrap();
        assert_eq!(ids, [Some("a".into()), None, None, None]);
        assert_eq!(aligned(Vec::new()).unwrap(), [None, None, None, None]);
    }

    #[test]
    fn an_entry_of_another_fact_is_refused() {
        assert!(aligned(vec![Some(entry("z"))]).is_err());
        assert!(aligned(vec![Some(entry("b")), Some(entry("a"))]).is_err());
    }

    #[test]
    fn back_off_grows_to_its_maximum() {
        let mut backoff = Duration::ZERO;
        for _ in 0..20 {
            backoff = next_backoff(backoff);
            assert!((RETRY_FIRST..=RETRY_LAST).contains(&backoff));
        }
        assert_eq!(backoff, RETRY_LAST);
    }
}
