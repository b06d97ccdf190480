//! Documents: what a write does to them, and their reads.

use redb::{ReadTransaction, ReadableTable};

use super::handle::Fault;
use super::tables::{DOCUMENTS, DOCUMENTS_REVISION, Tables, table};
use crate::limits::check_document_read;
use crate::{Document, DocumentName, StorageError};

/// A change of one document, if its version is still the expected one.
pub(super) enum DocumentChange {
    Write { name: DocumentName, bytes: Vec<u8>, expected: Option<u64> },
    Delete { name: DocumentName, expected: u64 },
}

impl DocumentChange {
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Write { bytes, .. } => bytes.len(),
            Self::Delete { .. } => 0,
        }
    }

    /// Performs the change; the documents' revision with it, or `None` where the version was not
    /// the expected one.
    pub(super) fn apply(&self, tables: &mut Tables<'_>) -> Result<Option<u64>, Fault> {
        let (name, expected) = match self {
            Self::Write { name, expected, .. } => (name.as_str(), *expected),
            Self::Delete { name, expected } => (name.as_str(), Some(*expected)),
        };
        if tables.documents.get(name)?.map(|row| row.value().0) != expected {
            return Ok(None);
        }
        let revision = tables.documents_revision.get(())?.map_or(0, |row| row.value()) + 1;
        tables.documents_revision.insert((), revision)?;
        match self {
            Self::Write { bytes, .. } => {
                tables.documents.insert(name, (revision, bytes.as_slice()))?;
            }
            Self::Delete { .. } => {
                tables.documents.remove(name)?;
            }
        }
        Ok(Some(revision))
    }
}

pub(super) fn read(
    tx: &ReadTransaction,
    name: &DocumentName,
    max_bytes: usize,
) -> Result<Option<Document>, Fault> {
    let Some(row) = table(tx, DOCUMENTS)?.get(name.as_str())? else {
        return Ok(None);
    };
    let (version, bytes) = row.value();
    check_document_read(bytes.len() as u64, max_bytes)?;
    Ok(Some(Document { version, bytes: bytes.to_vec() }))
}

pub(super) fn list(tx: &ReadTransaction, prefix: &str) -> Result<Vec<(DocumentName, u64)>, Fault> {
    let mut found = Vec::new();
    for row in table(tx, DOCUMENTS)?.range(prefix..)? {
        let (name, row) = row?;
        if !name.value().starts_with(prefix) {
            break;
        }
        let name = DocumentName::parse(name.value());
        let name = name.map_err(|error| StorageError::Corrupt(error.to_string()))?;
        found.push((name, row.value().0));
    }
    Ok(found)
}

pub(super) fn revision(tx: &ReadTransaction) -> Result<u64, Fault> {
    Ok(table(tx, DOCUMENTS_REVISION)?.get(())?.map_or(0, |row| row.value()))
}
