//! The house's style, as a test. What it finds it names with its file and line.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Columns of a line of code; `rustfmt.toml` says the same to the formatter.
const COLUMNS: usize = 100;

/// Lines of a Rust file.
const LINES: usize = 500;

/// What is built or downloaded, and what git keeps for itself.
const NOT_OURS: [&str; 7] =
    ["target", ".git", "kenning-data", "node_modules", "__pycache__", "dist", "build"];

/// Files that hold text, by how their names end.
const TEXT: [&str; 14] = [
    "rs", "wit", "md", "toml", "json", "jsonl", "lua", "py", "sh", "yml", "yaml", "html", "js",
    "lock",
];

/// What is in nobody's finished code. In two parts, so that this file is free of it.
const UNFINISHED: [(&str, &str); 5] =
    [("todo", "!("), ("unimplemented", "!("), ("dbg", "!("), ("FIX", "ME"), ("XX", "X")];

/// Places on one machine, and registries by their hosts: a clone knows neither.
const ELSEWHERE: [(&str, &str); 7] = [
    ("/ro", "ot/"),
    ("/wo", "rk/"),
    ("index.crates", ".io"),
    ("static.crates", ".io"),
    ("files.python", "hosted.org"),
    ("pypi.", "org"),
    ("registry.npm", "js.org"),
];

/// Names of types and functions that gave way to the field's terms; docs/GLOSSARY.md says to which.
const RETIRED: [&str; 33] = [
    "Shares",
    "Standing",
    "Places",
    "Pace",
    "Whose",
    "Deeds",
    "Ended",
    "Visit",
    "Captured",
    "Rehearsed",
    "Rested",
    "Samples",
    "Answered",
    "Kept",
    "Asked",
    "Held",
    "Turned",
    "Leave",
    "Half",
    "Holder",
    "Indexing",
    "rehearse",
    "rehearsal",
    "condemn",
    "bury",
    "keeping_up",
    "worded",
    "for_newcomers",
    "visit_with",
    "set_turn",
    "deeds",
    "rested",
    "holder",
];

/// Files that were named after those, and folders.
const RETIRED_PATHS: [&str; 22] = [
    "runtime/shares.rs",
    "runtime/places.rs",
    "runtime/pace.rs",
    "runtime/turn.rs",
    "runtime/verbs.rs",
    "runtime/meter.rs",
    "runtime/rehearsal.rs",
    "runtime/loglines.rs",
    "kb/visit.rs",
    "kb/samples.rs",
    "kb/failures.rs",
    "src/checked.rs",
    "src/indexing.rs",
    "src/indexer/",
    "indexer/keeping_up.rs",
    "swap/forward.rs",
    "swap/back.rs",
    "swap/check.rs",
    "http/who.rs",
    "http/bodies.rs",
    "server/paced.rs",
    "registry/follow.rs",
];

/// A text file of the repository.
struct File {
    /// From the repository's root, with slashes.
    path: String,
    text: String,
}

impl File {
    fn is_code(&self) -> bool {
        self.path.ends_with(".rs") || self.path.ends_with(".wit")
    }

    fn lines(&self) -> impl Iterator<Item = (String, &str)> {
        let place = |number: usize| format!("{}:{}", self.path, number + 1);
        self.text.lines().enumerate().map(move |(number, line)| (place(number), line))
    }
}

fn root() -> Result<PathBuf> {
    Ok(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?)
}

fn files() -> Result<Vec<File>> {
    let root = root()?;
    let mut files = Vec::new();
    collect(&root, &root, &mut files)?;
    Ok(files)
}

fn collect(root: &Path, directory: &Path, files: &mut Vec<File>) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if entry.file_type()?.is_dir() && !NOT_OURS.contains(&&*name) {
            collect(root, &path, files)?;
        } else if entry.file_type()?.is_file() && is_text(&name) {
            let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            let path = path.strip_prefix(root)?.to_string_lossy().into_owned();
            files.push(File { path, text });
        }
    }
    Ok(())
}

fn is_text(name: &str) -> bool {
    match name.rsplit_once('.') {
        Some((_, ending)) => TEXT.contains(&ending),
        None => true,
    }
}

