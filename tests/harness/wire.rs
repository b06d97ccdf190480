//! HTTP by hand, for what no client would send.

use std::io::ErrorKind;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A server that is silent for longer has hung.
const PATIENCE: Duration = Duration::from_secs(60);

/// One connection.
pub struct Wire(TcpStream);

impl Wire {
    /// Connects to the server at `url`.
    pub async fn open(url: &str) -> Result<Self> {
        let address = url.strip_prefix("http://").context("an http address")?;
        Ok(Self(TcpStream::connect(address).await?))
    }

    /// The head of a POST whose body is to have `length` bytes.
    pub async fn begin_post(&mut self, path: &str, length: usize) -> Result<()> {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: kenning\r\nconnection: close\r\n\
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

    /// All that the server says until it closes.
    pub async fn rest(mut self) -> Result<String> {
        let mut said = Vec::new();
        timeout(PATIENCE, self.0.read_to_end(&mut said)).await.context("it never closed")??;
        Ok(String::from_utf8_lossy(&said).into_owned())
    }
}

fn content_length(head: &str) -> Result<usize> {
    let mut lengths = head.lines().filter_map(|line| line.strip_prefix("content-length: "));
    Ok(lengths.next_back().context("an answer with a length")?.trim().parse()?)
}
