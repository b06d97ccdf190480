//! The `kenning` binary, as a shell runs it: verbs against a real server, and what
//! `serve` refuses before it serves.

use std::path::Path;

use anyhow::{Context, Result};
use kenning_tests::{Ran, Server, command, run};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A shell of its own, pointed at one server.
struct Shell {
    home: TempDir,
    server: String,
}

impl Shell {
    fn new(server: &str) -> Result<Self> {
        Ok(Self { home: tempfile::tempdir()?, server: server.to_string() })
    }

    fn path(&self) -> &Path {
        self.home.path()
    }

    async fn run(&self, arguments: &[&str]) -> Result<Ran> {
        self.feed(arguments, "").await
    }

    async fn feed(&self, arguments: &[&str], input: &str) -> Result<Ran> {
        let mut command = command(self.path(), arguments)?;
        command.env("KENNING_SERVER", &self.server).current_dir(self.path());
        run(command, input.as_bytes()).await
    }

    /// Runs what must succeed; gives its standard output.
    async fn done(&self, arguments: &[&str]) -> Result<String> {
        let ran = self.run(arguments).await?;
        assert_eq!(ran.code, Some(0), "{arguments:?}: {ran:?}");
        Ok(ran.out)
    }
}

async fn shell() -> Result<(Server, Shell)> {
    let server = Server::start().await?;
    let shell = Shell::new(server.url())?;
    Ok((server, shell))
}

#[tokio::test]
async fn a_fact_goes_through_every_verb() -> Result<()> {
    let (_server, shell) = shell().await?;
    let metadata = "{\"topic\":\"people\"}";
    let stored = shell
        .done(&["store", "Ada prefers\ttea.", "--metadata", metadata, "--id", "ada-tea"])
        .await?;
    assert_eq!(stored, "ada-tea\n", "a script gets the id alone");
    let fresh = shell.done(&["store", "The port is 7171."]).await?;
    assert_eq!(fresh.trim_end().len(), 36);

    let got = shell.done(&["get", "ada-tea"]).await?;
    let columns: Vec<&str> = got.trim_end().split('\t').collect();
    assert_eq!((columns[0], columns[2], columns[3]), ("ada-tea", "Ada prefers\\ttea.", metadata));
    let list = shell.done(&["list"]).await?;
    let ids: Vec<_> = list.lines().filter_map(|line| line.split('\t').next()).collect();
    assert_eq!(ids, [fresh.trim_end(), "ada-tea"]);
    assert_eq!(shell.done(&["list", "--query", "ADA"]).await?.lines().count(), 1);

    let search = ["search", "tea", "-k", "3", "--mode", "text", "--filter", metadata];
    let found = shell.done(&search).await?;
    let columns: Vec<&str> = found.trim_end().split('\t').collect();
    assert_eq!((columns[0], columns[2]), ("1", "ada-tea"), "{found}");

    assert_eq!(
        shell.done(&["update", "ada-tea", "--text", "Ada prefers mate."]).await?,
        "ada-tea\n"
    );
    assert!(shell.done(&["get", "ada-tea"]).await?.contains("Ada prefers mate."));
    assert!(shell.done(&["stats"]).await?.contains("facts\t2\n"));
    assert_eq!(shell.done(&["delete", "ada-tea"]).await?, "ada-tea\n");
    assert_eq!(shell.run(&["get", "ada-tea"]).await?.code, Some(3));
    Ok(())
}

#[tokio::test]
async fn json_is_what_the_server_said() -> Result<()> {
    let (server, shell) = shell().await?;
    let stored = shell.run(&["store", "Ada prefers tea.", "--id", "a", "--json"]).await?;
    assert_eq!(stored.json()["fact_id"], "a", "{stored:?}");
    for (arguments, path) in [
        (&["get", "a", "--json"][..], "/v1/facts/a"),
        (&["list", "--json"], "/v1/facts"),
        (&["stats", "--json"], "/v1/stats"),
        (&["export"], "/v1/export"),
    ] {
        let said = shell.done(arguments).await?;
        assert_eq!(said.trim_end(), server.get(path).await?.text.trim_end(), "{arguments:?}");
    }
    let found = shell.run(&["search", "tea", "--json", "--explain"]).await?.json();
    assert_eq!(found["results"][0]["doc_id"], "a");
    assert!(found["results"][0]["explain"].is_object());
    let refused = shell.run(&["get", "nothing", "--json"]).await?;
    assert_eq!((refused.code, &refused.json()["code"]), (Some(3), &json!("not_found")));
    Ok(())
}

