//! Guests whose bytes storage has lost or spoilt: who is told, and what can still be done.

use std::fs;

use anyhow::{Context, Result};
use kenning_storage::testing::RedisServer;
use kenning_tests::{Answer, Server, Setup, component, noted};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::compiling::{REMOVE, ROLLBACK, compiled, fresh};
use super::{hooks, installed};

const FACTS: &str = "/v1/facts";
const LIST: &str = "/v1/admin/tenants/default/extensions";

/// Storage and a data directory that outlive their servers.
struct Persistent {
    redis: RedisServer,
    directory: TempDir,
}

impl Persistent {
    fn new() -> Result<Self> {
        Ok(Self { redis: RedisServer::start(), directory: tempfile::tempdir()? })
    }

    async fn serve(&self) -> Result<Server> {
        let setup = Setup {
            storage: Some(self.redis.url()),
            compile: true,
            data_dir: Some(self.directory.path().join("data")),
            ..Setup::patient()
        };
        Server::start_with(setup).await
    }

    /// The key of a component; `whose` is `server` or `tenant/NAME`.
    fn key(&self, whose: &str, digest: &Value) -> Result<String> {
        let hex = digest.as_str().context("a digest")?.replace("sha256:", "");
        Ok(format!("kenning:control:{{control}}:document:component/{whose}/{hex}"))
    }

    /// Storage loses a component.
    fn lose(&self, whose: &str, digest: &Value) -> Result<()> {
        assert_eq!(self.redis.command(&["DEL", &self.key(whose, digest)?]), ":1\r\n");
        self.forget_code()
    }

    /// Storage keeps a component's document, and not all of it.
    fn spoil(&self, whose: &str, digest: &Value) -> Result<()> {
        assert_eq!(self.redis.command(&["HDEL", &self.key(whose, digest)?, "bytes"]), ":1\r\n");
        self.forget_code()
    }

    /// The host needs what storage has: it compiled nothing yet.
    fn forget_code(&self) -> Result<()> {
        let files = compiled(&self.directory.path().join("data"))?;
        Ok(files.into_iter().try_for_each(fs::remove_file)?)
    }
}

#[track_caller]
fn says(answer: &Answer, what: &str) {
    answer.assert_error(422, "incompatible_component");
    assert_eq!(answer.json["blame"], "backend", "{}", answer.text);
    assert!(answer.json["message"].to_string().contains(what), "{}", answer.text);
}

async fn problem(server: &Server) -> Result<Value> {
    Ok(server.get(LIST).await?.json["extensions"][0]["problem"].clone())
}

#[tokio::test]
async fn a_tenant_whose_extension_is_lost_removes_it_or_installs_it_again() -> Result<()> {
    let persistent = Persistent::new()?;
    let server = persistent.serve().await?;
    for tenant in ["default", "other"] {
        installed(&server, tenant, "hooks", "").await?;
    }
    let digest = installed(&server, "default", "more", "").await?.json["digest"].clone();
    server.kill().await?;
    for tenant in ["tenant/default", "tenant/other"] {
        persistent.lose(tenant, &digest)?;
    }

    let server = persistent.serve().await?;
    let other = server.tenant("other");
    server.get(FACTS).await?.assert_error(422, "incompatible_component");
    for name in ["hooks", "more"] {
        assert_eq!(server.delete(&format!("{LIST}/{name}")).await?.status, 200, "{name}");
    }
    assert_eq!(server.get(FACTS).await?.header("x-kenning-extensions"), "");
    other.get(FACTS).await?.assert_error(422, "incompatible_component");
    installed(&server, "other", "hooks", "").await?;
    assert_eq!(other.get(FACTS).await?.header("x-kenning-extensions"), "hooks=2");
    Ok(())
}