#[track_caller]
fn assert_none(found: &[String], what: &str) {
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

/// Places whose line holds one of `words`, each given in two parts.
fn places_of(files: &[File], words: &[(&str, &str)]) -> Vec<String> {
    let words: Vec<String> = words.iter().map(|(one, other)| format!("{one}{other}")).collect();
    let lines = files.iter().flat_map(File::lines);
    let found = lines.filter_map(|(place, line)| {
        let word = words.iter().find(|word| line.contains(*word))?;
        Some(format!("{place}: {word}"))
    });
    found.collect()
}

fn long_lines(files: &[File]) -> Vec<String> {
    let lines = files.iter().filter(|file| file.is_code()).flat_map(File::lines);
    let long = lines.map(|(place, line)| (place, line.chars().count()));
    long.filter(|(_, columns)| *columns > COLUMNS)
        .map(|(place, columns)| format!("{place}: {columns}"))
        .collect()
}

fn long_files(files: &[File]) -> Vec<String> {
    let rust = files.iter().filter(|file| file.path.ends_with(".rs"));
    let long = rust.map(|file| (file, file.text.lines().count()));
    long.filter(|(_, lines)| *lines > LINES)
        .map(|(file, lines)| format!("{}: {lines}", file.path))
        .collect()
}

#[test]
fn no_line_of_code_is_longer_than_100_columns() -> Result<()> {
    assert_none(&long_lines(&files()?), "lines with more than 100 columns");
    Ok(())
}

#[test]
fn no_rust_file_is_longer_than_500_lines() -> Result<()> {
    assert_none(&long_files(&files()?), "files with more than 500 lines; split them by subject");
    Ok(())
}

#[test]
fn nothing_is_left_unfinished() -> Result<()> {
    let mut files = files()?;
    files.retain(File::is_code);
    assert_none(&places_of(&files, &UNFINISHED), "unfinished");
    Ok(())
}

#[test]
fn a_tenants_component_is_called_an_extension() -> Result<()> {
    let mut files = files()?;
    files.retain(File::is_code);
    let words = [("plug", "in"), ("Plug", "in")];
    assert_none(&places_of(&files, &words), "say `extension`, as the glossary does");
    Ok(())
}

/// A line's code: what stands before a comment, without what is in quotes.
fn code(line: &str) -> String {
    let quoted = line.split('"').step_by(2).collect::<Vec<_>>().join("\"\"");
    quoted.split("//").next().unwrap_or_default().to_string()
}

/// Places where a retired name stands as an identifier.
fn retired_names(files: &[File]) -> Vec<String> {
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    let rust = files.iter().filter(|file| file.path.ends_with(".rs"));
    let found = rust.flat_map(File::lines).filter_map(|(place, line)| {
        let code = code(line);
        let name = code.split(|letter| !is_word(letter)).find(|word| RETIRED.contains(word))?;
        Some(format!("{place}: {name}"))
    });
    found.collect()
}

#[test]
fn no_retired_name_is_used_again() -> Result<()> {
    let mut files = files()?;
    assert!(retired_paths(&files).is_empty(), "retired paths: {:?}", retired_paths(&files));
    // The list itself is here.
    files.retain(|file| file.path != "tests/tidy.rs");
    assert_none(&retired_names(&files), "retired names; docs/GLOSSARY.md says what to use");
    Ok(())
}

fn retired_paths(files: &[File]) -> Vec<&str> {
    let is_retired = |path: &str| {
        path.starts_with("host/")
            && RETIRED_PATHS.iter().any(|old| {
                let below = path.strip_prefix("host/").unwrap_or_default();
                below.contains(old)
                    && !below.starts_with("runtime/src")
                    && !below.contains("tasks/")
            })
    };
    files.iter().map(|file| &*file.path).filter(|path| is_retired(path)).collect()
}

#[test]
fn every_path_that_the_architecture_names_is_there() -> Result<()> {
    let (root, files) = (root()?, files()?);
    let page = files.iter().find(|file| file.path == "docs/ARCHITECTURE.md");
    let page = &page.context("the page of the architecture")?.text;
    let named = page.split('`').skip(1).step_by(2).filter(|word| {
        word.contains('/') && !word.contains([' ', '*', '{']) && !word.starts_with('/')
    });
    let missing: Vec<String> =
        named.filter(|path| !root.join(path).exists()).map(ToString::to_string).collect();
    assert_none(&missing, "docs/ARCHITECTURE.md names what is not there");
    Ok(())
}

#[test]
fn no_file_names_a_place_that_a_clone_does_not_have() -> Result<()> {
    let mut files = files()?;
    // The lock file names where cargo finds packages, by cargo's own convention.
    files.retain(|file| file.path != "Cargo.lock");
    assert_none(&places_of(&files, &ELSEWHERE), "paths of one machine, or hosts of registries");
    Ok(())
}

/// The paths that a document links to, from the repository's root.
fn links(file: &File) -> Vec<String> {
    let folder = Path::new(&file.path).parent().unwrap_or(Path::new(""));
    let after = file.text.split("](").skip(1);
    let targets = after.filter_map(|rest| rest.split([')', '#', ' ']).next());
    let local = targets.filter(|target| !target.is_empty() && !target.contains("://"));
    local.map(|target| normal(&folder.join(target))).collect()
}

/// A path without `.` and `..`.
fn normal(path: &Path) -> String {
    let mut parts: Vec<String> = Vec::new();
    for part in path.components() {
        match part.as_os_str().to_string_lossy().as_ref() {
            "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part.to_string()),
        }
    }
    parts.join("/")
}

/// Documents under `docs/` that the README leads to by no way.
fn orphans(files: &[File]) -> Vec<String> {
    let documents: Vec<&File> = files.iter().filter(|file| file.path.ends_with(".md")).collect();
    let mut reached = BTreeSet::new();
    let mut next = vec!["README.md".to_string()];
    while let Some(path) = next.pop() {
        // A link to a folder is one to its README.
        for path in [format!("{path}/README.md"), path] {
            let Some(file) = documents.iter().find(|file| file.path == path) else { continue };
            if reached.insert(path) {
                next.extend(links(file));
            }
        }
    }
    let in_docs = documents.iter().filter(|file| file.path.starts_with("docs/"));
    in_docs.filter(|file| !reached.contains(&file.path)).map(|file| file.path.clone()).collect()
}

#[test]
fn every_document_can_be_reached_from_the_readme() -> Result<()> {
    assert_none(&orphans(&files()?), "documents that no other links to");
    Ok(())
}

#[test]
fn every_link_between_documents_leads_somewhere() -> Result<()> {
    let root = root()?;
    let files = files()?;
    let documents = files.iter().filter(|file| file.path.ends_with(".md"));
    let broken = documents.flat_map(|file| {
        let missing = links(file).into_iter().filter(|target| !root.join(target).exists());
        missing.map(|target| format!("{}: {target}", file.path)).collect::<Vec<_>>()
    });
    assert_none(&broken.collect::<Vec<_>>(), "links that lead nowhere");
    Ok(())
}

#[test]
fn every_test_that_the_table_of_guests_names_is_there() -> Result<()> {
    let files = files()?;
    let table = files.iter().find(|file| file.path == "tests/guests/README.md");
    let rows = table.context("the table of guests")?.text.lines();
    // The last of a row's columns names tests, in backticks.
    let columns = rows.filter_map(|row| row.strip_suffix('|')?.rsplit('|').next());
    let tests: Vec<&str> = columns.flat_map(|tests| tests.split('`').skip(1).step_by(2)).collect();
    let is_there = |test: &str| {
        let start = format!("fn {test}(");
        files.iter().any(|file| file.path.starts_with("tests/") && file.text.contains(&start))
    };
    let missing = tests.iter().filter(|test| !is_there(test)).map(ToString::to_string);
    assert_none(&missing.collect::<Vec<_>>(), "tests that are named and not there");
    assert!(tests.len() > 20, "the table names tests: {tests:?}");
    Ok(())
}

#[test]
fn every_crate_takes_the_workspaces_lints() -> Result<()> {
    let files = files()?;
    let manifests = files.iter().filter(|file| file.path.ends_with("Cargo.toml"));
    let packages = manifests.filter(|file| file.text.contains("[package]"));
    let without = packages.filter(|file| !file.text.contains("[lints]\nworkspace = true"));
    let without: Vec<String> = without.map(|file| file.path.clone()).collect();
    assert_none(&without, "crates without `[lints] workspace = true`");
    Ok(())
}

#[test]
fn what_is_untidy_is_found() {
    let file = |path: &str, text: &str| File { path: path.into(), text: text.into() };
    let (unfinished, elsewhere) = (UNFINISHED.map(join), ELSEWHERE.map(join));
    let untidy = [
        file("a.rs", &"x".repeat(COLUMNS + 1)),
        file("b.rs", &"\n".repeat(LINES + 1)),
        file("c.rs", &unfinished.join("\n")),
        file("d.md", &elsewhere.join("\n")),
        file("README.md", "[one](docs/one.md), [more](docs/more)"),
        file("docs/one.md", "[two](./two.md#part) [far](https://example.com/x.md)"),
        file("docs/two.md", ""),
        file("docs/more/README.md", "[up](../one.md)"),
        file("docs/orphan.md", "[itself](orphan.md)"),
    ];
    let retired = [file("e.rs", "// Kept for a while.\nlet kept: Kept = say(\"Kept\");")];
    assert_eq!(retired_names(&retired), ["e.rs:2: Kept"]);
    assert_eq!(retired_paths(&[file("host/src/kb/visit.rs", "")]), ["host/src/kb/visit.rs"]);
    assert_eq!(long_lines(&untidy), ["a.rs:1: 101"]);
    assert_eq!(long_files(&untidy), ["b.rs: 501"]);
    assert_eq!(places_of(&untidy, &UNFINISHED).len(), UNFINISHED.len());
    assert_eq!(places_of(&untidy, &ELSEWHERE).len(), ELSEWHERE.len());
    assert_eq!(orphans(&untidy), ["docs/orphan.md"]);
}

fn join((one, other): (&str, &str)) -> String {
    format!("{one}{other}")
}
