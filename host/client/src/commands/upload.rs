//! Sends lines of facts as an import; the response comes when the server has read all of it, and
//! says which lines were refused. How far it is meanwhile is asked in a request of its own.

use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Cursor, Read};
use std::path::Path;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName};
use reqwest::{Body, Method, RequestBuilder, StatusCode};
use tokio::time::sleep;

use crate::input::{Activity, InputStream};
use crate::progress::Progress;
use crate::responses::{ImportProgress, ImportResponse, PendingStats};
use crate::text::{count, sanitize};
use crate::{Error, OutputFormat, Server, StoreMode, Terminal};

const IMPORT_ID: HeaderName = HeaderName::from_static("x-kenning-import-id");

/// Maximum size in bytes of the response, which names at most 1,000 lines.
const MAX_RESPONSE: usize = 16 * 1024 * 1024;

/// How often the server is asked how far it is.
const POLL: Duration = Duration::from_secs(1);

const UNKNOWN: &str = "It is unknown how many lines were imported. Lines with an id can safely be \
                       imported again; lines without an id would be stored twice.";

/// Sends what `source` holds; on a terminal, shows how far it is.
pub(super) async fn send(
    server: &Server,
    mode: StoreMode,
    source: Source,
    shows_progress: bool,
) -> Result<Outcome, Error> {
    let name = source.name;
    let progress = Progress::upload(source.size, shows_progress);
    let (input, activity) = InputStream::start(source.reader, progress.clone())
        .map_err(|cause| Error::Input { what: name.clone(), cause })?;
    let id = new_id();
    let request = upload(server, mode)?.header(IMPORT_ID, &id).body(Body::wrap_stream(input));
    let idle = server.timeouts().idle;
    let outcome = tokio::select! {
        outcome = exchange(server, mode, request, &activity) => outcome,
        () = activity.stalled(idle) => Err(server.idle_timeout(idle).with_consequence(UNKNOWN)),
        never = follow(server, &id, &activity, &progress) => match never {},
    };
    progress.clear();
    if let Some(cause) = activity.take_failure() {
        return Err(Error::Input { what: name, cause }.with_consequence(UNKNOWN));
    }
    outcome
}

fn upload(server: &Server, mode: StoreMode) -> Result<RequestBuilder, Error> {
    let request = server.request(Method::POST, &["v1", "import"])?;
    let request = match mode {
        StoreMode::Insert => request,
        mode => request.query(&[("mode", mode)]),
    };
    Ok(request.header(CONTENT_TYPE, "application/x-ndjson"))
}

/// A name for this import, of 64 random bits.
fn new_id() -> String {
    format!("kenning-{:016x}", RandomState::new().hash_one(std::process::id()))
}

/// The input of an import.
pub(super) struct Source {
    pub(super) name: String,
    reader: Box<dyn Read + Send>,
    size: Option<u64>,
}

impl Source {
    /// Lines that are in memory.
    pub(super) fn lines(name: &str, lines: Vec<u8>) -> Self {
        let size = Some(lines.len() as u64);
        Self { name: name.to_owned(), reader: Box::new(Cursor::new(lines)), size }
    }

    /// All of it.
    pub(super) fn read(mut self) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        match self.reader.read_to_end(&mut bytes) {
            Ok(_) => Ok(bytes),
            Err(cause) => Err(Error::Input { what: self.name, cause }),
        }
    }

    pub(super) fn open(path: &Path, terminal: &mut Terminal) -> Result<Self, Error> {
        if path == Path::new("-") {
            let name = "standard input".to_owned();
            return Ok(Self { name, reader: terminal.take_input(), size: None });
        }
        let name = path.display().to_string();
        Self::file(path, &name)
            .map_err(|cause| Error::Usage(format!("cannot read {name}: {cause}")))
    }

    fn file(path: &Path, name: &str) -> io::Result<Self> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        // A pipe has no known size.
        let size = metadata.is_file().then_some(metadata.len());
        Ok(Self { name: name.to_owned(), reader: Box::new(file), size })
    }
}

/// The complete response of an import.
pub(super) struct Outcome {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) response: ImportResponse,
}

impl Outcome {
    /// Whether the import ended before its last line.
    pub(super) fn ended_early(&self) -> bool {
        !self.status.is_success() && self.status != StatusCode::UNPROCESSABLE_ENTITY
    }
}

