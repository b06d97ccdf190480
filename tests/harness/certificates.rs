//! Certificates of an authority of our own.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use reqwest::{Certificate, Client, ClientBuilder};
use tempfile::TempDir;
use tokio::process::Command;

/// A folder with an authority, and what a server serves: `cert.pem` and `key.pem`.
pub struct Certificates {
    folder: TempDir,
}

impl Certificates {
    /// An authority, and a certificate for this machine.
    pub async fn new() -> Result<Self> {
        let certificates = Self { folder: tempfile::tempdir()? };
        let authority = ["-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.pem"];
        let common = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
        let usage = ["-nodes", "-days", "2", "-addext", "keyUsage=critical,keyCertSign"];
        certificates.openssl(&[&common[..], &usage, &authority].concat()).await?;
        certificates.issue("server", 365).await?;
        certificates.serve("server")?;
        Ok(certificates)
    }

    /// Makes `NAME.pem` and `NAME.key`, for this machine, and valid for so many days from now.
    pub async fn issue(&self, name: &str, days: i32) -> Result<()> {
        let (certificate, key) = (format!("{name}.pem"), format!("{name}.key"));
        let names = "subjectAltName=DNS:localhost,IP:127.0.0.1";
        let subject = format!("/CN={name}");
        let days = days.to_string();
        let common = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
        let signed = ["-nodes", "-CA", "ca.pem", "-CAkey", "ca.key", "-days", &days];
        let made = ["-subj", &subject, "-addext", names, "-keyout", &key, "-out", &certificate];
        // Otherwise it would be an authority itself.
        let leaf = ["-addext", "basicConstraints=critical,CA:FALSE"];
        self.openssl(&[&common[..], &signed, &made, &leaf].concat()).await
    }

    /// Puts a certificate and its key where the server reads them.
    pub fn serve(&self, name: &str) -> Result<()> {
        self.replace("cert.pem", &fs::read(self.path(&format!("{name}.pem")))?)?;
        self.replace("key.pem", &fs::read(self.path(&format!("{name}.key")))?)
    }

    /// Replaces a file at once, as tools that renew certificates do.
    pub fn replace(&self, name: &str, content: &[u8]) -> Result<()> {
        use std::os::unix::fs::PermissionsExt;
        let new = self.path("new");
        fs::write(&new, content)?;
        fs::set_permissions(&new, fs::Permissions::from_mode(0o600))?;
        Ok(fs::rename(new, self.path(name))?)
    }

    /// A file of the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The authority's file, for `--ca`.
    pub fn ca(&self) -> String {
        self.path("ca.pem").display().to_string()
    }

    /// The variables that have a server speak TLS.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let file = |name| self.path(name).display().to_string();
        vec![("KENNING_TLS_CERT", file("cert.pem")), ("KENNING_TLS_KEY", file("key.pem"))]
    }

    /// A client that trusts the authority, and opens a connection for each request.
    pub fn client(&self) -> Result<Client> {
        Ok(self.trusting(Client::builder())?.pool_max_idle_per_host(0).build()?)
    }

    /// The same client, with its certificates.
    pub fn trusting(&self, client: ClientBuilder) -> Result<ClientBuilder> {
        kenning_model::install_tls_provider();
        let authority = Certificate::from_pem(&fs::read(self.path("ca.pem"))?)?;
        Ok(client.tls_certs_only([authority]).no_proxy())
    }

    async fn openssl(&self, arguments: &[&str]) -> Result<()> {
        openssl(self.folder.path(), arguments).await.map(drop)
    }
}

/// Runs openssl in a folder; gives what it printed, and fails if it does.
pub async fn openssl(folder: &Path, arguments: &[&str]) -> Result<String> {
    let ran = Command::new("openssl")
        .args(arguments)
        .current_dir(folder)
        .stdin(std::process::Stdio::null())
        .output()
        .await
        .context("no openssl: run `make proxies`")?;
    let said =
        String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr);
    ensure!(ran.status.success(), "openssl {arguments:?}: {said}");
    Ok(said)
}
