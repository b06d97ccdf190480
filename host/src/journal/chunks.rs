//! Records in documents of up to a hundred each.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt, stream};
use kenning_storage::{DocumentName, Storage, StorageError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;
use uuid::Uuid;

/// Records in one document.
const RECORDS: usize = 100;

/// Most bytes of one document, except that it holds at least one record.
const BYTES: usize = 512 * 1024;

/// Most bytes of a document that is read.
const READ_BYTES: usize = 8 * BYTES;

/// Documents that are read at the same time.
const READS: usize = 4;

/// How often the records of one document are read again, because their host wrote meanwhile.
const ATTEMPTS: usize = 20;

/// A record, which says when it was made.
pub(super) trait Timed: Clone + Serialize + DeserializeOwned + Send + Sync {
    /// RFC 3339 in UTC with milliseconds.
    fn time(&self) -> &str;
}

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Most records: of all hosts, or of each.
    pub(super) records: usize,
    pub(super) of_each_host: bool,
    pub(super) age: Duration,
}

/// The records of one kind.
pub(super) struct Chunks<R> {
    storage: Arc<dyn Storage>,
    /// The first part of the documents' names.
    kind: &'static str,
    host: String,
    bounds: Bounds,
    operation: Duration,
    /// The document that is appended to.
    open: Mutex<Option<Chunk<R>>>,
}

struct Chunk<R> {
    name: DocumentName,
    version: Option<u64>,
    records: Vec<R>,
}

/// Where a record is.
#[derive(Clone, Debug)]
pub(super) struct Place {
    document: DocumentName,
    at: usize,
}

impl<R: Timed> Chunks<R> {
    pub(super) fn new(
        storage: Arc<dyn Storage>,
        kind: &'static str,
        host: String,
        bounds: Bounds,
        operation: Duration,
    ) -> Self {
        Self { storage, kind, host, bounds, operation, open: Mutex::default() }
    }

    /// Appends records in as few writes as possible. They are durable when this returns; after an
    /// error it is unknown which are.
    pub(super) async fn append(&self, records: Vec<R>) -> Result<Option<Place>, StorageError> {
        let mut open = self.open.lock().await;
        let (mut place, mut left) = (None, records.into_iter().peekable());
        while left.peek().is_some() {
            // Taken out, so that a write that fails leaves none open: its version is unknown.
            let mut chunk = match open.take() {
                Some(chunk) if !chunk.is_full() => chunk,
                _ => self.new_chunk()?,
            };
            let written = chunk.records.len();
            while !chunk.is_full()
                && let Some(record) = left.next()
            {
                chunk.records.push(record);
            }
            if !self.write(&mut chunk).await? {
                // It was too old, and is deleted.
                let records = chunk.records.split_off(written);
                chunk = Chunk { records, ..self.new_chunk()? };
                self.write(&mut chunk).await?;
            }
            let at = chunk.records.len() - 1;
            place = Some(Place { document: chunk.name.clone(), at });
            *open = Some(chunk);
        }
        Ok(place)
    }

    /// Changes a record that this host appended.
    pub(super) async fn amend(
        &self,
        place: &Place,
        change: impl FnOnce(&mut R),
    ) -> Result<(), StorageError> {
        let mut open = self.open.lock().await;
        let current = open.take_if(|chunk| chunk.name == place.document);
        let is_open = current.is_some();
        let chunk = match current {
            Some(chunk) => Some(chunk),
            None => self.read(&place.document).await?,
        };
        let Some(mut chunk) = chunk else { return Ok(()) };
        if let Some(record) = chunk.records.get_mut(place.at) {
            change(record);
            self.write(&mut chunk).await?;
        }
        if is_open {
            *open = Some(chunk);
        }
        Ok(())
    }

    /// Drops the records of all hosts that are not to be kept.
    pub(super) async fn retain(
        &self,
        keep: impl Fn(&R) -> bool + Send + Sync,
    ) -> Result<(), StorageError> {
        // What is appended to is read from storage, too; the next record begins another document.
        let mut open = self.open.lock().await;
        *open = None;
        let listed = self.storage.list_documents(&format!("{}/", self.kind), self.until()).await?;
        for (name, _) in listed {
            self.retain_in(&name, &keep).await?;
        }
        Ok(())
    }

