//! Indexing facts. A failure here never fails a write: the fact is durable and marked as
//! not indexed, and the host indexes it later.

use crate::budget::batches;
use crate::fact::Fact;
use crate::ports::{Embeddings, EntryRef, Level, Ports, Purpose};
use crate::{Error, Logic, Result};

impl<P: Ports> Logic<P> {
    /// Embeds and upserts `facts`, in one call each unless they are too large. Returns for
    /// each whether it can be found by meaning now.
    pub(crate) fn index(&self, facts: &[&Fact]) -> Vec<bool> {
        let metadata: Vec<_> = facts.iter().map(|fact| fact.indexed_metadata()).collect();
        let both = facts.iter().zip(&metadata);
        let entries: Vec<_> = both.map(|(fact, metadata)| fact.entry(metadata)).collect();
        let sizes: Vec<_> = entries
            .iter()
            .map(|entry| {
                let strings = entry.id.len() + entry.text.len() + entry.metadata.len();
                strings + crate::limits::FACT_OVERHEAD_BYTES
            })
            .collect();
        let mut indexed = Vec::with_capacity(entries.len());
        for range in batches(&self.ports, &sizes) {
            let batch = &entries[range];
            let has_vectors = self.index_batch(batch);
            indexed.extend(batch.iter().map(|_| has_vectors));
        }
        indexed
    }

    fn index_batch(&self, entries: &[EntryRef<'_>]) -> bool {
        let texts: Vec<_> = entries.iter().map(|entry| entry.text).collect();
        let vectors = match self.ports.embed(&texts, Purpose::Document) {
            Ok(vectors) => Some(vectors),
            Err(error) => {
                self.log_error(Level::Debug, "facts will be embedded later", &error);
                None
            }
        };
        let upserted = self.upsert(entries, vectors.as_ref());
        if let Err(error) = &upserted {
            self.log_error(Level::Warn, "facts were stored but not indexed", error);
        }
        upserted.unwrap_or(false)
    }

    /// Returns whether the facts were indexed with vectors.
    fn upsert(&self, entries: &[EntryRef<'_>], vectors: Option<&Embeddings>) -> Result<bool> {
        match self.ports.upsert(entries, vectors) {
            // The model changed since the texts were embedded. Index the words now; the
            // host embeds again.
            Err(Error::ProfileMismatch(_)) if vectors.is_some() => {
                self.ports.upsert(entries, None).map(|()| false)
            }
            upserted => upserted.map(|()| vectors.is_some()),
        }
    }

    /// Logs an error that does not fail the call.
    pub(crate) fn log_error(&self, level: Level, what: &str, error: &Error) {
        self.ports.log(level, &format!("{what}: {error}"));
    }
}
