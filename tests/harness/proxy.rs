//! nginx and haproxy in processes of their own.

use std::fs::{self, File};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::until;

/// Where Debian has servers, also for users who do not have it in their path.
const PROGRAMS: &str = "/usr/sbin";

/// A running proxy; dropping it ends its process.
pub struct Proxy {
    _process: Child,
    _folder: TempDir,
}

impl Proxy {
    /// nginx in `folder`, with this in the `http` block of its configuration. Waits until all
    /// `ports` are open.
    pub async fn nginx(folder: TempDir, http: &str, ports: &[u16]) -> Result<Self> {
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|what| format!("{what}_temp_path {}/{what};\n", folder.path().display()));
        let configuration = format!(
            "daemon off; master_process off; pid nginx.pid; error_log stderr warn;
             events {{}}
             http {{ access_log off; client_max_body_size 0; {} {http} }}",
            temporary.concat()
        );
        let arguments = ["-p", ".", "-c", "proxy.conf", "-e", "stderr"];
        Self::start("nginx", &arguments, folder, &configuration, ports).await
    }

    /// haproxy in `folder`, with this configuration. Waits until all `ports` are open.
    pub async fn haproxy(folder: TempDir, configuration: &str, ports: &[u16]) -> Result<Self> {
        Self::start("haproxy", &["-f", "proxy.conf", "-db"], folder, configuration, ports).await
    }

    async fn start(
        program: &str,
        arguments: &[&str],
        folder: TempDir,
        configuration: &str,
        ports: &[u16],
    ) -> Result<Self> {
        fs::write(folder.path().join("proxy.conf"), configuration)?;
        let said = folder.path().join("said");
        let path = std::env::var("PATH").unwrap_or_default();
        let process = Command::new(program)
            .args(arguments)
            .current_dir(folder.path())
            .env("PATH", format!("{path}:{PROGRAMS}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&said)?)
            .kill_on_drop(true)
            .spawn();
        let mut process = process.with_context(|| format!("no {program}: run `make proxies`"))?;
        for port in ports {
            until("the proxy listens", async || {
                let ended = process.try_wait()?;
                ensure!(ended.is_none(), "{program}: {}", fs::read_to_string(&said)?);
                Ok(TcpStream::connect(("127.0.0.1", *port)).await.ok())
            })
            .await?;
        }
        Ok(Self { _process: process, _folder: folder })
    }
}
