//! Data as earlier versions wrote it, from `tests/fixtures`: twelve facts of `default`, of which
//! one was changed and one more deleted, and three of `acme`, a tenant with a quota.

use std::path::{Path, PathBuf};

use anyhow::Result;
use kenning_tests::{RedisServer, Server, Setup, command, run};
use serde_json::json;

use super::unreadable::listed;

/// What the version before checksums and layout versions wrote.
fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/layout-1").join(name)
}

async fn assert_served(server: &Server) -> Result<()> {
    let ids: Vec<String> = (0..12).map(|n| format!("f{n:02}")).collect();
    assert_eq!(listed(server).await?, ids);
    let fact = server.get("/v1/facts/f07").await?.json;
    assert_eq!(fact["content"], "fixture fact number7 about rivers");
    assert_eq!(fact["metadata"], json!({ "n": 7, "place": "Zürich" }));
    let changed = server.get("/v1/facts/f03").await?.json;
    assert_eq!(changed["content"], "fixture fact changed about lakes");
    let stats = server.get("/v1/stats").await?.json;
    let counts = [&stats["facts"], &stats["indexed"], &stats["pending"], &stats["unreadable"]];
    assert_eq!(counts.map(|count| count.as_u64().unwrap()), [12, 12, 0, 0]);
    for mode in ["vector", "text"] {
        let query = json!({ "query": "fixture fact number5 about rivers", "mode": mode });
        assert_eq!(server.search(query).await?.first().map(String::as_str), Some("f05"));
    }
    assert_eq!(listed(&server.tenant("acme")).await?, ["a0", "a1", "a2"]);
    let acme = server.get("/v1/admin/tenants/acme").await?.json;
    assert_eq!(acme["limits"]["facts"], 1_000, "{acme}");
    Ok(())
}

#[tokio::test]
async fn an_embedded_file_of_the_first_format_is_migrated_and_served() -> Result<()> {
    let home = tempfile::tempdir()?;
    let data_dir = home.path().join("data");
    std::fs::create_dir_all(data_dir.join("facts"))?;
    let file = data_dir.join("facts/facts.redb");
    std::fs::copy(fixture("facts.redb"), &file)?;
    let data = data_dir.display().to_string();
    let arguments = ["verify", "--data-dir", data.as_str()];
    let before = run(command(home.path(), &arguments)?, b"").await?;
    assert!(before.code == Some(0) && before.out.contains("format 1"), "{before:?}");
    assert!(std::fs::read(&file)? == std::fs::read(fixture("facts.redb"))?, "it is only read");

    let setup = || Setup { data_dir: Some(data_dir.clone()), ..Setup::patient() };
    let server = Server::start_with(setup()).await?;
    assert_served(&server).await?;
    server.kill().await?;
    let server = Server::start_with(setup()).await?;
    assert_served(&server).await?;
    server.store(json!({ "fact_id": "new", "text": "a new fact" })).await?;
    server.stop().await?;
    let after = run(command(home.path(), &arguments)?, b"").await?;
    assert!(after.code == Some(0) && after.out.contains("16 facts"), "{after:?}");
    Ok(())
}

#[tokio::test]
async fn a_redis_without_a_layout_version_is_served_and_gets_one() -> Result<()> {
    let directory = tempfile::tempdir()?;
    std::fs::copy(fixture("dump.rdb"), directory.path().join("dump.rdb"))?;
    let path = directory.path().display().to_string();
    let options = ["--appendonly", "no", "--dir", &path, "--dbfilename", "dump.rdb"];
    let redis = RedisServer::start_with_options(&options);
    let setup = Setup { storage: Some(redis.url()), ..Setup::patient() };
    let server = Server::start_with(setup).await?;
    assert_served(&server).await?;
    server.store(json!({ "fact_id": "new", "text": "a new fact" })).await?;
    assert_eq!(redis.command(&["GET", "kenning:control:{control}:format"]), "$1\r\n1\r\n");

    let url = redis.url();
    let verified =
        async || run(command(directory.path(), &["verify", "--storage", &url])?, b"").await;
    let intact = verified().await?;
    assert!(intact.code == Some(0) && intact.out.contains("16 facts"), "{intact:?}");
    redis.command(&["HSET", "kenning:{default}:fact:f02", "metadata", "not JSON"]);
    redis.command(&["DEL", "kenning:{acme}:fact:a1"]);
    let damaged = verified().await?;
    assert_eq!(damaged.code, Some(1), "{damaged:?}");
    for found in ["f02 of default has `metadata`", "a1 of acme is listed and missing"] {
        assert!(damaged.out.contains(found), "{damaged:?}");
    }
    Ok(())
}
