//! Facts from elsewhere, in bulk: files of other programs, and folders.

mod formats;
mod ingest;
