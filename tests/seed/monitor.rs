//! What a Redis is asked, as its `MONITOR` tells: for counting what the seed's tests
//! count on a mock.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kenning_tests::RedisServer;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

/// A Redis that says nothing for longer has gone.
const PATIENCE: Duration = Duration::from_secs(60);

/// Says that all before it has been seen.
const END: &str = "the-end-of-what-is-watched";

/// Sees every command from its beginning to its end.
pub(super) struct Monitor {
    lines: BufReader<OwnedReadHalf>,
    /// Dropped, it would end the connection.
    _writes: OwnedWriteHalf,
}

/// One command.
#[derive(Debug)]
pub(super) struct Command {
    /// Sent by a script within Redis, so without a round trip.
    by_script: bool,
    /// Its words, each in quotes.
    words: String,
}

impl Command {
    /// Whether it came over a connection.
    pub(super) fn is_sent(&self) -> bool {
        !self.by_script
    }

    /// Whether it came over a connection, to run a script.
    pub(super) fn is_call(&self) -> bool {
        self.is_sent() && self.words.starts_with("\"EVAL")
    }

    /// Whether it is `name` of `key`.
    pub(super) fn is(&self, name: &str, key: &str) -> bool {
        self.words.starts_with(&format!("\"{name}\" \"{key}\""))
    }

    /// Whether it is about what hosts share of all tenants, such as guests and keys.
    pub(super) fn is_of_all_tenants(&self) -> bool {
        self.words.contains("\"kenning:control:{control}:")
    }

    /// Whether `key` is among its words.
    pub(super) fn names(&self, key: &str) -> bool {
        self.words.contains(&format!("\"{key}\""))
    }
}

impl Monitor {
    pub(super) async fn begin(redis: &RedisServer) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", redis.port())).await?;
        let (reads, mut writes) = stream.into_split();
        writes.write_all(b"MONITOR\r\n").await?;
        let mut monitor = Self { lines: BufReader::new(reads), _writes: writes };
        let answer = monitor.line().await?;
        ensure!(answer == "+OK", "MONITOR answered {answer}");
        Ok(monitor)
    }

    /// The commands since the beginning, in their order.
    pub(super) async fn end(mut self, redis: &RedisServer) -> Result<Vec<Command>> {
        redis.command(&["ECHO", END]);
        let mut commands = Vec::new();
        loop {
            let command = parse(&self.line().await?)?;
            if command.is("ECHO", END) {
                return Ok(commands);
            }
            commands.push(command);
        }
    }

    async fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        let read = timeout(PATIENCE, self.lines.read_line(&mut line)).await;
        ensure!(read.context("MONITOR fell silent")?? > 0, "MONITOR ended");
        Ok(line.trim_end().to_string())
    }
}

/// Reads `+1339518083.107412 [0 127.0.0.1:60866] "HSET" "fact:x"`; a script's has
/// `lua` for an address.
fn parse(line: &str) -> Result<Command> {
    let (place, words) = line.split_once("] ").with_context(|| format!("no command: {line}"))?;
    Ok(Command { by_script: place.ends_with(" lua"), words: words.to_string() })
}
