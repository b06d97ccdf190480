//! Secrets in files that the environment names, and limits by the environment.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use kenning_tests::{Ran, Server, Setup, command, run};
use serde_json::json;

const ADMIN_KEY: &str = "an-admin-key-of-the-tests";

/// Runs `serve --check-config` in `home`, with these variables.
async fn check(home: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Result<Ran> {
    let mut command = command(home, &[&["serve", "--check-config"], arguments].concat())?;
    command.current_dir(home).envs(variables.iter().copied());
    run(command, b"").await
}

/// The same with the embedder of the tests.
async fn check_hash(home: &Path, variables: &[(&str, &str)]) -> Result<Ran> {
    check(home, &["--embedder", "hash"], variables).await
}

#[tokio::test]
async fn every_secret_of_a_server_may_be_in_a_file() -> Result<()> {
    let home = tempfile::tempdir()?;
    for (name, secret) in [
        ("admin", "an-admin-key-of-the-tests\n"),
        ("storage", "redis://ada:hunter2@127.0.0.1:1\n"),
        ("key", "sk-hunter2\r\n"),
    ] {
        fs::write(home.path().join(name), secret)?;
    }
    let files = [
        ("KENNING_ADMIN_KEY_FILE", "admin"),
        ("KENNING_STORAGE_FILE", "storage"),
        ("KENNING_EMBEDDING_KEY_FILE", "key"),
        ("KENNING_EMBEDDER", "openai:http://127.0.0.1:2/v1"),
        ("KENNING_EMBEDDING_MODEL", "a-model"),
    ];
    let ran = check(home.path(), &[], &files).await?;
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{ran:?}");
    for said in ["storage   redis://127.0.0.1:1\n", "embedder  remote\n", "keys      required\n"] {
        assert!(ran.out.contains(said), "{said}: {ran:?}");
    }
    assert!(!ran.out.contains("hunter2"), "{ran:?}");

    // A flag wins over the environment, and a variable that says the same is no contradiction.
    let flag = ["--storage", "redis://127.0.0.1:3"];
    let same = [("KENNING_ADMIN_KEY", ADMIN_KEY)];
    let ran = check(home.path(), &flag, &[&files[..], &same].concat()).await?;
    assert!(ran.out.contains("storage   redis://127.0.0.1:3\n"), "{ran:?}");
    Ok(())
}

#[tokio::test]
async fn a_secret_that_cannot_be_had_stops_the_start_by_its_variables_name() -> Result<()> {
    let home = tempfile::tempdir()?;
    fs::write(home.path().join("empty"), "\n")?;
    fs::write(home.path().join("bytes"), b"\xff\xfe")?;
    fs::write(home.path().join("storage"), "redis://:hunter2@127.0.0.1:1")?;
    fs::write(home.path().join("short"), "hunter2")?;
    fs::write(home.path().join("two"), "two lines of\nhunter2 hunter2")?;
    for (variables, said) in [
        (&[("KENNING_STORAGE_FILE", "nowhere")][..], "KENNING_STORAGE_FILE: cannot read nowhere"),
        (&[("KENNING_STORAGE_FILE", ".")], "KENNING_STORAGE_FILE: cannot read ."),
        (&[("KENNING_STORAGE_FILE", "empty")], "KENNING_STORAGE_FILE: empty is empty"),
        (&[("KENNING_STORAGE_FILE", "bytes")], "KENNING_STORAGE_FILE: bytes is not UTF-8"),
        (
            &[("KENNING_STORAGE_FILE", "storage"), ("KENNING_STORAGE", "redis://127.0.0.1:2")],
            "KENNING_STORAGE and KENNING_STORAGE_FILE are both set, and differ",
        ),
        (&[("KENNING_ADMIN_KEY_FILE", "short")], "KENNING_ADMIN_KEY: an admin key must have"),
        (&[("KENNING_ADMIN_KEY_FILE", "two")], "KENNING_ADMIN_KEY: an admin key must have"),
        // The server would be open without it.
        (&[("KENNING_ADMIN_KEY_FILE", "")], "KENNING_ADMIN_KEY: an admin key must have"),
    ] {
        let ran = check_hash(home.path(), variables).await?;
        assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""), "{variables:?}: {ran:?}");
        assert!(ran.err.contains(said), "{variables:?}: {ran:?}");
        assert!(!ran.err.contains("hunter2"), "{variables:?}: {ran:?}");
    }
    // As a container does with a variable of its own that is not set.
    let ran = check_hash(home.path(), &[("KENNING_STORAGE_FILE", "")]).await?;
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{ran:?}");
    let ran = check_hash(home.path(), &[("KENNING_STORAGE_FIEL", "storage")]).await?;
    assert!(ran.err.contains("did you mean KENNING_STORAGE_FILE?"), "{ran:?}");
    Ok(())
}

