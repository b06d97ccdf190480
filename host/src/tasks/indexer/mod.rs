//! Fills the indexes in the background: from storage at start, and whenever facts
//! are pending.
//!
//! What is indexed of a fact is the logic's to say (its export `entries`), so the
//! host reads no field of a fact here.
//!
//! | file | holds |
//! |---|---|
//! | `rebuild` | every tenant's index, from storage, once |
//! | `keeping_up` | whose pending facts are seen to next |
//! | `step` | one tenant's next facts: their words, or their vectors |
//! | `backlog` | how far one tenant is, and how to go on when the embedder fails |

mod backlog;
mod rebuild;
mod scheduler;
mod step;

use std::sync::Arc;
use std::time::{Duration, Instant};

use kenning_index::{Entry, FactIndex, Index};
use kenning_storage::{FactId, Revision, StorageError, TenantId};
use tokio::task::JoinHandle;

use crate::kb::{Caller, Kb};
use kenning_core::error::Error;
use kenning_embedder::EmbedError;
use kenning_runtime::tenant_indexes::TenantIndexes;
use kenning_runtime::wit;

/// Facts in one call of the logic.
const FACTS: usize = 100;

/// Pauses between tries, doubled from the first to the last.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_LAST: Duration = Duration::from_secs(5);

/// The pause after one of `pause`.
fn longer(pause: Duration) -> Duration {
    (pause * 2).clamp(RETRY_FIRST, RETRY_LAST)
}

/// Why the indexer could not go on.
#[derive(Debug, thiserror::Error)]
enum IndexerError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("embedding: {0}")]
    Embed(#[from] EmbedError),
    #[error("{0}")]
    Logic(#[from] Error),
}

/// Rebuilds all indexes, then keeps up with what is pending, until aborted.
pub fn start(kb: Arc<Kb>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let indexer = Indexer { kb };
        indexer.rebuild_until_done().await;
        indexer.watch_adoption();
        indexer.keep_up().await;
    })
}

struct Indexer {
    kb: Arc<Kb>,
}

impl Indexer {
    /// What the logic says is to be indexed of `ids`, in their order, however often its
    /// answer is cut; `None` for what is no fact.
    async fn entries(
        &self,
        tenant: &TenantId,
        ids: &[FactId],
    ) -> Result<Vec<Option<wit::Entry>>, IndexerError> {
        let mut entries: Vec<Option<wit::Entry>> = ids.iter().map(|_| None).collect();
        let mut reached = 0;
        let mut most = ids.len();
        while reached < ids.len() {
            let asked = &ids[reached..ids.len().min(reached + most)];
            let caller =
                Caller::within(tenant.clone(), self.kb.services().limits.call).in_background();
            let names = asked.iter().map(ToString::to_string).collect();
            let answer = self.kb.entries(&caller, names).await?;
            let unreached = answer.iter().rev().take_while(|entry| entry.is_none()).count();
            place(answer, asked, &mut entries[reached..])?;
            if unreached < asked.len() {
                reached += asked.len() - unreached;
                most = ids.len();
            } else if asked.len() > 1 {
                most = 1;
            } else {
                // Not even by itself: as good as no fact.
                tracing::warn!(id = %asked[0], "the logic gave no entry of a fact");
                reached += 1;
            }
        }
        Ok(entries)
    }

    /// Other programs' facts, as storage takes them in, are pending like any other.
    fn watch_adoption(&self) {
        let Some(mut adoption) = self.kb.services().storage.adoption() else { return };
        let kb = self.kb.clone();
        tokio::spawn(async move {
            let Ok(tenant) = TenantId::parse(kenning_core::limits::DEFAULT_TENANT) else { return };
            // Also once at first: a pass may have ended before anyone watched.
            loop {
                kb.services().indexes.mark_pending(&tenant);
                if adoption.changed().await.is_err() {
                    return;
                }
            }
        });
    }

    fn indexing(&self) -> &TenantIndexes {
        &self.kb.services().indexes
    }

    fn until(&self) -> Instant {
        Instant::now() + self.kb.services().limits.storage_operation
    }
}

/// Puts the entries of an answer where their ids stand in `asked`. They come in that
/// order, without those that are no facts.
fn place(
    answer: Vec<Option<wit::Entry>>,
    asked: &[FactId],
    entries: &mut [Option<wit::Entry>],
) -> Result<(), IndexerError> {
    let mut places = asked.iter().zip(entries);
    for entry in answer.into_iter().flatten() {
        let Some((_, place)) = places.find(|(id, _)| id.as_str() == entry.id) else {
            let reason = "the logic gave an entry that was not asked for, or out of order";
            return Err(Error::internal(reason).into());
        };
        *place = Some(entry);
    }
    Ok(())
}

/// One odd fact must not keep the others from being found.
fn upsert(
    index: &Index,
    id: &FactId,
    revision: Revision,
    entry: &wit::Entry,
    vector: Option<&[f32]>,
) {
    let upserted = index.upsert(&Entry {
        id: id.as_str(),
        revision: revision.0,
        text: &entry.text,
        metadata: &entry.metadata,
        vector,
    });
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

    fn placed(answer: Vec<Option<wit::Entry>>) -> Result<Vec<Option<String>>, IndexerError> {
        let asked = ["a", "b", "c", "d"].map(|id| FactId::parse(id).unwrap());
        let mut entries = vec![None; asked.len()];
        place(answer, &asked, &mut entries)?;
        Ok(entries.into_iter().map(|entry| entry.map(|entry| entry.id)).collect())
    }

    #[test]
    fn an_entry_is_that_of_its_id_also_where_others_are_left_out_or_not_reached() {
        let ids = placed(vec![Some(entry("b")), Some(entry("d"))]).unwrap();
        assert_eq!(ids, [None, Some("b".into()), None, Some("d".into())]);
        let ids = placed(vec![Some(entry("a")), None, None]).unwrap();
        assert_eq!(ids, [Some("a".into()), None, None, None]);
        assert_eq!(placed(Vec::new()).unwrap(), [None, None, None, None]);
    }

    #[test]
    fn an_entry_of_another_fact_is_refused() {
        assert!(placed(vec![Some(entry("z"))]).is_err());
        assert!(placed(vec![Some(entry("b")), Some(entry("a"))]).is_err());
    }

    #[test]
    fn pauses_grow_to_a_bound() {
        let mut pause = Duration::ZERO;
        for _ in 0..20 {
            pause = longer(pause);
            assert!((RETRY_FIRST..=RETRY_LAST).contains(&pause));
        }
        assert_eq!(pause, RETRY_LAST);
    }
}
