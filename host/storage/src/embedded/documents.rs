//! Documents: reads of a snapshot, and what the writer does.

use std::time::Instant;

use async_trait::async_trait;
use redb::{ReadTransaction, ReadableTable};

use super::Embedded;
use super::handle::TransactionError;
use super::request::{DocumentChange, Request};
use super::tables::{
    DOCUMENTS, DOCUMENTS_REVISION, Tables, damaged, document_sum, documents_revision_sum, table,
};
use crate::limits::{check_document, check_document_read};
use crate::{Document, DocumentName, DocumentStorage, Revision, StorageError};

#[async_trait]
impl DocumentStorage for Embedded {
    async fn read_document(
        &self,
        name: &DocumentName,
        max_bytes: usize,
        deadline: Instant,
    ) -> Result<Option<Document>, StorageError> {
        let (end, name) = (self.limits.document_end(deadline)?, name.clone());
        self.snapshot_until(end, move |tx| read(tx, &name, max_bytes)).await
    }

    async fn write_document(
        &self,
        name: &DocumentName,
        bytes: &[u8],
        expected: Option<u64>,
        deadline: Instant,
    ) -> Result<Option<u64>, StorageError> {
        check_document(bytes.len())?;
        let change = DocumentChange::Write { bytes: bytes.to_vec(), expected };
        self.change_document(name, change, deadline).await
    }

    async fn delete_document(
        &self,
        name: &DocumentName,
        expected: u64,
        deadline: Instant,
    ) -> Result<bool, StorageError> {
        let change = DocumentChange::Delete { expected };
        Ok(self.change_document(name, change, deadline).await?.is_some())
    }

    async fn list_documents(
        &self,
        prefix: &str,
        deadline: Instant,
    ) -> Result<Vec<(DocumentName, u64)>, StorageError> {
        let prefix = prefix.to_owned();
        self.snapshot(deadline, move |tx| list(tx, &prefix)).await
    }

    async fn documents_revision(&self, deadline: Instant) -> Result<u64, StorageError> {
        self.snapshot(deadline, revision).await
    }
}

impl Embedded {
    /// Returns the documents' new revision; `None` if the version was not the expected one.
    async fn change_document(
        &self,
        name: &DocumentName,
        change: DocumentChange,
        deadline: Instant,
    ) -> Result<Option<u64>, StorageError> {
        let end = self.limits.document_end(deadline)?;
        let answers = self.writer.submit(Request::Document(name.clone(), change), end).await?;
        Ok(answers.into_iter().next().flatten().map(|Revision(revision)| revision))
    }
}

/// Performs `change` and returns the documents' new revision; `None` if the version was not the
/// expected one.
pub(super) fn apply(
    tables: &mut Tables<'_>,
    name: &str,
    change: &DocumentChange,
) -> Result<Option<u64>, TransactionError> {
    if tables.documents.get(name)?.map(|row| row.value().0) != change.expected() {
        return Ok(None);
    }
    let revision = last_revision(&tables.documents_revision)? + 1;
    tables.put_documents_revision(revision)?;
    match change {
        DocumentChange::Write { bytes, .. } => {
            tables.put_document(name, revision, bytes)?;
        }
        DocumentChange::Delete { .. } => {
            tables.documents.remove(name)?;
        }
    }
    Ok(Some(revision))
}

fn read(
    tx: &ReadTransaction,
    name: &DocumentName,
    max_bytes: usize,
) -> Result<Option<Document>, TransactionError> {
    let Some(row) = table(tx, DOCUMENTS)?.get(name.as_str())? else {
        return Ok(None);
    };
    let (version, bytes, sum) = row.value();
    check_document_read(bytes.len() as u64, max_bytes)?;
    if document_sum(name.as_str(), version, bytes) != sum {
        return Err(damaged(format!("the document {name}")).into());
    }
    Ok(Some(Document { version, bytes: bytes.to_vec() }))
}

fn list(tx: &ReadTransaction, prefix: &str) -> Result<Vec<(DocumentName, u64)>, TransactionError> {
    let mut found = Vec::new();
    for row in table(tx, DOCUMENTS)?.range(prefix..)? {
        let (name, row) = row?;
        if !name.value().starts_with(prefix) {
            break;
        }
        // A damaged name must not hide the others.
        if let Ok(name) = DocumentName::parse(name.value()) {
            found.push((name, row.value().0));
        }
    }
    Ok(found)
}

fn revision(tx: &ReadTransaction) -> Result<u64, TransactionError> {
    last_revision(&table(tx, DOCUMENTS_REVISION)?)
}

fn last_revision(revisions: &impl ReadableTable<(), (u64, u32)>) -> Result<u64, TransactionError> {
    let Some(row) = revisions.get(())? else { return Ok(0) };
    let (revision, sum) = row.value();
    if documents_revision_sum(revision) == sum {
        return Ok(revision);
    }
    Err(damaged("the revision of the documents".into()).into())
}