    async fn retain_in(
        &self,
        name: &DocumentName,
        keep: impl Fn(&R) -> bool + Send + Sync,
    ) -> Result<(), StorageError> {
        for _ in 0..ATTEMPTS {
            let Some(mut chunk) = self.read(name).await? else { return Ok(()) };
            let before = chunk.records.len();
            chunk.records.retain(&keep);
            if chunk.records.len() == before || self.write(&mut chunk).await? {
                return Ok(());
            }
        }
        Err(StorageError::Timeout { outcome_unknown: false })
    }

    /// All records that are not too old, newest first.
    pub(super) async fn all(&self) -> Result<Vec<R>, StorageError> {
        let oldest = self.oldest();
        let chunks = self.read_all().await?;
        let mut records: Vec<R> = chunks.into_iter().flat_map(|chunk| chunk.records).collect();
        records.retain(|record| time(record.time()) >= oldest);
        records.sort_by(|one, other| other.time().cmp(one.time()));
        if !self.bounds.of_each_host {
            records.truncate(self.bounds.records);
        }
        Ok(records)
    }

    /// Deletes the documents that are beyond the bounds.
    pub(super) async fn prune(&self) -> Result<(), StorageError> {
        let oldest = self.oldest();
        let mut chunks = self.read_all().await?;
        // The newest first, by the time in the name.
        chunks.sort_by(|one, other| started(&other.name).cmp(started(&one.name)));
        let mut newer: std::collections::HashMap<String, usize> = Default::default();
        for chunk in chunks {
            let group = match self.bounds.of_each_host {
                true => host(&chunk.name).to_string(),
                false => String::new(),
            };
            let newer = newer.entry(group).or_default();
            let last = chunk.records.last().map(|record| time(record.time()));
            let is_old = last.is_none_or(|last| last < oldest);
            if (is_old || *newer >= self.bounds.records)
                && let Some(version) = chunk.version
            {
                self.storage.delete_document(&chunk.name, version, self.until()).await?;
            }
            *newer += chunk.records.len();
        }
        Ok(())
    }

    fn oldest(&self) -> DateTime<Utc> {
        Utc::now() - self.bounds.age
    }

    async fn read_all(&self) -> Result<Vec<Chunk<R>>, StorageError> {
        let listed = self.storage.list_documents(&format!("{}/", self.kind), self.until()).await?;
        let chunks: Vec<Option<Chunk<R>>> = stream::iter(listed)
            .map(|(name, _)| async move { self.read(&name).await })
            .buffered(READS)
            .try_collect()
            .await?;
        Ok(chunks.into_iter().flatten().collect())
    }

    /// A document's records. One that cannot be parsed has none, so that it hides no others.
    async fn read(&self, name: &DocumentName) -> Result<Option<Chunk<R>>, StorageError> {
        let document = self.storage.read_document(name, READ_BYTES, self.until()).await?;
        Ok(document.map(|document| {
            let records = serde_json::from_slice(&document.bytes).unwrap_or_else(|error| {
                tracing::error!(document = %name, %error, "records cannot be read");
                Vec::new()
            });
            Chunk { name: name.clone(), version: Some(document.version), records }
        }))
    }

    /// Returns whether the document was written: it was not if it is gone.
    async fn write(&self, chunk: &mut Chunk<R>) -> Result<bool, StorageError> {
        let bytes = chunk.bytes()?;
        let written =
            self.storage.write_document(&chunk.name, &bytes, chunk.version, self.until()).await?;
        chunk.version = written;
        Ok(written.is_some())
    }

    fn new_chunk(&self) -> Result<Chunk<R>, StorageError> {
        let (since, unique) = (Utc::now().timestamp_millis(), Uuid::new_v4().simple());
        let name = format!("{}/{}/{since:014}-{unique}", self.kind, self.host);
        let name =
            DocumentName::parse(&name).map_err(|error| StorageError::Corrupt(error.to_string()))?;
        Ok(Chunk { name, version: None, records: Vec::new() })
    }

    fn until(&self) -> Instant {
        Instant::now() + self.operation
    }
}

impl<R: Timed> Chunk<R> {
    fn is_full(&self) -> bool {
        self.records.len() >= RECORDS || self.bytes().is_ok_and(|bytes| bytes.len() >= BYTES)
    }

    fn bytes(&self) -> Result<Vec<u8>, StorageError> {
        serde_json::to_vec(&self.records).map_err(|error| StorageError::Corrupt(error.to_string()))
    }
}

fn host(name: &DocumentName) -> &str {
    name.as_str().split('/').nth(1).unwrap_or_default()
}

