//! A disk without room, and a Redis that refuses writes.

use anyhow::{Result, ensure};
use kenning_tests::{Answer, Server, Setup, until};
use serde_json::json;

use super::unreadable::listed;

/// Large enough to fill the file in a few dozen steps.
const TEXT: usize = 200_000;

/// The most kilobytes in one file of the server.
const FILE_KILOBYTES: u64 = 8_000;

async fn store(server: &Server, id: &str) -> Result<Answer> {
    let text = format!("{id} {}", "x".repeat(TEXT));
    server.post("/v1/facts", json!({ "text": text, "fact_id": id })).await
}

/// The limit of a file's size stands for a disk: the error differs, the way does not.
#[tokio::test]
async fn a_full_disk_is_said_and_costs_no_acknowledged_fact() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let data_dir = Some(directory.path().join("data"));
    let setup = || Setup { data_dir: data_dir.clone(), ..Setup::patient() };
    let server =
        Server::start_with(Setup { file_kilobytes: Some(FILE_KILOBYTES), ..setup() }).await?;
    let mut acknowledged = Vec::new();
    let refused = loop {
        let id = format!("f{:03}", acknowledged.len());
        let answer = store(&server, &id).await?;
        if answer.status != 201 {
            break answer;
        }
        acknowledged.push(id);
        ensure!(acknowledged.len() < 200, "the file never became full");
    };
    refused.assert_error(507, "storage_full");
    assert!(refused.text.contains("ulimit -f"), "{}", refused.text);
    assert_eq!(refused.json["details"], json!(null), "nothing happened: {}", refused.text);
    let ready = server.get("/readyz").await?;
    assert_eq!(ready.status, 503, "{}", ready.text);
    assert!(ready.text.contains("writes are refused"), "{}", ready.text);
    assert_eq!(listed(&server).await?, acknowledged, "what is there is served");

    let gone = acknowledged.split_off(acknowledged.len() / 2);
    for id in &gone {
        assert_eq!(server.delete(&format!("/v1/facts/{id}")).await?.status, 200);
    }
    until("there is room again", async || {
        Ok((store(&server, "after").await?.status == 201).then_some(()))
    })
    .await?;
    assert_eq!(server.get("/readyz").await?.status, 200);
    acknowledged.insert(0, "after".into());
    server.kill().await?;
    let server = Server::start_with(setup()).await?;
    assert_eq!(listed(&server).await?, acknowledged);
    Ok(())
}
