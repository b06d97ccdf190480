//! The direction of dependencies, as a test: crates in layers, and no two files of a crate that
//! need each other.
//!
//! Paths are read from the text: what follows `crate::`, `super::` or `self::` in uses and in
//! expressions, without comments and without inline test modules. A path is followed to the file
//! that defines the name, through re-exports. A module and its own descendants may name each
//! other, as a folder's `mod.rs` does with the files below it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The host's crates, each with the layer that it is in. A crate may use those of lower layers.
const LAYERS: [(&str, u8); 15] = [
    ("backup", 0),
    ("index", 0),
    ("minilm", 0),
    ("model", 0),
    ("trace", 0),
    ("storage", 1),
    ("bindings", 0),
    ("scaffold", 0),
    ("core", 2),
    ("client", 2),
    ("embedder", 3),
    ("tenants", 3),
    ("runtime", 4),
    ("", 5),
    ("tests", 6),
];

/// A module's path inside its crate, such as `["kb", "hooks"]`.
type Module = Vec<String>;

/// The files of one crate, by module.
struct Crate {
    files: BTreeMap<Module, String>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

impl Crate {
    fn read(source: &Path) -> Result<Self> {
        let mut files = BTreeMap::new();
        read_folder(source, &mut Vec::new(), &mut files)?;
        Ok(Self { files })
    }

    /// The pairs of modules of which the first names something that the second defines.
    fn edges(&self) -> BTreeMap<&Module, BTreeSet<Module>> {
        let mut edges = BTreeMap::new();
        for (module, text) in &self.files {
            let named = paths(text).into_iter().filter_map(|path| self.definer(module, &path, 0));
            let others = named.filter(|other| !is_same_branch(module, other));
            edges.insert(module, others.collect::<BTreeSet<_>>());
        }
        edges
    }

    /// The module whose file defines what `path`, written in `module`, names.
    fn definer(&self, module: &Module, path: &[String], depth: u8) -> Option<Module> {
        let mut at = match path.first()?.as_str() {
            "crate" => Vec::new(),
            _ => module.clone(),
        };
        let mut rest = path;
        while let Some(("crate" | "self" | "super", after)) =
            rest.split_first().map(|(first, after)| (first.as_str(), after))
        {
            if rest[0] == "super" {
                at.pop();
            }
            rest = after;
        }
        for (position, segment) in rest.iter().enumerate() {
            let child: Module = at.iter().cloned().chain([segment.clone()]).collect();
            if self.files.contains_key(&child) {
                at = child;
                continue;
            }
            // Not a file: something that `at` defines, or passes on from elsewhere.
            let again = re_exports(self.files.get(&at)?, segment).filter(|_| depth < 8);
            return match again {
                Some(source) => {
                    let source = [source, rest[position + 1..].to_vec()].concat();
                    self.definer(&at, &source, depth + 1).or(Some(at))
                }
                None => Some(at),
            };
        }
        Some(at)
    }

    /// Modules that reach themselves through others, each with the next on the way.
    fn cycles(&self) -> Vec<String> {
        let edges = self.edges();
        let mut cycles = Vec::new();
        for start in edges.keys() {
            let mut seen: BTreeSet<&Module> = BTreeSet::new();
            let mut next: Vec<&Module> = edges[*start].iter().collect();
            while let Some(module) = next.pop() {
                if module == *start {
                    let through: Vec<_> = edges[*start].iter().map(|one| one.join("::")).collect();
                    cycles.push(format!("{} -> {}", start.join("::"), through.join(", ")));
                    break;
                }
                if seen.insert(module) {
                    next.extend(edges.get(module).into_iter().flatten());
                }
            }
        }
        cycles
    }
}

/// Whether one of the two is the other or lies above it.
fn is_same_branch(one: &Module, other: &Module) -> bool {
    one.starts_with(other) || other.starts_with(one)
}

fn read_folder(
    folder: &Path,
    module: &mut Module,
    files: &mut BTreeMap<Module, String>,
) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_stem().context("a file has a name")?.to_string_lossy().into_owned();
        if path.is_dir() && name != "tests" {
            module.push(name);
            read_folder(&path, module, files)?;
            module.pop();
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let mut own = module.clone();
            if !["mod", "lib", "main", "tests"].contains(&name.as_str()) {
                own.push(name.clone());
            }
            // The binary's root is not part of the library, and tests may name anything.
            if !["main", "tests"].contains(&name.as_str()) {
                files.insert(own, without_tests(&fs::read_to_string(&path)?));
            }
        }
    }
    Ok(())
}

