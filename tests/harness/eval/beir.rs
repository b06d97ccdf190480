//! A folder as BEIR lays it out: `corpus.jsonl`, `queries.jsonl`, and judgements in
//! `qrels/SPLIT.tsv` or `qrels.tsv`. Whatever is wrong in it is an error with file and line.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// A document of the corpus.
#[derive(Deserialize)]
pub struct Document {
    #[serde(rename = "_id")]
    pub id: String,
    #[serde(default)]
    pub title: Option<String>,
    pub text: String,
    #[serde(default)]
    pub metadata: Option<Map<String, Value>>,
}

impl Document {
    /// The title, empty if there is none.
    pub fn title(&self) -> &str {
        self.title.as_deref().unwrap_or_default()
    }
}

/// A query with the documents that answer it.
#[derive(Clone)]
pub struct JudgedQuery {
    pub id: String,
    pub text: String,
    /// The grade of each relevant document; what is missing is not relevant.
    pub relevant: HashMap<String, f64>,
}

/// A corpus on disk, and the queries of one split in memory.
pub struct JudgedSet {
    pub name: String,
    pub split: String,
    directory: PathBuf,
    pub documents: usize,
    /// In the order of `queries.jsonl`.
    pub queries: Vec<JudgedQuery>,
    /// The titles of relevant documents.
    pub titles: HashMap<String, String>,
    /// What the judgements name and the folder does not have, and other things to know.
    pub notes: Vec<String>,
}

#[derive(Deserialize)]
struct QueryLine {
    #[serde(rename = "_id")]
    id: String,
    text: String,
}

type Judgements = BTreeMap<String, HashMap<String, f64>>;

impl JudgedSet {
    /// Reads queries and judgements, and looks at every line of the corpus.
    ///
    /// # Errors
    /// What is missing, or which line of which file is wrong.
    pub fn open(directory: &Path, split: Option<&str>) -> Result<Self> {
        ensure!(directory.is_dir(), "{} is not a folder", directory.display());
        let (split, path) = qrels(directory, split)?;
        let judged = judgements(&path)?;
        let name = directory.canonicalize()?;
        let name = name.file_name().map(|name| name.to_string_lossy().into_owned());
        let mut set = Self {
            name: name.unwrap_or_else(|| "data".into()),
            split,
            directory: directory.to_path_buf(),
            documents: 0,
            queries: Vec::new(),
            titles: HashMap::new(),
            notes: Vec::new(),
        };
        set.read_queries(judged)?;
        ensure!(!set.queries.is_empty(), "{}: no query is judged relevant", path.display());
        set.read_corpus()?;
        Ok(set)
    }

    /// The corpus with the numbers of its lines, read again as it is asked for.
    ///
    /// # Errors
    /// Why the file cannot be opened.
    pub fn corpus(&self) -> Result<impl Iterator<Item = Result<(usize, Document)>> + use<>> {
        lines(&self.directory.join("corpus.jsonl"))
    }

    fn read_queries(&mut self, mut judged: Judgements) -> Result<()> {
        let path = self.directory.join("queries.jsonl");
        let mut seen = HashSet::new();
        for line in lines::<QueryLine>(&path)? {
            let (number, QueryLine { id, text }) = line?;
            ensure!(seen.insert(id.clone()), "{}:{number}: {id:?} twice", path.display());
            let Some(mut relevant) = judged.remove(&id) else { continue };
            relevant.retain(|_, grade| *grade > 0.0);
            if relevant.is_empty() {
                self.notes.push(format!("query {id} has no relevant document and is left out"));
                continue;
            }
            self.queries.push(JudgedQuery { id, text, relevant });
        }
        let missing: Vec<&String> = judged.keys().collect();
        if !missing.is_empty() {
            let missing = named(&missing);
            self.notes
                .push(format!("judged queries that queries.jsonl has not, left out: {missing}"));
        }
        Ok(())
    }

