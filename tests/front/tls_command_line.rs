//! The command line over TLS.

use anyhow::{Context, Result};
use kenning_tests::{Certificates, Ran, Server, Setup, command, run};

async fn ran(arguments: &[&str]) -> Result<Ran> {
    let home = tempfile::tempdir()?;
    run(command(home.path(), arguments)?, b"").await
}

#[tokio::test]
async fn verbs_speak_https_to_a_server_whose_authority_is_named() -> Result<()> {
    let certificates = Certificates::new().await?;
    let environment = certificates.environment();
    let server = Server::start_with(Setup { environment, ..Setup::patient() }).await?;
    let (url, ca) = (server.url(), certificates.ca());
    let stored = ran(&["store", "tea", "--id", "a", "--server", url, "--ca", &ca]).await?;
    assert_eq!((stored.code, stored.out.as_str()), (Some(0), "a\n"), "{}", stored.err);
    let address = url.strip_prefix("https://").context("https")?;
    let without_scheme = ran(&["get", "a", "--server", address, "--ca", &ca]).await?;
    assert_eq!(without_scheme.code, Some(0), "{}", without_scheme.err);
    let home = tempfile::tempdir()?;
    let mut by_environment = command(home.path(), &["count"])?;
    by_environment.env("KENNING_SERVER", url).env("KENNING_CA", &ca);
    let counted = run(by_environment, b"").await?;
    assert_eq!((counted.code, counted.out.trim()), (Some(0), "1"), "{}", counted.err);
    Ok(())
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_says_what_to_do() -> Result<()> {
    let certificates = Certificates::new().await?;
    let environment = certificates.environment();
    let server = Server::start_with(Setup { environment, ..Setup::patient() }).await?;
    let other = Certificates::new().await?;
    let foreign = ran(&["stats", "--server", server.url(), "--ca", &other.ca()]).await?;
    assert_eq!(foreign.code, Some(4), "{}", foreign.err);
    assert!(foreign.err.contains("--ca or KENNING_CA"), "{}", foreign.err);
    let plain = server.url().replace("https://", "http://");
    let plain = ran(&["stats", "--server", &plain]).await?;
    assert!(plain.err.contains("use https://"), "{}", plain.err);
    let none = ran(&["stats", "--server", server.url(), "--ca", "/nowhere/ca.pem"]).await?;
    assert_eq!(none.code, Some(2), "{}", none.err);
    let http = Server::start().await?;
    let address = http.url().replace("http://", "https://");
    let encrypted = ran(&["stats", "--server", &address, "--ca", &certificates.ca()]).await?;
    assert!(encrypted.err.contains("does not speak TLS"), "{}", encrypted.err);
    let address = http.url().trim_start_matches("http://");
    assert_eq!(ran(&["stats", "--server", address]).await?.code, Some(0), "no scheme is needed");
    Ok(())
}
