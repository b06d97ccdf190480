use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::templates::{CONTRACT, FURTHER, GENERATED, SDK};
use crate::{Error, Language, new_extension};

const LANGUAGES: [Language; 3] = [Language::Rust, Language::JavaScript, Language::Python];

fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// The files below `directory`, relative to it.
fn files_in(directory: &Path) -> BTreeSet<String> {
    fn collect(root: &Path, directory: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            match entry.file_type().unwrap().is_dir() {
                true => collect(root, &entry.path(), found),
                false => {
                    let path = entry.path();
                    found.insert(path.strip_prefix(root).unwrap().to_str().unwrap().to_string());
                }
            }
        }
    }
    let mut found = BTreeSet::new();
    collect(directory, directory, &mut found);
    found
}

#[test]
fn a_project_contains_its_name_and_all_of_its_files() {
    let parent = tempfile::tempdir().unwrap();
    for (language, main) in
        LANGUAGES.into_iter().zip(["src/lib.rs", "src/extension.js", "src/app.py"])
    {
        let name = format!("hello-{language:?}").to_lowercase();
        let root = new_extension(parent.path(), &name, language).unwrap();
        assert_eq!(root, parent.path().join(&name));
        let files = files_in(&root);
        for path in ["Makefile", "README.md", ".gitignore", main] {
            assert!(files.contains(path), "{path} is not among {files:?}");
        }
        let texts: Vec<String> =
            files.iter().map(|path| fs::read_to_string(root.join(path)).unwrap()).collect();
        assert!(
            !texts.iter().any(|text| text.contains("{{name}}")),
            "a placeholder was not replaced"
        );
        let makefile = fs::read_to_string(root.join("Makefile")).unwrap();
        assert!(makefile.contains(&format!("NAME := {name}\n")));
    }
}

#[test]
fn an_existing_file_or_directory_is_never_changed() {
    let parent = tempfile::tempdir().unwrap();
    fs::write(parent.path().join("file"), "mine").unwrap();
    fs::create_dir(parent.path().join("directory")).unwrap();
    for name in ["file", "directory"] {
        let refused = new_extension(parent.path(), name, Language::Rust);
        assert!(matches!(refused, Err(Error::Exists(path)) if path.ends_with(name)));
    }
    assert_eq!(fs::read_to_string(parent.path().join("file")).unwrap(), "mine");
    assert!(files_in(&parent.path().join("directory")).is_empty());
}

#[test]
fn nothing_is_written_for_a_bad_name_or_a_missing_parent() {
    let parent = tempfile::tempdir().unwrap();
    let up = new_extension(&parent.path().join("in"), "../up", Language::Python);
    assert!(matches!(up, Err(Error::Name(_))));
    let nowhere = new_extension(&parent.path().join("nowhere"), "hello", Language::Python);
    assert!(matches!(nowhere, Err(Error::Write { .. })));
    assert!(files_in(parent.path()).is_empty());
}

#[test]
fn the_sdk_and_the_contract_are_complete() {
    let names = |files: &[(&'static str, &str)]| {
        files.iter().map(|(path, _)| path.to_string()).collect::<BTreeSet<_>>()
    };
    let mut sdk = names(SDK);
    sdk.append(&mut names(GENERATED));
    let source = files_in(&repository().join("guest/sdk/src"));
    assert_eq!(sdk, source.into_iter().map(|path| format!("src/{path}")).collect());
    let contract = fs::read_dir(repository().join("wit")).unwrap().map(|entry| entry.unwrap());
    let files = contract.filter(|entry| entry.file_type().unwrap().is_file());
    let present: BTreeSet<_> =
        files.map(|entry| entry.file_name().into_string().unwrap()).collect();
    assert_eq!(names(CONTRACT), present);
    for (path, _) in FURTHER {
        assert!(repository().join("wit").join(path).is_file(), "{path}");
    }
}

/// The manifest of the SDK in a project requires the versions that are tested here.
#[test]
fn the_sdk_depends_on_the_versions_of_this_workspace() {
    let parse = |path: &Path| -> toml::Table {
        toml::from_str(&fs::read_to_string(path).unwrap()).unwrap()
    };
    let ours = parse(&repository().join("Cargo.toml"));
    let ours = ours["workspace"]["dependencies"].as_table().unwrap();
    let theirs = parse(&repository().join("host/scaffold/templates/rust/sdk.toml"));
    let wasm = &theirs["target"]["cfg(target_family = \"wasm\")"]["dependencies"];
    let theirs = [theirs["dependencies"].as_table().unwrap(), wasm.as_table().unwrap()];
    fn version(dependency: &toml::Value) -> &str {
        dependency.as_str().unwrap_or_else(|| dependency["version"].as_str().unwrap())
    }
    for (name, dependency) in theirs.into_iter().flatten() {
        assert_eq!(version(dependency), version(&ours[name]), "{name}");
    }
}
