//! The streams of a command and the format of its output.

use std::io::{self, BufRead, BufReader, BufWriter, IsTerminal, Read, Write};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};

use crate::clean::{clean_styled, escape_controls};
use crate::text::{sanitize, sanitize_lines};
use crate::{ApiError, Error, Exit};

/// Minimum width in columns. In a narrower terminal lines wrap, because text truncated to fit would
/// be too short to be useful.
const MIN_WIDTH: usize = 40;

/// How much of an answer to a question is read.
const ANSWER_BYTES: u64 = 1024;

/// The format of a command's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputFormat {
    /// For people, on a terminal.
    Human {
        /// Width of the terminal in columns.
        width: usize,
        /// Whether to use colours.
        colour: bool,
    },
    /// For scripts: one record per line, fields separated by tabs, no colours.
    Plain,
    /// For scripts: the server's JSON, unchanged.
    Json,
}

/// The streams of a command.
pub struct Terminal {
    input: Option<Box<dyn Read + Send>>,
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    format: OutputFormat,
    out_is_terminal: bool,
    err_is_terminal: bool,
    /// Whether a person reads `err` and writes `input`.
    can_ask: bool,
    err_colour: bool,
    /// The start of a line that was printed without its end, for a terminal.
    partial: Vec<u8>,
}

impl Terminal {
    /// Uses the process's standard streams.
    pub fn standard(json: bool) -> Self {
        let (out, err) = (io::stdout(), io::stderr());
        let format = match (json, out.is_terminal()) {
            (true, _) => OutputFormat::Json,
            (false, true) => OutputFormat::Human {
                width: textwrap::termwidth().max(MIN_WIDTH),
                colour: AutoStream::choice(&out) != ColorChoice::Never,
            },
            (false, false) => OutputFormat::Plain,
        };
        Self {
            partial: Vec::new(),
            out_is_terminal: out.is_terminal(),
            err_is_terminal: err.is_terminal(),
            err_colour: AutoStream::choice(&err) != ColorChoice::Never,
            can_ask: io::stdin().is_terminal() && err.is_terminal(),
            input: Some(Box::new(io::stdin())),
            out: Box::new(BufWriter::with_capacity(64 * 1024, out)),
            err: Box::new(err),
            format,
        }
    }

    /// Uses the given streams, which are not a terminal: no progress, no colours in `err`. With the
    /// format for people, questions are asked all the same.
    pub fn new(
        input: impl Read + Send + 'static,
        out: impl Write + Send + 'static,
        err: impl Write + Send + 'static,
        format: OutputFormat,
    ) -> Self {
        Self {
            input: Some(Box::new(input)),
            out: Box::new(out),
            err: Box::new(err),
            partial: Vec::new(),
            out_is_terminal: matches!(format, OutputFormat::Human { .. }),
            can_ask: matches!(format, OutputFormat::Human { .. }),
            format,
            err_is_terminal: false,
            err_colour: false,
        }
    }

    /// The format of the output.
    pub fn format(&self) -> OutputFormat {
        self.format
    }

    /// Whether to show progress: only if standard error is a terminal.
    pub(crate) fn shows_progress(&self) -> bool {
        self.err_is_terminal
    }

    /// Whether there is a person to [`ask`](Self::ask).
    pub(crate) fn can_ask(&self) -> bool {
        self.can_ask
    }

    /// Asks a question on standard error; only `y` or `yes` is a yes.
    pub(crate) fn ask(&mut self, question: &str) -> Result<bool, Error> {
        // Without standard error nobody reads the question, and no answer is a no.
        let _ = write!(self.err, "{}", sanitize(question)).and_then(|()| self.err.flush());
        let mut answer = String::new();
        BufReader::new(self.take_input())
            .take(ANSWER_BYTES)
            .read_line(&mut answer)
            .map_err(|cause| Error::Input { what: "standard input".to_owned(), cause })?;
        let answer = answer.trim();
        Ok(["y", "yes"].iter().any(|yes| answer.eq_ignore_ascii_case(yes)))
    }

    /// Standard input the first time, then an empty stream.
    pub(crate) fn take_input(&mut self) -> Box<dyn Read + Send> {
        self.input.take().unwrap_or_else(|| Box::new(io::empty()))
    }

