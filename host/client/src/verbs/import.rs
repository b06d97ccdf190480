//! Import: a file up, a line of answer for each line that failed, and a summary.
//!
//! Both directions flow at once and neither is held in memory. The server answers about a bad
//! line when it meets it, so the person sees what is wrong long before the file is through.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Body, Method, RequestBuilder};
use tokio_util::codec::{FramedRead, LinesCodec, LinesCodecError};
use tokio_util::io::StreamReader;

use crate::answers::Imported;
use crate::input::{Feed, Pulse};
use crate::progress::Progress;
use crate::server::root_cause;
use crate::text::{clean, count};
use crate::{Error, Exit, Form, ImportArgs, Refusal, Server, Terminal};

/// One line of the answer, in bytes: a message and a number.
const LONGEST_LINE: usize = 1024 * 1024;

const UNKNOWN: &str = "How many lines were imported is unknown. Lines with an id can be imported \
                       again; lines without one would be stored twice.";

pub(super) async fn import(
    server: &Server,
    args: &ImportArgs,
    terminal: &mut Terminal,
) -> Result<Exit, Error> {
    let source = Source::open(&args.file, terminal)?;
    let name = source.name;
    let progress = Progress::upload(source.size, terminal.shows_progress());
    let (feed, pulse) = Feed::start(source.reader, progress.clone())
        .map_err(|cause| Error::Input { what: name.clone(), cause })?;
    let request = upload(server)?.body(Body::wrap_stream(feed));
    let silence = server.patience().silence;
    let outcome = tokio::select! {
        outcome = exchange(server, request, &pulse, &progress, terminal) => outcome,
        () = pulse.stopped(silence) => Err(server.silent(silence).leaving(UNKNOWN)),
    };
    progress.clear();
    if let Some(cause) = pulse.take_failure() {
        return Err(Error::Input { what: name, cause }.leaving(UNKNOWN));
    }
    summarise(&outcome?, terminal)
}

fn upload(server: &Server) -> Result<RequestBuilder, Error> {
    let request = server.request(Method::POST, &["v1", "import"])?;
    Ok(request.header(CONTENT_TYPE, "application/x-ndjson"))
}

/// Where the lines come from.
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
        // A pipe has no size to come to the end of.
        let size = metadata.is_file().then_some(metadata.len());
        Ok(Self { name: name.to_owned(), reader: Box::new(file), size })
    }
}

/// Sends the request and follows its answer to the summary.
async fn exchange(
    server: &Server,
    request: RequestBuilder,
    pulse: &Pulse,
    progress: &Progress,
    terminal: &mut Terminal,
) -> Result<Imported, Error> {
    let response = match server.open(request).await {
        Ok(response) => response,
        Err(error @ Error::Broken { .. }) => return Err(refusal_or(error, server).await),
        Err(error) => return Err(error),
    };
    let answer = StreamReader::new(response.bytes_stream().map_err(io::Error::other));
    let codec = LinesCodec::new_with_max_length(LONGEST_LINE);
    let mut lines = FramedRead::new(answer, codec);
    while let Some(line) = lines.next().await {
        pulse.beat();
        let line = line.map_err(|error| server.broken(reason(&error)).leaving(UNKNOWN))?;
        if line.trim().is_empty() {
            continue;
        }
        let told: Imported = serde_json::from_str(&line).map_err(|_| {
            let said = clean(&line.chars().take(200).collect::<String>());
            server.broken(format!("its answer holds `{said}`")).leaving(UNKNOWN)
        })?;
        if told.line.is_none() && told.status == "error" {
            return Err(given_up(told, &line));
        }
        progress.above(|| show_line(&line, &told, terminal))?;
        if told.line.is_none() {
            return Ok(told);
        }
    }
    Err(server.broken("it ended before its summary").leaving(UNKNOWN))
}

/// What the server says to an import of nothing, if it refuses that too.
///
/// A server that refuses without reading resets the connection, and the reset may overtake its
/// answer. With nothing to send there is nothing to reset.
async fn refusal_or(error: Error, server: &Server) -> Error {
    let nothing = async { server.call(upload(server)?.body(Bytes::new())).await };
    match nothing.await {
        Err(refused @ Error::Refused(_)) => refused,
        _ => error.leaving(UNKNOWN),
    }
}

fn reason(error: &LinesCodecError) -> String {
    match error {
        LinesCodecError::Io(error) => root_cause(error),
        LinesCodecError::MaxLineLengthExceeded => {
            format!("its answer holds a line longer than {LONGEST_LINE} bytes")
        }
    }
}

/// Shows a line of the answer; of the summary, only its JSON.
fn show_line(line: &str, told: &Imported, terminal: &mut Terminal) -> Result<(), Error> {
    if terminal.form() == Form::Json {
        return terminal.say(line).and_then(|()| terminal.finish());
    }
    if let Some(number) = told.line {
        let code = told.code.as_deref().unwrap_or("error");
        let message = told.message.as_deref().unwrap_or_default();
        terminal.note(&format!("line {number}: {}: {}", clean(code), clean(message)));
    }
    Ok(())
}

/// The server stopped in the middle and says why.
fn given_up(told: Imported, line: &str) -> Error {
    let refusal = Refusal {
        code: told.code.unwrap_or_else(|| "error".to_owned()),
        message: told.message.unwrap_or_default(),
        retryable: false,
        details: None,
        retry_after: None,
        request_id: None,
        body: Bytes::copy_from_slice(line.as_bytes()),
    };
    Error::Refused(Box::new(refusal)).leaving(UNKNOWN)
}

fn summarise(told: &Imported, terminal: &mut Terminal) -> Result<Exit, Error> {
    match terminal.form() {
        Form::Json => {}
        Form::Plain => terminal.say(&format!(
            "imported\t{}\nfailed\t{}\nlines\t{}",
            told.imported, told.failed, told.lines
        ))?,
        Form::Human { .. } => terminal.say(&in_words(told))?,
    }
    Ok(if told.failed == 0 { Exit::Done } else { Exit::Refused })
}

fn in_words(told: &Imported) -> String {
    let took = told.took_ms.map_or(String::new(), |ms| format!(" in {:.1} s", ms / 1000.0));
    let failed = match told.failed {
        0 => String::new(),
        failed => format!("; {} failed", count(failed, "line")),
    };
    format!("Imported {}{took}{failed}.", count(told.imported, "fact"))
}
