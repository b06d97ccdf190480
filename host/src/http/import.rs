//! `POST /v1/import`: takes JSON Lines, one fact a line; answers a line for each refused fact as it
//! is found, and a summary at the end. At any time it holds one group of facts and the line that
//! follows, both within the budget of all bodies.

use std::sync::Arc;
use std::time::Instant;

use axum::body::{Body, BodyDataStream};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::{StreamExt, stream};
use http::header;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio::time::timeout_at;
use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::answer::{Refusal, name_guests};
use super::auth::Who;
use super::body::{metadata, parse};
use super::body_budget::Reservation;
use super::facts::NewFact;
use super::lines::{Line, Lines};
use super::openapi::{ErrorBody, ErrorCode, JsonLines, examples};
use crate::http::App;
use crate::kb::StoreOutcome;
use kenning_core::error::{Code, Error};
use kenning_runtime::wit::Draft;

/// Facts stored together, fewer if they are large. Their embeddings should be ready within the time
/// that a store waits for them.
const GROUP: usize = 50;

/// Bad lines reported one by one; more are only counted. A caller who reads the answer only after
/// sending everything must not block on a full pipe.
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

/// The schema of an [`ImportLine`]: a draft's, with the names that an export uses.
enum ImportFact {}

impl PartialSchema for ImportFact {
    fn schema() -> RefOr<Schema> {
        let mut schema = NewFact::schema();
        let RefOr::T(Schema::Object(fact)) = &mut schema else { return schema };
        fact.description = Some(
            "One line of an import, at most 1 MiB long: a fact as an export writes it, or a draft \
             as `POST /v1/facts` takes it. `content` is the same as `text`, and `id` as `fact_id`; \
             one of `content` and `text` is required."
                .into(),
        );
        fact.required.clear();
        for (name, same) in [("content", "text"), ("id", "fact_id")] {
            let member = fact.properties.get(same).cloned().unwrap_or_default();
            fact.properties.insert(name.into(), member);
        }
        let timestamp = ObjectBuilder::new()
            .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
            .description(Some(
                "When the fact was first stored, in RFC 3339 with an offset; now if left out.",
            ));
        fact.properties.insert("timestamp".into(), timestamp.into());
        schema
    }
}

impl ToSchema for ImportFact {}

/// One line of the answer: a refused line, as it is met, or, last, the summary.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum ImportAnswerLine {
    Refused(RefusedLine),
    Summary(Summary),
}

/// A line that was not imported.
#[derive(Serialize, ToSchema)]
#[schema(as = BadLine)]
struct RefusedLine {
    #[serde(flatten)]
    error: ErrorBody,
    /// The number of the line in the request's body; the first is 1.
    #[schema(minimum = 1)]
    line: u64,
}

/// The last line of the answer.
#[derive(Serialize, ToSchema)]
#[schema(as = ImportSummary)]
struct Summary {
    status: Status,
    /// Lines whose facts are stored.
    imported: u64,
    /// Lines that were refused.
    failed: u64,
    /// Lines that were read, blank ones too.
    lines: u64,
    took_ms: u64,
    /// Why the import ended before its body did.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<ErrorCode>, nullable = false)]
    code: Option<&'static str>,
    /// The same for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    message: Option<String>,
}

/// `success` if every line was imported, `partial` if some were refused, `error` if the import
/// ended before its body did.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = ImportStatus)]
enum Status {
    Success,
    Partial,
    Error,
}

/// Store facts from JSON Lines, streamed
///
/// One `ImportFact` a line, of at most 1 MiB. A bad line is reported by its number as soon as it is
/// met, and the rest goes on; the last line of the answer is the summary. At most 1,000 bad lines
/// are reported; the summary counts them all. Lines that carry an id can be imported again: a fact
/// that is there with the same content does not change. An answer without a summary was cut off.
#[utoipa::path(
    post,
    path = "/v1/import",
    operation_id = "importFacts",
    tag = "bulk",
    request_body(content(
        (
            ImportFact = "application/x-ndjson",
            examples(
                ("draft" = (value = json!({
                    "fact_id": "ada-tea",
                    "text": "Ada prefers tea.",
                    "metadata": { "topic": "people" },
                }))),
                ("exported" = (value = json!(examples::fact()))),
            ),
        ),
        (JsonLines = "application/octet-stream"),
    )),
    responses(
        (
            status = 200,
            description = "One line for each bad line, and the summary.",
            body = ImportAnswerLine,
            content_type = "application/x-ndjson",
            examples(
                ("bad_line" = (value = json!({
                    "status": "error",
                    "code": "invalid_request",
                    "message": "the JSON cannot be read: expected `,` or `}` at line 1 column 31",
                    "retryable": false,
                    "blame": "caller",
                    "details": { "pointer": "" },
                    "line": 17,
                }))),
                ("summary" = (value = json!({
                    "status": "partial",
                    "imported": 1203,
                    "failed": 1,
                    "lines": 1204,
                    "took_ms": 812,
                }))),
                ("ended" = (value = json!({
                    "status": "error",
                    "imported": 1000,
                    "failed": 150,
                    "lines": 1150,
                    "took_ms": 6410,
                    "code": "storage_unavailable",
                    "message": "the import stopped after line 1150: storage_unavailable: Redis not \
                                available: connection refused",
                }))),
            ),
        ),
    ),
)]
pub(super) async fn import(
    State(app): State<Arc<App>>,
    who: Who,
    request: Request,
) -> Result<Response, Refusal> {
    let own = app.kb.registry().snapshot(who.tenant());
    let served = own.map_or_else(|| app.kb.served_by(), |own| own.served_by());
    let (answers, lines) = mpsc::channel(16);
    let body = request.into_body().into_data_stream();
    tokio::spawn(Import::new(app, who, answers).run(body));
    let lines = stream::unfold(lines, |mut lines| async {
        lines.recv().await.map(|line| (to_line(&line), lines))
    });
    let content_type = [(header::CONTENT_TYPE, "application/x-ndjson")];
    let mut response = (content_type, Body::from_stream(lines)).into_response();
    name_guests(&mut response, &served);
    Ok(response)
}