    fn read_corpus(&mut self) -> Result<()> {
        let path = self.directory.join("corpus.jsonl");
        let relevant = self.queries.iter().flat_map(|query| query.relevant.keys().cloned());
        let mut missing: HashSet<String> = relevant.collect();
        // Of ids only hashes are kept: a corpus may have millions.
        let (hashing, mut seen) = (RandomState::new(), HashSet::new());
        for line in self.corpus()? {
            let (number, document) = line?;
            let hash = hashing.hash_one(&document.id);
            ensure!(seen.insert(hash), "{}:{number}: {:?} twice", path.display(), document.id);
            self.documents += 1;
            if missing.remove(&document.id) {
                self.titles.insert(document.id, document.title.unwrap_or_default());
            }
        }
        ensure!(self.documents > 0, "{} has no document", path.display());
        if !missing.is_empty() {
            let mut missing: Vec<&String> = missing.iter().collect();
            missing.sort();
            let missing = named(&missing);
            self.notes.push(format!(
                "relevant documents that corpus.jsonl has not, not found: {missing}"
            ));
        }
        Ok(())
    }
}

/// How many, and the first of them.
fn named(ids: &[&String]) -> String {
    const NAMED: usize = 10;
    let first: Vec<&str> = ids.iter().take(NAMED).map(|id| id.as_str()).collect();
    let more = if ids.len() > NAMED { ", …" } else { "" };
    format!("{} ({}{more})", ids.len(), first.join(", "))
}

/// The split, and the file of its judgements.
fn qrels(directory: &Path, split: Option<&str>) -> Result<(String, PathBuf)> {
    let folder = directory.join("qrels");
    let flat = directory.join("qrels.tsv");
    let wanted = split.unwrap_or("test");
    let path = folder.join(format!("{wanted}.tsv"));
    if path.is_file() {
        return Ok((wanted.to_string(), path));
    }
    if split.is_none() && flat.is_file() {
        return Ok(("all".into(), flat));
    }
    let there: Vec<String> = std::fs::read_dir(&folder)
        .map(|entries| entries.flatten().map(|entry| entry.path()))
        .map(|paths| paths.filter(|path| path.extension().is_some_and(|end| end == "tsv")))
        .map(|paths| paths.filter_map(|path| Some(path.file_stem()?.to_str()?.to_string())))
        .map(Iterator::collect)
        .unwrap_or_default();
    match there.len() {
        0 => bail!("{} has no judgements: no qrels/{wanted}.tsv", directory.display()),
        _ => bail!(
            "{} is not there; choose a split with SPLIT, of {}",
            path.display(),
            there.join(", ")
        ),
    }
}

/// Three columns divided by tabs: query, document, grade. A first line whose grade is no number
/// is a header.
fn judgements(path: &Path) -> Result<Judgements> {
    let mut judged = Judgements::new();
    for (number, line) in numbered(path)? {
        let line = line.with_context(|| format!("{}:{number}", path.display()))?;
        let columns: Vec<&str> = line.trim_end_matches('\r').split('\t').collect();
        let [query, document, grade] = columns[..] else {
            bail!(
                "{}:{number}: expected query, document and grade, divided by tabs: {line:?}",
                path.display()
            );
        };
        match grade.trim().parse::<f64>() {
            Ok(grade) if grade.is_finite() => {
                let of_query = judged.entry(query.to_string()).or_default();
                let before = of_query.insert(document.to_string(), grade);
                ensure!(
                    before.is_none_or(|before| before == grade),
                    "{}:{number}: another grade for {query} and {document} than before",
                    path.display()
                );
            }
            _ if number == 1 => {}
            _ => bail!("{}:{number}: the grade {grade:?} is not a number", path.display()),
        }
    }
    Ok(judged)
}

/// The lines that are not blank, with their numbers from 1.
fn numbered(path: &Path) -> Result<impl Iterator<Item = (usize, std::io::Result<String>)> + use<>> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let lines = BufReader::new(file).lines().enumerate();
    let lines = lines.map(|(at, line)| (at + 1, line));
    Ok(lines.filter(|(_, line)| !line.as_ref().is_ok_and(|line| line.trim().is_empty())))
}