#[tokio::test]
async fn commands_take_their_keys_from_files_too() -> Result<()> {
    let home = tempfile::tempdir()?;
    let file = |name: &str| home.path().join(name).to_string_lossy().into_owned();
    fs::write(file("admin"), ADMIN_KEY)?;
    let environment = vec![("KENNING_ADMIN_KEY_FILE", file("admin"))];
    let server = Server::start_with(Setup { environment, ..Setup::patient() }).await?;
    let kenning = async |arguments: &[&str], variables: &[(&str, &str)]| {
        let mut command = command(home.path(), arguments)?;
        command.env("KENNING_SERVER", server.url()).envs(variables.iter().copied());
        run(command, b"").await
    };
    let admin = file("admin");
    let variables = [("KENNING_ADMIN_KEY_FILE", admin.as_str())];
    let created = kenning(&["tenant", "create", "acme"], &variables).await?;
    assert_eq!(created.code, Some(0), "{created:?}");
    fs::write(file("key"), &created.out)?;
    let key = file("key");
    let variables = [("KENNING_KEY_FILE", key.as_str())];
    let stored = kenning(&["store", "Tea is hot.", "--id", "tea"], &variables).await?;
    assert_eq!(stored.out, "tea\n");
    let without = kenning(&["get", "tea"], &[]).await?;
    assert_eq!(without.code, Some(1), "the server asks for keys: {without:?}");
    // The operator's key serves a tenant's guests; the tenant's key is not asked for.
    let both = [("KENNING_ADMIN_KEY_FILE", admin.as_str()), ("KENNING_KEY_FILE", key.as_str())];
    let listed = kenning(&["extension", "list", "--tenant", "acme"], &both).await?;
    assert_eq!(listed.code, Some(0), "{listed:?}");
    for name in ["KENNING_KEY_FILE", "KENNING_ADMIN_KEY_FILE"] {
        let refused = kenning(&["get", "tea"], &[(name, "/nowhere/key")]).await?;
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(refused.err.contains(&format!("{name}: cannot read /nowhere/key")), "{refused:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_limit_comes_from_its_variable_else_from_the_file() -> Result<()> {
    let environment = vec![("KENNING_LIMITS_QUERY_BYTES", "16".into())];
    let limits = "query_bytes = 32\nsearch_hits = 5\n";
    let server = Server::start_with(Setup { environment, ..Setup::patient_but(limits) }).await?;
    let refused = server.post("/v1/search", json!({ "query": "x".repeat(17) })).await?;
    assert_eq!(refused.status, 413, "{}", refused.text);
    assert_eq!(refused.json["details"]["allowed"], 16, "{}", refused.text);
    let stats = server.get("/v1/stats").await?.json;
    let limits = stats["limits"].as_object().context("it shows its limits")?;
    assert_eq!(limits["search_hits"]["value"], 5, "{stats}");
    Ok(())
}

#[tokio::test]
async fn a_variable_that_is_no_limit_is_refused_or_named() -> Result<()> {
    let home = tempfile::tempdir()?;
    for (name, value, said) in [
        ("KENNING_LIMITS_SEARCH_MS", "10s", "KENNING_LIMITS_SEARCH_MS: \"10s\" is not a whole"),
        ("KENNING_LIMITS_SEARCH_MS", "0", "search_ms must be 1 to"),
        ("KENNING_LIMITS_HOST_CALLS", "5000000000", "KENNING_LIMITS_HOST_CALLS: "),
    ] {
        let ran = check_hash(home.path(), &[(name, value)]).await?;
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.err.contains(said), "{ran:?}");
    }
    let ran = check_hash(home.path(), &[("KENNING_LIMITS_SERACH_MS", "10")]).await?;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.err.contains("did you mean KENNING_LIMITS_SEARCH_MS?"), "{ran:?}");
    let ran = check_hash(home.path(), &[("KENNING_LIMITS_SEARCH_MS", "")]).await?;
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{ran:?}");
    Ok(())
}