/// Sends the request and reads the response.
async fn exchange(
    server: &Server,
    mode: StoreMode,
    request: RequestBuilder,
    activity: &Activity,
) -> Result<Outcome, Error> {
    let mut response = match server.send(request).await {
        Ok(response) => response,
        Err(error @ Error::BadResponse { .. }) => {
            return Err(rejection_or(error, server, mode).await);
        }
        Err(error) => return Err(error),
    };
    let (status, headers) = (response.status(), response.headers().clone());
    let mut body = BytesMut::new();
    while let Some(chunk) =
        server.chunk(&mut response).await.map_err(|error| error.with_consequence(UNKNOWN))?
    {
        activity.record();
        body.extend_from_slice(&chunk);
        if body.len() > MAX_RESPONSE {
            let cause = format!("it is longer than {MAX_RESPONSE} bytes");
            return Err(server.bad_response(cause).with_consequence(UNKNOWN));
        }
    }
    let body = body.freeze();
    match serde_json::from_slice(&body) {
        Ok(response) => Ok(Outcome { status, headers, body, response }),
        Err(_) if !status.is_success() => Err(server.error_in(status, &headers, body)),
        Err(_) => {
            let start = String::from_utf8_lossy(&body[..body.len().min(200)]);
            let cause = format!("it does not say what was imported: `{}`", sanitize(&start));
            Err(server.bad_response(cause).with_consequence(UNKNOWN))
        }
    }
}

/// Sends an empty import to find out why the server rejected the request.
///
/// A server that responds without reading the request resets the connection, and the client may see
/// the reset before the response. An empty request avoids the reset.
async fn rejection_or(error: Error, server: &Server, mode: StoreMode) -> Error {
    let empty = async { server.call(upload(server, mode)?.body(Bytes::new())).await };
    match empty.await {
        Err(rejection @ Error::Api(_)) => rejection,
        _ => error.with_consequence(UNKNOWN),
    }
}

/// Asks how far the import is, and notes when it goes on; never ends. An import whose progress is
/// unknown, as behind a proxy to several hosts, goes on all the same.
async fn follow(
    server: &Server,
    id: &str,
    activity: &Activity,
    progress: &Progress,
) -> std::convert::Infallible {
    let mut last = None;
    loop {
        sleep(POLL).await;
        let Ok(request) = server.request(Method::GET, &["v1", "imports", id]) else { continue };
        let Ok(response) = server.call(request).await else { continue };
        let Ok(said) = response.parse::<ImportProgress>() else { continue };
        progress.report(said.imported, said.failed, said.waiting_for.as_deref());
        let now = (said.imported, said.failed, said.lines, said.waiting_for.is_some());
        // A server that waits for its storage says so, and ends the import itself.
        if last.replace(now) != Some(now) || said.waiting_for.is_some() {
            activity.record();
        }
    }
}

/// Prints the lines that were refused; `names` are those of the records that they were made of.
pub(super) fn print_refused(response: &ImportResponse, names: &[String], terminal: &mut Terminal) {
    for refused in &response.errors {
        let (code, message) = (sanitize(&refused.code), sanitize(&refused.message));
        let name =
            usize::try_from(refused.line).ok().and_then(|line| names.get(line.checked_sub(1)?));
        let name = name.map_or(format!("line {}", refused.line), |name| sanitize(name));
        terminal.notice(&format!("{name}: {code}: {message}"));
    }
    let unnamed = response.failed.saturating_sub(response.errors.len() as u64);
    if unnamed > 0 {
        terminal.notice(&format!("{} more not imported", count(unnamed, "line")));
    }
}

/// Waits until every fact of the tenant has its vector. Fails if none is made for too long.
pub(super) async fn wait_for_vectors(
    server: &Server,
    terminal: &mut Terminal,
) -> Result<(), Error> {
    let mut poll = POLL / 16;
    let (mut total, mut least) = (0, u64::MAX);
    let mut progress = Progress::hidden();
    let mut waited = Duration::ZERO;
    let idle = server.timeouts().idle;
    loop {
        let response = server.call(server.request(Method::GET, &["v1", "stats"])?).await?;
        let pending = response.parse::<PendingStats>()?.pending;
        if pending == 0 {
            break;
        }
        if total == 0 {
            total = pending;
            progress = Progress::vectors(total, terminal.shows_progress());
        }
        progress.made(total.saturating_sub(pending));
        if pending < least {
            (least, waited) = (pending, Duration::ZERO);
        } else if waited >= idle {
            progress.clear();
            return Err(Error::StillPending { pending, waited });
        }
        sleep(poll).await;
        waited += poll;
        poll = (poll * 2).min(POLL);
    }
    progress.clear();
    match terminal.format() {
        OutputFormat::Human { .. } => terminal.print_line("Every fact has its vector."),
        OutputFormat::Plain => terminal.print_line("pending\t0"),
        OutputFormat::Json => Ok(()),
    }
}
