//! Backups of earlier formats, from `tests/fixtures`.

use std::path::Path;

use anyhow::Result;
use kenning_tests::{Backend, all_indexed, on_both_backends};
use serde_json::json;

use super::support::{restore, verify};

on_both_backends!(a_backup_of_the_first_format_is_restored);

/// Two facts of `default`, in the records of the format that did not have what extensions keep.
async fn a_backup_of_the_first_format_is_restored(backend: &Backend) -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/backup-1");
    let verified = verify(&folder).await?;
    assert!(verified.code == Some(0) && verified.out.contains("format 1"), "{verified:?}");
    let restored = restore(&[&folder.display().to_string()], backend).await?;
    assert_eq!(restored.code, Some(0), "{restored:?}");
    let server = backend.serve().await?;
    all_indexed(&server).await?;
    let expected = json!({
        "id": "tea",
        "content": "a backup of the first format about tea",
        "metadata": { "n": 1.10, "place": "Zürich" },
        "timestamp": "2026-11-18T13:46:40.000000+00:00",
    });
    assert_eq!(server.get("/v1/facts/tea").await?.json, expected);
    let query = json!({ "query": "about rivers", "mode": "text", "top_k": 1 });
    assert_eq!(server.search(query).await?, ["rivers"]);
    Ok(())
}
