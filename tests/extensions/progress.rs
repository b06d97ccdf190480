//! Who waits for a swap that takes long is told what it is doing.

use anyhow::{Context, Result};
use kenning_tests::{Server, Setup, SlowCompiler, run};
use reqwest::header::ACCEPT;
use reqwest::{Method, Response};
use serde_json::{Value, json};

use super::compiling::{REMOVE, fresh};

/// A server whose next compilation waits.
async fn slow() -> Result<(Server, SlowCompiler)> {
    let compiler = SlowCompiler::new()?;
    let setup = Setup { program: Some(compiler.program()), ..Setup::patient() };
    let server = Server::start_with(setup).await?;
    compiler.hold()?;
    Ok((server, compiler))
}

/// Sends a component for a caller who accepts events.
async fn send(server: &Server, method: Method, path: &str, bytes: Vec<u8>) -> Result<Response> {
    let request = server.request(method, path).header(ACCEPT, "text/event-stream");
    Ok(request.body(bytes).send().await?)
}

/// The events, up to one with the member `until`.
async fn read(response: &mut Response, until: &str) -> Result<Vec<Value>> {
    let mut text = String::new();
    loop {
        let whole = text.rsplit_once("\n\n").map_or("", |(whole, _)| whole);
        let events = whole.split("\n\n").filter_map(|event| event.split_once("\ndata: "));
        let events: Result<Vec<Value>, _> =
            events.map(|(_, data)| serde_json::from_str(data)).collect();
        let events = events?;
        if events.last().is_some_and(|last| last.get(until).is_some()) {
            return Ok(events);
        }
        let piece = response.chunk().await?.with_context(|| format!("no {until} in {text}"))?;
        text += std::str::from_utf8(&piece)?;
    }
}

#[tokio::test]
async fn a_caller_who_accepts_events_hears_what_a_long_swap_does_and_gets_its_report() -> Result<()>
{
    let (server, compiler) = slow().await?;
    let mut response = send(&server, Method::PUT, REMOVE, fresh()?).await?;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let told = read(&mut response, "step").await?;
    assert_eq!(told[0]["step"], "compiling", "{told:?}");

    compiler.release()?;
    let told = read(&mut response, "body").await?;
    let answer = told.last().context("an answer")?;
    assert_eq!(answer["status"], 200, "{answer}");
    assert_eq!(answer["body"]["promoted"], true, "{answer}");
    assert_eq!(response.chunk().await?, None, "nothing comes after the answer");
    assert_eq!(server.get("/v1/facts").await?.header("x-kenning-extensions"), "hooks=1");
    let acts = server.get("/v1/admin/audit").await?;
    let act = &acts.json["records"][0];
    assert_eq!(act["result"]["status"], 200, "{act}");
    assert!(act.to_string().contains("\"promoted\":true"), "{act}");
    Ok(())
}

#[tokio::test]
async fn a_long_swap_that_is_refused_says_so_in_its_last_event() -> Result<()> {
    let (server, compiler) = slow().await?;
    let mut response = send(&server, Method::POST, "/v1/admin/logic", fresh()?).await?;
    read(&mut response, "step").await?;
    compiler.release()?;
    let told = read(&mut response, "body").await?;
    let answer = told.last().context("an answer")?;
    assert_eq!(
        (&answer["status"], answer["body"]["code"].as_str()),
        (&json!(422), Some("incompatible_component"))
    );
    assert_eq!(answer["body"]["details"]["checks"][2]["check"], "exports", "{answer}");
    Ok(())
}

#[tokio::test]
async fn the_command_line_reads_the_report_of_a_long_swap() -> Result<()> {
    let (server, compiler) = slow().await?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("hooks.wasm");
    let bytes = fresh()?;
    std::fs::write(&file, &bytes)?;
    let file = file.to_str().context("a path")?;
    let arguments = ["extension", "install", "hooks", file, "--json", "--server", server.url()];
    let install = run(kenning_tests::command(directory.path(), &arguments)?, b"");
    let held = async {
        compiler.held().await?;
        // The same bytes are compiled once. Who came later is told already.
        let other = "/v1/admin/tenants/other/extensions/hooks";
        let mut other = send(&server, Method::PUT, other, bytes).await?;
        read(&mut other, "step").await?;
        compiler.release()
    };
    let (ran, released) = tokio::join!(install, held);
    released?;
    let ran = ran?;
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!((ran.json()["promoted"].as_bool(), ran.err.as_str()), (Some(true), ""));
    Ok(())
}