#[tokio::test]
async fn how_a_verb_ends_is_in_its_exit_code() -> Result<()> {
    let (_server, shell) = shell().await?;
    shell.done(&["store", "x", "--id", "a"]).await?;
    for (code, arguments, said) in [
        (0, &["store", "x", "--id", "a"][..], ""),
        (1, &["store", "y", "--id", "a"], "conflict"),
        (1, &["store", " "], "blank"),
        (1, &["get", "a:b"], "invalid_request"),
        (1, &["search", "x", "--filter", "{\"a\":{\"near\":1}}"], "/filter/a/near"),
        (1, &["stats", "--tenant", "a:b"], "tenant"),
        (2, &["store"], "Usage"),
        (2, &["store", "x", "--metadata", "[1]"], "not a JSON object"),
        (2, &["search", "x", "-k", "0"], "1..=1000"),
        (2, &["update", "a"], "required"),
        (2, &["import", "nothing.jsonl"], "nothing.jsonl"),
        (2, &["nonsense"], "nonsense"),
        (3, &["get", "nothing"], "nothing"),
        (3, &["delete", "nothing"], "nothing"),
        (3, &["update", "nothing", "--text", "x"], "nothing"),
        (4, &["stats", "--server", "http://127.0.0.1:1"], "cannot connect to"),
    ] {
        let ran = shell.run(arguments).await?;
        assert_eq!(ran.code, Some(code), "{arguments:?}: {ran:?}");
        assert!(ran.err.contains(said), "{arguments:?}: {ran:?}");
        assert!(code == 0 || ran.out.is_empty(), "{arguments:?}: {ran:?}");
    }
    Ok(())
}

#[tokio::test]
async fn tenants_and_keys_of_a_command_are_the_requests() -> Result<()> {
    let (server, shell) = shell().await?;
    shell.done(&["store", "theirs", "--id", "a", "--tenant", "other"]).await?;
    assert_eq!(shell.run(&["get", "a"]).await?.code, Some(3));
    assert_eq!(server.tenant("other").get("/v1/facts/a").await?.json["content"], "theirs");
    for _ in 0..2 {
        shell.done(&["store", "once", "--idempotency-key", "k"]).await?;
    }
    assert_eq!(server.export().await?.lines().count(), 1);
    let input = "from standard input\nwith two lines\n";
    let stored = shell.feed(&["store", "-", "--id", "b"], input).await?;
    assert_eq!(stored.code, Some(0), "{stored:?}");
    let fact = server.get("/v1/facts/b").await?.json;
    assert_eq!(fact["content"], input.trim_end(), "without its last newline");
    Ok(())
}

#[tokio::test]
async fn an_export_imported_elsewhere_is_the_same_export() -> Result<()> {
    let (_server, shell) = shell().await?;
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples/facts.jsonl");
    let samples = samples.to_str().context("a path")?;
    let said = shell.done(&["import", samples, "--wait"]).await?;
    assert!(said.starts_with("imported\t336\nfailed\t0\n"), "{said}");
    assert!(said.ends_with("pending\t0\n"), "{said}");
    let odd = "{\"text\":\"tab\\t, NUL \\u0000, 🦀\\n\",\"metadata\":{\"n\":1.10,\"z\":[null]}}\n";
    assert_eq!(shell.feed(&["import", "-"], odd).await?.code, Some(0));
    shell.done(&["export", "--output", "facts.jsonl"]).await?;

    let (_other, elsewhere) = self::shell().await?;
    let file = shell.path().join("facts.jsonl");
    elsewhere.done(&["import", file.to_str().context("a path")?]).await?;
    let sorted = |text: String| {
        let mut lines: Vec<String> = text.lines().map(str::to_string).collect();
        lines.sort();
        lines
    };
    let (one, other) =
        (sorted(shell.done(&["export"]).await?), sorted(elsewhere.done(&["export"]).await?));
    assert_eq!(one.len(), 337);
    assert_eq!(one, other);
    assert_eq!(sorted(std::fs::read_to_string(file)?), one);
    Ok(())
}