#[tokio::test]
async fn a_tenant_whose_extension_is_damaged_pauses_it_or_installs_another() -> Result<()> {
    let persistent = Persistent::new()?;
    let server = persistent.serve().await?;
    let digest = installed(&server, "default", "hooks", "").await?.json["digest"].clone();
    server.kill().await?;
    persistent.spoil("tenant/default", &digest)?;

    let server = persistent.serve().await?;
    says(&server.get(FACTS).await?, "the extension \\\"hooks\\\"");
    let listed = problem(&server).await?;
    assert!(listed.as_str().is_some_and(|problem| problem.contains("corrupt")), "{listed}");
    assert_eq!(server.patch(REMOVE, json!({ "order": 3 })).await?.status, 200);
    server.get(FACTS).await?.assert_error(422, "incompatible_component");
    assert_eq!(server.patch(REMOVE, json!({ "paused": true })).await?.status, 200);
    assert_eq!(server.get(FACTS).await?.status, 200, "the tenant's other guests run");
    let resumed = server.patch(REMOVE, json!({ "paused": false })).await?;
    resumed.assert_error(422, "incompatible_component");

    let answer = server.install("default", "hooks", fresh()?, "").await?;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(server.patch(REMOVE, json!({ "paused": false })).await?.status, 200);
    assert_eq!(server.get(FACTS).await?.header("x-kenning-extensions"), "hooks=2");
    assert_eq!(problem(&server).await?, json!(null));
    Ok(())
}

#[tokio::test]
async fn a_rollback_leaves_a_damaged_extension_and_passes_over_a_lost_one() -> Result<()> {
    let persistent = Persistent::new()?;
    let server = persistent.serve().await?;
    let mut digests = Vec::new();
    for note in ["first", "second", "third"] {
        let answer = server.install("default", "hooks", noted(&hooks()?, note), "").await?;
        assert_eq!(answer.status, 200, "{}", answer.text);
        digests.push(answer.json["digest"].clone());
    }
    server.kill().await?;
    persistent.lose("tenant/default", &digests[1])?;
    persistent.spoil("tenant/default", &digests[2])?;

    let server = persistent.serve().await?;
    server.get(FACTS).await?.assert_error(422, "incompatible_component");
    says(&server.post(&format!("{ROLLBACK}?generation=2"), json!({})).await?, "hooks");
    let answer = server.post(ROLLBACK, json!({})).await?;
    assert_eq!((answer.status, &answer.json["generation"]), (200, &json!(1)), "{}", answer.text);
    assert_eq!(server.get(FACTS).await?.header("x-kenning-extensions"), "hooks=1");
    assert_eq!(problem(&server).await?, json!(null));
    Ok(())
}

#[tokio::test]
async fn a_damaged_logic_of_the_server_is_named_and_rolled_back() -> Result<()> {
    let persistent = Persistent::new()?;
    let server = persistent.serve().await?;
    let logic = fs::read(component("logic")?)?;
    let mut digests = Vec::new();
    for note in ["first", "second"] {
        let answer = server.swap_logic(noted(&logic, note), "").await?;
        assert_eq!(answer.status, 200, "{}", answer.text);
        digests.push(answer.json["digest"].clone());
    }
    server.kill().await?;
    persistent.lose("server", &digests[0])?;
    persistent.spoil("server", &digests[1])?;

    let server = persistent.serve().await?;
    says(&server.get(FACTS).await?, "the server's logic");
    let ready = server.get("/readyz").await?;
    assert_eq!(ready.status, 503, "{}", ready.text);
    assert!(ready.text.contains("the server's logic is damaged in storage"), "{}", ready.text);
    let listed = server.get("/v1/admin/logic").await?.json["problem"].clone();
    assert!(listed.as_str().is_some_and(|problem| problem.contains("corrupt")), "{listed}");

    // Of the generations in storage, none is left.
    let answer = server.post("/v1/admin/logic/rollback", json!({})).await?;
    assert_eq!((answer.status, &answer.json["generation"]), (200, &json!(1)), "{}", answer.text);
    assert_eq!(server.get(FACTS).await?.header("x-kenning-generation"), "1");
    kenning_tests::until("it is ready", async || {
        Ok((server.get("/readyz").await?.status == 200).then_some(()))
    })
    .await?;
    assert_eq!(server.get("/v1/admin/logic").await?.json["problem"], json!(null));
    Ok(())
}
