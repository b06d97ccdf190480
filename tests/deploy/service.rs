//! The service of systemd: the unit, and what the server says to whoever started it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use kenning_tests::{Server, Setup, kenning};
use tokio::net::UnixDatagram;
use tokio::process::Command;
use tokio::time::timeout;

use super::{content, file, said};

/// A notification that takes longer does not come.
const PATIENCE: Duration = Duration::from_secs(60);

/// A service manager's end of NOTIFY_SOCKET.
struct Manager(UnixDatagram);

impl Manager {
    fn listen(path: &Path) -> Result<Self> {
        Ok(Self(UnixDatagram::bind(path)?))
    }

    /// Waits for a notification with this line, and gives all its lines.
    async fn hears(&self, line: &str) -> Result<Vec<String>> {
        let mut bytes = [0; 4096];
        let heard = async {
            loop {
                let length = self.0.recv(&mut bytes).await?;
                let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
                let lines: Vec<String> = text.lines().map(str::to_owned).collect();
                if lines.iter().any(|heard| heard == line) {
                    return Ok(lines);
                }
            }
        };
        timeout(PATIENCE, heard).await.with_context(|| format!("nobody said {line}"))?
    }
}

#[tokio::test]
async fn the_service_manager_hears_that_the_server_is_ready_alive_and_about_to_stop() -> Result<()>
{
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("notify");
    let manager = Manager::listen(&path)?;
    let environment = vec![
        ("NOTIFY_SOCKET", path.to_string_lossy().into_owned()),
        ("WATCHDOG_USEC", "300000".into()),
    ];
    let server = Server::start_with(Setup { environment, ..Setup::patient() }).await?;
    let address = server.url().trim_start_matches("http://").to_owned();
    let ready = manager.hears("READY=1").await?;
    let says_where = |line: &String| line.starts_with("STATUS=serves ") && line.ends_with(&address);
    assert!(ready.iter().any(says_where), "{ready:?}");
    assert_eq!(server.get("/readyz").await?.status, 200, "who hears it may send calls");
    for _ in 0..3 {
        manager.hears("WATCHDOG=1").await?;
    }
    server.terminate().await?;
    manager.hears("STOPPING=1").await?;
    assert_eq!(server.ended().await?, Some(0));
    Ok(())
}

#[tokio::test]
async fn a_server_whose_service_manager_is_gone_serves() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let log = folder.path().join("log");
    let nowhere = folder.path().join("nobody").to_string_lossy().into_owned();
    let server = Server::start_with(Setup {
        environment: vec![("NOTIFY_SOCKET", nowhere), ("WATCHDOG_USEC", "nonsense".into())],
        log: Some((log.clone(), "warn")),
        ..Setup::patient()
    })
    .await?;
    assert_eq!(server.get("/readyz").await?.status, 200);
    assert_eq!(server.stop().await?, Some(0));
    assert!(fs::read_to_string(log)?.contains("cannot tell the service manager"));
    Ok(())
}

/// The unit with the binary under test for a program, in a folder with its manual pages.
async fn unit(folder: &Path) -> Result<std::path::PathBuf> {
    let pages = folder.join("man/man1");
    content(Command::new(kenning()?).arg("man-pages").arg(&pages)).await?;
    let path = folder.join("kenning.service");
    let program = kenning()?.canonicalize()?;
    let text = fs::read_to_string(file("kenning.service"))?;
    fs::write(&path, text.replace("/usr/local/bin/kenning", &program.to_string_lossy()))?;
    Ok(path)
}

#[tokio::test]
async fn systemd_finds_nothing_wrong_with_the_unit_and_little_exposed() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let unit = unit(folder.path()).await?;
    let analyze = |arguments: &[&str]| {
        let mut command = Command::new("systemd-analyze");
        command.args(arguments).arg(&unit).env("MANPATH", folder.path().join("man"));
        command
    };
    assert_eq!(content(&mut analyze(&["verify"])).await?, "");
    // In tenths: 1.4 when this was written. Each line that is lost from the unit adds to it.
    let security = ["security", "--offline=true", "--threshold=15"];
    let judged = content(&mut analyze(&security)).await?;
    println!("{}", judged.lines().last().unwrap_or_default());

    let text = fs::read_to_string(&unit)?;
    fs::write(&unit, text.replace("WatchdogSec=", "WatchdogSeconds="))?;
    let (_, complaint) = said(&mut analyze(&["verify"])).await?;
    assert!(complaint.contains("WatchdogSeconds"), "a mistake is found: {complaint}");
    Ok(())
}
