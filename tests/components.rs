//! What is given to `kenning serve --logic` and is no logic, or is one that cannot
//! run: refused with a sentence that says why, without a hang and without a crash.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use kenning_tests::{Ran, Server, Setup, command, component, run, with_parts};
use tempfile::TempDir;
use wit_component::{ComponentEncoder, StringEncoding, dummy_module, embed_component_metadata};
use wit_parser::{ManglingAndAbi, Resolve};

/// The memory of a component that needs none.
pub(crate) const NO_MEMORY: &str = "0";

/// A component of world `logic` whose exports trap, with a memory of such limits and
/// `items` of WebAssembly text in its core module.
pub(crate) fn trapping_logic(memory: &str, items: &str) -> Result<Vec<u8>> {
    logic_by(&contract(), |text| {
        let text = text.replacen("(memory (;0;) 0)", &format!("(memory {memory})"), 1);
        ensure!(text.contains(&format!("(memory {memory})")), "another memory: {text}");
        Ok(format!("{text}\n{items}"))
    })
}

fn contract() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit")
}

/// A component of world `logic` in the contract at `wit`. `write` is given the text of a
/// core module whose exports trap, up to its last parenthesis, and may change it.
fn logic_by(wit: &Path, write: impl FnOnce(String) -> Result<String>) -> Result<Vec<u8>> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(wit)?;
    let world = resolve.select_world(&[package], Some("logic"))?;
    let dummy = dummy_module(&resolve, world, ManglingAndAbi::Standard32);
    let text = wasmprinter::print_bytes(dummy)?;
    let text = text.trim_end().strip_suffix(')').context("a module ends with a parenthesis")?;
    let mut module = wat::parse_str(format!("{}\n)", write(text.to_string())?))?;
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)?;
    ComponentEncoder::default().validate(false).module(&module)?.encode()
}

/// The contract, under another version.
fn contract_of(version: &str) -> Result<TempDir> {
    let directory = tempfile::tempdir()?;
    for file in std::fs::read_dir(contract())? {
        let path = file?.path();
        if path.extension().is_some_and(|extension| extension == "wit") {
            let text = std::fs::read_to_string(&path)?;
            let text = text.replace("knowledge@0.1.0", &format!("knowledge@{version}"));
            let name = path.file_name().context("a file has a name")?;
            std::fs::write(directory.path().join(name), text)?;
        }
    }
    Ok(directory)
}

/// A component of world `logic` for another version of the contract.
pub(crate) fn logic_of(version: &str) -> Result<Vec<u8>> {
    logic_by(contract_of(version)?.path(), Ok)
}

/// Starts a server with `component` for its logic, which must end by itself.
async fn serve(component: &[u8], limits: &str) -> Result<Ran> {
    let home = tempfile::tempdir()?;
    let path = home.path().join("logic.wasm");
    std::fs::write(&path, component)?;
    serve_file(home.path(), &path, limits).await
}

async fn serve_file(home: &Path, component: &Path, limits: &str) -> Result<Ran> {
    let config = home.join("kenning.toml");
    std::fs::write(&config, format!("[limits]\n{limits}\n"))?;
    let mut command = command(home, &["serve", "--listen", "127.0.0.1:0", "--embedder", "hash"])?;
    command.arg("--logic").arg(component).arg("--config").arg(config);
    run(command, b"").await
}

#[track_caller]
fn assert_refused(ran: &Ran, because: &str) {
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""), "{}", ran.err);
    let last = ran.err.lines().last().unwrap_or_default();
    assert!(last.starts_with("kenning: ") && last.contains(because), "{}", ran.err);
    assert!(!ran.err.contains("panicked"), "{}", ran.err);
}

#[tokio::test]
async fn what_is_no_component_is_refused() -> Result<()> {
    let logic = std::fs::read(component("logic")?)?;
    let module = wat::parse_str("(module (func (export \"facts\")))")?;
    let reason = "this is not a component this host can run";
    let cases: [&[u8]; 6] = [
        b"",
        b"not WebAssembly at all",
        b"\0asm",
        &module,
        &logic[..logic.len() / 2],
        &[&logic[..], b"and more"].concat(),
    ];
    for component in cases {
        assert_refused(&serve(component, "").await?, reason);
    }
    Ok(())
}

