//! Server-sent events, read from a stream that may be cut anywhere.

use memchr::memchr;

/// The longest line. Kenning's have a few hundred bytes.
const MAX_LINE: usize = 64 * 1024;

/// What a stream says at one of its empty lines.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Event {
    /// The position that a client says when it connects again.
    pub(crate) id: Option<String>,
    /// Empty if this is no more than a position.
    pub(crate) data: String,
}

/// Collects bytes until they are events.
#[derive(Debug, Default)]
pub(crate) struct Events {
    partial: Vec<u8>,
    current: Event,
}

/// A line is longer than any that Kenning sends.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

impl Events {
    /// The events that end in `bytes`.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<Vec<Event>, TooLong> {
        self.partial.extend_from_slice(bytes);
        let mut events = Vec::new();
        let mut begun = 0;
        while let Some(length) = memchr(b'\n', &self.partial[begun..]) {
            let line = String::from_utf8_lossy(&self.partial[begun..begun + length]).into_owned();
            begun += length + 1;
            events.extend(self.line(line.strip_suffix('\r').unwrap_or(&line)));
        }
        self.partial.drain(..begun);
        if self.partial.len() > MAX_LINE || self.current.data.len() > MAX_LINE {
            return Err(TooLong);
        }
        Ok(events)
    }

    fn line(&mut self, line: &str) -> Option<Event> {
        if line.is_empty() {
            let event = std::mem::take(&mut self.current);
            return (event != Event::default()).then_some(event);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => self.current.id = Some(value.to_owned()),
            "data" => {
                if !self.current.data.is_empty() {
                    self.current.data.push('\n');
                }
                self.current.data.push_str(value);
            }
            // The data says the kind, a comment nothing.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: Option<&str>, data: &str) -> Event {
        Event { id: id.map(str::to_owned), data: data.to_owned() }
    }

    #[test]
    fn events_come_whole_however_the_stream_was_cut() {
        let stream = "retry: 1000\nid: 6\n\n:\n\nid: 7\nevent: stored\ndata: {\"a\":1}\n\n\
                      :\r\ndata:one\r\ndata: two\r\n\r\nid: 9\ndata: cut";
        let expected =
            [event(Some("6"), ""), event(Some("7"), "{\"a\":1}"), event(None, "one\ntwo")];
        for size in 1..stream.len() {
            let mut events = Events::default();
            let chunks = stream.as_bytes().chunks(size);
            let got: Vec<Event> = chunks.flat_map(|chunk| events.push(chunk).unwrap()).collect();
            assert_eq!(got, expected, "{size}");
        }
    }

    #[test]
    fn a_line_without_an_end_is_not_kept() {
        let mut events = Events::default();
        let part = [b'x'; 1024];
        let kept = (0..100).take_while(|_| events.push(&part).is_ok()).count();
        assert_eq!(kept, MAX_LINE / 1024);
    }
}
