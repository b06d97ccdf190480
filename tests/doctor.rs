//! `kenning doctor`: what it finds in a good installation and in bad ones.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::Result;
use kenning_storage::testing::RedisServer;
use kenning_tests::{Certificates, Ran, Server, Setup, command, run};
use serde_json::Value;

async fn doctor(home: &Path, arguments: &[&str]) -> Result<Ran> {
    let data = home.join("data").display().to_string();
    let begin = ["doctor", "--data-dir", &data, "--embedder", "hash", "--listen", "127.0.0.1:0"];
    run(command(home, &[&begin[..], arguments].concat())?, b"").await
}

/// The status of a check, and what it says.
fn finding(ran: &Ran, check: &str) -> (String, String) {
    let said = ran.json();
    let checks = said["checks"].as_array().cloned().unwrap_or_default();
    let mut of = checks.iter().filter(|one| one["check"] == check);
    let text = |one: &Value, name: &str| one[name].as_str().unwrap_or_default().to_owned();
    let worst = of.clone().find(|one| one["status"] == "problem").or_else(|| of.next());
    worst.map_or_else(Default::default, |one| (text(one, "status"), text(one, "message")))
}

#[tokio::test]
async fn a_good_installation_has_no_problem() -> Result<()> {
    let home = tempfile::tempdir()?;
    let ran = doctor(home.path(), &["--json"]).await?;
    assert_eq!(ran.code, Some(0), "{} {}", ran.out, ran.err);
    for check in ["config", "data-dir", "space", "storage", "logic", "listen", "limits", "server"] {
        assert_ne!(finding(&ran, check).0, "", "{check}: {}", ran.out);
        assert_ne!(finding(&ran, check).0, "problem", "{check}: {}", ran.out);
    }
    assert!(!home.path().join("data").exists(), "nothing is made");
    let lines = doctor(home.path(), &[]).await?;
    let words = ["ok ", "warn ", "problem "];
    let known = |line: &str| words.iter().any(|word| line.starts_with(word));
    assert!(lines.out.lines().count() >= 8 && lines.out.lines().all(known), "{}", lines.out);
    Ok(())
}

#[tokio::test]
async fn a_running_server_is_asked_and_its_port_is_no_problem() -> Result<()> {
    let home = tempfile::tempdir()?;
    let data_dir = home.path().join("data");
    let setup = Setup { data_dir: Some(data_dir.clone()), ..Setup::patient() };
    let server = Server::start_with(setup).await?;
    let port = server.url().trim_start_matches("http://").to_owned();
    let data = data_dir.display().to_string();
    let arguments =
        ["doctor", "--json", "--embedder", "hash", "--data-dir", &data, "--listen", &port];
    let ran = run(command(home.path(), &arguments)?, b"").await?;
    assert_eq!(ran.code, Some(0), "{}", ran.out);
    assert!(finding(&ran, "server").1.contains("is ready"), "{}", ran.out);
    assert!(finding(&ran, "listen").1.contains("as the server runs"), "{}", ran.out);
    assert!(finding(&ran, "storage").1.contains("in use"), "{}", ran.out);
    let other = home.path().join("other").display().to_string();
    let arguments =
        ["doctor", "--json", "--embedder", "hash", "--data-dir", &other, "--listen", &port];
    let elsewhere = run(command(home.path(), &arguments)?, b"").await?;
    assert_eq!(elsewhere.code, Some(1), "{}", elsewhere.err);
    Ok(())
}

#[tokio::test]
async fn what_is_wrong_is_a_problem_with_what_to_do() -> Result<()> {
    let home = tempfile::tempdir()?;
    let wrong = doctor(home.path(), &["--json", "--storage", "redis://127.0.0.1:1"]).await?;
    assert_eq!(wrong.code, Some(1));
    assert_eq!(finding(&wrong, "storage").0, "problem", "{}", wrong.out);
    assert_eq!(wrong.json()["status"], "problem");
    let config = doctor(home.path(), &["--json", "--log", "verbose"]).await?;
    assert_eq!((config.code, finding(&config, "config").0.as_str()), (Some(1), "problem"));
    fs::create_dir(home.path().join("data"))?;
    fs::set_permissions(home.path().join("data"), fs::Permissions::from_mode(0o755))?;
    let open = doctor(home.path(), &["--json"]).await?;
    assert_eq!((open.code, finding(&open, "data-dir").0.as_str()), (Some(0), "warn"));
    let model = home.path().join("model");
    fs::create_dir(&model)?;
    let data = home.path().join("data").display().to_string();
    let model = model.display().to_string();
    let arguments = ["doctor", "--json", "--data-dir", &data, "--model-dir", &model];
    let missing = run(command(home.path(), &arguments)?, b"").await?;
    assert_eq!((missing.code, finding(&missing, "model").0.as_str()), (Some(1), "problem"));
    let tokens = "admin_key = \"0123456789abcdef\"\n\
                  [jwt]\nissuer = \"i\"\naudience = [\"a\"]\njwks = \"no-such-file\"\n";
    fs::write(home.path().join("jwt.toml"), tokens)?;
    let file = home.path().join("jwt.toml").display().to_string();
    let jwt = doctor(home.path(), &["--json", "--config", &file]).await?;
    assert_eq!((jwt.code, finding(&jwt, "jwt").0.as_str()), (Some(1), "problem"));
    Ok(())
}

#[tokio::test]
async fn a_certificate_is_looked_at() -> Result<()> {
    let (home, certificates) = (tempfile::tempdir()?, Certificates::new().await?);
    certificates.issue("soon", 3).await?;
    let path = |name: &str| certificates.path(name).display().to_string();
    let asked = async |name: &str| {
        let (cert, key) = (path(&format!("{name}.pem")), path(&format!("{name}.key")));
        doctor(home.path(), &["--json", "--tls-cert", &cert, "--tls-key", &key]).await
    };
    assert_eq!(finding(&asked("server").await?, "tls").0, "ok");
    let (status, message) = finding(&asked("soon").await?, "tls");
    assert_eq!(status, "warn");
    assert!(message.contains("expires soon"), "{message}");
    Ok(())
}

#[tokio::test]
async fn redis_is_asked_for_its_version_persistence_and_eviction() -> Result<()> {
    let home = tempfile::tempdir()?;
    let redis = RedisServer::start();
    let url = redis.url();
    let good = doctor(home.path(), &["--json", "--storage", &url]).await?;
    assert!(finding(&good, "storage").1.contains("Redis "), "{}", good.out);
    assert_eq!(finding(&good, "eviction").0, "ok", "{}", good.out);
    assert_eq!(finding(&good, "clock").0, "ok", "{}", good.out);
    assert_ne!(finding(&good, "persistence").0, "", "{}", good.out);
    Ok(())
}
