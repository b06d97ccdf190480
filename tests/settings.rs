//! What `kenning serve` makes of its settings, its environment and the limits that it inherits.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use kenning_tests::{Ran, Server, Setup, command, kenning, run};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Command;

const SERVE: [&str; 4] = ["serve", "--check-config", "--embedder", "hash"];

/// Runs `serve --check-config` in `home`, with these variables.
async fn check(home: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Result<Ran> {
    let mut command = command(home, &[&SERVE[..], arguments].concat())?;
    command.current_dir(home).envs(variables.iter().copied());
    run(command, b"").await
}

#[track_caller]
fn assert_valid(ran: &Ran) {
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.out.ends_with("the configuration is valid\n"), "{ran:?}");
}

#[tokio::test]
async fn check_config_says_what_would_be_served_and_creates_nothing() -> Result<()> {
    let home = tempfile::tempdir()?;
    fs::write(
        home.path().join("kenning.toml"),
        "data-dir = \"data\"\nadmin-key = \"0123456789abcdef\"\nlog-format = \"json\"\n",
    )?;
    let storage = ["--storage", "redis://ada:hunter2@127.0.0.1:1"];
    let ran =
        check(home.path(), &[&["--config", "kenning.toml"], &storage[..]].concat(), &[]).await?;
    assert_valid(&ran);
    for said in ["storage   redis://127.0.0.1:1\n", "data-dir  data\n", "keys      required\n"] {
        assert!(ran.out.contains(said), "{said}: {ran:?}");
    }
    assert!(ran.err.contains("chmod 600 kenning.toml"), "{ran:?}");
    assert!(!ran.out.contains("hunter2") && !ran.out.contains("0123456789"), "{ran:?}");
    assert_eq!(fs::read_dir(home.path())?.count(), 1, "only the configuration is there");
    Ok(())
}

#[tokio::test]
async fn check_config_refuses_what_serve_would_refuse() -> Result<()> {
    let home = tempfile::tempdir()?;
    fs::create_dir_all(home.path().join("old/facts"))?;
    fs::write(home.path().join("old/facts/facts.redb"), "")?;
    fs::write(home.path().join("file"), "no component")?;
    fs::write(home.path().join("limits.toml"), "[limits]\nsearch_ms = 0\n")?;
    let tokens = "[jwt]\nissuer = \"i\"\naudience = [\"a\"]\njwks = \"file\"\n";
    fs::write(home.path().join("open.toml"), tokens)?;
    let keyed = format!("admin_key = [\"0123456789abcdef\", \"fedcba9876543210\"]\n{tokens}");
    fs::write(home.path().join("jwks.toml"), keyed)?;
    for (arguments, said) in [
        (["--log", "wran"], "did you mean warn?"),
        (["--log", ""], "--log has an empty value"),
        (["--storage", ""], "--storage has an empty value"),
        (["--storage", "sqlite:x"], "embedded:DIR, redis://"),
        (["--model-dir", "nowhere"], "--model-dir nowhere: there is no such directory"),
        (["--data-dir", "old"], "the file is empty (0 bytes)"),
        (["--data-dir", "file/data"], "--data-dir file/data"),
        (["--logic", "file"], "--logic file"),
        (["--config", "limits.toml"], "search_ms must be 1 to"),
        (["--jwt-issuer", "https://id.example"], "tokens need --jwt-issuer, --jwt-audience"),
        (["--config", "open.toml"], "set KENNING_ADMIN_KEY"),
        (["--config", "jwks.toml"], "--jwt-jwks"),
        (["--otlp-sample", "0.5"], "need --otlp-endpoint"),
        (["--otlp-endpoint", "collector:4318"], "--otlp-endpoint is not an address"),
    ] {
        let ran = check(home.path(), &arguments, &[]).await?;
        assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""), "{arguments:?}: {ran:?}");
        assert!(ran.err.contains(said), "{arguments:?}: {ran:?}");
    }
    Ok(())
}

