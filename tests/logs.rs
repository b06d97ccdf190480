//! The server's log: that losing it loses nothing else, and that its JSON is unambiguous.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::OpenOptions;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use kenning_tests::{Server, Setup, component};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::json;
use tokio::process::Command;

/// Has the server log at every level: what succeeds, what is refused, and what a guest did wrong.
async fn answers_everything(server: &Server) -> Result<()> {
    for round in 0..3 {
        let id = format!("fact-{round}");
        server.store(json!({ "text": "x", "fact_id": id })).await?;
        assert_eq!(server.get(&format!("/v1/facts/{id}")).await?.status, 200);
        assert_eq!(server.get("/v1/facts/nothing").await?.status, 404);
        let trapped = server.post("/v1/search", json!({ "query": "trap" })).await?;
        trapped.assert_error(502, "guest_trapped");
        let logged = server.post("/v1/search", json!({ "query": "log 10" })).await?;
        assert_eq!(logged.status, 200, "{}", logged.text);
    }
    assert_eq!(server.get("/readyz").await?.status, 200);
    Ok(())
}

async fn lost(server: &Server) -> Result<bool> {
    let metrics = server.get("/metrics").await?.text;
    Ok(metrics.lines().any(|line| line.starts_with("kenning_log_lines_lost_total ")))
}

#[tokio::test]
async fn a_full_disk_under_the_log_loses_no_request() -> Result<()> {
    let log = Some((PathBuf::from("/dev/full"), "debug"));
    let logic = Some(component("hostile")?);
    let server = Server::start_with(Setup { log, logic, ..Setup::patient() }).await?;
    answers_everything(&server).await?;
    ensure!(lost(&server).await?, "the lines that were lost are counted");
    assert_eq!(server.stop().await?, Some(0));
    Ok(())
}

#[tokio::test]
async fn a_closed_pipe_behind_the_log_loses_no_request() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("log");
    ensure!(Command::new("mkfifo").arg(&path).status().await?.success(), "mkfifo");
    // Both ends, so that opening waits for nobody.
    let reader = OpenOptions::new().read(true).write(true).open(&path)?;
    let (log, logic) = (Some((path, "warn")), Some(component("hostile")?));
    let server = Server::start_with(Setup { log, logic, ..Setup::patient() }).await?;
    drop(reader);
    answers_everything(&server).await?;
    ensure!(lost(&server).await?, "the lines that were lost are counted");
    assert_eq!(server.stop().await?, Some(0));
    Ok(())
}

/// JSON in which no object has a key twice.
struct Unambiguous;

impl<'de> Deserialize<'de> for Unambiguous {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Unambiguous {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without repeated keys")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        let mut keys = BTreeSet::new();
        while let Some((key, Self)) = map.next_entry::<String, Self>()? {
            if !keys.insert(key.clone()) {
                return Err(serde::de::Error::custom(format!("the key {key} is there twice")));
            }
        }
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self, A::Error> {
        while list.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }
}

#[tokio::test]
async fn a_line_of_the_json_log_has_no_key_twice() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("log");
    let (log, logic) = (Some((path.clone(), "debug")), Some(component("hostile")?));
    let environment = vec![("KENNING_LOG_FORMAT", "json".to_owned())];
    let setup = Setup { log, logic, environment, ..Setup::patient() };
    let server = Server::start_with(setup).await?;
    answers_everything(&server).await?;
    assert_eq!(server.stop().await?, Some(0));
    let written = std::fs::read_to_string(&path)?;
    ensure!(written.contains("guest_trapped") && written.contains("told 9"), "{written}");
    for line in written.lines() {
        serde_json::from_str::<Unambiguous>(line).with_context(|| line.to_owned())?;
    }
    Ok(())
}
