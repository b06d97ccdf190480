//! A way to Redis that fails on request, for what neither a signal nor Redis itself can do.
//!
//! It knows where a command and a reply end and nothing else of what it carries, so that it can
//! fail between any two of them, and the order in which replies belong to commands is kept.

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::task::AbortOnDropHandle;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// Connections are closed, those that are there and those that come.
    HangUp,
    /// Nothing is carried any more, until this ends: then it arrives after all.
    Hold,
    /// Each reply arrives so much later than it would.
    Delay(Duration),
    /// Replies arrive byte after byte.
    Trickle,
    /// The connection ends in the middle of a reply.
    CutReply,
    /// The command arrives, and the connection ends before its reply.
    LoseReply,
    /// The command does not arrive, and this error is its reply.
    Answer(&'static str),
    /// Neither the command arrives nor what comes after it on its connection, which stays open.
    Swallow,
}

/// A proxy with a port of its own, before a Redis on this machine.
pub struct FaultProxy {
    port: u16,
    shared: Arc<Shared>,
    _listening: AbortOnDropHandle<()>,
}

struct Shared {
    /// What goes wrong, and for which commands, counted since it began to.
    fault: watch::Sender<(Fault, Range<usize>)>,
    counted: AtomicUsize,
    /// What a command must hold to count.
    counting: Mutex<&'static str>,
    /// How often flows were forgotten, and hung up on.
    forgotten: watch::Sender<usize>,
    hung_up: watch::Sender<usize>,
    connections: AtomicUsize,
    commands: AtomicUsize,
}

impl FaultProxy {
    /// Begins to carry to `redis`, a port on this machine.
    pub async fn start(redis: u16) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            fault: watch::Sender::new((Fault::None, 0..usize::MAX)),
            counted: AtomicUsize::new(0),
            counting: Mutex::default(),
            forgotten: watch::Sender::new(0),
            hung_up: watch::Sender::new(0),
            connections: AtomicUsize::new(0),
            commands: AtomicUsize::new(0),
        });
        let listening = tokio::spawn(listen(listener, redis, Arc::clone(&shared)));
        Ok(Self { port, shared, _listening: AbortOnDropHandle::new(listening) })
    }

    /// Its address, for a server.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// From now on, every command meets `fault`.
    pub fn set(&self, fault: Fault) {
        self.set_for(fault, 0..usize::MAX);
    }

    /// From now on, these of the commands that come meet `fault`; what a client says about its
    /// connection is not counted.
    pub fn set_for(&self, fault: Fault, commands: Range<usize>) {
        self.shared.counted.store(0, Ordering::SeqCst);
        self.shared.fault.send_replace((fault, commands));
        if fault == Fault::HangUp {
            self.shared.hung_up.send_modify(|times| *times += 1);
        }
    }

    /// Counts only commands that hold `word`, and has only those meet what goes wrong. A server
    /// asks a thing or two by itself, now and then.
    pub fn count_only(&self, word: &'static str) {
        *self.shared.counting.lock().unwrap_or_else(PoisonError::into_inner) = word;
    }

    /// Nothing goes wrong any more.
    pub fn heal(&self) {
        self.set(Fault::None);
    }

    /// Forgets the flows there are, as a firewall does: whatever is sent on them is swallowed, and
    /// they are never closed. New ones pass.
    pub fn forget(&self) {
        self.shared.forgotten.send_modify(|times| *times += 1);
    }

    /// Connections taken so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Commands received so far, but for what a client says about its connection.
    pub fn commands(&self) -> usize {
        self.shared.commands.load(Ordering::SeqCst)
    }
}

impl Shared {
    fn fault(&self) -> Fault {
        self.fault.borrow().0
    }

    fn fault_for(&self, command: &[u8]) -> Fault {
        let (fault, commands) = self.fault.borrow().clone();
        if is_about_the_connection(command) || !self.counts(command) {
            return if fault == Fault::Hold { fault } else { Fault::None };
        }
        self.commands.fetch_add(1, Ordering::SeqCst);
        let number = self.counted.fetch_add(1, Ordering::SeqCst);
        if commands.contains(&number) { fault } else { Fault::None }
    }

    fn counts(&self, command: &[u8]) -> bool {
        let word = *self.counting.lock().unwrap_or_else(PoisonError::into_inner);
        word.is_empty() || command.windows(word.len()).any(|part| part == word.as_bytes())
    }

    /// Waits while nothing is carried.
    async fn carries(&self) {
        let mut fault = self.fault.subscribe();
        // The sender is here.
        let _ = fault.wait_for(|(fault, _)| *fault != Fault::Hold).await;
    }
}

fn is_about_the_connection(command: &[u8]) -> bool {
    // *1 CRLF $5 CRLF HELLO CRLF
    let name = command.split(|byte| *byte == b'\n').nth(2).unwrap_or_default().trim_ascii_end();
    let names: [&[u8]; 4] = [b"HELLO", b"CLIENT", b"AUTH", b"SELECT"];
    names.iter().any(|one| name.eq_ignore_ascii_case(one))
}

async fn listen(listener: TcpListener, redis: u16, shared: Arc<Shared>) {
    while let Ok((near, _)) = listener.accept().await {
        shared.connections.fetch_add(1, Ordering::SeqCst);
        if shared.fault() != Fault::HangUp {
            tokio::spawn(carry(near, redis, Arc::clone(&shared)));
        }
    }
}

