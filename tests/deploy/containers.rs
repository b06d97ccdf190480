//! Containers, Compose and Kubernetes: linted, and what of them runs without them is run.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use kenning_storage::testing::free_port;
use kenning_tests::{Server, command, run};
use serde_json::Value;
use tokio::process::Command;

use super::{content, file, said};
use crate::authoring::tool;

fn linter(name: &str) -> Result<Command> {
    Ok(Command::new(tool(&format!("deploy/bin/{name}"))?))
}

/// The documents of a YAML file.
async fn documents(path: &Path) -> Result<Vec<Value>> {
    const PROGRAM: &str =
        "import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(open(sys.argv[1])))))";
    let read = content(linter("python")?.args(["-c", PROGRAM]).arg(path)).await?;
    Ok(serde_json::from_str(&read)?)
}

#[tokio::test]
async fn hadolint_finds_nothing_in_the_dockerfile() -> Result<()> {
    let clean = content(linter("hadolint")?.arg(file("Dockerfile"))).await?;
    assert_eq!(clean, "");
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("Dockerfile");
    let text = fs::read_to_string(file("Dockerfile"))?;
    fs::write(&path, text.replace("USER 10001:10001", "USER root"))?;
    let (succeeded, complaint) = said(linter("hadolint")?.arg(&path)).await?;
    assert!(!succeeded && complaint.contains("DL3002"), "root is found: {complaint}");
    Ok(())
}

/// A crate that the build does not see would fail it: the whole workspace is read first.
#[tokio::test]
async fn the_context_of_the_image_has_every_part_of_the_workspace() -> Result<()> {
    let ignored = fs::read_to_string(file("Dockerfile.dockerignore"))?;
    let taken: Vec<&str> = ignored.lines().filter_map(|line| line.strip_prefix('!')).collect();
    ensure!(ignored.lines().any(|line| line == "*"), "all else stays outside");
    let root = file("..");
    let context = tempfile::tempdir()?;
    for name in &taken {
        ensure!(root.join(name).exists(), "{name} is not in the repository");
        std::os::unix::fs::symlink(root.join(name).canonicalize()?, context.path().join(name))?;
    }
    for member in members(&root.join("Cargo.toml"))? {
        let crate_manifest = context.path().join(&member).join("Cargo.toml");
        ensure!(crate_manifest.is_file(), "{member} is not in the image's context");
    }
    for needed in ["Makefile", "rust-toolchain.toml", "Cargo.lock", "wit/world.wit"] {
        ensure!(context.path().join(needed).exists(), "{needed} is not in the image's context");
    }
    Ok(())
}

/// The members that a workspace's manifest lists, one a line.
fn members(manifest: &Path) -> Result<Vec<String>> {
    let text = fs::read_to_string(manifest)?;
    let after = text.split_once("members = [").context("it lists members")?.1;
    let listed = after.split_once(']').context("the list ends")?.0;
    let names = listed.lines().map(|line| line.trim().trim_matches([',', '"']));
    Ok(names.filter(|name| !name.is_empty()).map(str::to_owned).collect())
}

#[tokio::test]
async fn the_compose_file_follows_its_specification() -> Result<()> {
    let check = async |path: &Path| {
        said(
            linter("check-jsonschema")?.args(["--builtin-schema", "vendor.compose-spec"]).arg(path),
        )
        .await
    };
    let (succeeded, complaint) = check(&file("compose.yaml")).await?;
    ensure!(succeeded, "{complaint}");
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("compose.yaml");
    let text = fs::read_to_string(file("compose.yaml"))?;
    fs::write(&path, text.replace("read_only: true", "read-only: true"))?;
    let (succeeded, complaint) = check(&path).await?;
    ensure!(!succeeded && complaint.contains("read-only"), "a mistake is found: {complaint}");
    Ok(())
}

