//! Progress of an import, an export, a deletion or a swap, on standard error and only on a
//! terminal.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::text::{count, sanitize, thousands, truncate};

const OF_KNOWN_BYTES: &str =
    "{elapsed_precise} [{bar:30}] {bytes} of {total_bytes}, {msg}, {eta} left";
const OF_UNKNOWN_BYTES: &str = "{elapsed_precise} {spinner} {bytes}, {msg}";
const OF_KNOWN_FACTS: &str = "{elapsed_precise} [{bar:30}] {human_pos} of {human_len} facts, {msg}";
const OF_UNKNOWN_FACTS: &str = "{elapsed_precise} {spinner} {human_pos} facts, {msg}";
const OF_DELETED: &str = "{elapsed_precise} {spinner} {human_pos} facts deleted";
const OF_STEPS: &str = "{spinner} {msg}";
const OF_VECTORS: &str =
    "{elapsed_precise} [{bar:30}] {human_pos} of {human_len} vectors, {eta} left";

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template);
    style.map_or_else(|_| ProgressStyle::default_bar(), |style| style.progress_chars("=> "))
}

/// A progress line, shared by everyone who updates it. It disappears when the last one is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    lines: Arc<AtomicU64>,
    /// What the server said last of an upload.
    reported: Arc<Mutex<String>>,
}

impl Progress {
    /// Counts without drawing.
    pub(crate) fn hidden() -> Self {
        Self { bar: ProgressBar::hidden(), lines: Arc::default(), reported: Arc::default() }
    }

    /// Counts bytes sent, of `total` if known.
    pub(crate) fn upload(total: Option<u64>, visible: bool) -> Self {
        let template = if total.is_some() { OF_KNOWN_BYTES } else { OF_UNKNOWN_BYTES };
        Self::drawn(total, visible, template)
    }

    /// Counts facts received, of `total` if known.
    pub(crate) fn download(total: Option<u64>, visible: bool) -> Self {
        let template = if total.is_some() { OF_KNOWN_FACTS } else { OF_UNKNOWN_FACTS };
        Self::drawn(total, visible, template)
    }

    /// Counts vectors that are made, of `total`.
    pub(crate) fn vectors(total: u64, visible: bool) -> Self {
        Self::drawn(Some(total), visible, OF_VECTORS)
    }

    /// Counts facts that are deleted.
    pub(crate) fn deletion(visible: bool) -> Self {
        Self::drawn(None, visible, OF_DELETED)
    }

    /// Shows the steps of a swap.
    pub(crate) fn steps(visible: bool) -> Self {
        Self::drawn(None, visible, OF_STEPS)
    }

    /// The step that a swap is at, and since when it is under way.
    pub(crate) fn step(&self, step: &str, seconds: u64) {
        self.bar.set_message(format!("{} ({seconds} s)", truncate(&sanitize(step), 20)));
        self.bar.tick();
    }

    fn drawn(total: Option<u64>, visible: bool, template: &str) -> Self {
        if !visible {
            return Self::hidden();
        }
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
        bar.set_style(style(template));
        Self { bar, lines: Arc::default(), reported: Arc::default() }
    }

    /// Adds bytes that were sent.
    pub(crate) fn sent(&self, chunk: &[u8]) {
        let lines = self.add_lines(chunk);
        self.bar.inc(chunk.len() as u64);
        self.describe(lines);
    }

    /// Shows what the server says of an upload.
    pub(crate) fn report(&self, imported: u64, failed: u64, waiting_for: Option<&str>) {
        let mut text = format!(", {} stored", thousands(imported));
        if failed > 0 {
            text += &format!(", {} refused", thousands(failed));
        }
        if let Some(reason) = waiting_for {
            text += &format!(", waiting: {}", truncate(&sanitize(reason), 60));
        }
        *self.reported.lock().unwrap_or_else(PoisonError::into_inner) = text;
        self.describe(self.lines());
    }

    fn describe(&self, lines: u64) {
        let reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = count(lines, "line");
        self.bar.set_message(format!("{sent}, {}/s{reported}", self.rate(lines)));
    }

    /// Shows how many vectors are made, or facts deleted.
    pub(crate) fn made(&self, number: u64) {
        self.bar.set_position(number);
        self.bar.tick();
    }

    /// Adds received bytes; each line is a fact.
    pub(crate) fn received(&self, chunk: &[u8]) {
        let facts = self.add_lines(chunk);
        self.bar.set_message(format!("{}/s", self.rate(facts)));
        self.bar.set_position(facts);
    }

    /// Shows how many facts were copied, of `total` unless that is not known.
    pub(crate) fn copied(&self, facts: u64, total: u64) {
        if total > 0 && self.bar.length().is_none() {
            self.bar.set_length(total);
            self.bar.set_style(style(OF_KNOWN_FACTS));
        }
        self.bar.set_message(format!("{}/s", self.rate(facts)));
        self.bar.set_position(facts);
    }

    /// How many lines were sent or received.
    pub(crate) fn lines(&self) -> u64 {
        self.lines.load(Ordering::Relaxed)
    }

    /// Removes the line.
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