#[tokio::test]
async fn a_file_that_is_not_there_is_named() -> Result<()> {
    let home = tempfile::tempdir()?;
    let ran = serve_file(home.path(), Path::new("not-there.wasm"), "").await?;
    assert_refused(&ran, "cannot read the logic not-there.wasm");
    Ok(())
}

#[tokio::test]
async fn a_component_that_exports_too_little_is_refused() -> Result<()> {
    let ran = serve(&wat::parse_str("(component)")?, "").await?;
    assert_refused(&ran, "the logic does not fit this host");
    assert!(ran.err.contains("kenning:knowledge/facts@0.1.0"), "{}", ran.err);
    Ok(())
}

#[tokio::test]
async fn a_component_that_imports_what_is_not_offered_is_refused() -> Result<()> {
    let imports = [
        ("wasi:http/outgoing-handler@0.2.0", "(export \"handle\" (func))"),
        ("kenning:knowledge/secrets@0.1.0", "(export \"all\" (func))"),
        // The name is offered, the function is not.
        ("kenning:knowledge/storage@0.1.0", "(export \"read-all-tenants\" (func))"),
    ];
    for (interface, function) in imports {
        let text = format!("(component (import \"{interface}\" (instance {function})))");
        let ran = serve(&wat::parse_str(text)?, "").await?;
        assert_refused(&ran, "the logic does not fit this host");
        assert!(ran.err.contains(interface), "{}", ran.err);
    }
    Ok(())
}

#[tokio::test]
async fn more_memory_or_larger_tables_than_a_guest_may_have_are_refused() -> Result<()> {
    let large_table = "(table 100000000 funcref)";
    let cases = [
        ("65536", "", "exceeds the limit of 0x4000000 bytes"),
        (NO_MEMORY, "(memory 1)", "exceeds the per-instance limit of 1"),
        (NO_MEMORY, "(memory i64 1048576)", "memory64 must be enabled"),
        (NO_MEMORY, large_table, "exceeds the limit of 20000"),
    ];
    for (memory, items, because) in cases {
        assert_refused(&serve(&trapping_logic(memory, items)?, "").await?, because);
    }
    Ok(())
}

#[tokio::test]
async fn more_parts_than_a_component_may_have_are_refused_naming_the_limit() -> Result<()> {
    let logic = trapping_logic(NO_MEMORY, "")?;
    let cases = [
        ("(memory 1)", 5, "and guest_memories allows 4"),
        ("(table 1 funcref)", 20, "and guest_tables allows 16"),
        ("", 33, "and guest_core_instances allows 32"),
    ];
    for (items, instances, because) in cases {
        let ran = serve(&with_parts(&logic, items, instances)?, "").await?;
        assert_refused(&ran, because);
    }
    Ok(())
}

#[tokio::test]
async fn a_component_that_spins_when_it_starts_fails_each_call_and_nothing_else() -> Result<()> {
    let spinning =
        trapping_logic(NO_MEMORY, "(func $spin (loop $again (br $again))) (start $spin)")?;
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("spinning.wasm");
    std::fs::write(&path, spinning)?;
    let config = Some("[limits]\nfuel_base = 100000000\nfuel_per_unit = 0".into());
    let setup = Setup { logic: Some(path), config, ..Setup::default() };
    let server = Server::start_with(setup).await?;
    for _ in 0..2 {
        let answer = server.get("/v1/facts/any").await?;
        answer.assert_error(502, "guest_out_of_fuel");
        assert_eq!(server.get("/livez").await?.status, 200);
    }
    ensure!(server.stop().await? == Some(0));
    Ok(())
}

#[tokio::test]
async fn a_component_of_another_version_of_the_contract_is_told_both() -> Result<()> {
    for version in ["0.0.9", "0.2.0", "1.0.0"] {
        let ran = serve(&logic_of(version)?, "").await?;
        assert_refused(&ran, &format!("it is built against kenning:knowledge@{version}"));
        assert_refused(&ran, "this host offers kenning:knowledge@0.1.0");
    }
    Ok(())
}

/// The module in `text` with another function for the export whose name ends so.
fn instead(text: &str, export: &str, function: &str) -> Result<String> {
    let export = format!("{export}\" (func ");
    let (before, after) = text.split_once(&export).context("no such export")?;
    let (_, after) = after.split_once(')').context("an export names a function")?;
    Ok(format!("{before}{export}{function}){after}"))
}

