//! What a guest writes: to `log`, to standard output, in its errors.

use std::path::PathBuf;

use anyhow::Result;
use kenning_tests::{Server, Setup, component, until};
use tempfile::TempDir;

use super::support::{assert_done, limits_of, serves_on, tell};

const FEW_LINES: &str = "log_lines = 10\nlog_line_bytes = 100";

/// A hostile server and its log.
struct Logged {
    server: Server,
    path: PathBuf,
    _directory: TempDir,
}

impl Logged {
    async fn start() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("log");
        let log = Some((path.clone(), "warn,guest=info"));
        let logic = Some(component("hostile")?);
        let server = Server::start_with(Setup { logic, log, ..limits_of(FEW_LINES) }).await?;
        Ok(Self { server, path, _directory: directory })
    }

    /// What one call leaves in the log.
    async fn lines_of(&self, command: &str) -> Result<Vec<String>> {
        let before = self.read()?.len();
        assert_done(&tell(&self.server, command).await?);
        // Lines are written in order: once this one is there, all are.
        tell(&self.server, "trap").await?.assert_error(502, "guest_trapped");
        let log = until("the log is written", async || {
            let log = self.read()?;
            Ok(log[before..].contains("guest_trapped").then_some(log))
        })
        .await?;
        let of_the_trap = ["guest_trapped", "guest failed: trapped"];
        let of_the_trap = |line: &&str| of_the_trap.iter().any(|words| line.contains(words));
        let lines = log[before..].lines().filter(|line| !of_the_trap(line));
        Ok(lines.map(str::to_string).collect())
    }

    fn read(&self) -> Result<String> {
        Ok(std::fs::read_to_string(&self.path)?)
    }
}

#[tokio::test]
async fn log_lines_is_obeyed() -> Result<()> {
    let logged = Logged::start().await?;
    for (command, last) in [("log 10", "told 9"), ("print 10", "said 9")] {
        let lines = logged.lines_of(command).await?;
        assert_eq!(lines.len(), 10, "{command}: {lines:#?}");
        assert!(lines[9].contains(last), "{}", lines[9]);
        assert!(
            lines[9].contains("tenant=default component=\"logic\" generation=1"),
            "{}",
            lines[9]
        );
    }
    Ok(())
}

#[tokio::test]
async fn log_lines_violated_drops_what_is_over() -> Result<()> {
    let logged = Logged::start().await?;
    // More than `host_calls` allows: those that are dropped are no reason to end the call.
    for (command, dropped) in [("log 500", 490), ("log 1500", 1490), ("print 5000", 4990)] {
        let lines = logged.lines_of(command).await?;
        assert_eq!(lines.len(), 11, "{command}: {lines:#?}");
        let told = format!("{dropped} more lines were dropped: log_lines allows 10 in a call");
        assert!(lines[10].contains(&told), "{command}: {}", lines[10]);
        serves_on(&logged.server).await?;
    }
    Ok(())
}

#[tokio::test]
async fn log_line_bytes_is_obeyed() -> Result<()> {
    let logged = Logged::start().await?;
    for (command, letter) in [("log-bytes 100", 'y'), ("print-bytes 100", 'z')] {
        let lines = logged.lines_of(command).await?;
        assert_eq!(lines.len(), 1, "{command}: {lines:#?}");
        assert!(lines[0].contains(&letter.to_string().repeat(100)), "{}", lines[0]);
    }
    Ok(())
}

#[tokio::test]
async fn log_line_bytes_violated_cuts_what_is_over() -> Result<()> {
    let logged = Logged::start().await?;
    for (command, letter) in [("log-bytes 5000", 'y'), ("print-bytes 50000", 'z')] {
        let lines = logged.lines_of(command).await?;
        assert_eq!(lines.len(), 1, "{command}: {lines:#?}");
        assert!(lines[0].contains(&letter.to_string().repeat(100)), "{}", lines[0]);
        assert!(!lines[0].contains(&letter.to_string().repeat(101)), "{}", lines[0]);
        serves_on(&logged.server).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_line_break_in_a_message_makes_no_second_line() -> Result<()> {
    let logged = Logged::start().await?;
    let lines = logged.lines_of("log-breaks 3").await?;
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].contains("told  forged told  forged"), "{}", lines[0]);
    Ok(())
}
