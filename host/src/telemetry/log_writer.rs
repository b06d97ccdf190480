//! Where the log's lines go. Losing the log must never lose a request: whatever becomes of standard
//! error, writing to it succeeds, and what could not be written is counted.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kenning_client::{clean_lines, clean_styled};

/// Makes a [`LogWriter`] for each event.
#[derive(Clone)]
pub(super) struct LogLines {
    is_styled: bool,
    /// Whether a line may have been written in part, because the last one failed.
    was_cut: Arc<AtomicBool>,
}

impl LogLines {
    /// `is_styled` says whether the lines have colours of our own.
    pub(super) fn new(is_styled: bool) -> Self {
        Self { is_styled, was_cut: Arc::default() }
    }

    pub(super) fn to<W: Write>(&self, out: W) -> LogWriter<W> {
        LogWriter { out, lines: self.clone() }
    }
}

/// Writes each event as one line. Text of guests, callers or backends may contain line breaks and
/// escape sequences, and must not be able to forge an event or act on a terminal.
pub(super) struct LogWriter<W> {
    out: W,
    lines: LogLines,
}

impl<W: Write> Write for LogWriter<W> {
    /// `event` is complete: the subscriber writes each event with one call.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let mut line = self.line(event);
        if self.lines.was_cut.swap(false, Ordering::Relaxed) {
            line.insert(0, '\n');
        }
        if self.out.write_all(line.as_bytes()).is_err() {
            self.lines.was_cut.store(true, Ordering::Relaxed);
            metrics::counter!("kenning_log_lines_lost_total").increment(1);
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        // Also what cannot be flushed is lost, and no reason to fail.
        let _ = self.out.flush();
        Ok(())
    }
}

impl<W> LogWriter<W> {
    fn line(&self, event: &[u8]) -> String {
        let text = String::from_utf8_lossy(event);
        let text = text.strip_suffix('\n').unwrap_or(&text).replace(['\n', '\r', '\t'], " ");
        let clean = if self.lines.is_styled { clean_styled(&text) } else { clean_lines(&text) };
        clean.into_owned() + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(is_styled: bool, events: &[&str]) -> String {
        let mut out = Vec::new();
        let mut writer = LogLines::new(is_styled).to(&mut out);
        events.iter().for_each(|event| writer.write_all(event.as_bytes()).unwrap());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_event_is_one_line_whatever_its_text() {
        let said = written(false, &["told: one\r\n2001-02-03 ERROR forged\n", "next\n"]);
        assert_eq!(said, "told: one  2001-02-03 ERROR forged\nnext\n");
    }

    #[test]
    fn an_event_cannot_act_on_a_terminal() {
        assert_eq!(written(false, &["\u{1b}[31ma\u{9b}2J\n"]), "\u{fffd}[31ma\u{fffd}2J\n");
        assert_eq!(
            written(true, &["\u{1b}[31mWARN\u{1b}[0m \u{1b}[2J\n"]),
            "\u{1b}[31mWARN\u{1b}[0m \u{fffd}[2J\n"
        );
    }

    /// A disk that is full, after a few bytes, until it is not.
    struct Full<'a> {
        out: &'a mut Vec<u8>,
        left: &'a mut usize,
    }

    impl Write for Full<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(*self.left);
            *self.left -= taken;
            self.out.extend_from_slice(&bytes[..taken]);
            if taken == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(taken) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(io::ErrorKind::StorageFull.into())
        }
    }

    #[test]
    fn a_write_that_fails_is_no_failure_and_the_next_line_begins_anew() {
        let (mut out, mut left, lines) = (Vec::new(), 8, LogLines::new(false));
        for event in ["first\n", "second\n", "third\n"] {
            let mut writer = lines.to(Full { out: &mut out, left: &mut left });
            assert_eq!(writer.write(event.as_bytes()).unwrap(), event.len());
            writer.flush().unwrap();
        }
        left = 100;
        lines.to(Full { out: &mut out, left: &mut left }).write_all(b"fourth\n").unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "first\nse\nfourth\n");
    }
}
