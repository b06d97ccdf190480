//! `POST /v1/import`: JSON Lines in, one fact a line; out, a line for each bad one
//! as it is found and a summary at the end. Nothing is held but a group of facts.

use std::sync::Arc;
use std::time::Instant;

use axum::body::{Body, BodyDataStream};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::{StreamExt, stream};
use http::header;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::answer::{Refusal, name_guests};
use super::body::{metadata, parse};
use super::lines::{Line, Lines};
use super::who::Who;
use crate::app::App;
use crate::error::{Code, Error};
use crate::kb::Kept;
use crate::runtime::wit::Draft;

/// Facts stored together. Their embeddings should be ready within the bound that a
/// store waits for them.
const GROUP: usize = 50;

/// Bad lines reported one by one; more are only counted. A caller who reads the
/// answer only after sending everything must not be stuck with a full pipe.
const REPORTED: u64 = 1_000;

/// Groups in a row that may fail as a whole before the import gives up.
const FAILURES: u32 = 3;

/// A line: a draft as `POST /v1/facts` takes it, or a fact as the export gives it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
struct ImportLine {
    #[serde(alias = "id")]
    fact_id: Option<String>,
    #[serde(alias = "content")]
    text: Option<String>,
    metadata: Option<Box<RawValue>>,
    timestamp: Option<String>,
}

/// `POST /v1/import`
pub(super) async fn import(
    State(app): State<Arc<App>>,
    who: Who,
    request: Request,
) -> Result<Response, Refusal> {
    let served = app.kb.served();
    let (answers, lines) = mpsc::channel(16);
    let body = request.into_body().into_data_stream();
    tokio::spawn(Import::new(app, who, answers).run(body));
    let lines = stream::unfold(lines, |mut lines| async {
        lines.recv().await.map(|line: Value| (Ok::<_, Error>(to_line(&line)), lines))
    });
    let content_type = [(header::CONTENT_TYPE, "application/x-ndjson")];
    let mut response = (content_type, Body::from_stream(lines)).into_response();
    name_guests(&mut response, &served);
    Ok(response)
}

fn to_line(value: &Value) -> Bytes {
    let mut line = value.to_string();
    line.push('\n');
    line.into()
}

/// One import under way.
struct Import {
    app: Arc<App>,
    who: Who,
    answers: mpsc::Sender<Value>,
    begun: Instant,
    /// Lines read so far, blank ones too: the number of the latest.
    line: u64,
    group: Vec<(u64, Result<Draft, Error>)>,
    imported: u64,
    failed: u64,
    failures: u32,
}

/// Why an import ended before its body did.
struct Stopped(String);

impl Import {
    fn new(app: Arc<App>, who: Who, answers: mpsc::Sender<Value>) -> Self {
        Self {
            app,
            who,
            answers,
            begun: Instant::now(),
            line: 0,
            group: Vec::with_capacity(GROUP),
            imported: 0,
            failed: 0,
            failures: 0,
        }
    }

    async fn run(mut self, body: BodyDataStream) {
        let ended = self.read(body).await;
        let (imported, failed, lines) = (self.imported, self.failed, self.line);
        let took_ms = self.begun.elapsed().as_millis() as u64;
        let mut summary = json!({
            "status": if failed == 0 { "success" } else { "partial" },
            "imported": imported, "failed": failed, "lines": lines, "took_ms": took_ms,
        });
        if let Err(Stopped(message)) = ended {
            summary["status"] = "error".into();
            summary["code"] = Code::InvalidRequest.as_str().into();
            summary["message"] = message.into();
        }
        self.send(summary).await;
    }

    async fn read(&mut self, mut body: BodyDataStream) -> Result<(), Stopped> {
        let mut lines = Lines::new(self.app.limits.import_line_bytes);
        let bound = self.app.limits.request;
        loop {
            let next = timeout(bound, body.next()).await;
            let next = next.map_err(|_| {
                self.stopped(&format!("nothing arrived for {} s", bound.as_secs_f64()))
            });
            match next? {
                Some(Ok(bytes)) => {
                    for line in lines.push(&bytes) {
                        self.take(line).await?;
                    }
                }
                Some(Err(_)) => {
                    self.store_group().await?;
                    return Err(self.stopped("the body ended before it was whole"));
                }
                None => break,
            }
        }
        if let Some(line) = lines.finish() {
            self.take(line).await?;
        }
        self.store_group().await
    }

    fn stopped(&self, reason: &str) -> Stopped {
        Stopped(format!("the import stopped after line {}: {reason}", self.line))
    }

    async fn take(&mut self, line: Line) -> Result<(), Stopped> {
        self.line += 1;
        let draft = match line {
            Line::Whole(line) if line.trim_ascii().is_empty() => return Ok(()),
            Line::Whole(line) => to_draft(&line),
            Line::TooLong(used) => {
                let allowed = self.app.limits.import_line_bytes as u64;
                Err(Error::too_large("import_line_bytes", allowed, used as u64))
            }
        };
        self.group.push((self.line, draft));
        match self.group.len() {
            GROUP.. => self.store_group().await,
            _ => Ok(()),
        }
    }

    async fn store_group(&mut self) -> Result<(), Stopped> {
        let (numbers, drafts): (Vec<u64>, Vec<_>) = self.group.drain(..).unzip();
        if drafts.is_empty() {
            return Ok(());
        }
        let caller = self.who.within(self.app.limits.call).patient();
        match self.app.kb.store(&caller, drafts).await {
            Ok(answered) => {
                self.failures = 0;
                for (number, outcome) in numbers.into_iter().zip(answered.value) {
                    self.report(number, outcome).await;
                }
                Ok(())
            }
            Err(error) => self.group_failed(&numbers, &error).await,
        }
    }

    async fn group_failed(&mut self, numbers: &[u64], error: &Error) -> Result<(), Stopped> {
        for number in numbers {
            self.report_error(*number, error).await;
        }
        self.failures += 1;
        match self.failures {
            FAILURES.. => Err(self.stopped(&error.to_string())),
            _ => Ok(()),
        }
    }

    async fn report(&mut self, number: u64, outcome: Result<Kept, Error>) {
        match outcome {
            Ok(_) => self.imported += 1,
            Err(error) => self.report_error(number, &error).await,
        }
    }

    async fn report_error(&mut self, number: u64, error: &Error) {
        self.failed += 1;
        if self.failed <= REPORTED {
            let mut line = error.body();
            line["line"] = number.into();
            self.send(line).await;
        }
    }

    /// A caller who left ends the import at its next group: the body ends then.
    async fn send(&self, line: Value) {
        let _ = self.answers.send(line).await;
    }
}

pub(super) fn to_draft(line: &[u8]) -> Result<Draft, Error> {
    let line: ImportLine = parse(line)?;
    Ok(Draft {
        id: line.fact_id,
        text: line.text.ok_or_else(|| Error::invalid("/text", "text is required"))?,
        metadata: metadata(line.metadata)?.unwrap_or_else(|| "{}".into()),
        timestamp: line.timestamp,
    })
}