#[tokio::test]
async fn an_empty_variable_counts_as_unset_and_a_misspelt_one_is_named() -> Result<()> {
    let home = tempfile::tempdir()?;
    let empty = ["STORAGE", "LAYOUT", "LOG", "MODEL_DIR", "EMBEDDER_THREADS", "LISTEN", "CONFIG"];
    let names = empty.map(|name| format!("KENNING_{name}"));
    let variables: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();
    let ran = check(home.path(), &[], &variables).await?;
    assert_valid(&ran);
    assert_eq!(ran.err, "", "{ran:?}");

    let ran = check(home.path(), &[], &[("KENNING_ADMIN_KEY", "")]).await?;
    assert_eq!(ran.code, Some(1), "without a key the server would be open: {ran:?}");

    let ran =
        check(home.path(), &[], &[("KENNING_STORGE", "redis://h"), ("KENNING_X_Y", "1")]).await?;
    assert_valid(&ran);
    assert!(
        ran.err.contains("KENNING_STORGE has no effect; did you mean KENNING_STORAGE?"),
        "{ran:?}"
    );
    assert!(ran.err.contains("KENNING_X_Y has no effect"), "{ran:?}");

    // The same for commands that do not serve.
    let mut stats = command(home.path(), &["stats", "--server", "http://127.0.0.1:1"])?;
    stats.env("KENNING_TENNANT", "acme");
    let ran = run(stats, b"").await?;
    assert!(ran.err.contains("did you mean KENNING_TENANT?"), "{ran:?}");
    Ok(())
}

fn set_mode(path: &Path, mode: u32) -> Result<()> {
    Ok(fs::set_permissions(path, Permissions::from_mode(mode))?)
}

/// Everything below `directory`, and itself, that others may use.
fn open_to_others(directory: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut left = vec![directory.to_owned()];
    while let Some(path) = left.pop() {
        let metadata = fs::symlink_metadata(&path)?;
        // The tests' servers share compiled components, by a link.
        if metadata.is_symlink() {
            continue;
        }
        if metadata.permissions().mode() & 0o077 != 0 {
            found.push(path.display().to_string());
        }
        if metadata.is_dir() {
            for entry in fs::read_dir(&path)? {
                left.push(entry?.path());
            }
        }
    }
    Ok(found)
}

#[tokio::test]
async fn nobody_else_can_read_the_data_even_if_they_could_before() -> Result<()> {
    let home = tempfile::tempdir()?;
    let (data, log) = (home.path().join("data"), home.path().join("log"));
    let setup = || Setup {
        data_dir: Some(data.clone()),
        log: Some((log.clone(), "warn")),
        ..Setup::patient()
    };
    for loosen in [false, true] {
        if loosen {
            set_mode(&data, 0o755)?;
            set_mode(&data.join("facts"), 0o777)?;
            set_mode(&data.join("facts/facts.redb"), 0o644)?;
        }
        let server = Server::start_with(setup()).await?;
        assert_eq!(open_to_others(&data)?, Vec::<String>::new());
        assert_eq!(server.stop().await?, Some(0));
        let log = fs::read_to_string(&log)?;
        assert_eq!(log.matches("others could use this").count() >= 3, loosen, "{log}");
    }
    Ok(())
}

/// A start in a shell with this `ulimit`: what it said first, and whether it serves.
async fn start_under(limit: &str, data: &TempDir) -> Result<(bool, String)> {
    let mut child = Command::new("sh")
        .args(["-c", &format!("ulimit {limit} && exec \"$@\""), "sh"])
        .arg(kenning()?)
        .args(["serve", "--listen", "127.0.0.1:0", "--embedder", "hash", "--data-dir"])
        .arg(data.path())
        .env("KENNING_LOG", "error")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut lines = BufReader::new(child.stdout.take().context("it was piped")?).lines();
    let serves = lines.next_line().await?.is_some();
    child.start_kill()?;
    let mut said = String::new();
    child.stderr.take().context("it was piped")?.read_to_string(&mut said).await?;
    Ok((serves, said))
}

#[tokio::test]
async fn limits_below_the_compilers_are_taken_or_named() -> Result<()> {
    for limit in ["-n 20", "-v 4000000", "-n 40", "-f 100000"] {
        let (serves, said) = start_under(limit, &tempfile::tempdir()?).await?;
        ensure!(serves || said.contains("ulimit"), "{limit}: {said}");
        ensure!(!said.contains("Operation not permitted"), "{limit}: {said}");
        ensure!(!said.contains("panicked"), "{limit}: {said}");
    }
    Ok(())
}
