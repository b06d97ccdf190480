//! HTTP by hand, for what no client would send.

use std::io::ErrorKind;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

/// A server that is silent for longer has hung.
const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes of a buffer that are soon full.
const NARROW: u32 = 4 * 1024;

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// One connection.
pub struct Wire(TcpStream);

impl Wire {
    /// Connects to the server at `url`.
    pub async fn open(url: &str) -> Result<Self> {
        Ok(Self(TcpStream::connect(address(url)?).await?))
    }

    /// The same, with little room for what it does not read.
    pub async fn open_narrow(url: &str) -> Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(NARROW)?;
        Ok(Self(socket.connect(address(url)?.parse()?).await?))
    }

    /// The head of a POST whose body is to have `length` bytes, once its call is under way.
    pub async fn begin_call(&mut self, path: &str, length: usize) -> Result<()> {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
             content-type: application/json\r\nexpect: 100-continue\r\n\
             content-length: {length}\r\n\r\n"
        );
        self.begin(&head).await
    }

    /// The same for a component, to a server on this machine.
    pub async fn begin_upload(&mut self, path: &str, length: usize) -> Result<()> {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
             content-type: application/wasm\r\nexpect: 100-continue\r\n\
             content-length: {length}\r\n\r\n"
        );
        self.begin(&head).await
    }

    async fn begin(&mut self, head: &str) -> Result<()> {
        self.send(head.as_bytes()).await?;
        // The server asks for a body when a handler wants it.
        let mut said = [0; CONTINUE.len()];
        timeout(PATIENCE, self.0.read_exact(&mut said)).await.context("no answer")??;
        ensure!(said == *CONTINUE, "{}", String::from_utf8_lossy(&said));
        Ok(())
    }

    /// The head of a POST whose body is to have `length` bytes.
    pub async fn begin_post(&mut self, path: &str, length: usize) -> Result<()> {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n"
        );
        self.send(head.as_bytes()).await
    }

    pub async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.0.write_all(bytes).await?)
    }

    /// Says that no more will come, and still listens.
    pub async fn end(&mut self) -> Result<()> {
        Ok(self.0.shutdown().await?)
    }

    /// One answer whose length is told, on a connection that stays open.
    pub async fn receive(&mut self) -> Result<String> {
        let mut said = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&said).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n")
                && body.len() >= content_length(head)?
            {
                return Ok(text);
            }
            let read = timeout(PATIENCE, self.0.read_buf(&mut said)).await;
            ensure!(read.context("no answer")?? > 0, "closed after {text:?}");
        }
    }

    /// Whether nothing has arrived that was not received.
    pub fn is_silent(&self) -> bool {
        let read = self.0.try_read(&mut [0]);
        read.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    /// Adds what has arrived to `said`; whether there may be more.
    pub fn hear(&self, said: &mut String) -> bool {
        let mut arrived = [0; 4096];
        match self.0.try_read(&mut arrived) {
            Ok(bytes) => {
                said.push_str(&String::from_utf8_lossy(&arrived[..bytes]));
                bytes > 0
            }
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        }
    }

    /// All that the server says until it closes.
    pub async fn rest(mut self) -> Result<String> {
        let mut said = Vec::new();
        timeout(PATIENCE, self.0.read_to_end(&mut said)).await.context("it never closed")??;
        Ok(String::from_utf8_lossy(&said).into_owned())
    }
}

fn address(url: &str) -> Result<&str> {
    url.strip_prefix("http://").context("an http address")
}

fn content_length(head: &str) -> Result<usize> {
    let mut lengths = head.lines().filter_map(|line| line.strip_prefix("content-length: "));
    Ok(lengths.next_back().context("an answer with a length")?.trim().parse()?)
}
