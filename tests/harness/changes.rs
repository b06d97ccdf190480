//! Follows a tenant's changes: server-sent events, read strictly.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use reqwest::{Method, Response};
use serde_json::Value;
use tokio::time::timeout;

use crate::Caller;

/// A stream that is silent for longer has hung.
const PATIENCE: Duration = Duration::from_secs(60);

/// One event.
#[derive(Clone, Debug, PartialEq)]
pub struct ChangeEvent {
    pub id: u64,
    pub name: String,
    pub data: Value,
}

impl ChangeEvent {
    /// Its kind, and the fact's id or, of a gap, nothing.
    pub fn told(&self) -> (&str, &str) {
        (&self.name, self.data["id"].as_str().unwrap_or_default())
    }
}

/// A stream of events that arrives.
pub struct ChangeStream {
    response: Response,
    arrived: String,
    /// The position of the last block, with or without an event.
    pub position: u64,
}

impl ChangeStream {
    /// Follows the caller's changes, with this behind the path, such as `?after=3`.
    pub async fn open(caller: &Caller, query: &str) -> Result<Self> {
        let request = caller.request(Method::GET, &format!("/v1/changes{query}"));
        Self::of(request.send().await?).await
    }

    /// The same as one who connects again.
    pub async fn resume(caller: &Caller, query: &str, position: u64) -> Result<Self> {
        let request = caller.request(Method::GET, &format!("/v1/changes{query}"));
        Self::of(request.header("last-event-id", position).send().await?).await
    }

    pub async fn of(response: Response) -> Result<Self> {
        let status = response.status().as_u16();
        if status != 200 {
            bail!("not followed: {status} {}", response.text().await?);
        }
        let header = |name: &str| response.headers()[name].to_str().map(str::to_owned);
        assert_eq!(header("content-type")?, "text/event-stream");
        assert_eq!(header("cache-control")?, "no-store");
        let mut stream = Self { response, arrived: String::new(), position: 0 };
        ensure!(stream.block().await?.is_some_and(|(_, event)| event.is_none()), "no beginning");
        Ok(stream)
    }

    /// The tenant's revision when the stream began.
    pub fn revision(&self) -> Result<u64> {
        Ok(self.response.headers()["x-kenning-revision"].to_str()?.parse()?)
    }

    /// The next event; `None` at the clean end of the stream.
    pub async fn next(&mut self) -> Result<Option<ChangeEvent>> {
        while let Some((position, event)) = self.block().await? {
            self.position = position;
            if event.is_some() {
                return Ok(event);
            }
        }
        Ok(None)
    }

    /// So many events.
    pub async fn take(&mut self, events: usize) -> Result<Vec<ChangeEvent>> {
        let mut taken = Vec::new();
        while taken.len() < events {
            taken.push(self.next().await?.context("the stream ended early")?);
        }
        Ok(taken)
    }

    /// All events to the clean end of the stream.
    pub async fn rest(&mut self) -> Result<Vec<ChangeEvent>> {
        let mut taken = Vec::new();
        while let Some(event) = self.next().await? {
            taken.push(event);
        }
        Ok(taken)
    }

    /// The next position, with its event if it has one.
    pub async fn block(&mut self) -> Result<Option<(u64, Option<ChangeEvent>)>> {
        loop {
            if let Some((block, rest)) = self.arrived.split_once("\n\n") {
                let read = read(block)?;
                self.arrived = rest.to_owned();
                self.position = read.0;
                return Ok(Some(read));
            }
            if !self.more().await? {
                ensure!(self.arrived.trim_matches([':', '\n']).is_empty(), "{:?}", self.arrived);
                return Ok(None);
            }
        }
    }

    /// Waits for the next bytes; `false` at the clean end.
    async fn more(&mut self) -> Result<bool> {
        let chunk = timeout(PATIENCE, self.response.chunk()).await.context("silence")??;
        let Some(chunk) = chunk else { return Ok(false) };
        self.arrived += std::str::from_utf8(&chunk)?;
        Ok(true)
    }

    /// Waits for so many comments, between which nothing happens.
    pub async fn comments(&mut self, comments: usize) -> Result<()> {
        while self.arrived.lines().filter(|line| *line == ":").count() < comments {
            ensure!(self.more().await?, "the stream ended");
        }
        Ok(())
    }
}

/// Reads a block, in the one form that Kenning writes.
fn read(block: &str) -> Result<(u64, Option<ChangeEvent>)> {
    let field = |name: &str| {
        let mut lines = block.lines().filter_map(|line| line.strip_prefix(name));
        lines.next()
    };
    let id = field("id: ").with_context(|| format!("no id: {block:?}"))?.parse()?;
    let Some(data) = field("data: ") else { return Ok((id, None)) };
    let name = field("event: ").context("no event")?.to_owned();
    let event = ChangeEvent { id, name, data: serde_json::from_str(data)? };
    assert_eq!(event.data["kind"], event.name);
    match &*event.name {
        "gap" => assert_eq!(event.data["to"], id),
        _ => {
            assert_eq!(event.data["revision"], id);
            assert_eq!(event.data.as_object().map(|data| data.len()), Some(3), "{data}");
        }
    }
    Ok((id, Some(event)))
}