fn to_line(line: &ImportAnswerLine) -> Result<Bytes, Error> {
    let mut line = serde_json::to_vec(line).map_err(Error::internal)?;
    line.push(b'\n');
    Ok(line.into())
}

/// One import in progress.
struct Import {
    app: Arc<App>,
    who: Who,
    answers: mpsc::Sender<ImportAnswerLine>,
    begun: Instant,
    /// How many lines were read so far, blank ones too.
    line: u64,
    lines: Lines,
    group: Vec<(u64, Result<Draft, Error>)>,
    group_bytes: usize,
    /// Memory for the group and for the line that is not complete yet.
    reserved: Reservation,
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
    fn new(app: Arc<App>, who: Who, answers: mpsc::Sender<ImportAnswerLine>) -> Self {
        Self {
            lines: Lines::new(app.limits.import_line_bytes),
            app,
            who,
            answers,
            begun: Instant::now(),
            line: 0,
            group: Vec::with_capacity(GROUP),
            group_bytes: 0,
            reserved: Reservation::default(),
            imported: 0,
            failed: 0,
            failures: 0,
        }
    }

    async fn run(mut self, body: BodyDataStream) {
        let ended = self.read(body).await;
        let (imported, failed, lines) = (self.imported, self.failed, self.line);
        let took_ms = self.begun.elapsed().as_millis() as u64;
        let status = if failed == 0 { Status::Success } else { Status::Partial };
        let (status, code, message) = match ended {
            Ok(()) => (status, None, None),
            Err(Stopped { code, message }) => (Status::Error, Some(code.as_str()), Some(message)),
        };
        let summary = Summary { status, imported, failed, lines, took_ms, code, message };
        self.send(ImportAnswerLine::Summary(summary)).await;
    }

    async fn read(&mut self, mut body: BodyDataStream) -> Result<(), Stopped> {
        let bound = self.app.limits.request;
        let mut until = Instant::now() + bound;
        loop {
            let next = timeout_at(until.into(), body.next()).await;
            let Ok(next) = next else {
                // Only a complete line counts as progress, not a few bytes.
                self.store_group().await?;
                let seconds = bound.as_secs_f64();
                return Err(self.invalid(&format!("no complete line arrived for {seconds} s")));
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
                    return Err(self.invalid("the body ended early"));
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
        self.reserve(bytes.len()).await?;
        for line in self.lines.push(bytes) {
            self.take(line).await?;
        }
        self.reserved.shrink_to(self.group_bytes + self.lines.partial());
        Ok(())
    }

    /// Reserves memory for bytes that arrived. If there is not enough, it first returns what
    /// it can, so that imports do not wait for one another.
    async fn reserve(&mut self, bytes: usize) -> Result<(), Stopped> {
        let reservation = match self.app.bodies.reserve(bytes) {
            Ok(reservation) => reservation,
            Err(_) => {
                self.store_group().await?;
                self.reserved.shrink_to(self.lines.partial());
                let until = Instant::now() + self.app.limits.request;
                let reservation = self.app.bodies.reserve_until(bytes, until).await;
                reservation.map_err(|error| self.stopped(error.code, &error.message))?
            }
        };
        self.reserved.merge(reservation);
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
            let line = RefusedLine { error: ErrorBody::from(error), line: number };
            self.send(ImportAnswerLine::Refused(line)).await;
        }
    }

    /// If the caller is gone, the line is dropped; the import ends when it reads on in the body.
    async fn send(&self, line: ImportAnswerLine) {
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
