//! Messages as lines: read with a bound, written whole.

use std::io;

use bytes::Bytes;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Longest message: more than any server reads of one body.
const LONGEST: usize = 16 * 1024 * 1024;

/// Messages that wait to be written.
const WAITING: usize = 64;

/// A line without its end.
#[derive(Debug, PartialEq)]
pub(super) enum Line {
    Whole(Bytes),
    /// It was read to its end and dropped.
    TooLong,
}

/// Lines of a stream, empty ones left out.
pub(super) struct Lines<R> {
    from: BufReader<R>,
    longest: usize,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(super) fn new(from: R) -> Self {
        Self { from: BufReader::new(from), longest: LONGEST }
    }

    /// The next line; `None` at the end. A last line without an end is one, too.
    pub(super) async fn next(&mut self) -> io::Result<Option<Line>> {
        let (mut line, mut is_too_long, mut is_some) = (Vec::new(), false, false);
        loop {
            let read = self.from.fill_buf().await?;
            if read.is_empty() && !is_some {
                return Ok(None);
            }
            let end = read.iter().position(|byte| *byte == b'\n');
            let part = &read[..end.unwrap_or(read.len())];
            is_too_long |= line.len() + part.len() > self.longest;
            if !is_too_long {
                line.extend_from_slice(part);
            }
            let (taken, is_end) = (end.map_or(read.len(), |end| end + 1), read.is_empty());
            self.from.consume(taken);
            is_some = true;
            if end.is_none() && !is_end {
                continue;
            }
            if is_too_long {
                return Ok(Some(Line::TooLong));
            }
            if !line.trim_ascii().is_empty() {
                return Ok(Some(Line::Whole(line.into())));
            }
            is_some = false;
            line.clear();
        }
    }
}

/// A way to write messages, each a line, and the task that does; it ends with the last sender.
pub(super) fn write_to(
    mut to: impl AsyncWrite + Unpin + Send + 'static,
) -> (mpsc::Sender<Bytes>, JoinHandle<anyhow::Result<()>>) {
    let (sender, mut messages) = mpsc::channel::<Bytes>(WAITING);
    let writing = tokio::spawn(async move {
        while let Some(message) = messages.recv().await {
            let line = [&message[..], b"\n"].concat();
            match to.write_all(&line).await.and(to.flush().await) {
                // The client has left; nobody waits for what follows.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                written => written?,
            }
        }
        Ok(())
    });
    (sender, writing)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lines_of(text: &[u8]) -> Vec<Line> {
        let mut lines = Lines { longest: 5, ..Lines::new(text) };
        let mut read = Vec::new();
        while let Some(line) = lines.next().await.unwrap() {
            read.push(line);
        }
        read
    }

    #[tokio::test]
    async fn lines_are_read_whole_and_long_ones_dropped() {
        let whole = |text: &'static str| Line::Whole(Bytes::from_static(text.as_bytes()));
        assert_eq!(lines_of(b"").await, []);
        assert_eq!(lines_of(b"\n \n").await, []);
        assert_eq!(lines_of(b"ab\n\ncd").await, [whole("ab"), whole("cd")]);
        assert_eq!(lines_of(b"abcdef\nab\n").await, [Line::TooLong, whole("ab")]);
    }

    #[tokio::test]
    async fn each_message_is_written_as_a_line() {
        let (to, mut from) = tokio::io::duplex(64);
        let (sender, writing) = write_to(to);
        sender.send(Bytes::from_static(b"{}")).await.unwrap();
        drop(sender);
        writing.await.unwrap().unwrap();
        let mut text = String::new();
        tokio::io::AsyncReadExt::read_to_string(&mut from, &mut text).await.unwrap();
        assert_eq!(text, "{}\n");
    }
}
