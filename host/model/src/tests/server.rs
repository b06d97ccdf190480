//! A web server that does as told: one reply for each request, then it is gone.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use reqwest::Url;

use super::fixture::WHEEL;
use crate::Source;

pub(crate) enum Reply {
    /// Honours ranges.
    Serve,
    /// Announces everything asked for and hangs up after so many bytes.
    Cut(usize),
    /// The same, and says nothing more without hanging up.
    Stall(usize),
    /// Answers with the whole, whatever was asked.
    IgnoreRange,
    /// Answers a range with one that starts elsewhere.
    OtherRange,
    Status(u16),
    /// The whole of something else.
    Other(Vec<u8>),
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
            // Stalled connections stay open until the test's client hangs up on them.
            let mut open = Vec::new();
            for reply in replies {
                let (stream, _) = listener.accept().unwrap();
                let range = read_range(&stream);
                seen.lock().unwrap().push(range);
                // The client may hang up on what it refuses.
                let _ = answer(&stream, &body, range, &reply);
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

    /// First byte asked for by each request; `None` without a range.
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

fn answer(
    mut stream: &TcpStream,
    body: &[u8],
    range: Option<u64>,
    reply: &Reply,
) -> std::io::Result<()> {
    let from = usize::try_from(range.unwrap_or(0)).unwrap();
    let (status, start, bytes) = match reply {
        Reply::Serve | Reply::Cut(_) | Reply::Stall(_) if range.is_some() => {
            (206, from, &body[from..])
        }
        Reply::Serve | Reply::Cut(_) | Reply::Stall(_) | Reply::IgnoreRange => (200, 0, body),
        Reply::OtherRange => (206, from + 1, &body[from + 1..]),
        Reply::Status(status) => (*status, 0, &[][..]),
        Reply::Other(other) => (200, 0, other.as_slice()),
    };
    let (length, last, total) = (bytes.len(), body.len() - 1, body.len());
    let mut head =
        format!("HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {length}\r\n");
    if status == 206 {
        head.push_str(&format!("Content-Range: bytes {start}-{last}/{total}\r\n"));
    }
    write!(stream, "{head}\r\n")?;
    let sent = match reply {
        Reply::Cut(sent) | Reply::Stall(sent) => *sent,
        _ => length,
    };
    stream.write_all(&bytes[..sent])
}
