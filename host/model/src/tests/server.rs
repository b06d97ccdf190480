//! A web server that gives one scripted reply per request and then exits.
//!
//! Hand-written, because `wiremock` cannot close or stall a connection in the middle of a body.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use reqwest::Url;

use super::fixture::WHEEL;
use crate::Source;

pub(crate) enum Reply {
    /// Supports ranges.
    Serve,
    /// Announces the whole length and closes the connection after this many bytes.
    Truncate(usize),
    /// The same, but keeps the connection open and silent.
    Stall(usize),
    /// Sends the whole file even for a range request.
    IgnoreRange,
    /// Replies to a range request with another range.
    OtherRange,
    Status(u16),
    /// Other content, in full.
    OtherBody(Vec<u8>),
}

pub(crate) struct Server {
    address: SocketAddr,
    ranges: Arc<Mutex<Vec<Option<u64>>>>,
}

impl Server {
    pub(crate) fn start(body: Vec<u8>, replies: Vec<Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let ranges: Arc<Mutex<Vec<Option<u64>>>> = Arc::default();
        let seen = Arc::clone(&ranges);
        std::thread::spawn(move || {
            // Stalled connections stay open until the client closes them.
            let mut open = Vec::new();
            for reply in replies {
                let (stream, _) = listener.accept().unwrap();
                let range = read_range(&stream);
                seen.lock().unwrap().push(range);
                // The client may close the connection early.
                let _ = respond(&stream, &body, range, &reply);
                if matches!(reply, Reply::Stall(_)) {
                    open.push(stream);
                }
            }
            for stream in open {
                let _ = BufReader::new(stream).read_line(&mut String::new());
            }
        });
        Self { address, ranges }
    }

    pub(crate) fn url(&self) -> Url {
        format!("http://{}/{WHEEL}", self.address).parse().unwrap()
    }

    pub(crate) fn source(&self) -> Source {
        Source::Url(self.url())
    }

    /// The first byte requested each time; `None` without a range.
    pub(crate) fn ranges(&self) -> Vec<Option<u64>> {
        self.ranges.lock().unwrap().clone()
    }
}

fn read_range(stream: &TcpStream) -> Option<u64> {
    let lines = BufReader::new(stream).lines().map(Result::unwrap);
    let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let range = head.iter().find_map(|line| line.strip_prefix("range: bytes="))?;
    range.strip_suffix('-').unwrap().parse().ok()
}

fn respond(
    mut stream: &TcpStream,
    body: &[u8],
    range: Option<u64>,
    reply: &Reply,
) -> std::io::Result<()> {
    let from = usize::try_from(range.unwrap_or(0)).unwrap();
    let (status, start, bytes) = match reply {
        Reply::Serve | Reply::Truncate(_) | Reply::Stall(_) if range.is_some() => {
            (206, from, &body[from..])
        }
        Reply::Serve | Reply::Truncate(_) | Reply::Stall(_) | Reply::IgnoreRange => (200, 0, body),
        Reply::OtherRange => (206, from + 1, &body[from + 1..]),
        Reply::Status(status) => (*status, 0, &[][..]),
        Reply::OtherBody(other) => (200, 0, other.as_slice()),
    };
    let (length, last, total) = (bytes.len(), body.len() - 1, body.len());
    let mut head =
        format!("HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {length}\r\n");
    if status == 206 {
        head.push_str(&format!("Content-Range: bytes {start}-{last}/{total}\r\n"));
    }
    write!(stream, "{head}\r\n")?;
    let sent = match reply {
        Reply::Truncate(sent) | Reply::Stall(sent) => *sent,
        _ => length,
    };
    stream.write_all(&bytes[..sent])
}