#[tokio::test]
async fn bad_lines_of_an_import_are_told_and_counted() -> Result<()> {
    let (server, shell) = shell().await?;
    std::fs::write(
        shell.path().join("facts.jsonl"),
        "{\"text\":\"x\"}\nbroken\n{\"text\":\"\"}\n",
    )?;
    let ran = shell.run(&["import", "facts.jsonl"]).await?;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert_eq!(ran.out, "imported\t1\nfailed\t2\nlines\t3\n");
    assert!(ran.err.contains("line 2") && ran.err.contains("line 3"), "{ran:?}");
    let ran = shell.run(&["import", "facts.jsonl", "--json"]).await?;
    let said: Value = ran.out.parse()?;
    let line = |at: usize| said["errors"][at]["line"].clone();
    assert_eq!((line(0), line(1), &said["failed"]), (json!(2), json!(3), &json!(2)));
    assert_eq!(server.export().await?.lines().count(), 2);
    Ok(())
}

#[tokio::test]
async fn serve_refuses_what_it_cannot_serve_and_says_why() -> Result<()> {
    let shell = Shell::new("")?;
    let configured = |text: &str| {
        std::fs::write(shell.path().join("kenning.toml"), text)?;
        Ok::<_, anyhow::Error>(["--config", "kenning.toml"])
    };
    let file = shell.path().join("file");
    std::fs::write(&file, "not a directory")?;
    let in_a_file = format!("embedded:{}/facts", file.display());
    for (arguments, said) in [
        (["--listen", "0.0.0.0:0"], "loopback"),
        (["--listen", "[::]:0"], "loopback"),
        (["--listen", "nonsense"], "nonsense"),
        (["--storage", "sqlite:x"], "embedded:DIR, redis://"),
        (["--storage", "embedded:"], "directory"),
        (["--storage", "redis://h:port"], "redis"),
        (["--storage", "rediss://h:port"], "rediss"),
        (["--storage", "redis+cluster://h:1/2"], "no databases"),
        (["--storage", &in_a_file], "cannot open"),
        (["--layout", "flat"], "flat"),
        (["--log", "wran"], "did you mean warn?"),
        (["--log", "verbose"], "is no level"),
        (["--log", ""], "--log has an empty value"),
        (["--model-dir", "nowhere"], "--model-dir nowhere"),
        (["--config", "nothing.toml"], "nothing.toml"),
        (["--logic", "nothing.wasm"], "nothing.wasm"),
        (["--logic", "file"], "component"),
        (configured("lissten = \"127.0.0.1:0\"")?, "lissten"),
    ] {
        assert_refuses(&shell, &arguments, said).await?;
    }
    for (text, said) in [
        ("[limits]\nserach_ms = 5\n", "serach_ms"),
        ("[limits]\nsearch_ms = \"5 s\"\n", "search_ms"),
        ("[limits]\nguests = 0\n", "guests"),
        ("[limits]\nsearch_ms = 0\n", "search_ms must be 1 to"),
        ("storage = \"\"\n", "storage is empty"),
        // Not repeated: an address may hold a password.
        ("embedder = \"magic\"\n", "openai:BASE_URL"),
        ("listen = \n", "kenning.toml"),
    ] {
        assert_refuses(&shell, &configured(text)?, said).await?;
    }
    Ok(())
}

async fn assert_refuses(shell: &Shell, arguments: &[&str], said: &str) -> Result<()> {
    let common = ["serve", "--embedder", "hash", "--data-dir", "data"];
    let ran = shell.run(&[&common[..], arguments].concat()).await?;
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""), "{arguments:?}: {ran:?}");
    assert!(ran.err.contains(said) && !ran.err.contains("panicked"), "{arguments:?}: {ran:?}");
    Ok(())
}

#[tokio::test]
async fn a_password_in_an_address_is_not_repeated() -> Result<()> {
    let shell = Shell::new("")?;
    for url in ["redis://ada:hunter2@h:port", "rediss://ada:hunter2@h:x", "pg://ada:hunter2@h"] {
        let mut command =
            command(shell.path(), &["serve", "--embedder", "hash", "--data-dir", "data"])?;
        command.env("KENNING_STORAGE", url).current_dir(shell.path());
        let ran = run(command, b"").await?;
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(!ran.err.contains("hunter2"), "{ran:?}");
    }
    Ok(())
}

