//! The files of a new project, by language.
//!
//! A template is the file itself, with `{{name}}` as the placeholder for the extension's name. The
//! Rust SDK is the one in this repository, except for its manifest, which refers to no workspace,
//! and for the bindings in its `component`, which the build script has generated already.

use std::borrow::Cow;

/// The language of a project.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// Built with cargo for `wasm32-wasip2`.
    Rust,
    /// Built with componentize-qjs.
    JavaScript,
    /// Built with componentize-py.
    Python,
}

/// A path in the project, and the contents of the file.
pub(crate) type File = (&'static str, &'static str);

/// The placeholder for the extension's name.
const NAME: &str = "{{name}}";

macro_rules! template {
    ($path:literal, $from:literal) => {
        ($path, include_str!(concat!("../templates/", $from)))
    };
}

const RUST: &[File] = &[
    template!(".gitignore", "rust/gitignore"),
    template!("Cargo.toml", "rust/manifest.toml"),
    template!("Makefile", "rust/Makefile"),
    template!("README.md", "rust/README.md"),
    template!("src/lib.rs", "rust/src/lib.rs"),
    template!("sdk/Cargo.toml", "rust/sdk.toml"),
];

const JAVASCRIPT: &[File] = &[
    template!(".gitignore", "javascript/gitignore"),
    template!("Makefile", "javascript/Makefile"),
    template!("README.md", "javascript/README.md"),
    template!("package.json", "javascript/package.json"),
    template!("src/console.js", "javascript/src/console.js"),
    template!("src/extension.js", "javascript/src/extension.js"),
    template!("src/greeting.js", "javascript/src/greeting.js"),
    template!("test/greeting.test.js", "javascript/test/greeting.test.js"),
    template!("wit/world.wit", "javascript/wit/world.wit"),
];

const PYTHON: &[File] = &[
    template!(".gitignore", "python/gitignore"),
    template!("Makefile", "python/Makefile"),
    template!("README.md", "python/README.md"),
    template!("requirements.txt", "python/requirements.txt"),
    template!("src/app.py", "python/src/app.py"),
    template!("src/greeting.py", "python/src/greeting.py"),
    template!("tests/test_greeting.py", "python/tests/test_greeting.py"),
    template!("wit/world.wit", "python/wit/world.wit"),
];

macro_rules! sdk {
    ($($path:literal),+ $(,)?) => {
        &[$(($path, include_str!(concat!("../../../guest/sdk/", $path)))),+]
    };
}

/// The SDK's source files, below `sdk/`.
pub(crate) const SDK: &[File] = sdk![
    "src/arena.rs",
    "src/component.rs",
    "src/component/convert.rs",
    "src/component/http.rs",
    "src/component/imports.rs",
    "src/error.rs",
    "src/hooks.rs",
    "src/host/budget.rs",
    "src/host/context.rs",
    "src/host/embedding.rs",
    "src/host/http.rs",
    "src/host/index.rs",
    "src/host/log.rs",
    "src/host/mod.rs",
    "src/host/settings.rs",
    "src/host/state.rs",
    "src/host/storage.rs",
    "src/lib.rs",
    "src/metadata.rs",
    "src/testing.rs",
    "src/testing/http.rs",
    "src/testing/state.rs",
    "src/types.rs",
];

/// The bindings that the SDK's macro would generate, below `sdk/`.
pub(crate) const GENERATED: &[File] = include!(concat!(env!("OUT_DIR"), "/generated.rs"));

macro_rules! contract {
    ($($name:literal),+ $(,)?) => {
        &[$(($name, include_str!(concat!("../../../wit/", $name)))),+]
    };
}

/// The contract. In Rust it is documentation; in the other languages the tools read it.
pub(crate) const CONTRACT: &[File] =
    contract!["hooks.wit", "host.wit", "logic.wit", "types.wit", "world.wit"];

/// The further packages that an extension may use.
pub(crate) const FURTHER: &[File] = contract![
    "context/context.wit",
    "events/events.wit",
    "options/options.wit",
    "settings/settings.wit",
    "state/state.wit",
];

/// Every file of a project for the extension `name`.
pub(crate) fn files(
    language: Language,
    name: &str,
) -> impl Iterator<Item = (String, Cow<'static, str>)> {
    let (own, sdk, directory, further_in): (_, &[&[File]], _, _) = match language {
        Language::Rust => (RUST, &[SDK, GENERATED], "sdk/wit", "sdk/wit"),
        Language::JavaScript => (JAVASCRIPT, &[], "wit/deps/knowledge", "wit/deps"),
        Language::Python => (PYTHON, &[], "wit/deps/knowledge", "wit/deps"),
    };
    let own = own.iter().map(move |(path, text)| (path.to_string(), named(text, name)));
    let sdk = sdk.iter().copied().flatten();
    let sdk = sdk.map(|(path, text)| (format!("sdk/{path}"), Cow::from(*text)));
    let contract = CONTRACT.iter();
    let contract =
        contract.map(move |(path, text)| (format!("{directory}/{path}"), (*text).into()));
    let further = FURTHER.iter();
    let further = further.map(move |(path, text)| (format!("{further_in}/{path}"), (*text).into()));
    own.chain(sdk).chain(contract).chain(further)
}

fn named(text: &'static str, name: &str) -> Cow<'static, str> {
    match text.contains(NAME) {
        true => Cow::from(text.replace(NAME, name)),
        false => Cow::from(text),
    }
}
