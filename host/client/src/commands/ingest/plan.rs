//! What has to be done so that the server has the facts of a folder.

use std::collections::HashMap;
use std::fs;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::folder::{Entry, Folder};
use super::state::Known;
use super::{FACTS, HASH, NAME, PATH, SOURCE};
use crate::formats::{Converted, Draft, Metadata, Record, Refused, identify, markdown, text};

/// The most bytes of one file.
const FILE_BYTES: u64 = 64 * 1024 * 1024;

/// What became of a file since it was ingested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    New,
    Changed,
    None,
}

impl Change {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Changed => "changed",
            Self::None => "unchanged",
        }
    }
}

/// A file that was read.
pub(super) struct File {
    pub(super) source: String,
    pub(super) hash: String,
    pub(super) change: Change,
    /// Its facts, if they have to be stored.
    pub(super) records: Vec<Record>,
}

pub(super) struct Plan {
    pub(super) files: Vec<File>,
    /// Files that are gone.
    pub(super) removed: Vec<String>,
    /// Files that cannot be read.
    pub(super) refused: Vec<Refused>,
}

impl Plan {
    pub(super) fn new(
        folder: &Folder,
        entries: Vec<Entry>,
        mut known: HashMap<String, Known>,
    ) -> Self {
        let (mut files, mut refused) = (Vec::new(), Vec::new());
        for entry in entries {
            let known = known.remove(&entry.source);
            match File::read(folder, &entry, known.as_ref()) {
                Ok(file) => files.push(file),
                Err(reason) => refused.push(Refused { name: entry.source, reason }),
            }
        }
        let mut removed: Vec<String> = known.into_keys().collect();
        removed.sort();
        Self { files, removed, refused }
    }

    /// The facts to store, as lines of JSON; and of each its file and its name.
    pub(super) fn lines(&self) -> (Vec<u8>, Vec<(String, String)>) {
        let mut all = Converted::default();
        let mut places = Vec::new();
        for file in &self.files {
            for record in &file.records {
                places.push((file.source.clone(), format!("{}: {}", file.source, record.name)));
                all.records.push(record.clone());
            }
        }
        (all.lines(), places)
    }
}

impl File {
    fn read(folder: &Folder, entry: &Entry, known: Option<&Known>) -> Result<Self, String> {
        let unreadable = |error: std::io::Error| format!("it cannot be read: {error}");
        let size = fs::metadata(&entry.path).map_err(unreadable)?.len();
        if size > FILE_BYTES {
            return Err(format!("it has {size} bytes, and {FILE_BYTES} are the most"));
        }
        let bytes = fs::read(&entry.path).map_err(unreadable)?;
        let hash: String =
            Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        let source = entry.source.clone();
        if known.is_some_and(|known| known.is_of(&hash)) {
            return Ok(Self { source, hash, change: Change::None, records: Vec::new() });
        }
        let text = text(&bytes)?;
        let records = records(folder, entry, &hash, text);
        let change = match (known, records.is_empty()) {
            // Nothing is stored of it, so it stays unknown.
            (None, true) => Change::None,
            (None, false) => Change::New,
            (Some(_), _) => Change::Changed,
        };
        Ok(Self { source, hash, change, records })
    }
}

fn records(folder: &Folder, entry: &Entry, hash: &str, text: &str) -> Vec<Record> {
    let sections = match entry.is_markdown {
        true => markdown::sections(text),
        false => {
            let parts = markdown::parts(text.trim()).into_iter();
            parts.map(|text| markdown::Section { path: Vec::new(), text }).collect()
        }
    };
    let count = sections.len();
    let mut seen: HashMap<Vec<String>, usize> = HashMap::new();
    let sections = sections.into_iter().enumerate();
    sections
        .map(|(number, section)| {
            let name = markdown::name(&section, number);
            let place = seen.entry(section.path.clone()).or_default();
            *place += 1;
            let place = place.to_string();
            let of_file = [&*folder.name, &*entry.source, &*place];
            let parts: Vec<&str> =
                of_file.into_iter().chain(section.path.iter().map(|title| &**title)).collect();
            let id = Some(identify("doc", &parts));
            let metadata = metadata(folder, entry, hash, count, section.path);
            Record { name, draft: Draft { id, content: section.text, metadata, timestamp: None } }
        })
        .collect()
}

fn metadata(
    folder: &Folder,
    entry: &Entry,
    hash: &str,
    count: usize,
    path: Vec<String>,
) -> Metadata {
    let mut metadata = Metadata::new();
    metadata.insert(NAME.to_owned(), Value::from(folder.name.as_str()));
    metadata.insert(SOURCE.to_owned(), Value::from(entry.source.as_str()));
    metadata.insert(HASH.to_owned(), Value::from(hash));
    metadata.insert(FACTS.to_owned(), Value::from(count));
    if !path.is_empty() {
        metadata.insert(PATH.to_owned(), Value::from(path));
    }
    metadata
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(root: &std::path::Path, known: HashMap<String, Known>) -> Plan {
        let folder = Folder::open(root, Some("notes")).unwrap();
        Plan::new(&folder, folder.files().unwrap(), known)
    }

    #[test]
    fn new_files_become_facts_and_what_cannot_be_read_is_named() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("a.md"), "# A\n\none\n\n## B\n\ntwo").unwrap();
        std::fs::write(root.path().join("b.txt"), "three").unwrap();
        std::fs::write(root.path().join("c.txt"), b"\xff").unwrap();
        std::fs::write(root.path().join("d.md"), "").unwrap();
        let gone = HashMap::from([("gone.md".to_owned(), Known::default())]);
        let plan = plan(root.path(), gone);
        let said: Vec<_> =
            plan.files.iter().map(|file| (file.change, file.records.len())).collect();
        assert_eq!(said, [(Change::New, 2), (Change::New, 1), (Change::None, 0)]);
        assert_eq!(plan.refused[0].name, "c.txt");
        assert_eq!(plan.removed, ["gone.md"]);
        let (lines, places) = plan.lines();
        assert_eq!(lines.iter().filter(|byte| **byte == b'\n').count(), 3);
        assert_eq!(places[1], ("a.md".into(), "a.md: section 2 (A > B)".into()));
        let metadata = &plan.files[0].records[1].draft.metadata;
        assert_eq!(metadata["path"], serde_json::json!(["A", "B"]));
        assert_eq!((&metadata["source_facts"], &metadata["ingest"]), (&2.into(), &"notes".into()));
    }

    #[test]
    fn a_file_that_cannot_be_read_is_not_taken_for_removed() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("c.txt"), b"\xff").unwrap();
        let known = HashMap::from([("c.txt".to_owned(), Known::default())]);
        assert_eq!(plan(root.path(), known).removed, [""; 0]);
    }
}
