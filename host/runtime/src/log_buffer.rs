//! The last log lines of a tenant's extension, for its author. They are kept in memory, and lost
//! when the process ends.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use chrono::Utc;
use serde::Serialize;

/// How many lines are kept for one extension.
const LINES: usize = 500;

/// One log line.
#[derive(Clone, Debug, Serialize)]
pub struct LogLine {
    /// Counts from 1. The oldest lines are dropped.
    pub number: u64,
    /// RFC 3339, in UTC, with milliseconds.
    pub time: String,
    /// `debug`, `info`, `warn` or `error`.
    pub level: &'static str,
    /// The generation of the extension that wrote it.
    pub generation: u64,
    /// The line itself.
    pub message: String,
    /// Whether it was written while a recorded request was replayed for a proof.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub replay: bool,
}

/// The last lines of one extension, over all its generations. Those of replays are kept apart: a
/// proof replays hundreds of requests, and must not displace what the extension said to callers.
#[derive(Debug, Default)]
pub struct LogBuffer {
    lines: Mutex<Lines>,
}

#[derive(Debug, Default)]
struct Lines {
    last: u64,
    kept: VecDeque<LogLine>,
    of_replays: VecDeque<LogLine>,
}

impl LogBuffer {
    /// Adds a line, and drops the oldest if there are too many.
    pub fn push(&self, level: &'static str, generation: u64, message: &str, replay: bool) {
        let time = Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.last += 1;
        let (number, message) = (lines.last, message.to_string());
        let kept = if replay { &mut lines.of_replays } else { &mut lines.kept };
        if kept.len() == LINES {
            kept.pop_front();
        }
        kept.push_back(LogLine { number, time, level, generation, message, replay });
    }

    /// The lines after the one with the number `after`, oldest first; with `replays` also those
    /// that were written during replays.
    pub fn after(&self, after: u64, replays: bool) -> Vec<LogLine> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let of_replays = lines.of_replays.iter().filter(|_| replays);
        let all = lines.kept.iter().chain(of_replays);
        let mut found: Vec<_> = all.filter(|line| line.number > after).cloned().collect();
        found.sort_unstable_by_key(|line| line.number);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_lines_are_dropped_for_the_newest() {
        let buffer = LogBuffer::default();
        (0..LINES + 3).for_each(|n| buffer.push("info", 1, &n.to_string(), false));
        let lines = buffer.after(0, false);
        assert_eq!((lines.len(), lines[0].number), (LINES, 4));
        let last = buffer.after(LINES as u64 + 2, false);
        assert_eq!((last.len(), last[0].message.as_str()), (1, "502"));
    }

    #[test]
    fn lines_of_replays_displace_no_others_and_are_shown_on_request() {
        let buffer = LogBuffer::default();
        buffer.push("info", 1, "said to a caller", false);
        (0..LINES + 3).for_each(|_| buffer.push("info", 2, "said in a replay", true));
        let shown = buffer.after(0, false);
        assert_eq!((shown.len(), shown[0].message.as_str()), (1, "said to a caller"));
        let all = buffer.after(0, true);
        assert_eq!((all.len(), all[0].replay, all[1].replay), (LINES + 1, false, true));
        assert!(all.is_sorted_by_key(|line| line.number));
    }
}
