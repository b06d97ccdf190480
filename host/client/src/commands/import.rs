//! Import: uploads a file; the response has a line for each failed line, and a summary.
//!
//! Request and response are streamed at the same time, without buffering the whole. The server
//! reports an invalid line when it reads it, so errors are visible long before the import ends.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Body, Method, RequestBuilder};
use tokio_util::codec::{FramedRead, LinesCodec, LinesCodecError};
use tokio_util::io::StreamReader;

use crate::input::{Activity, InputStream};
use crate::progress::Progress;
use crate::responses::ImportLine;
use crate::server::root_cause;
use crate::text::{count, sanitize};
use crate::{ApiError, Error, Exit, ImportArgs, OutputFormat, Server, Terminal};

/// Maximum length in bytes of a line of the response, which is a message and a few numbers.
const MAX_LINE_BYTES: usize = 1024 * 1024;

const UNKNOWN: &str = "It is unknown how many lines were imported. Lines with an id can safely be \
                       imported again; lines without an id would be stored twice.";

pub(super) async fn import(
    server: &Server,
    args: &ImportArgs,
    terminal: &mut Terminal,
) -> Result<Exit, Error> {
    let source = Source::open(&args.file, terminal)?;
    let name = source.name;
    let progress = Progress::upload(source.size, terminal.shows_progress());
    let (input, activity) = InputStream::start(source.reader, progress.clone())
        .map_err(|cause| Error::Input { what: name.clone(), cause })?;
    let request = upload(server)?.body(Body::wrap_stream(input));
    let idle = server.timeouts().idle;
    let outcome = tokio::select! {
        outcome = exchange(server, request, &activity, &progress, terminal) => outcome,
        () = activity.stalled(idle) => Err(server.idle_timeout(idle).with_consequence(UNKNOWN)),
    };
    progress.clear();
    if let Some(cause) = activity.take_failure() {
        return Err(Error::Input { what: name, cause }.with_consequence(UNKNOWN));
    }
    print_summary(&outcome?, terminal)
}

fn upload(server: &Server) -> Result<RequestBuilder, Error> {
    let request = server.request(Method::POST, &["v1", "import"])?;
    Ok(request.header(CONTENT_TYPE, "application/x-ndjson"))
}

/// The input of an import.
struct Source {
    name: String,
    reader: Box<dyn Read + Send>,
    size: Option<u64>,
}

impl Source {
    fn open(path: &Path, terminal: &mut Terminal) -> Result<Self, Error> {
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

/// Sends the request and reads the response up to its summary.
async fn exchange(
    server: &Server,
    request: RequestBuilder,
    activity: &Activity,
    progress: &Progress,
    terminal: &mut Terminal,
) -> Result<ImportLine, Error> {
    let response = match server.open(request).await {
        Ok(response) => response,
        Err(error @ Error::BadResponse { .. }) => return Err(rejection_or(error, server).await),
        Err(error) => return Err(error),
    };
    let body = StreamReader::new(response.bytes_stream().map_err(io::Error::other));
    let codec = LinesCodec::new_with_max_length(MAX_LINE_BYTES);
    let mut lines = FramedRead::new(body, codec);
    while let Some(line) = lines.next().await {
        activity.record();
        let line =
            line.map_err(|error| server.bad_response(reason(&error)).with_consequence(UNKNOWN))?;
        if line.trim().is_empty() {
            continue;
        }
        let parsed: ImportLine = serde_json::from_str(&line).map_err(|_| {
            let start = sanitize(&line.chars().take(200).collect::<String>());
            server.bad_response(format!("unexpected line `{start}`")).with_consequence(UNKNOWN)
        })?;
        if parsed.line.is_none() && parsed.status == "error" {
            return Err(aborted(parsed, &line));
        }
        progress.suspend(|| print_line(&line, &parsed, terminal))?;
        if parsed.line.is_none() {
            return Ok(parsed);
        }
    }
    Err(server.bad_response("it ended without a summary").with_consequence(UNKNOWN))
}

/// Sends an empty import to find out why the server rejected the request.
///
/// A server that responds without reading the request resets the connection, and the client may see
/// the reset before the response. An empty request avoids the reset.
async fn rejection_or(error: Error, server: &Server) -> Error {
    let empty = async { server.call(upload(server)?.body(Bytes::new())).await };
    match empty.await {
        Err(rejection @ Error::Api(_)) => rejection,
        _ => error.with_consequence(UNKNOWN),
    }
}

fn reason(error: &LinesCodecError) -> String {
    match error {
        LinesCodecError::Io(error) => root_cause(error),
        LinesCodecError::MaxLineLengthExceeded => {
            format!("a line is longer than {MAX_LINE_BYTES} bytes")
        }
    }
}

/// Prints a line of the response. The summary is printed here only as JSON.
fn print_line(line: &str, parsed: &ImportLine, terminal: &mut Terminal) -> Result<(), Error> {
    if terminal.format() == OutputFormat::Json {
        return terminal.print_line(line).and_then(|()| terminal.flush());
    }
    if let Some(number) = parsed.line {
        let code = parsed.code.as_deref().unwrap_or("error");
        let message = parsed.message.as_deref().unwrap_or_default();
        terminal.notice(&format!("line {number}: {}: {}", sanitize(code), sanitize(message)));
    }
    Ok(())
}

/// The error with which the server aborted the import.
fn aborted(parsed: ImportLine, line: &str) -> Error {
    let error = ApiError {
        code: parsed.code.unwrap_or_else(|| "error".to_owned()),
        message: parsed.message.unwrap_or_default(),
        retryable: false,
        details: None,
        retry_after: None,
        request_id: None,
        body: Bytes::copy_from_slice(line.as_bytes()),
    };
    Error::Api(Box::new(error)).with_consequence(UNKNOWN)
}

fn print_summary(summary: &ImportLine, terminal: &mut Terminal) -> Result<Exit, Error> {
    match terminal.format() {
        OutputFormat::Json => {}
        OutputFormat::Plain => terminal.print_line(&format!(
            "imported\t{}\nfailed\t{}\nlines\t{}",
            summary.imported, summary.failed, summary.lines
        ))?,
        OutputFormat::Human { .. } => terminal.print_line(&summary_text(summary))?,
    }
    Ok(if summary.failed == 0 { Exit::Success } else { Exit::Failed })
}

fn summary_text(summary: &ImportLine) -> String {
    let took = summary.took_ms.map_or(String::new(), |ms| format!(" in {:.1} s", ms / 1000.0));
    let failed = match summary.failed {
        0 => String::new(),
        failed => format!("; {} failed", count(failed, "line")),
    };
    format!("Imported {}{took}{failed}.", count(summary.imported, "fact"))
}