    /// Writes one line to standard output, or several, cleaned for the format.
    ///
    /// # Errors
    /// [`Error::Output`] if it cannot be written.
    pub fn print_line(&mut self, line: &str) -> Result<(), Error> {
        let line = match self.format {
            OutputFormat::Human { .. } => clean_styled(line),
            OutputFormat::Plain => escape_controls(line),
            OutputFormat::Json => return self.print_document(line.as_bytes()),
        };
        self.write(line.as_bytes()).and_then(|()| self.write(b"\n"))
    }

    /// Writes part of a stream of JSON to standard output: unchanged, except that a terminal gets
    /// escapes for what it would act on.
    ///
    /// # Errors
    /// [`Error::Output`] if it cannot be written.
    pub fn print(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if !self.out_is_terminal {
            return self.write(bytes);
        }
        self.partial.extend_from_slice(bytes);
        // A character may be split between two parts, and a line break is in none.
        match memchr::memrchr(b'\n', &self.partial) {
            Some(end) => self.write_escaped(end + 1),
            None => Ok(()),
        }
    }

    fn write_escaped(&mut self, length: usize) -> Result<(), Error> {
        let bytes: Vec<u8> = self.partial.drain(..length).collect();
        let text = String::from_utf8_lossy(&bytes);
        self.write(escape_controls(&text).as_bytes())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.out.write_all(bytes).map_err(output_failed)
    }

    /// Writes one JSON document on its own lines, as [`Terminal::print`] does.
    ///
    /// # Errors
    /// [`Error::Output`] if it cannot be written.
    pub fn print_document(&mut self, document: &[u8]) -> Result<(), Error> {
        self.print(document.trim_ascii_end()).and_then(|()| self.print(b"\n"))
    }

    /// Flushes standard output.
    ///
    /// # Errors
    /// [`Error::Output`] if it cannot be written.
    pub fn flush(&mut self) -> Result<(), Error> {
        self.write_escaped(self.partial.len())?;
        self.out.flush().map_err(output_failed)
    }

    /// Prints a message that is not part of the output to standard error.
    pub fn notice(&mut self, text: &str) {
        self.print_message("", Style::new(), text);
    }

    /// Prints a warning to standard error.
    pub fn warn(&mut self, text: &str) {
        self.print_message("warning: ", AnsiColor::Yellow.on_default().bold(), text);
    }

    /// Prints an error to standard error, and with `--json` also its body to standard output.
    /// Returns the exit code.
    pub fn report_error(&mut self, error: &Error) -> Exit {
        if error.is_closed_pipe() {
            return Exit::Success;
        }
        // A failure to write the error cannot be reported anywhere.
        let _ = match (self.format, error.api_error()) {
            (OutputFormat::Json, Some(error)) => self.print_document(&error.body.clone()),
            _ => Ok(()),
        };
        let _ = self.flush();
        self.print_message("error: ", AnsiColor::Red.on_default().bold(), &error.to_string());
        for hint in error.api_error().map(ApiError::hints).unwrap_or_default() {
            self.print_message("  ", Style::new(), &hint);
        }
        error.exit()
    }

    fn print_message(&mut self, label: &str, style: Style, text: &str) {
        let style = if self.err_colour { style } else { Style::new() };
        let text = sanitize_lines(text).join("\n");
        // Keeps the order if both streams are the same terminal. If this fails, the flush at the
        // end fails too.
        let _ = self.out.flush();
        // Without standard error there is nowhere to report this.
        let _ = writeln!(self.err, "{style}{label}{style:#}{text}");
    }
}

fn output_failed(cause: io::Error) -> Error {
    Error::Output { what: "standard output".to_owned(), cause }
}

/// Colours text, if the output uses colours.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint {
    pub(crate) colour: bool,
}

impl Paint {
    /// For ids and names.
    pub(crate) fn strong(self, text: &str) -> String {
        self.with(AnsiColor::Cyan.on_default().bold(), &sanitize(text))
    }

    /// For scores and other numbers.
    pub(crate) fn figure(self, text: &str) -> String {
        self.with(AnsiColor::Green.on_default(), text)
    }

    /// For secondary text.
    pub(crate) fn dim(self, text: &str) -> String {
        self.with(Style::new().dimmed(), text)
    }

    fn with(self, style: Style, text: &str) -> String {
        if self.colour { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }
}