/// A key that is easy to guess would be a trap; so would one that is not asked for.
#[tokio::test]
async fn serve_refuses_an_admin_key_that_is_too_short() -> Result<()> {
    let shell = Shell::new("")?;
    let mut command = command(shell.path(), &["serve", "--embedder", "hash"])?;
    command.env("KENNING_ADMIN_KEY", "hunter2");
    let ran = run(command, b"").await?;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.err.contains("KENNING_ADMIN_KEY") && !ran.err.contains("hunter2"), "{ran:?}");
    Ok(())
}

/// Two writers on one file would each undo the other.
#[tokio::test]
async fn a_second_server_on_the_same_data_is_refused() -> Result<()> {
    let backend = kenning_tests::Backend::embedded()?;
    let _first = backend.serve().await?;
    let data_dir = backend.setup().data_dir.context("a data directory")?;
    let shell = Shell::new("")?;
    let data_dir = data_dir.to_str().context("a path")?;
    let ran = shell
        .run(&["serve", "--listen", "127.0.0.1:0", "--embedder", "hash", "--data-dir", data_dir])
        .await?;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.err.contains("in use by another process"), "{ran:?}");
    Ok(())
}

#[tokio::test]
async fn an_address_that_is_taken_is_refused() -> Result<()> {
    let server = Server::start().await?;
    let address = server.url().strip_prefix("http://").context("an address")?;
    let shell = Shell::new("")?;
    let ran =
        shell.run(&["serve", "--listen", address, "--embedder", "hash", "--data-dir", "d"]).await?;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.err.contains("cannot listen on"), "{ran:?}");
    Ok(())
}

#[tokio::test]
async fn model_pull_verify_reports_whether_the_model_is_installed() -> Result<()> {
    let shell = Shell::new("")?;
    let absent = shell.run(&["model", "pull", "--check"]).await?;
    assert_eq!((absent.code, absent.out.as_str()), (Some(1), ""), "{absent:?}");
    assert!(absent.err.contains("kenning model pull"), "{absent:?}");

    let there = kenning_model::locate(None)?;
    let directory = there.to_str().context("a path")?;
    let found = shell.run(&["model", "pull", "--verify", "--dir", directory]).await?;
    assert_eq!((found.code, found.out.trim_end()), (Some(0), directory), "{found:?}");

    let broken = shell.path().join("model");
    std::fs::create_dir(&broken)?;
    for entry in std::fs::read_dir(&there)? {
        let entry = entry?;
        std::fs::write(broken.join(entry.file_name()), "not what it should be")?;
    }
    let wrong = shell.run(&["model", "pull", "--verify", "--dir", "model"]).await?;
    assert_eq!(wrong.code, Some(1), "{wrong:?}");
    Ok(())
}

#[tokio::test]
async fn a_candidate_that_is_refused_fails_the_command_and_its_check_is_named() -> Result<()> {
    let server = Server::start().await?;
    let shell = Shell::new(server.url())?;
    let path = |name: &str| kenning_tests::component(name).map(|path| path.display().to_string());
    for query in ["cat", "trap"] {
        server.post("/v1/search", json!({ "query": query, "mode": "text" })).await?;
    }
    let staged = shell.run(&["logic", "stage", &path("hostile")?]).await?;
    assert_eq!(staged.code, Some(1), "{staged:?}");
    assert!(
        staged.out.starts_with("refused\t2\t") && staged.err.contains("errors: "),
        "{staged:?}"
    );
    let staged = shell.run(&["logic", "stage", &path("hooks")?]).await?;
    assert_eq!(staged.code, Some(1), "{staged:?}");
    assert!(staged.err.contains("the check `exports`"), "{staged:?}");
    let hooks = path("hooks")?;
    let install = ["extension", "install", "x", &hooks];
    assert!(shell.done(&install).await?.starts_with("promoted\t1\t"));
    assert!(shell.done(&install).await?.starts_with("unchanged\t1\t"));
    let set = shell.done(&["extension", "set", "x", "--order", "-2", "--on-failure", "close"]);
    assert_eq!(set.await?.trim(), "x\trunning\t-2\t\tclose");
    assert!(shell.done(&["extension", "pause", "x"]).await?.starts_with("x\tpaused\t-2"));
    Ok(())
}
