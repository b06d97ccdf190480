//! Compiling takes long, and what was compiled may get lost: who waits for it, and who does not.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use kenning_storage::testing::RedisServer;
use kenning_tests::{Fault, FaultProxy, Server, Setup, SlowCompiler, Wire, noted, until};
use reqwest::Method;
use serde_json::json;

use super::{hooks, installed};

pub(super) const ROLLBACK: &str = "/v1/admin/tenants/default/extensions/hooks/rollback";
pub(super) const REMOVE: &str = "/v1/admin/tenants/default/extensions/hooks";

/// Bytes that were never compiled.
pub(super) fn fresh() -> Result<Vec<u8>> {
    Ok(noted(&hooks()?, &format!("{:x}", fastrand::u128(..))))
}

#[tokio::test]
async fn neither_a_rollback_nor_another_tenant_waits_for_a_compilation() -> Result<()> {
    let compiler = SlowCompiler::new()?;
    let setup = Setup { program: Some(compiler.program()), ..Setup::patient() };
    let server = Server::start_with(setup).await?;
    for component in [hooks()?, noted(&hooks()?, "second")] {
        let answer = server.install("default", "hooks", component, "").await?;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    compiler.hold()?;
    let (caller, component) = ((*server).clone(), fresh()?);
    let install =
        tokio::spawn(async move { caller.install("default", "hooks", component, "").await });
    compiler.held().await?;

    let other = server.install("other", "hooks", fresh()?, "").await?;
    assert_eq!(other.status, 200, "{}", other.text);
    let again = server.install("default", "hooks", fresh()?, "").await?;
    again.assert_error(409, "conflict");
    assert_eq!((again.header("retry-after"), &again.json["retryable"]), ("1", &json!(true)));
    let answer = server.post(ROLLBACK, json!({})).await?;
    assert_eq!((answer.status, &answer.json["generation"]), (200, &json!(1)), "{}", answer.text);
    assert_eq!(server.get("/v1/facts").await?.header("x-kenning-extensions"), "hooks=1");
    assert_eq!(server.delete(REMOVE).await?.status, 200);
    assert_eq!(server.get("/v1/facts").await?.header("x-kenning-extensions"), "");

    // What was proved is not what is live any more.
    compiler.release()?;
    install.await??.assert_error(409, "conflict");
    assert_eq!(server.get("/v1/facts").await?.header("x-kenning-extensions"), "");
    Ok(())
}

/// A host that has compiled nothing yet, and whose storage comes after it.
#[tokio::test]
async fn while_guests_on_record_are_compiled_the_server_is_not_ready_and_names_them() -> Result<()>
{
    let redis = RedisServer::start();
    let first =
        Server::start_with(Setup { storage: Some(redis.url()), ..Setup::patient() }).await?;
    installed(&first, "default", "hooks", "").await?;
    first.store(json!({ "text": "secret", "fact_id": "a" })).await?;
    first.kill().await?;

    let (proxy, compiler) = (FaultProxy::start(redis.port()).await?, SlowCompiler::new()?);
    proxy.set(Fault::HangUp);
    let setup = Setup {
        storage: Some(proxy.url()),
        program: Some(compiler.program()),
        compile: true,
        ..Setup::patient_but("guest_wait_ms = 10")
    };
    let server = Server::start_with(setup).await?;
    compiler.hold()?;
    proxy.heal();
    compiler.held().await?;
    // The compiler may be at work for a caller before the start has read what is on record.
    until("it is not ready, and says how far it is", async || {
        let ready = server.get("/readyz").await?;
        ensure!(ready.status == 503, "{}", ready.text);
        let reason = ready.json["reason"].as_str().unwrap_or_default();
        Ok(reason.contains("being compiled: 0 of 1").then_some(()))
    })
    .await?;
    let call = server.get("/v1/facts/a").await?;
    call.assert_error(503, "overloaded");
    assert_eq!(call.json["details"], json!({ "component": "hooks" }), "{}", call.text);
    assert_eq!((call.header("retry-after"), &call.json["retryable"]), ("1", &json!(true)));

    compiler.release()?;
    until("it is ready", async || Ok((server.get("/readyz").await?.status == 200).then_some(())))
        .await?;
    // Loading what is compiled may take longer than `guest_wait_ms`, too.
    let read = until("it serves", async || {
        let read = server.get("/v1/facts/a").await?;
        Ok((read.code() != "overloaded").then_some(read))
    });
    assert_eq!(read.await?.json["content"], "[hidden]");
    Ok(())
}

/// The compiled components, the logic's among them.
pub(super) fn compiled(data_dir: &Path) -> Result<Vec<PathBuf>> {
    let files = fs::read_dir(data_dir.join("components"))?.collect::<std::io::Result<Vec<_>>>()?;
    Ok(files.into_iter().map(|file| file.path()).collect())
}

fn flip(path: &Path) -> Result<()> {
    let mut bytes = fs::read(path)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    Ok(fs::write(path, bytes)?)
}

fn truncate(path: &Path) -> Result<()> {
    Ok(fs::write(path, &fs::read(path)?[..100])?)
}

fn remove(path: &Path) -> Result<()> {
    Ok(fs::remove_file(path)?)
}

#[tokio::test]
async fn machine_code_that_is_damaged_or_missing_is_compiled_again() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let data_dir = directory.path().join("data");
    let setup = Setup { compile: true, data_dir: Some(data_dir.clone()), ..Setup::patient() };
    let server = Server::start_with(setup.clone()).await?;
    server.store(json!({ "text": "secret", "fact_id": "a" })).await?;
    installed(&server, "default", "hooks", "").await?;
    server.kill().await?;
    for damage in [flip, truncate, remove] {
        let files = compiled(&data_dir)?;
        assert_eq!(files.len(), 2, "{files:?}");
        files.iter().try_for_each(|path| damage(path))?;
        let server = Server::start_with(setup.clone()).await?;
        assert_eq!(server.get("/v1/facts/a").await?.json["content"], "[hidden]");
        server.kill().await?;
    }
    Ok(())
}

