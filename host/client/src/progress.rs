//! How far an import or export has come, on standard error and only at a terminal.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::text::{count, thousands};

const OF_KNOWN_BYTES: &str =
    "{elapsed_precise} [{bar:30}] {bytes} of {total_bytes}, {msg}, {eta} left";
const OF_UNKNOWN_BYTES: &str = "{elapsed_precise} {spinner} {bytes}, {msg}";
const OF_KNOWN_FACTS: &str = "{elapsed_precise} [{bar:30}] {human_pos} of {human_len} facts, {msg}";
const OF_UNKNOWN_FACTS: &str = "{elapsed_precise} {spinner} {human_pos} facts, {msg}";

/// A line of progress, shared by whoever moves it. It is gone once the last of them is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    lines: Arc<AtomicU64>,
}

impl Progress {
    /// Draws nothing, and counts.
    pub(crate) fn hidden() -> Self {
        Self { bar: ProgressBar::hidden(), lines: Arc::default() }
    }

    /// Of bytes sent, out of `total` if that is known.
    pub(crate) fn upload(total: Option<u64>, visible: bool) -> Self {
        let template = if total.is_some() { OF_KNOWN_BYTES } else { OF_UNKNOWN_BYTES };
        Self::drawn(total, visible, template)
    }

    /// Of facts received, out of `total` if that is known.
    pub(crate) fn download(total: Option<u64>, visible: bool) -> Self {
        let template = if total.is_some() { OF_KNOWN_FACTS } else { OF_UNKNOWN_FACTS };
        Self::drawn(total, visible, template)
    }

    fn drawn(total: Option<u64>, visible: bool, template: &str) -> Self {
        if !visible {
            return Self::hidden();
        }
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        Self { bar, lines: Arc::default() }
    }

    /// More bytes were taken by the connection.
    pub(crate) fn sent(&self, chunk: &[u8]) {
        let lines = self.add_lines(chunk);
        self.bar.set_message(format!("{}, {}/s", count(lines, "line"), self.rate(lines)));
        self.bar.inc(chunk.len() as u64);
    }

    /// More lines, a fact each, arrived.
    pub(crate) fn received(&self, chunk: &[u8]) {
        let facts = self.add_lines(chunk);
        self.bar.set_message(format!("{}/s", self.rate(facts)));
        self.bar.set_position(facts);
    }

    /// How many lines went by.
    pub(crate) fn lines(&self) -> u64 {
        self.lines.load(Ordering::Relaxed)
    }

    /// Writes to standard error, above the line.
    pub(crate) fn above<T>(&self, write: impl FnOnce() -> T) -> T {
        self.bar.suspend(write)
    }

    /// Takes the line away.
    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }

    fn add_lines(&self, chunk: &[u8]) -> u64 {
        let more = memchr::memchr_iter(b'\n', chunk).count() as u64;
        self.lines.fetch_add(more, Ordering::Relaxed) + more
    }

    fn rate(&self, lines: u64) -> String {
        let seconds = self.bar.elapsed().as_secs_f64().max(0.001);
        thousands((lines as f64 / seconds) as u64)
    }
}
