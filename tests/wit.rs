//! The contract keeps its promises: what was released runs on, and the logic asks
//! for nothing that is not offered.
//!
//! Every version in `wit/released/` is compared with `wit/`, world by world, by shape
//! and not by prose. A component built against a released version must fit the
//! present one; a version that is released has one shape for ever. Further packages are held
//! to the same, once a version of them is released: that of `wit/context` in
//! `wit/released/context/`, that of `wit/retrieval` in `wit/retrieval/released/`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use kenning_tests::component;
use tempfile::TempDir;
use wit_component::{DecodedWasm, decode, semver_check};
use wit_parser::{PackageId, Resolve, UnresolvedPackageGroup, WorldId, WorldItem, WorldKey};

fn contract() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit")
}

/// The further package, which uses the contract's types.
fn retrieval() -> PathBuf {
    contract().join("retrieval")
}

/// The folders of all packages, the contract's first.
fn packages() -> Result<Vec<PathBuf>> {
    let mut further = Vec::new();
    for entry in fs::read_dir(contract())? {
        let path = entry?.path();
        if path.is_dir() && !path.ends_with("released") {
            further.push(path);
        }
    }
    further.sort();
    further.insert(0, contract());
    Ok(further)
}

/// The versions of the package in `folder` that are released.
fn released(folder: &Path) -> Result<Vec<PathBuf>> {
    let name = folder.file_name().context("a folder's name")?;
    let mut paths = Vec::new();
    for folder in [folder.join("released"), contract().join("released").join(name)] {
        if !folder.exists() {
            continue;
        }
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            // Beside the contract's versions are the folders of further packages.
            if entry.file_name().to_string_lossy().starts_with(|first: char| first.is_numeric()) {
                paths.push(entry.path());
            }
        }
    }
    Ok(paths)
}

/// Two versions of a package, side by side.
struct Both {
    resolve: Resolve,
    old: PackageId,
    new: PackageId,
    same_version: bool,
}

impl Both {
    fn read(old: &Path, new: &Path) -> Result<Self> {
        let old = UnresolvedPackageGroup::parse_dir(old)?;
        let mut new = UnresolvedPackageGroup::parse_dir(new)?;
        let same_version = old.main.name == new.main.name;
        // One set of packages holds each name once.
        new.main.name.version = None;
        let mut resolve = Resolve::default();
        if new.main.name.name != "knowledge" {
            resolve.push_dir(contract())?;
        }
        let (old, new) = (resolve.push_group(old)?, resolve.push_group(new)?);
        Ok(Self { resolve, old, new, same_version })
    }

    fn world(&self, package: PackageId, name: &str) -> Result<WorldId> {
        let worlds = &self.resolve.packages[package].worlds;
        worlds.get(name).copied().with_context(|| format!("the world {name} is gone"))
    }

    fn worlds(&self, package: PackageId) -> BTreeSet<String> {
        self.resolve.packages[package].worlds.keys().cloned().collect()
    }

    /// Whether what was built against `from` fits `to`.
    fn fits(&self, from: PackageId, to: PackageId) -> Result<()> {
        for name in self.worlds(from) {
            let (from, to) = (self.world(from, &name)?, self.world(to, &name)?);
            semver_check(self.resolve.clone(), from, to)
                .with_context(|| format!("in the world {name}"))?;
        }
        Ok(())
    }
}

/// Whether `new` keeps what `old` promised.
fn compare(old: &Path, new: &Path) -> Result<()> {
    let both = Both::read(old, new)?;
    both.fits(both.old, both.new).context("components built against it no longer fit")?;
    if both.same_version {
        both.fits(both.new, both.old).context("it is released; give the package a new version")?;
    }
    Ok(())
}

#[test]
fn what_was_built_against_a_released_version_fits_the_present_one() -> Result<()> {
    ensure!(!released(&contract())?.is_empty(), "no version is released");
    for folder in packages()? {
        for version in released(&folder)? {
            compare(&version, &folder).with_context(|| version.display().to_string())?;
        }
    }
    Ok(())
}

