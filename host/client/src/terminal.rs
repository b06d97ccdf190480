//! The streams of a command and the format of its output.

use std::io::{self, BufWriter, IsTerminal, Read, Write};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};

use crate::text::{sanitize, sanitize_lines};
use crate::{ApiError, Error, Exit};

/// Minimum width in columns. In a narrower terminal lines wrap, because text truncated to fit would
/// be too short to be useful.
const MIN_WIDTH: usize = 40;

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
    err_is_terminal: bool,
    err_colour: bool,
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
            err_is_terminal: err.is_terminal(),
            err_colour: AutoStream::choice(&err) != ColorChoice::Never,
            input: Some(Box::new(io::stdin())),
            out: Box::new(BufWriter::with_capacity(64 * 1024, out)),
            err: Box::new(err),
            format,
        }
    }

    /// Uses the given streams, which are not a terminal: no progress, no colours in `err`.
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

    /// Standard input the first time, then an empty stream.
    pub(crate) fn take_input(&mut self) -> Box<dyn Read + Send> {
        self.input.take().unwrap_or_else(|| Box::new(io::empty()))
    }

    /// Writes one line to standard output.
    ///
    /// # Errors
    /// [`Error::Output`] if it cannot be written.
    pub fn print_line(&mut self, line: &str) -> Result<(), Error> {
        self.print(line.as_bytes()).and_then(|()| self.print(b"\n"))
    }

    /// Writes bytes to standard output, unchanged.
    ///
    /// # Errors
    /// [`Error::Output`] if they cannot be written.
    pub fn print(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.out.write_all(bytes).map_err(output_failed)
    }

    /// Writes one JSON document unchanged, on its own lines.
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