/// Lines of JSON, with their numbers.
pub(crate) fn lines<T: DeserializeOwned>(
    path: &Path,
) -> Result<impl Iterator<Item = Result<(usize, T)>> + use<T>> {
    let shown = path.display().to_string();
    Ok(numbered(path)?.map(move |(number, line)| {
        let line = line.with_context(|| format!("{shown}:{number}"))?;
        // Not serde_json's own line, which is always 1.
        let value = serde_json::from_str(&line).map_err(|error| {
            let message = error.to_string();
            let message = message.split(" at line ").next().unwrap_or_default();
            anyhow::anyhow!("{shown}:{number}: {message} (column {})", error.column())
        })?;
        Ok((number, value))
    }))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const CORPUS: &str = "{\"_id\": \"a\", \"title\": \"T\", \"text\": \"one\"}\n\n\
                          {\"_id\": \"b\", \"text\": \"two\"}\n";
    const QUERIES: &str =
        "{\"_id\": \"q\", \"text\": \"one\"}\n{\"_id\": \"r\", \"text\": \"2\"}\n";
    const QRELS: &str = "query-id\tcorpus-id\tscore\nq\ta\t2\nq\tgone\t1\nr\tb\t0\ns\ta\t1\n";

    /// A folder with one file replaced, and what opening it says.
    fn opened(name: &str, text: Option<&str>, split: Option<&str>) -> Result<JudgedSet> {
        let directory = tempfile::tempdir()?;
        let files = [("corpus.jsonl", CORPUS), ("queries.jsonl", QUERIES)];
        for (file, text) in files.into_iter().chain([("qrels/test.tsv", QRELS)]) {
            fs::create_dir_all(directory.path().join("qrels"))?;
            fs::write(directory.path().join(file), text)?;
        }
        match text {
            Some(text) => fs::write(directory.path().join(name), text)?,
            None => fs::remove_file(directory.path().join(name))?,
        }
        JudgedSet::open(directory.path(), split)
    }

    #[track_caller]
    fn assert_refused(name: &str, text: Option<&str>, split: Option<&str>, why: &str) {
        let refused = opened(name, text, split).err().map(|error| format!("{error:#}"));
        let refused = refused.unwrap_or_default();
        assert!(refused.contains(why), "{why:?} is not in {refused:?}");
    }

    #[test]
    fn what_is_judged_and_missing_is_noted() -> Result<()> {
        let set = opened("qrels/test.tsv", Some(QRELS), None)?;
        assert_eq!((set.documents, set.queries.len(), &*set.split), (2, 1, "test"));
        assert_eq!(set.queries[0].relevant["gone"], 1.0);
        assert_eq!(set.titles["a"], "T");
        let notes = set.notes.join("\n");
        for part in ["query r has no relevant", "left out: 1 (s)", "not found: 1 (gone)"] {
            assert!(notes.contains(part), "{notes}");
        }
        Ok(())
    }

    #[test]
    fn what_is_wrong_is_named_with_its_file_and_line() {
        for (name, text, why) in [
            ("corpus.jsonl", "{\"_id\": \"a\", \"text\": \"x\"}\n{", "corpus.jsonl:2: EOF"),
            ("corpus.jsonl", "{\"text\": \"x\"}", "corpus.jsonl:1: missing field `_id`"),
            ("corpus.jsonl", "\n{\"_id\": 7, \"text\": \"x\"}", "corpus.jsonl:2: invalid type"),
            ("corpus.jsonl", &CORPUS.replace("\"b\"", "\"a\""), "corpus.jsonl:3: \"a\" twice"),
            ("corpus.jsonl", "", "corpus.jsonl has no document"),
            ("queries.jsonl", "{\"_id\": \"q\"}", "queries.jsonl:1: missing field `text`"),
            ("qrels/test.tsv", "q\ta\t1\nq a 1", "test.tsv:2: expected query"),
            ("qrels/test.tsv", "a\tb\tscore\nq\ta\thigh", "test.tsv:2: the grade \"high\""),
            ("qrels/test.tsv", "q\ta\t1\nq\ta\t2", "test.tsv:2: another grade"),
            ("qrels/test.tsv", "q\ta\t0", "no query is judged relevant"),
        ] {
            assert_refused(name, Some(text), None, why);
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_refused("corpus.jsonl", None, None, "corpus.jsonl");
        assert_refused("queries.jsonl", None, None, "queries.jsonl");
        assert_refused("qrels/test.tsv", None, None, "no qrels/test.tsv");
        assert_refused("queries.jsonl", Some(QUERIES), Some("dev"), "SPLIT, of test");
        let nowhere = JudgedSet::open(Path::new("nowhere"), None).err();
        assert_eq!(nowhere.map(|error| error.to_string()), Some("nowhere is not a folder".into()));
    }
}
