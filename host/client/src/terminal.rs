//! Where a verb reads and writes, and in which form.

use std::io::{self, BufWriter, IsTerminal, Read, Write};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};

use crate::text::{clean, clean_lines};
use crate::{Error, Exit};

/// A terminal narrower than this wraps by itself; text cut to fit would say nothing.
const NARROWEST: usize = 40;

/// For whom the output is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A person, at a terminal of so many columns.
    Human { width: usize, colour: bool },
    /// A script: one record a line, tabs between fields, no colours.
    Plain,
    /// A script: the server's JSON as it came.
    Json,
}

/// The streams of a verb.
pub struct Terminal {
    input: Option<Box<dyn Read + Send>>,
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    form: Form,
    err_is_terminal: bool,
    err_colour: bool,
}

impl Terminal {
    /// The process's own streams.
    pub fn standard(json: bool) -> Self {
        let (out, err) = (io::stdout(), io::stderr());
        let form = match (json, out.is_terminal()) {
            (true, _) => Form::Json,
            (false, true) => Form::Human {
                width: textwrap::termwidth().max(NARROWEST),
                colour: AutoStream::choice(&out) != ColorChoice::Never,
            },
            (false, false) => Form::Plain,
        };
        Self {
            err_is_terminal: err.is_terminal(),
            err_colour: AutoStream::choice(&err) != ColorChoice::Never,
            input: Some(Box::new(io::stdin())),
            out: Box::new(BufWriter::with_capacity(64 * 1024, out)),
            err: Box::new(err),
            form,
        }
    }

    /// Streams of the caller's own, which are no terminal: no progress, no colours in `err`.
    pub fn new(
        input: impl Read + Send + 'static,
        out: impl Write + Send + 'static,
        err: impl Write + Send + 'static,
        form: Form,
    ) -> Self {
        Self {
            input: Some(Box::new(input)),
            out: Box::new(out),
            err: Box::new(err),
            form,
            err_is_terminal: false,
            err_colour: false,
        }
    }

    /// For whom the output is.
    pub fn form(&self) -> Form {
        self.form
    }

    /// Whether progress has somewhere to be drawn.
    pub(crate) fn shows_progress(&self) -> bool {
        self.err_is_terminal
    }

    /// Standard input, once; after that, nothing.
    pub(crate) fn take_input(&mut self) -> Box<dyn Read + Send> {
        self.input.take().unwrap_or_else(|| Box::new(io::empty()))
    }

    /// Writes one line to standard output.
    pub fn say(&mut self, line: &str) -> Result<(), Error> {
        self.put(line.as_bytes()).and_then(|()| self.put(b"\n"))
    }

    /// Writes bytes to standard output as they are.
    pub fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.out.write_all(bytes).map_err(output_failed)
    }

    /// Writes one JSON document as it came, on a line of its own.
    pub fn put_document(&mut self, document: &[u8]) -> Result<(), Error> {
        self.put(document.trim_ascii_end()).and_then(|()| self.put(b"\n"))
    }

    /// Hands on what was written so far.
    pub fn finish(&mut self) -> Result<(), Error> {
        self.out.flush().map_err(output_failed)
    }

    /// Says on standard error what is not part of the output.
    pub fn note(&mut self, text: &str) {
        self.complain("", Style::new(), text);
    }

    /// Warns on standard error.
    pub fn warn(&mut self, text: &str) {
        self.complain("warning: ", AnsiColor::Yellow.on_default().bold(), text);
    }

    /// Prints an error, to standard error and with `--json` its body to standard output too.
    pub fn report(&mut self, error: &Error) -> Exit {
        if error.is_closed_pipe() {
            return Exit::Done;
        }
        // Output that cannot be written cannot be complained about there.
        let _ = match (self.form, error.refusal()) {
            (Form::Json, Some(refusal)) => self.put_document(&refusal.body.clone()),
            _ => Ok(()),
        };
        let _ = self.finish();
        self.complain("error: ", AnsiColor::Red.on_default().bold(), &error.to_string());
        for hint in error.refusal().map(|refusal| refusal.hints()).unwrap_or_default() {
            self.complain("  ", Style::new(), &hint);
        }
        error.exit()
    }

    fn complain(&mut self, label: &str, style: Style, text: &str) {
        let style = if self.err_colour { style } else { Style::new() };
        let text = clean_lines(text).join("\n");
        // In the order of writing, where both are the same terminal. If it fails, so will the
        // flush at the end.
        let _ = self.out.flush();
        // With standard error gone there is nobody left to tell.
        let _ = writeln!(self.err, "{style}{label}{style:#}{text}");
    }
}

fn output_failed(cause: io::Error) -> Error {
    Error::Output { what: "standard output".to_owned(), cause }
}

/// Colours for a person's eyes, or none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint {
    pub(crate) colour: bool,
}

impl Paint {
    /// Ids and names: what the eye looks for.
    pub(crate) fn strong(self, text: &str) -> String {
        self.with(AnsiColor::Cyan.on_default().bold(), &clean(text))
    }

    /// Scores and other figures.
    pub(crate) fn figure(self, text: &str) -> String {
        self.with(AnsiColor::Green.on_default(), text)
    }

    /// What may be skipped.
    pub(crate) fn dim(self, text: &str) -> String {
        self.with(Style::new().dimmed(), text)
    }

    fn with(self, style: Style, text: &str) -> String {
        if self.colour { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }
}
