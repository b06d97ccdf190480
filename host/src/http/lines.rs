//! Cuts a stream of bytes into lines, none of them kept beyond its bound.

use bytes::{Bytes, BytesMut};

/// One line of a stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Without its line break.
    Whole(Bytes),
    /// It had this many bytes, more than the bound; they are gone.
    TooLong(usize),
}

/// Collects bytes until they are lines.
pub(super) struct Lines {
    bound: usize,
    partial: BytesMut,
    /// Bytes of the current line that were dropped, once it is too long.
    dropped: usize,
}

impl Lines {
    pub(super) fn new(bound: usize) -> Self {
        Self { bound, partial: BytesMut::new(), dropped: 0 }
    }

    /// The lines that end in `bytes`.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<Line> {
        let mut lines = Vec::new();
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            match part.strip_suffix(b"\n") {
                Some(end) => {
                    self.extend(end);
                    lines.push(self.take());
                }
                None => self.extend(part),
            }
        }
        lines
    }

    /// The last line, if the stream did not end with a line break.
    pub(super) fn finish(&mut self) -> Option<Line> {
        (!self.partial.is_empty() || self.dropped > 0).then(|| self.take())
    }

    /// Bytes of a line that is not whole yet.
    pub(super) fn partial(&self) -> usize {
        self.partial.len()
    }

    /// Bytes set aside for the line that has not ended.
    #[cfg(feature = "fuzzing")]
    pub(super) fn held(&self) -> usize {
        self.partial.capacity()
    }

    fn extend(&mut self, bytes: &[u8]) {
        if self.dropped > 0 || self.partial.len() + bytes.len() > self.bound {
            self.dropped += self.partial.len() + bytes.len();
            self.partial.clear();
        } else {
            self.partial.extend_from_slice(bytes);
        }
    }

    fn take(&mut self) -> Line {
        let dropped = std::mem::take(&mut self.dropped);
        let mut line = self.partial.split().freeze();
        if dropped > 0 {
            return Line::TooLong(dropped);
        }
        if line.ends_with(b"\r") {
            line.truncate(line.len() - 1);
        }
        Line::Whole(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &'static str) -> Line {
        Line::Whole(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn lines_come_whole_however_the_stream_was_cut() {
        let text = b"one\r\ntwo\n\nthree";
        for size in 1..text.len() {
            let mut lines = Lines::new(10);
            let mut got: Vec<Line> =
                text.chunks(size).flat_map(|chunk| lines.push(chunk)).collect();
            got.extend(lines.finish());
            assert_eq!(got, [whole("one"), whole("two"), whole(""), whole("three")]);
        }
    }

    #[test]
    fn a_line_at_the_bound_is_whole_obeyed() {
        assert_eq!(Lines::new(4).push(b"four\n"), [whole("four")]);
    }

    #[test]
    fn a_line_above_the_bound_is_dropped_and_the_next_is_whole_violated() {
        let mut lines = Lines::new(4);
        assert_eq!(lines.push(b"fi"), []);
        assert_eq!(lines.partial(), 2);
        assert_eq!(lines.push(b"ves!"), []);
        assert_eq!(lines.partial(), 0, "what is too long is not kept");
        assert_eq!(lines.push(b"\nok\n"), [Line::TooLong(6), whole("ok")]);
    }
}
