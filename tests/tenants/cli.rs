//! `kenning tenant`, as a shell runs it.

use anyhow::Result;
use kenning_tests::{Backend, Ran, Server, command, run};
use serde_json::json;
use tempfile::TempDir;

use super::support::{ADMIN, serve};

async fn kenning(server: &Server, key: (&str, &str), arguments: &[&str]) -> Result<Ran> {
    let home = TempDir::new()?;
    let mut command = command(home.path(), arguments)?;
    command.env("KENNING_SERVER", server.url()).env(key.0, key.1);
    run(command, b"").await
}

#[tokio::test]
async fn an_operator_does_it_all_from_a_shell() -> Result<()> {
    let (server, _admin) = serve(&Backend::embedded()?).await?;
    let tenant = async |arguments: &[&str]| {
        let arguments = [&["tenant"], arguments].concat();
        let ran = kenning(&server, ("KENNING_ADMIN_KEY", ADMIN), &arguments).await?;
        assert_eq!(ran.code, Some(0), "{arguments:?}: {ran:?}");
        anyhow::Ok(ran.out)
    };
    let key = tenant(&["create", "acme", "facts=7"]).await?;
    let key = key.trim_end();
    let stored = kenning(&server, ("KENNING_KEY", key), &["store", "Tea is hot."]).await?;
    assert_eq!(stored.code, Some(0), "{stored:?}");
    assert!(tenant(&["list"]).await?.starts_with("acme\t20"));
    assert!(tenant(&["quota", "acme"]).await?.contains("facts\t1\t7\n"));
    let changed = tenant(&["limits", "acme", "facts=none", "bytes=9000"]).await?;
    assert!(changed.contains("facts\t1\tnone\n") && changed.contains("\t9000\n"), "{changed}");
    let new = tenant(&["rotate-key", "acme", "--grace-seconds", "0"]).await?;
    let refused = kenning(&server, ("KENNING_KEY", key), &["list"]).await?;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.err.contains("unauthorized") && !refused.err.contains(key), "{refused:?}");
    let new = new.trim_end();
    assert_eq!(kenning(&server, ("KENNING_KEY", new), &["list"]).await?.code, Some(0));
    let reader = ["rotate-key", "acme", "--scopes", "read", "--expires", "90d"];
    let reader = tenant(&reader).await?;
    let reader = ("KENNING_KEY", reader.trim_end());
    let refused = kenning(&server, reader, &["store", "Tea is cold."]).await?;
    assert!(refused.err.contains("needs the scope `write`"), "{refused:?}");
    assert_eq!(kenning(&server, reader, &["list"]).await?.code, Some(0));
    let shown = tenant(&["show", "acme"]).await?;
    let fields: Vec<&str> = shown.lines().last().unwrap_or_default().split('\t').collect();
    let id = reader.1.split('_').nth(1).unwrap_or_default();
    assert_eq!((fields[0], fields[1]), (id, "read"), "{shown}");
    assert!(fields[2..5].iter().all(|time| time.starts_with("20")), "{shown}");
    assert_eq!(tenant(&["grants", "acme"]).await?, "none\n");
    assert_eq!(tenant(&["grants", "acme", "storage,index"]).await?, "index,storage\n");
    assert_eq!(tenant(&["grants", "acme", "none"]).await?, "none\n");
    // One of several keys that a server has.
    let several = format!("{ADMIN},another-admin-key-for-tests");
    let listed = kenning(&server, ("KENNING_ADMIN_KEY", &several), &["tenant", "list"]).await?;
    assert_eq!(listed.code, Some(0), "{listed:?}");
    let id = new.split('_').nth(1).unwrap_or_default();
    tenant(&["revoke-key", "acme", id]).await?;
    assert_eq!(kenning(&server, ("KENNING_KEY", new), &["list"]).await?.code, Some(1));
    tenant(&["delete", "acme"]).await?;
    assert_eq!(tenant(&["list"]).await?, "");
    Ok(())
}

#[tokio::test]
async fn json_is_the_servers_own_and_errors_have_exit_codes() -> Result<()> {
    let (server, _admin) = serve(&Backend::embedded()?).await?;
    let key = ("KENNING_KEY", ADMIN);
    let listed = kenning(&server, key, &["tenant", "list", "--json"]).await?;
    assert_eq!(listed.json(), json!({ "tenants": [] }));
    let absent = kenning(&server, key, &["tenant", "delete", "nobody"]).await?;
    assert_eq!(absent.code, Some(3), "{absent:?}");
    let typo = kenning(&server, key, &["tenant", "quota", "acme", "facts"]).await?;
    assert_eq!(typo.code, Some(2), "{typo:?}");
    let keyless = kenning(&server, ("KENNING_X", ""), &["tenant", "list"]).await?;
    assert_eq!(keyless.code, Some(1), "{keyless:?}");
    assert!(keyless.err.contains("unauthorized"), "{keyless:?}");
    let shown = kenning(&server, key, &["tenant", "list", "--key", ADMIN]).await?;
    assert_eq!(shown.code, Some(2), "a secret is no argument: {shown:?}");
    Ok(())
}