async fn carry(near: TcpStream, redis: u16, shared: Arc<Shared>) {
    let mut forgotten = shared.forgotten.subscribe();
    let mut hung_up = shared.hung_up.subscribe();
    let Ok(far) = TcpStream::connect(("127.0.0.1", redis)).await else { return };
    // Without it the kernel holds small packets back.
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let (near_reads, near_writes) = near.into_split();
    let (far_reads, far_writes) = far.into_split();
    let (expect, expected) = mpsc::unbounded_channel();
    let mut commands = Frames::new(near_reads);
    let mut replies = Frames::new(far_reads);
    let there = carry_commands(&mut commands, far_writes, expect, &shared);
    let mut near_writes = near_writes;
    let back = carry_replies(&mut replies, &mut near_writes, expected, &shared);
    tokio::select! {
        _ = async { tokio::join!(there, back) } => {}
        _ = hung_up.changed() => {}
        // Where the proxy is gone, nobody is there to be kept waiting.
        Ok(()) = forgotten.changed() => {
            let _ = commands.swallow().await;
        }
    }
}

/// What is to come back next.
enum Expected {
    Redis { fault: Fault, asked: Instant },
    Error(&'static str),
}

async fn carry_commands(
    commands: &mut Frames<OwnedReadHalf>,
    mut far: OwnedWriteHalf,
    expect: mpsc::UnboundedSender<Expected>,
    shared: &Shared,
) -> io::Result<()> {
    while let Some(command) = commands.next().await? {
        let fault = shared.fault_for(&command);
        shared.carries().await;
        let next = match fault {
            Fault::Answer(error) => Expected::Error(error),
            Fault::Swallow => return commands.swallow().await,
            fault => {
                far.write_all(&command).await?;
                Expected::Redis { fault, asked: Instant::now() }
            }
        };
        if expect.send(next).is_err() {
            break;
        }
    }
    Ok(())
}

async fn carry_replies(
    replies: &mut Frames<OwnedReadHalf>,
    near: &mut OwnedWriteHalf,
    mut expected: mpsc::UnboundedReceiver<Expected>,
    shared: &Shared,
) -> io::Result<()> {
    while let Some(next) = expected.recv().await {
        let (fault, asked) = match next {
            Expected::Error(error) => {
                near.write_all(format!("-{error}\r\n").as_bytes()).await?;
                continue;
            }
            Expected::Redis { fault, asked } => (fault, asked),
        };
        let Some(reply) = replies.next().await? else { break };
        shared.carries().await;
        match fault {
            Fault::LoseReply => break,
            Fault::CutReply => {
                near.write_all(&reply[..reply.len() / 2]).await?;
                break;
            }
            Fault::Trickle => {
                for byte in reply {
                    near.write_all(&[byte]).await?;
                    sleep(Duration::from_micros(100)).await;
                }
            }
            Fault::Delay(delay) => {
                sleep_until(asked + delay).await;
                near.write_all(&reply).await?;
            }
            _ => near.write_all(&reply).await?,
        }
    }
    near.shutdown().await
}

/// Whole commands or replies from a stream.
struct Frames<R> {
    stream: R,
    buffer: BytesMut,
}

impl<R: AsyncRead + Unpin> Frames<R> {
    fn new(stream: R) -> Self {
        Self { stream, buffer: BytesMut::new() }
    }

    async fn read(&mut self) -> io::Result<usize> {
        self.stream.read_buf(&mut self.buffer).await
    }

    /// Reads to the end for nobody.
    async fn swallow(&mut self) -> io::Result<()> {
        while self.read().await? > 0 {
            self.buffer.clear();
        }
        Ok(())
    }

    /// `None` at the end.
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            if let Some(end) = end_of_frame(&self.buffer, 0) {
                return Ok(Some(self.buffer.split_to(end).freeze()));
            }
            if self.read().await? == 0 {
                return Ok(None);
            }
        }
    }
}

/// Where the value of the Redis protocol that begins at `at` ends, if it is whole.
fn end_of_frame(bytes: &[u8], at: usize) -> Option<usize> {
    let line = at + bytes.get(at..)?.windows(2).position(|pair| pair == b"\r\n")?;
    let after = line + 2;
    let number = std::str::from_utf8(&bytes[at + 1..line]).ok().and_then(|n| n.parse().ok());
    let number: usize = number.unwrap_or(0);
    let values = match bytes[at] {
        // A missing text has no bytes, and no end of them.
        b'$' | b'!' | b'=' if bytes[at + 1] == b'-' => 0,
        b'$' | b'!' | b'=' => {
            let end = after + number + 2;
            return (end <= bytes.len()).then_some(end);
        }
        b'*' | b'~' | b'>' => number,
        b'%' => 2 * number,
        // Attributes stand before a value.
        b'|' => 2 * number + 1,
        _ => 0,
    };
    (0..values).try_fold(after, |at, _| end_of_frame(bytes, at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_ends_where_its_last_part_does() {
        for whole in [
            "+OK\r\n",
            "-ERR no\r\n",
            ":7\r\n",
            "$2\r\n\r\n\r\n",
            "$-1\r\n",
            "_\r\n",
            "*-1\r\n",
            "*2\r\n$1\r\na\r\n*1\r\n:1\r\n",
            "%1\r\n+a\r\n~1\r\n,0.5\r\n",
            "|1\r\n+a\r\n:1\r\n+value\r\n",
        ] {
            let twice = format!("{whole}{whole}");
            assert_eq!(end_of_frame(twice.as_bytes(), 0), Some(whole.len()), "{whole:?}");
            for cut in 0..whole.len() {
                assert_eq!(end_of_frame(&whole.as_bytes()[..cut], 0), None, "{whole:?} at {cut}");
            }
        }
    }
}