#[tokio::test]
async fn the_compose_files_health_check_tells_a_server_that_is_ready_from_none() -> Result<()> {
    let compose = documents(&file("compose.yaml")).await?;
    let test = compose[0]["services"]["kenning"]["healthcheck"]["test"].as_array();
    let test = test.context("it has a health check")?;
    // `$$` is a dollar of Compose.
    let words: Vec<String> =
        test.iter().filter_map(Value::as_str).map(|word| word.replace("$$", "$")).collect();
    ensure!(words[0] == "CMD", "{words:?}");
    let is_healthy = async |listen: &str| {
        let (healthy, _) =
            said(Command::new(&words[1]).args(&words[2..]).env("KENNING_LISTEN", listen)).await?;
        anyhow::Ok(healthy)
    };
    let server = Server::start().await?;
    let port = server.url().rsplit(':').next().context("a port")?.to_owned();
    ensure!(is_healthy(&format!("0.0.0.0:{port}")).await?, "a server that is ready");
    ensure!(!is_healthy(&format!("0.0.0.0:{}", free_port())).await?, "none");
    Ok(())
}

#[tokio::test]
async fn kubernetes_takes_the_manifests() -> Result<()> {
    let check = async |path: &Path| {
        said(linter("kubernetes-validate")?.args(["--strict", "--no-warn"]).arg(path)).await
    };
    let folder = tempfile::tempdir()?;
    for name in ["kenning.yaml", "valkey.yaml"] {
        let path = file("kubernetes").join(name);
        let (succeeded, complaint) = check(&path).await?;
        ensure!(succeeded, "{name}: {complaint}");
        let wrong = folder.path().join(name);
        let text = fs::read_to_string(&path)?;
        fs::write(&wrong, text.replace("readOnlyRootFilesystem", "readOnlyRoot"))?;
        ensure!(!check(&wrong).await?.0, "a mistake in {name} is found");
    }
    let kustomization = documents(&file("kubernetes/kustomization.yaml")).await?;
    let listed: BTreeSet<&str> = kustomization[0]["resources"]
        .as_array()
        .context("it lists resources")?
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert_eq!(listed, BTreeSet::from(["kenning.yaml", "valkey.yaml"]));
    Ok(())
}

#[tokio::test]
async fn every_pod_runs_as_nobody_on_a_root_that_it_cannot_write() -> Result<()> {
    let mut pods = 0;
    for name in ["kenning.yaml", "valkey.yaml"] {
        for document in documents(&file("kubernetes").join(name)).await? {
            let pod = &document["spec"]["template"]["spec"];
            for container in pod["containers"].as_array().into_iter().flatten() {
                pods += 1;
                let security = &container["securityContext"];
                assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{name}");
                assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
                assert_eq!(security["readOnlyRootFilesystem"], true, "{name}");
                assert_eq!(security["allowPrivilegeEscalation"], false, "{name}");
                assert_eq!(security["capabilities"]["drop"][0], "ALL", "{name}");
                ensure!(container["resources"]["limits"]["memory"].is_string(), "{name}");
                ensure!(container["readinessProbe"].is_object(), "{name}");
            }
        }
    }
    assert_eq!(pods, 2);
    Ok(())
}

/// The program complains of variables that it does not know.
#[tokio::test]
async fn the_program_knows_every_variable_that_a_deployment_sets() -> Result<()> {
    let mut names = BTreeSet::new();
    for name in ["Dockerfile", "compose.yaml", "kenning.service", "kubernetes/kenning.yaml"] {
        let text = fs::read_to_string(file(name))?;
        let is_name = |one: char| one.is_ascii_uppercase() || one == '_';
        let words = text.split(|one| !is_name(one)).map(str::to_owned);
        let found: Vec<String> = words.filter(|word| word.starts_with("KENNING_")).collect();
        ensure!(!found.is_empty(), "{name} sets none");
        names.extend(found);
    }
    let home = tempfile::tempdir()?;
    let mut command = command(home.path(), &["get", "x", "--server", "http://127.0.0.1:1"])?;
    // Empty variables have no value, and yet a name.
    command.envs(names.iter().map(|name| (name, "")));
    let ran = run(command, b"").await?;
    ensure!(!ran.err.contains("has no effect"), "{ran:?}");
    Ok(())
}