#[test]
fn a_released_version_lies_in_the_folder_of_its_name() -> Result<()> {
    for folder in packages()? {
        let name = UnresolvedPackageGroup::parse_dir(&folder)?.main.name;
        for path in released(&folder)? {
            let group = UnresolvedPackageGroup::parse_dir(&path)?;
            assert_eq!(group.main.name.name, name.name, "{}", path.display());
            let version = group.main.name.version.context("a version")?.to_string();
            assert_eq!(path.file_name().and_then(|name| name.to_str()), Some(&*version));
        }
    }
    Ok(())
}

/// The page lists each package with its version, and whether that is frozen.
#[test]
fn the_page_on_the_contract_lists_every_package() -> Result<()> {
    let page = contract().join("../docs/CONTRACT.md");
    let page = fs::read_to_string(page)?;
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| `kenning:")).collect();
    let packages = packages()?;
    assert_eq!(rows.len(), packages.len(), "{rows:?}");
    for folder in packages {
        let name = UnresolvedPackageGroup::parse_dir(&folder)?.main.name;
        let version = name.version.as_ref().context("a version")?.to_string();
        let is_frozen = released(&folder)?.iter().any(|path| path.ends_with(&version));
        let frozen = if is_frozen { "| frozen |" } else { "| not yet |" };
        let row = rows.iter().find(|row| row.starts_with(&format!("| `{name}` |")));
        let row = row.with_context(|| format!("no row of {name}"))?;
        assert!(row.ends_with(frozen), "{row}: {frozen}");
    }
    Ok(())
}

/// The contract with one place in one file changed, as the next version.
fn edited(file: &str, from: &str, to: &str) -> Result<TempDir> {
    let copy = copied(&contract())?;
    replace(copy.path(), "world.wit", "@0.1.0;", "@0.1.1;")?;
    replace(copy.path(), file, from, to)?;
    Ok(copy)
}

fn copied(folder: &Path) -> Result<TempDir> {
    let copy = tempfile::tempdir()?;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_file() {
            fs::copy(&path, copy.path().join(path.file_name().context("a name")?))?;
        }
    }
    Ok(copy)
}

fn replace(directory: &Path, file: &str, from: &str, to: &str) -> Result<()> {
    let path = directory.join(file);
    let text = fs::read_to_string(&path)?;
    ensure!(text.matches(from).count() == 1, "{from:?} is not once in {file}");
    Ok(fs::write(path, text.replace(from, to))?)
}

#[test]
fn a_breaking_change_is_noticed() -> Result<()> {
    let edits = [
        // Imports: less, and other.
        ("host.wit", "  delete: func(id: string) -> result<bool, error>;", ""),
        ("host.wit", "  remaining: func() -> allowance;", "  left: func() -> allowance;"),
        (
            "host.wit",
            "limit: u32) -> result<id-page, error>",
            "limit: u64) -> result<id-page, error>",
        ),
        ("world.wit", "  import index-write;\n", ""),
        // Exports: more.
        (
            "logic.wit",
            "  delete: func(id: string) -> result<_, error>;",
            "  delete: func(id: string) -> result<_, error>;\n  count: func() -> u64;",
        ),
        ("world.wit", "  export search;\n", "  export search;\n  export rerank;\n"),
        // Types: fields and cases, also those that only extensions see.
        ("types.wit", "    indexed: bool,\n", "    indexed: bool,\n    revision: u64,\n"),
        ("types.wit", "    explain: bool,\n", ""),
        ("types.wit", "    embedding,\n  }", "    embedding,\n    index,\n  }"),
        ("types.wit", "    not-found(string),\n", "    not-found,\n"),
        ("types.wit", "    other(string),\n", "    other(string),\n    late,\n"),
        (
            "types.wit",
            "  record refusal {\n    message: string,",
            "  record refusal {\n    reason: string,",
        ),
        ("world.wit", "world rerank-extension {", "world reordering-extension {"),
    ];
    for (file, from, to) in edits {
        let new = edited(file, from, to)?;
        let compared = compare(&contract(), new.path());
        assert!(compared.is_err(), "in {file}, {from:?} became {to:?} and nobody noticed");
    }
    Ok(())
}

#[test]
fn a_change_that_breaks_nothing_passes_as_a_new_version() -> Result<()> {
    let edits = [
        (
            "host.wit",
            "  remaining: func() -> allowance;",
            "  remaining: func() -> allowance;\n  used: func() -> allowance;",
        ),
        ("world.wit", "  import index-write;\n", "  import index-write;\n  import rerank;\n"),
        ("world.wit", "world rerank-extension {", "world empty {}\n\nworld rerank-extension {"),
        ("types.wit", "/// A fact before it is stored.", "/// A fact that is not stored yet."),
    ];
    for (file, from, to) in edits {
        let new = edited(file, from, to)?;
        compare(&contract(), new.path()).with_context(|| format!("{file}: {to:?}"))?;
    }
    Ok(())
}

#[test]
fn a_released_version_may_not_even_grow() -> Result<()> {
    let copy = copied(&contract())?;
    let remaining = "  remaining: func() -> allowance;";
    replace(copy.path(), "host.wit", remaining, &format!("{remaining}\n  more: func();"))?;
    let compared = compare(&contract(), copy.path()).unwrap_err();
    assert!(format!("{compared:#}").contains("give the package a new version"), "{compared:#}");
    Ok(())
}

#[test]
fn a_breaking_change_of_the_further_package_is_noticed() -> Result<()> {
    let file = "retrieval.wit";
    let edits = [
        ("    rarest: list<u32>,\n", ""),
        ("    facts: u32,\n", "    facts: u32,\n    terms: u32,\n"),
        ("    limit: u32,\n", "    limit: u64,\n"),
        ("  import retrieval;\n", ""),
    ];
    for (from, to) in edits {
        let new = copied(&retrieval())?;
        replace(
            new.path(),
            file,
            "package kenning:retrieval@0.1.0;",
            "package kenning:retrieval@0.1.1;",
        )?;
        replace(new.path(), file, from, to)?;
        let compared = compare(&retrieval(), new.path());
        assert!(compared.is_err(), "{from:?} became {to:?} and nobody noticed");
    }
    compare(&retrieval(), &retrieval())
}

/// The interfaces that a world names, each with its version.
fn interfaces<'a>(
    resolve: &'a Resolve,
    items: impl IntoIterator<Item = (&'a WorldKey, &'a WorldItem)>,
) -> BTreeSet<String> {
    items.into_iter().map(|(key, _)| resolve.name_world_key(key)).collect()
}

#[test]
fn the_logic_imports_and_exports_what_the_contract_says() -> Result<()> {
    let decoded = decode(&fs::read(component("logic")?)?)?;
    let DecodedWasm::Component(resolve, world) = &decoded else {
        anyhow::bail!("the logic is no component")
    };
    let logic = &resolve.worlds[*world];
    let mut offered = Resolve::default();
    let (knowledge, _) = offered.push_dir(contract())?;
    let (ranking, _) = offered.push_dir(retrieval())?;
    let released = &offered.worlds[offered.select_world(&[knowledge], Some("logic"))?];
    let contract = &offered.worlds[offered.select_world(&[ranking], Some("ranking-logic"))?];
    assert_eq!(interfaces(&offered, &contract.exports), interfaces(&offered, &released.exports));

    let exports = interfaces(resolve, &logic.exports);
    assert_eq!(exports, interfaces(&offered, &contract.exports));
    let mut offers = interfaces(&offered, &contract.imports);
    offers.insert("kenning:system/system@0.1.0".into());
    for import in interfaces(resolve, &logic.imports) {
        assert!(offers.contains(&import), "the logic imports {import}");
    }
    Ok(())
}