/// A file's text without comments and without what follows `#[cfg(test)]`.
fn without_tests(text: &str) -> String {
    let code = text.split("\n#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let code = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.collect::<Vec<_>>().join("\n")
}

/// All paths in `text` that begin at the crate, the module above or the module itself.
fn paths(text: &str) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    for keyword in ["crate::", "super::", "self::"] {
        for (at, _) in text.match_indices(keyword) {
            let before = text[..at].chars().next_back();
            let is_whole = before.is_none_or(|letter| !is_word(letter) && !":$".contains(letter));
            if is_whole {
                read_tree(&text[at..], &mut Vec::new(), &mut paths);
            }
        }
    }
    paths
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// Reads one path or a tree of them, as `a::{b, c::d}`; gives the text behind it.
fn read_tree<'a>(text: &'a str, prefix: &mut Vec<String>, paths: &mut Vec<Vec<String>>) -> &'a str {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = rest.trim_start().trim_start_matches(',').trim_start();
            match rest.strip_prefix('}') {
                Some(after) => return after,
                None if rest.is_empty() => return rest,
                None => {
                    let before = rest.len();
                    rest = read_tree(rest, prefix, paths);
                    // An alias, or something that is no path.
                    let skipped = rest.find([',', '}']).unwrap_or(rest.len());
                    rest = &rest[if rest.len() == before { skipped.max(1) } else { skipped }..];
                }
            }
        }
    }
    let end = text.find(|letter| !is_word(letter)).unwrap_or(text.len());
    if end == 0 {
        // A glob, or the turbofish of the path before.
        paths.push(prefix.clone());
        return text.strip_prefix('*').unwrap_or(text);
    }
    prefix.push(text[..end].to_string());
    let rest = match text[end..].strip_prefix("::") {
        Some(more) => read_tree(more, prefix, paths),
        None => {
            paths.push(prefix.clone());
            &text[end..]
        }
    };
    prefix.pop();
    rest
}

/// Where `text` has `name` from, if it only passes it on or imports it.
fn re_exports(text: &str, name: &str) -> Option<Vec<String>> {
    let uses = text.match_indices("use ").filter(|(at, _)| {
        let line = text[..*at].rsplit('\n').next().unwrap_or_default().trim();
        line.is_empty() || line.starts_with("pub")
    });
    uses.filter_map(|(at, word)| {
        let mut paths = Vec::new();
        read_tree(&text[at + word.len()..], &mut Vec::new(), &mut paths);
        paths.into_iter().find(|path| path.last().is_some_and(|last| last == name))
    })
    .next()
    .filter(|path| path.len() > 1)
    .map(|path| match path[0].as_str() {
        "crate" | "super" | "self" => path,
        // `pub use child::Name` begins at the module itself.
        _ => [vec!["self".to_string()], path].concat(),
    })
}

fn crates() -> Vec<(&'static str, PathBuf)> {
    let hosts = LAYERS.iter().filter(|(name, _)| *name != "tests");
    hosts.map(|(name, _)| (*name, root().join("host").join(name))).collect()
}

#[test]
fn no_two_files_of_a_crate_need_each_other() -> Result<()> {
    let mut found = Vec::new();
    for (name, folder) in crates() {
        let cycles = Crate::read(&folder.join("src"))?.cycles();
        found.extend(cycles.into_iter().map(|cycle| format!("host/{name}: {cycle}")));
    }
    assert!(found.is_empty(), "files in a circle:\n{}", found.join("\n"));
    Ok(())
}

#[test]
fn crates_depend_on_lower_layers_only() -> Result<()> {
    for (name, layer) in LAYERS.iter().filter(|(name, _)| *name != "tests") {
        let manifest = root().join("host").join(name).join("Cargo.toml");
        let manifest =
            fs::read_to_string(&manifest).with_context(|| manifest.display().to_string())?;
        let dependencies = manifest.split("[dependencies]").nth(1).unwrap_or_default();
        let dependencies = dependencies.split("\n[").next().unwrap_or_default();
        for (other, other_layer) in LAYERS.iter().filter(|(other, _)| !other.is_empty()) {
            let uses = dependencies.lines().any(|line| {
                let package = line.split(['.', ' ', '=']).next().unwrap_or_default();
                package == format!("kenning-{other}")
            });
            assert!(!uses || other_layer < layer, "host/{name} must not use kenning-{other}");
        }
    }
    Ok(())
}

#[test]
fn every_crate_of_the_host_has_a_layer() -> Result<()> {
    let listed: BTreeSet<String> = LAYERS.iter().map(|(name, _)| (*name).to_string()).collect();
    for entry in fs::read_dir(root().join("host"))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().join("Cargo.toml").exists() {
            assert!(listed.contains(&name), "host/{name} has no layer in tests/layout.rs");
        }
    }
    Ok(())
}

#[test]
fn files_in_a_circle_are_found() {
    let file = |module: &str, text: &str| {
        let module = module.split("::").filter(|part| !part.is_empty()).map(Into::into).collect();
        (module, text.to_string())
    };
    let files = [
        file("", "pub use a::One;\nmod a;\nmod b;\nmod c;"),
        file("a", "use crate::{b::Two, c};\npub struct One;"),
        file("b", "fn two() -> crate::One {}\npub struct Two;"),
        file("c", "use super::b::Two as Second;"),
        file("c::d", "use super::Second;"),
    ];
    let cycles = Crate { files: BTreeMap::from(files) }.cycles();
    assert_eq!(cycles, ["a -> b, c", "b -> a", "c -> b"]);
}