/// How many functions were compiled, and taken from an earlier compilation.
async fn functions(server: &Server) -> Result<[u64; 2]> {
    let metrics = server.get("/metrics").await?.text;
    let count = |name: &str| {
        let of_line = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok();
        metrics.lines().find_map(of_line).unwrap_or(0)
    };
    Ok(["compiled", "reused"].map(|what| count(&format!("kenning_functions_{what}_total"))))
}

#[tokio::test]
async fn a_tenants_component_that_changed_little_is_compiled_only_as_far_as_it_differs()
-> Result<()> {
    let server = Server::start_with(Setup { compile: true, ..Setup::patient() }).await?;
    let install = async |tenant: &str| {
        let [compiled, reused] = functions(&server).await?;
        let answer = server.install(tenant, "hooks", fresh()?, "").await?;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let now = functions(&server).await?;
        anyhow::Ok([now[0] - compiled, now[1] - reused])
    };
    let [compiled, reused] = install("one").await?;
    assert!(compiled > 0 && reused == 0, "{compiled} compiled, {reused} reused");
    // Other bytes with the same functions.
    let [again, reused] = install("one").await?;
    assert!(reused > 0 && again < compiled / 10, "{again} compiled, {reused} reused");
    // Nobody learns from the time what code others have.
    assert_eq!(install("two").await?, [compiled, 0]);
    Ok(())
}

/// The most memory that a process had, in bytes.
fn peak_memory(server: &Server) -> Result<usize> {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid().context("running")?))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("VmHWM")?;
    let kib: usize = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib * 1024)
}

/// A component with so many bytes that mean nothing.
fn padded(component: &[u8], bytes: usize) -> Vec<u8> {
    let mut section = vec![3, b'p', b'a', b'd'];
    section.resize(section.len() + bytes, 0);
    let mut padded = component.to_vec();
    padded.push(0);
    let mut length = section.len();
    while length >= 128 {
        padded.push((length as u8 & 127) | 128);
        length >>= 7;
    }
    padded.push(length as u8);
    padded.extend(section);
    padded
}

#[tokio::test]
async fn many_callers_of_a_component_that_is_not_compiled_wait_for_one_copy_of_it() -> Result<()> {
    const PADDING: usize = 16 << 20;
    const CALLERS: usize = 64;
    let directory = tempfile::tempdir()?;
    let data_dir = directory.path().join("data");
    let limits = "compile_before_ready_ms = 0";
    let setup =
        Setup { compile: true, data_dir: Some(data_dir.clone()), ..Setup::patient_but(limits) };
    let server = Server::start_with(setup.clone()).await?;
    let answer = server.install("default", "hooks", padded(&hooks()?, PADDING), "").await?;
    assert_eq!(answer.status, 200, "{}", answer.text);
    server.kill().await?;
    compiled(&data_dir)?.into_iter().try_for_each(fs::remove_file)?;

    let server = Server::start_with(setup).await?;
    let before = peak_memory(&server)?;
    let calls = (0..CALLERS).map(|_| server.get("/v1/facts"));
    for answer in try_join_all(calls).await? {
        assert_eq!(answer.header("x-kenning-extensions"), "hooks=1", "{}", answer.text);
    }
    let grown = peak_memory(&server)?.saturating_sub(before);
    assert!(grown < CALLERS / 4 * PADDING, "{grown} bytes more for {CALLERS} callers");
    Ok(())
}

#[tokio::test]
async fn components_that_dribble_in_hold_up_no_other_tenant() -> Result<()> {
    let server = Server::start().await?;
    let mut dribbling = Vec::new();
    for _ in 0..2 {
        let mut wire = Wire::open(server.url()).await?;
        wire.begin_upload("/v1/admin/logic?tenant=slow", 1_000_000).await?;
        dribbling.push(wire);
    }
    installed(&server, "other", "hooks", "").await?;
    let third = server.request(Method::PUT, REMOVE).body(hooks()?);
    assert_eq!(kenning_tests::send(third).await?.status, 200);
    Ok(())
}
