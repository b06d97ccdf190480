//! A guest's log lines, from the import `log` and from stdout and stderr. Their number and length
//! are bounded for each call.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use kenning_core::limits::Limits;
use kenning_storage::TenantId;
use tokio::io::AsyncWrite;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use crate::guest::{Component, Guest};
use crate::log_buffer::LogBuffer;
use crate::wit::Level;

/// How many bytes a guest may write to stdout or stderr at once.
const WRITE_BYTES: usize = 4 * 1024;

/// Writes a guest's lines to the host's log. Clones share one count of lines.
#[derive(Clone)]
pub(crate) struct LogLines {
    shared: Arc<Shared>,
}

struct Shared {
    tenant: TenantId,
    component: Component,
    generation: u64,
    /// Where an extension's lines are kept for its author.
    buffer: Option<Arc<LogBuffer>>,
    /// Whether the call replays a recorded request.
    replay: bool,
    max_lines: u32,
    max_line_bytes: usize,
    progress: Mutex<Progress>,
}

#[derive(Default)]
struct Progress {
    written: u32,
    /// Lines over the limit.
    dropped: u64,
    /// Bytes of stdout and stderr after the last newline.
    partial: Vec<u8>,
    /// The last lines of stdout and stderr, and the last errors: what a guest says when it fails.
    last: VecDeque<Vec<u8>>,
    /// What was read in this call and must not be written.
    secrets: Vec<String>,
}

/// Stands in a line for a secret.
const BLOT: &str = "[secret]";

/// How many of the last lines are looked at when a guest fails.
const LAST_LINES: usize = 32;

impl LogLines {
    pub(crate) fn new(tenant: &TenantId, guest: &Guest, limits: &Limits, replay: bool) -> Self {
        Self {
            shared: Arc::new(Shared {
                tenant: tenant.clone(),
                component: guest.component.clone(),
                generation: guest.reference.number,
                buffer: guest.lines.clone(),
                replay,
                max_lines: limits.log_lines,
                max_line_bytes: limits.log_line_bytes,
                progress: Mutex::default(),
            }),
        }
    }

    /// From now on no line of this call shows this secret.
    pub(crate) fn blot_out(&self, secret: &str) {
        let mut progress = self.shared.progress.lock().unwrap_or_else(PoisonError::into_inner);
        if !progress.secrets.iter().any(|known| known == secret) {
            progress.secrets.push(secret.to_owned());
        }
    }

    /// The line without secrets.
    fn clean(&self, line: &str) -> String {
        let progress = self.shared.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let blot = |line: String, secret: &String| line.replace(secret, BLOT);
        progress.secrets.iter().fold(line.to_owned(), blot)
    }

    /// Writes one line, truncated to its limit, unless the call has written all its lines.
    pub(crate) fn write_line(&self, level: Level, line: &str) {
        let shared = &self.shared;
        let mut progress = shared.progress.lock().unwrap_or_else(PoisonError::into_inner);
        if level == Level::Error {
            progress.remember(truncated(line, shared.max_line_bytes).as_bytes());
        }
        if !count(&mut progress, shared.max_lines) {
            return;
        }
        drop(progress);
        self.emit(level, line);
    }

    fn write_bytes(&self, bytes: &[u8]) {
        let mut progress = self.shared.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lines = Vec::new();
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let left = self.shared.max_line_bytes.saturating_sub(progress.partial.len());
            progress.partial.extend_from_slice(&part[..part.len().min(left)]);
            if part.ends_with(b"\n") {
                let line = std::mem::take(&mut progress.partial);
                progress.remember(&line);
                if count(&mut progress, self.shared.max_lines) {
                    lines.push(line);
                }
            }
        }
        drop(progress);
        for line in lines {
            self.emit(Level::Info, String::from_utf8_lossy(&line).trim_end());
        }
    }

    /// Writes the last line of stdout or stderr, if it has no newline, and how many lines were
    /// dropped.
    pub(crate) fn finish(&self) {
        let mut progress = self.shared.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let rest = std::mem::take(&mut progress.partial);
        progress.remember(&rest);
        drop(progress);
        if !rest.is_empty() {
            self.write_line(Level::Info, &String::from_utf8_lossy(&rest));
        }
        self.report_dropped();
    }

    fn report_dropped(&self) {
        let mut progress = self.shared.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let dropped = std::mem::take(&mut progress.dropped);
        drop(progress);
        if dropped > 0 {
            let allowed = self.shared.max_lines;
            let lines = if dropped == 1 { "line was" } else { "lines were" };
            let told =
                format!("{dropped} more {lines} dropped: log_lines allows {allowed} in a call");
            self.emit(Level::Warn, &told);
        }
    }

    /// The last lines of stdout and stderr, and the last errors, which may contain anything.
    pub(crate) fn last_lines(&self) -> Vec<String> {
        let progress = self.shared.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let last: Vec<_> =
            progress.last.iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect();
        drop(progress);
        last.iter().map(|line| self.clean(line)).collect()
    }

    fn emit(&self, level: Level, line: &str) {
        let line = self.clean(line);
        let line = truncated(&line, self.shared.max_line_bytes);
        let Shared { tenant, component, generation, buffer, replay, .. } = &*self.shared;
        if let Some(buffer) = buffer {
            buffer.push(name(level), *generation, line, *replay);
        }
        let component = component.name();
        if *replay {
            let level = name(level);
            tracing::debug!(target: "replay", %tenant, component, generation, level, "{line}");
            return;
        }
        match level {
            Level::Debug => {
                tracing::debug!(target: "guest", %tenant, component, generation, "{line}");
            }
            Level::Info => {
                tracing::info!(target: "guest", %tenant, component, generation, "{line}")
            }
            Level::Warn => {
                tracing::warn!(target: "guest", %tenant, component, generation, "{line}")
            }
            Level::Error => {
                tracing::error!(target: "guest", %tenant, component, generation, "{line}");
            }
        }
    }
}

impl Progress {
    fn remember(&mut self, line: &[u8]) {
        if line.is_empty() {
            return;
        }
        if self.last.len() == LAST_LINES {
            self.last.pop_front();
        }
        self.last.push_back(line.to_vec());
    }
}

fn name(level: Level) -> &'static str {
    match level {
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
    }
}

/// Counts one line, and returns whether it may be written.
fn count(progress: &mut Progress, max_lines: u32) -> bool {
    let fits = progress.written < max_lines;
    match fits {
        true => progress.written += 1,
        false => progress.dropped += 1,
    }
    fits
}

fn truncated(line: &str, bytes: usize) -> &str {
    &line[..line.floor_char_boundary(bytes)]
}

impl IsTerminal for LogLines {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for LogLines {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        // Only WASI 0.3 uses this, which this host does not offer.
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for LogLines {
    async fn ready(&mut self) {}
}

#[async_trait]
impl OutputStream for LogLines {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.write_bytes(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES)
    }
}
