//! Servers that are backed up, and where backups are restored to.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use kenning_tests::backups::operate;
use kenning_tests::{Backend, Caller, Ran, Server, Setup, command, run};
use serde_json::{Value, json};

pub(super) const ADMIN: &str = "an-admin-key-for-tests-only";

/// A server on `backend` that asks for keys, and its operator.
pub(super) async fn serve(backend: &Backend) -> Result<(Server, Caller)> {
    let setup = Setup { admin_key: Some(ADMIN), ..backend.setup() };
    let server = Server::start_with(setup).await?;
    let admin = server.key(ADMIN);
    Ok((server, admin))
}

/// Creates a tenant with a quota; gives its key.
pub(super) async fn tenant(admin: &Caller, name: &str, facts: u64) -> Result<String> {
    let body = json!({ "name": name, "limits": { "facts": facts } });
    let created = admin.post("/v1/admin/tenants", body).await?;
    ensure!(created.status == 201, "not created: {}", created.text);
    Ok(created.json["key"].as_str().unwrap_or_default().to_owned())
}

/// Imports facts of a few kilobytes: enough of them for a backup of several blocks.
pub(super) async fn seed(
    caller: &Caller,
    name: &str,
    facts: usize,
) -> Result<Vec<(String, String)>> {
    let seeds: Vec<(String, String)> = (0..facts)
        .map(|n| (format!("{name}-{n}"), format!("{name} {n} {}", "rivers of tea ".repeat(40))))
        .collect();
    let line = |(id, text): &(String, String)| {
        json!({ "fact_id": id, "text": text, "metadata": { "name": name } }).to_string() + "\n"
    };
    let imported =
        caller.post_raw("/v1/import", seeds.iter().map(line).collect::<String>()).await?;
    ensure!(imported.status == 200, "not imported: {}", imported.text);
    Ok(seeds)
}

pub(super) async fn backup(server: &Server, arguments: &[&str]) -> Result<Ran> {
    operate(server.url(), ADMIN, &[&["backup"], arguments].concat()).await
}

/// Runs `kenning restore` into the storage of `backend`.
pub(super) async fn restore(folders: &[&str], backend: &Backend) -> Result<Ran> {
    let setup = backend.setup();
    let data_dir = setup.data_dir.unwrap_or_default().display().to_string();
    let mut arguments = [&["restore"], folders, &["--data-dir", data_dir.as_str()]].concat();
    if let Some(url) = &setup.storage {
        arguments.extend(["--storage", url.as_str()]);
    }
    let home = tempfile::tempdir()?;
    run(command(home.path(), &arguments)?, b"").await
}

/// Runs `kenning verify` on a backup.
pub(super) async fn verify(folder: &Path) -> Result<Ran> {
    let home = tempfile::tempdir()?;
    run(command(home.path(), &["verify", &folder.display().to_string()])?, b"").await
}

/// What a tenant is, apart from its facts and when its keys were used.
pub(super) async fn about(admin: &Caller, name: &str) -> Result<Value> {
    let mut tenant = admin.get(&format!("/v1/admin/tenants/{name}")).await?.json;
    for key in tenant["keys"].as_array_mut().context("no keys")? {
        key.as_object_mut().context("no key")?.remove("last_used");
    }
    let extensions = admin.get(&format!("/v1/admin/tenants/{name}/extensions")).await?.json;
    let extension = &extensions["extensions"][0];
    Ok(json!({
        "keys": tenant["keys"], "limits": tenant["limits"], "language": tenant["language"],
        "extension": [extension["name"], extension["order"], extension["active"]],
    }))
}

/// The other backend.
pub(super) fn other(backend: &Backend) -> Result<Backend> {
    match backend.redis_server() {
        Some(_) => Backend::embedded(),
        None => Backend::redis(),
    }
}