/// What was answered is there, and then the guest traps while it cleans up after it.
#[tokio::test]
async fn a_component_that_traps_after_its_answer_fails_that_call() -> Result<()> {
    let logic = logic_by(&contract(), |text| {
        let text = text.replacen("(memory (;0;) 0)", "(memory 1)", 1);
        let text = instead(&text, "|list", "$list")?;
        let text = instead(&text, "|list_post", "$clean_up")?;
        // All is zero: the answer is a page without facts and without a cursor.
        let list = "(func $list (param i32 i32 i32 i32 i32 i32 i32) (result i32) i32.const 1024)";
        let clean_up = "(func $clean_up (param i32) unreachable)";
        Ok(format!("{text}\n{list}\n{clean_up}"))
    })?;
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("cleaning.wasm");
    std::fs::write(&path, logic)?;
    let server = Server::start_with(Setup { logic: Some(path), ..Setup::patient() }).await?;
    for _ in 0..2 {
        server.get("/v1/facts").await?.assert_error(502, "guest_trapped");
        assert_eq!(server.get("/livez").await?.status, 200);
    }
    Ok(())
}

#[tokio::test]
async fn component_bytes_is_obeyed() -> Result<()> {
    let logic = component("hostile")?;
    let config = Some(format!("[limits]\ncomponent_bytes = {}", logic.metadata()?.len()));
    let setup = Setup { logic: Some(logic), config, ..Setup::default() };
    ensure!(Server::start_with(setup).await?.stop().await? == Some(0));
    Ok(())
}

#[tokio::test]
async fn component_bytes_violated() -> Result<()> {
    let (home, logic) = (tempfile::tempdir()?, component("hostile")?);
    let used = logic.metadata()?.len();
    let limits = format!("component_bytes = {}", used - 1);
    let ran = serve_file(home.path(), &logic, &limits).await?;
    let reason =
        format!("component_bytes is limited to {}, and this component has {used}", used - 1);
    assert_refused(&ran, &reason);
    Ok(())
}

#[tokio::test]
async fn a_component_of_100_megabytes_is_refused_unread() -> Result<()> {
    let (home, logic) = (tempfile::tempdir()?, std::fs::read(component("hostile")?)?);
    let path = home.path().join("large.wasm");
    std::fs::write(&path, logic)?;
    // The rest is a hole in the file.
    std::fs::OpenOptions::new().write(true).open(&path)?.set_len(100_000_000)?;
    let ran = serve_file(home.path(), &path, "").await?;
    let reason = "component_bytes is limited to 52428800, and this component has 100000000";
    assert_refused(&ran, reason);
    Ok(())
}

/// A function of 300 KB that takes the compiler minutes: at each of so many places, each
/// of so many values may have come from any place before.
#[tokio::test]
async fn compile_ms_violated_by_a_function_made_for_it() -> Result<()> {
    let (places, values) = (20_000, 1_000);
    let jumps: String = (0..places).map(|place| format!(" {place}")).collect();
    let step = |place| {
        let (from, to) = (place * 7 % values, place % values);
        format!(" end local.get {from} i32.const {place} i32.add local.set {to}")
    };
    let function = format!(
        "(func (result i32) (local{}){} local.get 0 br_table{jumps}{} local.get 1)",
        " i32".repeat(values),
        " block".repeat(places),
        (0..places).map(step).collect::<String>(),
    );
    let ran = serve(&trapping_logic(NO_MEMORY, &function)?, "compile_ms = 2000").await?;
    assert_refused(&ran, "compiling took longer than 2000 ms, its limit (compile_ms)");
    Ok(())
}

#[tokio::test]
async fn compile_ms_violated() -> Result<()> {
    let (home, logic) = (tempfile::tempdir()?, component("hostile")?);
    let ran = serve_file(home.path(), &logic, "compile_ms = 1").await?;
    assert_refused(&ran, "compiling took longer than 1 ms, its limit (compile_ms)");
    Ok(())
}

#[tokio::test]
async fn compile_memory_bytes_violated() -> Result<()> {
    let (home, logic) = (tempfile::tempdir()?, component("hostile")?);
    let ran = serve_file(home.path(), &logic, "compile_memory_bytes = 50000000").await?;
    assert_refused(&ran, "compile_memory_bytes");
    Ok(())
}
