//! HTTP/2 by hand, a frame at a time, for what no client would send.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A server that is silent for longer has hung.
const PATIENCE: Duration = Duration::from_secs(60);

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Types of frames (RFC 9113, section 6).
pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const CONTINUATION: u8 = 9;

/// Flags.
pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// The settings for concurrent streams, for a stream's window, and for the size of heads.
pub const MAX_CONCURRENT_STREAMS: u16 = 3;
pub const INITIAL_WINDOW_SIZE: u16 = 4;
pub const MAX_HEADER_LIST_SIZE: u16 = 6;

/// A frame that was received.
#[derive(Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// One connection.
pub struct Frames {
    socket: TcpStream,
}

impl Frames {
    /// Connects to the server at `url` with prior knowledge, and sends these settings.
    pub async fn open(url: &str, settings: &[(u16, u32)]) -> Result<Self> {
        let address = url.strip_prefix("http://").context("an http address")?;
        let mut frames = Self { socket: TcpStream::connect(address).await? };
        frames.socket.write_all(PREFACE).await?;
        frames.settings(settings).await?;
        Ok(frames)
    }

    pub async fn settings(&mut self, settings: &[(u16, u32)]) -> Result<()> {
        let pairs = settings
            .iter()
            .flat_map(|(name, value)| name.to_be_bytes().into_iter().chain(value.to_be_bytes()));
        self.send(SETTINGS, 0, 0, &pairs.collect::<Vec<_>>()).await
    }

    pub async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Result<()> {
        Ok(self.socket.write_all(&frame(kind, flags, stream, payload)).await?)
    }

    /// Frames that were made before.
    pub async fn send_all(&mut self, frames: &[u8]) -> Result<()> {
        Ok(self.socket.write_all(frames).await?)
    }

    /// The next frame; `None` when the server has closed.
    pub async fn receive(&mut self) -> Result<Option<Frame>> {
        let mut head = [0; 9];
        let read = timeout(PATIENCE, self.socket.read_exact(&mut head)).await;
        if read.context("no frame")?.is_err() {
            return Ok(None);
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; length];
        let read = timeout(PATIENCE, self.socket.read_exact(&mut payload)).await;
        if read.context("half a frame")?.is_err() {
            return Ok(None);
        }
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
        Ok(Some(Frame { kind: head[3], flags: head[4], stream, payload }))
    }

    /// The first frame of this type, for this stream; others are dropped.
    pub async fn wait_for(&mut self, kind: u8, stream: u32) -> Result<Frame> {
        loop {
            match self.receive().await? {
                Some(frame) if frame.kind == kind && frame.stream == stream => return Ok(frame),
                Some(frame) if frame.kind == GOAWAY && kind != GOAWAY => {
                    bail!("the server said goodbye: {:?}", String::from_utf8_lossy(&frame.payload))
                }
                Some(_) => {}
                None => bail!("the server closed"),
            }
        }
    }

    /// What the server says its settings are.
    pub async fn server_settings(&mut self) -> Result<Vec<(u16, u32)>> {
        let frame = self.wait_for(SETTINGS, 0).await?;
        ensure!(frame.flags & ACK == 0, "an acknowledgement comes first");
        let pairs = frame.payload.chunks_exact(6);
        Ok(pairs
            .map(|pair| {
                let value = [pair[2], pair[3], pair[4], pair[5]];
                (u16::from_be_bytes([pair[0], pair[1]]), u32::from_be_bytes(value))
            })
            .collect())
    }

    /// Answers of these streams: their status. Reads until each has one.
    pub async fn statuses(&mut self, streams: &[u32]) -> Result<Vec<(u32, u16)>> {
        let mut awaited: HashSet<u32> = streams.iter().copied().collect();
        let mut statuses = Vec::new();
        while !awaited.is_empty() {
            let Some(frame) = self.receive().await? else { bail!("the server closed") };
            if frame.kind == HEADERS && awaited.remove(&frame.stream) {
                statuses.push((frame.stream, status(&frame.payload).unwrap_or_default()));
            }
        }
        Ok(statuses)
    }
}

/// A frame as bytes.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The head of a request (RFC 7541): fields of the static table, and others spelled out.
pub fn head(method: &str, path: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut head = vec![if method == "GET" { 0x82 } else { 0x83 }, 0x86];
    // `:path` and `:authority` by the table's numbers.
    literal(&mut head, 4, path);
    literal(&mut head, 1, "localhost");
    for (name, value) in fields {
        head.push(0);
        text(&mut head, name);
        text(&mut head, value);
    }
    head
}

fn literal(head: &mut Vec<u8>, name: u8, value: &str) {
    head.push(name);
    text(head, value);
}

fn text(head: &mut Vec<u8>, text: &str) {
    let length = text.len();
    if length < 127 {
        head.push(length as u8);
    } else {
        // An integer with a prefix of seven bits.
        head.push(127);
        let mut rest = length - 127;
        while rest >= 128 {
            head.push((rest % 128 + 128) as u8);
            rest /= 128;
        }
        head.push(rest as u8);
    }
    head.extend(text.as_bytes());
}

/// The status at the beginning of a response's head, where the static table has it or it is
/// spelled out.
fn status(head: &[u8]) -> Option<u16> {
    // A change of the table's size may come first.
    let head = head.iter().position(|byte| byte & 0xe0 != 0x20).map(|at| &head[at..])?;
    match *head.first()? {
        0x88 => Some(200),
        0x89 => Some(204),
        0x8b => Some(304),
        0x8c => Some(400),
        0x8d => Some(404),
        0x8e => Some(500),
        // `:status` by its number in the table, and the digits, perhaps in Huffman's code.
        0x48 => digits(head.get(1..)?),
        _ => None,
    }
}

fn digits(text: &[u8]) -> Option<u16> {
    let length = text.first()?;
    let value = text.get(1..1 + usize::from(length & 0x7f))?;
    if length & 0x80 == 0 {
        return std::str::from_utf8(value).ok()?.parse().ok();
    }
    // Digits have five bits for 0 to 2, which are their own numbers, and six for the others.
    let bits: Vec<u8> =
        value.iter().flat_map(|byte| (0..8).rev().map(move |n| byte >> n & 1)).collect();
    let (mut at, mut number) = (0, 0);
    for _ in 0..3 {
        let five = bits.get(at..at + 5)?.iter().fold(0, |all, bit| all << 1 | u16::from(*bit));
        let digit = match five {
            0..=2 => {
                at += 5;
                five
            }
            _ => {
                let sixth = u16::from(*bits.get(at + 5)?);
                at += 6;
                // 3 is 0x19, and 9 is 0x1f.
                (five << 1 | sixth).checked_sub(0x19 - 3)?
            }
        };
        number = number * 10 + digit;
    }
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_however_it_is_written() {
        assert_eq!(status(&[0x88]), Some(200));
        assert_eq!(status(&[0x3f, 0xe1, 0x1f, 0x88]), None);
        assert_eq!(status(&[0x48, 3, b'5', b'0', b'3']), Some(503));
        // 503 in Huffman's code: 011011 00000 011001, filled up with ones.
        assert_eq!(status(&[0x48, 0x83, 0b0110_1100, 0b0000_1100, 0b1111_1111]), Some(503));
    }
}
