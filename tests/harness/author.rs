//! An author's machine, on which calls are replayed that failed on a server.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{Answer, Caller, Ran, command, component, data_dir, run};

/// What the guest `hostile` is asked for, and the code of the error; none where that depends on how
/// busy the machine is.
pub const MISBEHAVIOURS: [(&str, Option<&str>); 15] = [
    ("spin", None),
    ("spin-on-clock", None),
    ("sleep 60", Some("timeout")),
    ("grow", None),
    ("be-refused-memory-then-spin", None),
    ("recurse", Some("guest_limit")),
    ("trap", Some("guest_trapped")),
    ("panic", Some("guest_trapped")),
    ("exit 1", Some("guest_trapped")),
    ("abort-in-drop", Some("guest_trapped")),
    ("ask-budget", Some("guest_limit")),
    ("handles", None),
    ("hand-over 8000000", Some("guest_limit")),
    ("answer-nan", Some("guest_limit")),
    ("answer-invented", Some("guest_limit")),
];

/// `[limits]` under which each of them fails soon.
pub const SOON: &str =
    "fuel_base = 100000000\nfuel_per_unit = 0\nhost_calls = 50\nsearch_ms = 1000";

/// A machine of its own for the author of a guest.
pub struct Author {
    home: TempDir,
    server: String,
}

impl Author {
    /// Of a guest on this server.
    pub fn of(server: &Caller) -> Result<Self> {
        let home = tempfile::tempdir()?;
        // So that nothing is compiled again that the server compiled.
        data_dir(&home.path().join("data"))?;
        Ok(Self { home, server: server.url().to_owned() })
    }

    /// Where the commands run.
    pub fn home(&self) -> &std::path::Path {
        self.home.path()
    }

    /// `kenning replay` with these arguments.
    pub async fn replay(&self, arguments: &[&str]) -> Result<Ran> {
        let data = self.home.path().join("data").display().to_string();
        let arguments = [&["replay", "--data-dir", &data], arguments].concat();
        let mut command = command(self.home.path(), &arguments)?;
        command.env("KENNING_SERVER", &self.server).current_dir(self.home.path());
        run(command, b"").await
    }

    /// Replays a call of the logic `hostile` that failed; checks that it ends as it did.
    pub async fn replay_failed(&self, failed: &Answer) -> Result<Value> {
        let (id, hostile) = (failed.header("x-request-id"), component("hostile")?);
        // A logic that a server is started with is in no storage.
        let ran = self.replay(&[id, "--json", "--with", &hostile.display().to_string()]).await?;
        let replayed = ran.json();
        ensure!(replayed.is_object(), "{ran:?}");
        ensure!(replayed["as_recorded"] == true && ran.code == Some(0), "{replayed}");
        ensure!(replayed["fuel"] == replayed["recorded"]["fuel"], "{replayed}");
        Ok(replayed)
    }

    /// Asks the logic `hostile` to misbehave in a search, and replays what came of it.
    pub async fn provoke(&self, server: &Caller, what: (&str, Option<&str>)) -> Result<Value> {
        let (query, code) = what;
        let failed = server.post("/v1/search", json!({ "query": query })).await?;
        ensure!(failed.status >= 500, "{query}: {}", failed.text);
        ensure!(code.is_none_or(|code| failed.json["code"] == code), "{query}: {}", failed.text);
        self.replay_failed(&failed).await.with_context(|| format!("{query}: {}", failed.text))
    }
}