/// The last part of a document's name, which begins with a time.
fn started(name: &DocumentName) -> &str {
    name.as_str().rsplit('/').next().unwrap_or_default()
}

/// A text that is no time counts as old.
fn time(text: &str) -> DateTime<Utc> {
    text.parse().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use kenning_storage::{Layout, StorageLimits};
    use serde::Deserialize;

    use super::super::now;
    use super::*;

    #[derive(Clone, Debug, Deserialize, Serialize)]
    struct Note {
        time: String,
        number: usize,
        done: bool,
    }

    impl Timed for Note {
        fn time(&self) -> &str {
            &self.time
        }
    }

    fn notes(numbers: std::ops::Range<usize>) -> Vec<Note> {
        numbers.map(|number| Note { time: now(), number, done: false }).collect()
    }

    async fn storage(folder: &tempfile::TempDir) -> Arc<dyn Storage> {
        let url = format!("embedded:{}", folder.path().display());
        kenning_storage::open(&url, Layout::Tenant, StorageLimits::default()).await.unwrap()
    }

    fn chunks(storage: &Arc<dyn Storage>, host: &str, bounds: Bounds) -> Chunks<Note> {
        Chunks::new(storage.clone(), "notes", host.into(), bounds, Duration::from_secs(60))
    }

    const DAY: Duration = Duration::from_secs(86_400);

    #[tokio::test]
    async fn records_of_all_hosts_are_read_and_the_oldest_documents_are_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let storage = storage(&folder).await;
        let bounds = Bounds { records: 150, of_each_host: false, age: DAY };
        let (one, other) = (chunks(&storage, "one", bounds), chunks(&storage, "other", bounds));
        one.append(notes(0..250)).await.unwrap();
        other.append(notes(250..260)).await.unwrap();
        let all = one.all().await.unwrap();
        assert_eq!((all.len(), all[0].number >= 250), (150, true));
        other.prune().await.unwrap();
        let left = storage.list_documents("notes/", other.until()).await.unwrap();
        assert_eq!(left.len(), 3, "10, 50 and 100 records: {left:?}");
    }

    #[tokio::test]
    async fn a_bound_of_each_host_spares_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let storage = storage(&folder).await;
        let bounds = Bounds { records: 100, of_each_host: true, age: DAY };
        let (one, other) = (chunks(&storage, "one", bounds), chunks(&storage, "other", bounds));
        other.append(notes(0..5)).await.unwrap();
        one.append(notes(5..305)).await.unwrap();
        one.prune().await.unwrap();
        let all = other.all().await.unwrap();
        assert_eq!(all.iter().filter(|note| note.number < 5).count(), 5);
        assert_eq!(all.len(), 105);
    }

    #[tokio::test]
    async fn what_is_too_old_is_neither_shown_nor_kept() {
        let folder = tempfile::tempdir().unwrap();
        let storage = storage(&folder).await;
        let bounds = Bounds { records: 100, of_each_host: false, age: DAY };
        let chunks = chunks(&storage, "one", bounds);
        let old = Note { time: "2001-02-03T04:05:06.000Z".into(), number: 0, done: false };
        chunks.append(vec![old]).await.unwrap();
        assert!(chunks.all().await.unwrap().is_empty());
        chunks.prune().await.unwrap();
        assert!(storage.list_documents("notes/", chunks.until()).await.unwrap().is_empty());
        // The document that was open is gone; nothing that comes after it is lost.
        chunks.append(notes(1..2)).await.unwrap();
        assert_eq!(chunks.all().await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_record_can_be_amended_also_in_a_full_document() {
        let folder = tempfile::tempdir().unwrap();
        let storage = storage(&folder).await;
        let bounds = Bounds { records: 1_000, of_each_host: false, age: DAY };
        let chunks = chunks(&storage, "one", bounds);
        let first = chunks.append(notes(0..1)).await.unwrap().unwrap();
        chunks.append(notes(1..150)).await.unwrap();
        let last = chunks.append(notes(150..151)).await.unwrap().unwrap();
        for place in [&first, &last] {
            chunks.amend(place, |note| note.done = true).await.unwrap();
        }
        let all = chunks.all().await.unwrap();
        let done: Vec<_> = all.iter().filter(|note| note.done).map(|note| note.number).collect();
        assert_eq!(
            (all.len(), done.len(), done.contains(&0), done.contains(&150)),
            (151, 2, true, true)
        );
    }
}
