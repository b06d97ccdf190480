//! Making facts findable, which never fails a write: what is not indexed now the host
//! indexes later, because the fact is durable and marked.

use crate::budget::runs;
use crate::ports::{Embeddings, EntryRef, Level, Ports, Purpose};
use crate::{Error, Logic, Result};

impl<P: Ports> Logic<P> {
    /// Embeds and upserts `entries`, in one call each unless they are too large, and says
    /// of each whether it can be found by meaning.
    pub(crate) fn index(&self, entries: &[EntryRef<'_>]) -> Vec<bool> {
        let sizes: Vec<_> = entries
            .iter()
            .map(|entry| {
                let strings = entry.id.len() + entry.text.len() + entry.metadata.len();
                strings + crate::limits::FACT_OVERHEAD_BYTES
            })
            .collect();
        let mut indexed = Vec::with_capacity(entries.len());
        for run in runs(&self.ports, &sizes) {
            let of_run = &entries[run];
            let found = self.index_run(of_run);
            indexed.extend(of_run.iter().map(|_| found));
        }
        indexed
    }

    fn index_run(&self, entries: &[EntryRef<'_>]) -> bool {
        let texts: Vec<_> = entries.iter().map(|entry| entry.text).collect();
        let vectors = match self.ports.embed(&texts, Purpose::Document) {
            Ok(vectors) => Some(vectors),
            Err(error) => {
                self.note(Level::Debug, "facts wait for their vectors", &error);
                None
            }
        };
        let upserted = self.upsert(entries, vectors.as_ref());
        if let Err(error) = &upserted {
            self.note(Level::Warn, "facts were stored but not indexed", error);
        }
        upserted.unwrap_or(false)
    }

    /// Whether the facts got vectors.
    fn upsert(&self, entries: &[EntryRef<'_>], vectors: Option<&Embeddings>) -> Result<bool> {
        match self.ports.upsert(entries, vectors) {
            // The model changed on the way: words at least, and the host embeds again.
            Err(Error::ProfileMismatch(_)) if vectors.is_some() => {
                self.ports.upsert(entries, None).map(|()| false)
            }
            upserted => upserted.map(|()| vectors.is_some()),
        }
    }

    /// One line about a failure that does not fail the call.
    pub(crate) fn note(&self, level: Level, what: &str, error: &Error) {
        self.ports.log(level, &format!("{what}: {error}"));
    }
}
