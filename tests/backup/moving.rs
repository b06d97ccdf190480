//! A tenant moves to another server and another storage, with all that is its own.

use std::fs;
use std::path::Path;

use anyhow::Result;
use kenning_tests::backups::{Copied, copied, difference, operate};
use kenning_tests::{Backend, Caller, all_indexed, command, component, run};
use serde_json::json;

use super::support::{ADMIN, about, backup, restore, seed, serve, tenant, verify};

#[tokio::test]
async fn a_tenant_moves_with_its_extensions_keys_and_quotas() -> Result<()> {
    let (from, to) = (Backend::embedded()?, Backend::redis()?);
    let ((source, admin), (target, receiver)) = (serve(&from).await?, serve(&to).await?);
    let key = tenant(&admin, "acme", 300).await?;
    let acme = source.key(&key);
    seed(&acme, "seed", 300).await?;
    all_indexed(&acme).await?;
    let extension = fs::read(component("passing")?)?;
    assert_eq!(admin.install("acme", "passing", extension, "?order=3").await?.status, 200);
    let other = source.key(&tenant(&admin, "other", 10).await?);
    other.store(json!({ "text": "of another tenant" })).await?;
    let before = about(&admin, "acme").await?;

    let home = tempfile::tempdir()?;
    let path = |name: &str| home.path().join(name).display().to_string();
    let file = path("acme.kenning");
    let exported = operate(source.url(), ADMIN, &["tenant", "export", "acme", &file]).await?;
    assert_eq!(exported.out, "300\n");
    let mut again = command(home.path(), &["tenant", "export", "acme", &file])?;
    again.env("KENNING_SERVER", source.url()).env("KENNING_ADMIN_KEY", ADMIN);
    let again = run(again, b"").await?;
    assert!(again.code == Some(1) && again.err.contains(&file), "{again:?}");
    let mut forbidden = command(home.path(), &["backup", &path("forbidden")])?;
    forbidden
        .env("KENNING_SERVER", source.url())
        .env("KENNING_ADMIN_KEY", "an-admin-key-of-nobody-at-all");
    let forbidden = run(forbidden, b"").await?;
    assert!(forbidden.code == Some(1) && !home.path().join("forbidden").exists());
    assert!(!fs::read_to_string(&file)?.contains("of another tenant"));
    let imported = operate(target.url(), ADMIN, &["tenant", "import", &file]).await?;
    assert_eq!(imported.out, "300\n", "{imported:?}");
    assert_eq!(about(&receiver, "acme").await?, before);
    let moved = target.key(&key);
    let answer = moved.post("/v1/facts", json!({ "text": "one too many" })).await?;
    answer.assert_error(429, "quota_exceeded");
    let ran = moved.get("/v1/facts/seed-7").await?;
    assert!(ran.header("x-kenning-extensions").contains("passing"), "{:?}", ran.headers);
    assert_eq!(moved.export().await?, acme.export().await?);

    let renamed = ["tenant", "import", file.as_str(), "--name", "copy"];
    let renamed = operate(target.url(), ADMIN, &renamed).await?;
    assert!(renamed.err.contains("1 key was not imported"), "{renamed:?}");
    assert_eq!(about(&receiver, "copy").await?["keys"], json!([]));
    assert_eq!(moved.get("/v1/stats").await?.json["facts"], 300, "the key is still acme's");
    backup(&target, &[&path("both")]).await?;
    let both = copied(&[&home.path().join("both")])?;
    let of = |name: &str| Copied::from([("one".to_owned(), both[name].clone())]);
    assert_eq!(difference(&of("acme"), &of("copy")), None);

    let mut again = command(home.path(), &["tenant", "import", &file])?;
    again.env("KENNING_SERVER", target.url()).env("KENNING_ADMIN_KEY", ADMIN);
    let again = run(again, b"").await?;
    assert!(again.code == Some(1) && again.err.contains("exists already"), "{again:?}");
    let text = fs::read_to_string(&file)?;
    let cut = receiver.post_raw("/v1/admin/tenants/cut/import", text[..text.len() / 2].to_owned());
    let cut = cut.await?;
    cut.assert_error(400, "invalid_request");
    assert!(cut.text.contains("ended early"), "{}", cut.text);
    receiver.get("/v1/admin/tenants/cut").await?.assert_error(404, "not_found");
    Ok(())
}

#[tokio::test]
async fn a_copied_data_directory_is_no_backup_and_the_message_names_the_command() -> Result<()> {
    let backend = Backend::embedded()?;
    let (server, admin) = serve(&backend).await?;
    let acme = server.key(&tenant(&admin, "acme", 100).await?);
    let data = backend.setup().data_dir.unwrap_or_default();
    let copy = tempfile::tempdir()?;
    fs::copy(data.join("facts/facts.redb"), copy.path().join("facts.redb"))?;
    serves_no_torn_copy(&acme, &data).await?;
    for folder in [data.as_path(), copy.path()] {
        let verified = verify(folder).await?;
        let restored = restore(&[&folder.display().to_string()], &Backend::embedded()?).await?;
        for ran in [verified, restored] {
            assert!(ran.code == Some(1) && ran.err.contains("`kenning backup`"), "{ran:?}");
        }
    }
    server.stop().await.map(drop)
}

/// What a copy has that was made while facts were stored: the file's beginning after that, and the
/// rest from before.
async fn serves_no_torn_copy(acme: &Caller, data: &Path) -> Result<()> {
    let file = data.join("facts/facts.redb");
    let before = fs::read(&file)?;
    for n in 0..20 {
        acme.store(json!({ "text": format!("stored while the file was copied {n}") })).await?;
    }
    let mut torn = fs::read(&file)?;
    let rest = before.len().min(torn.len());
    torn[4_096..rest].copy_from_slice(&before[4_096..rest]);
    let copy = tempfile::tempdir()?;
    fs::create_dir(copy.path().join("facts"))?;
    fs::write(copy.path().join("facts/facts.redb"), torn)?;
    let shown = copy.path().display().to_string();
    let mut serve = command(copy.path(), &["serve", "--data-dir", &shown])?;
    serve.env("KENNING_EMBEDDER", "hash").env("KENNING_LISTEN", "127.0.0.1:0");
    let refused = run(serve, b"").await?;
    assert!(refused.code == Some(1) && refused.err.contains("`kenning backup`"), "{refused:?}");
    let verified = run(command(copy.path(), &["verify", "--data-dir", &shown])?, b"").await?;
    assert!(verified.code == Some(1) && verified.out.contains("`kenning backup`"), "{verified:?}");
    Ok(())
}
