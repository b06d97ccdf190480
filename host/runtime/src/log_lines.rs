//! `log`, and what a guest writes to stdout and stderr: lines for the operator,
//! few and short.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use kenning_storage::TenantId;
use tokio::io::AsyncWrite;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use crate::guest::{Component, Guest};
use crate::log_buffer::LogBuffer;
use crate::wit::Level;
use kenning_core::limits::Limits;

/// What WASI may hand over in one write.
const WRITE_BYTES: usize = 4 * 1024;

/// Writes a guest's lines into the host's log. Clones share one count.
#[derive(Clone)]
pub(crate) struct LogLines {
    shared: Arc<Shared>,
}

struct Shared {
    tenant: TenantId,
    component: Component,
    generation: u64,
    /// Where an extension's lines are kept for whoever brought it.
    kept: Option<Arc<LogBuffer>>,
    lines: u32,
    line_bytes: usize,
    progress: Mutex<Progress>,
}

#[derive(Default)]
struct Progress {
    written: u32,
    /// Bytes of stdout and stderr after the last newline.
    partial: Vec<u8>,
}

impl LogLines {
    pub(crate) fn new(tenant: &TenantId, guest: &Guest, limits: &Limits) -> Self {
        Self {
            shared: Arc::new(Shared {
                tenant: tenant.clone(),
                component: guest.component.clone(),
                generation: guest.reference.number,
                kept: guest.lines.clone(),
                lines: limits.log_lines,
                line_bytes: limits.log_line_bytes,
                progress: Mutex::default(),
            }),
        }
    }

    /// One line, cut to its limit, or nothing if the call has had its lines.
    pub(crate) fn write_line(&self, level: Level, line: &str) {
        let shared = &self.shared;
        let mut progress = shared.progress.lock().unwrap_or_else(PoisonError::into_inner);
        if !count(&mut progress, shared.lines) {
            return;
        }
        drop(progress);
        self.emit(level, line);
    }

    fn write_bytes(&self, bytes: &[u8]) {
        let mut progress = self.shared.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lines = Vec::new();
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = self.shared.line_bytes.saturating_sub(progress.partial.len());
            progress.partial.extend_from_slice(&part[..part.len().min(room)]);
            if part.ends_with(b"\n") {
                let line = std::mem::take(&mut progress.partial);
                if count(&mut progress, self.shared.lines) {
                    lines.push(line);
                }
            }
        }
        drop(progress);
        for line in lines {
            self.emit(Level::Info, String::from_utf8_lossy(&line).trim_end());
        }
    }

    /// Writes out what a guest printed without a newline.
    pub(crate) fn finish(&self) {
        let mut progress = self.shared.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let rest = std::mem::take(&mut progress.partial);
        drop(progress);
        if !rest.is_empty() {
            self.write_line(Level::Info, &String::from_utf8_lossy(&rest));
        }
    }

    fn emit(&self, level: Level, line: &str) {
        let line = cut(line, self.shared.line_bytes);
        let Shared { tenant, component, generation, kept, .. } = &*self.shared;
        if let Some(kept) = kept {
            kept.push(word(level), *generation, line);
        }
        let component = component.name();
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

fn word(level: Level) -> &'static str {
    match level {
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
    }
}

fn count(progress: &mut Progress, lines: u32) -> bool {
    progress.written = progress.written.saturating_add(1);
    progress.written <= lines
}

fn cut(line: &str, bytes: usize) -> &str {
    &line[..line.floor_char_boundary(bytes)]
}

impl IsTerminal for LogLines {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for LogLines {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        // Only WASI 0.3 asks for this one, which this host does not offer.
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
