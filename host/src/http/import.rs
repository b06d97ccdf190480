//! `POST /v1/import`: JSON Lines in, one fact a line; out, a line for each bad one
//! as it is found and a summary at the end. Nothing is held but a group of facts and the
//! line that follows it; both are counted with all other bodies.

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
use tokio::time::timeout_at;

use super::answer::{Refusal, name_guests};
use super::auth::Who;
use super::body::{metadata, parse};
use super::body_budget::Reservation;
use super::lines::{Line, Lines};
use crate::http::App;
use crate::kb::StoreOutcome;
use kenning_core::error::{Code, Error};
use kenning_runtime::wit::Draft;

/// Facts stored together, fewer if they are large: about what one call of the logic
/// takes. Their embeddings should be ready within the bound that a store waits for them.
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
    let own = app.kb.registry().snapshot(who.tenant());
    let served_by = own.map_or_else(|| app.kb.served_by(), |own| own.served_by());
    let (answers, lines) = mpsc::channel(16);
    let body = request.into_body().into_data_stream();
    tokio::spawn(Import::new(app, who, answers).run(body));
    let lines = stream::unfold(lines, |mut lines| async {
        lines.recv().await.map(|line: Value| (Ok::<_, Error>(to_line(&line)), lines))
    });
    let content_type = [(header::CONTENT_TYPE, "application/x-ndjson")];
    let mut response = (content_type, Body::from_stream(lines)).into_response();
    name_guests(&mut response, &served_by);
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
    lines: Lines,
    group: Vec<(u64, Result<Draft, Error>)>,
    group_bytes: usize,
    /// The group's bytes, and those of the line that is not whole yet.
    held: Reservation,
    imported: u64,
    failed: u64,
    failures: u32,
}

/// Why an import ended before its body did.
struct Stopped {
    code: Code,
    message: String,
}

impl Import {
    fn new(app: Arc<App>, who: Who, answers: mpsc::Sender<Value>) -> Self {
        Self {
            lines: Lines::new(app.limits.import_line_bytes),
            app,
            who,
            answers,
            begun: Instant::now(),
            line: 0,
            group: Vec::with_capacity(GROUP),
            group_bytes: 0,
            held: Reservation::default(),
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
        if let Err(Stopped { code, message }) = ended {
            summary["status"] = "error".into();
            summary["code"] = code.as_str().into();
            summary["message"] = message.into();
        }
        self.send(summary).await;
    }

    async fn read(&mut self, mut body: BodyDataStream) -> Result<(), Stopped> {
        let bound = self.app.limits.request;
        let mut until = Instant::now() + bound;
        loop {
            let next = timeout_at(until.into(), body.next()).await;
            let Ok(next) = next else {
                // Bytes that come in trifles are no progress: a line is.
                self.store_group().await?;
                let seconds = bound.as_secs_f64();
                return Err(self.invalid(&format!("no whole line arrived for {seconds} s")));
            };
            match next {
                Some(Ok(bytes)) => {
                    let before = self.line;
                    self.push(&bytes).await?;
                    if self.line > before {
                        until = Instant::now() + bound;
                    }
                }
                Some(Err(_)) => {
                    self.store_group().await?;
                    return Err(self.invalid("the body ended before it was whole"));
                }
                None => break,
            }
        }
        if let Some(line) = self.lines.finish() {
            self.take(line).await?;
        }
        self.store_group().await
    }

    fn invalid(&self, reason: &str) -> Stopped {
        self.stopped(Code::InvalidRequest, reason)
    }

    fn stopped(&self, code: Code, reason: &str) -> Stopped {
        let message = format!("the import stopped after line {}: {reason}", self.line);
        Stopped { code, message }
    }

    async fn push(&mut self, bytes: &[u8]) -> Result<(), Stopped> {
        self.hold(bytes.len()).await?;
        for line in self.lines.push(bytes) {
            self.take(line).await?;
        }
        self.held.keep(self.group_bytes + self.lines.partial());
        Ok(())
    }

    /// Counts bytes that arrived. If there is no memory left for them, it first gives
    /// back what it can, so that imports do not wait for one another.
    async fn hold(&mut self, bytes: usize) -> Result<(), Stopped> {
        let held = match self.app.bodies.hold(bytes) {
            Ok(held) => held,
            Err(_) => {
                self.store_group().await?;
                self.held.keep(self.lines.partial());
                let until = Instant::now() + self.app.limits.request;
                let held = self.app.bodies.wait(bytes, until).await;
                held.map_err(|error| self.stopped(error.code, &error.message))?
            }
        };
        self.held.add(held);
        Ok(())
    }

    async fn take(&mut self, line: Line) -> Result<(), Stopped> {
        self.line += 1;
        let draft = match line {
            Line::Whole(line) if line.trim_ascii().is_empty() => return Ok(()),
            Line::Whole(line) => {
                self.group_bytes += line.len();
                to_draft(&line)
            }
            Line::TooLong(used) => {
                let allowed = self.app.limits.import_line_bytes as u64;
                Err(Error::too_large("import_line_bytes", allowed, used as u64))
            }
        };
        self.group.push((self.line, draft));
        let is_whole =
            self.group.len() >= GROUP || self.group_bytes >= self.app.limits.host_call_bytes / 2;
        if is_whole { self.store_group().await } else { Ok(()) }
    }

    async fn store_group(&mut self) -> Result<(), Stopped> {
        let (numbers, drafts): (Vec<u64>, Vec<_>) = self.group.drain(..).unzip();
        self.group_bytes = 0;
        if drafts.is_empty() {
            return Ok(());
        }
        let caller = self.who.within(self.app.limits.call).in_background();
        match self.app.kb.store(&caller, drafts).await {
            Ok(response) => {
                self.failures = 0;
                for (number, outcome) in numbers.into_iter().zip(response.value) {
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
            FAILURES.. => Err(self.stopped(error.code, &error.to_string())),
            _ => Ok(()),
        }
    }

    async fn report(&mut self, number: u64, outcome: Result<StoreOutcome, Error>) {
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
