//! `kenning ingest`: the facts of a folder.

use std::fs;
use std::path::Path;

use anyhow::Result;
use kenning_tests::{Ran, Server, Setup, command, run};
use serde_json::{Value, json};

async fn ingest(server: &Server, folder: &Path, further: &[&str]) -> Result<Ran> {
    let (home, folder) = (tempfile::tempdir()?, folder.display().to_string());
    let begin = ["ingest", &folder, "--name", "notes", "--json", "--server", server.url()];
    run(command(home.path(), &[&begin[..], further].concat())?, b"").await
}

/// new, changed, unchanged, removed, failed, stored, deleted.
fn report(ran: &Ran) -> Vec<u64> {
    let said = ran.json();
    let names = ["new", "changed", "unchanged", "removed", "failed", "stored", "deleted"];
    names.iter().filter_map(|name| said[*name].as_u64()).collect()
}

async fn texts(server: &Server) -> Result<Vec<String>> {
    let mut texts: Vec<String> = server
        .export()
        .await?
        .lines()
        .map(|line| {
            Ok(serde_json::from_str::<Value>(line)?["content"]
                .as_str()
                .unwrap_or_default()
                .to_owned())
        })
        .collect::<Result<_>>()?;
    texts.sort();
    Ok(texts)
}

#[tokio::test]
async fn only_what_changed_in_a_folder_is_stored_and_what_is_gone_is_deleted() -> Result<()> {
    let server = Server::start().await?;
    server.store(json!({ "text": "of nobody's folder", "fact_id": "other" })).await?;
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("sub"))?;
    fs::write(at("a.md"), "# A\n\none\n\n## B\n\ntwo\n")?;
    fs::write(at("sub/b.txt"), "three")?;
    fs::write(at("c.png"), "no text")?;
    let dry = ingest(&server, folder.path(), &["--dry-run"]).await?;
    assert_eq!((dry.code, report(&dry)), (Some(0), vec![2, 0, 0, 0, 0, 0, 0]), "{}", dry.err);
    assert_eq!(texts(&server).await?.len(), 1, "nothing was done");
    let first = ingest(&server, folder.path(), &[]).await?;
    assert_eq!((first.code, report(&first)), (Some(0), vec![2, 0, 0, 0, 0, 3, 0]), "{}", first.err);
    let again = ingest(&server, folder.path(), &[]).await?;
    assert_eq!(report(&again), [0, 0, 2, 0, 0, 0, 0], "{}", again.err);
    // A section changes, one goes, and a file goes.
    fs::write(at("a.md"), "# A\n\none and a half\n")?;
    fs::remove_file(at("sub/b.txt"))?;
    fs::write(at("d.md"), "four")?;
    let third = ingest(&server, folder.path(), &[]).await?;
    assert_eq!(report(&third), [1, 1, 0, 1, 0, 2, 2], "{}", third.err);
    let expected = ["# A\n\none and a half", "four", "of nobody's folder"];
    assert_eq!(texts(&server).await?, expected);
    let a = server.get("/v1/facts?query=half").await?.json["facts"][0]["metadata"].clone();
    assert_eq!(
        (&a["ingest"], &a["source"], &a["path"]),
        (&json!("notes"), &json!("a.md"), &json!(["A"]))
    );
    // An empty folder is more likely a mistake.
    fs::remove_file(at("a.md"))?;
    fs::remove_file(at("d.md"))?;
    let empty = ingest(&server, folder.path(), &[]).await?;
    assert_eq!(empty.code, Some(2), "{}", empty.err);
    assert_eq!(texts(&server).await?.len(), 3);
    Ok(())
}

/// A part of a file is refused: what there was of it stays, and the next time it is tried again.
#[tokio::test]
async fn a_file_that_is_refused_in_part_keeps_its_earlier_facts() -> Result<()> {
    let limits = "fact_text_bytes = 2000\nfact_metadata_bytes = 1000";
    let server = Server::start_with(Setup::patient_but(limits)).await?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("a.md");
    fs::write(&path, "# A\n\none\n\n# B\n\ntwo\n")?;
    assert_eq!(ingest(&server, folder.path(), &[]).await?.code, Some(0));
    fs::write(&path, format!("# A\n\n{}\n\n# C\n\nthree\n", "x".repeat(3_000)))?;
    fs::write(folder.path().join("bad.txt"), b"\xff")?;
    let refused = ingest(&server, folder.path(), &[]).await?;
    assert_eq!(
        (refused.code, report(&refused)),
        (Some(1), vec![0, 1, 0, 0, 2, 1, 0]),
        "{}",
        refused.err
    );
    assert!(refused.err.contains("a.md: section 1 (A)"), "{}", refused.err);
    assert!(refused.err.contains("bad.txt: not taken"), "{}", refused.err);
    assert_eq!(texts(&server).await?, ["# A\n\none", "# B\n\ntwo", "# C\n\nthree"]);
    fs::write(&path, "# A\n\none\n\n# C\n\nthree\n")?;
    let mended = ingest(&server, folder.path(), &[]).await?;
    assert_eq!(report(&mended), [0, 1, 0, 0, 1, 2, 1], "{}", mended.err);
    assert_eq!(texts(&server).await?, ["# A\n\none", "# C\n\nthree"]);
    Ok(())
}
