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
    /// Counts from 1, without gaps. The oldest lines are dropped.
    pub number: u64,
    /// RFC 3339, in UTC, with milliseconds.
    pub time: String,
    /// `debug`, `info`, `warn` or `error`.
    pub level: &'static str,
    /// The generation of the extension that wrote it.
    pub generation: u64,
    /// The line itself.
    pub message: String,
}

/// The last lines of one extension, over all its generations.
#[derive(Debug, Default)]
pub struct LogBuffer {
    lines: Mutex<Lines>,
}

#[derive(Debug, Default)]
struct Lines {
    last: u64,
    kept: VecDeque<LogLine>,
}

impl LogBuffer {
    /// Adds a line, and drops the oldest if there are too many.
    pub fn push(&self, level: &'static str, generation: u64, message: &str) {
        let time = Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.last += 1;
        let (number, message) = (lines.last, message.to_string());
        if lines.kept.len() == LINES {
            lines.kept.pop_front();
        }
        lines.kept.push_back(LogLine { number, time, level, generation, message });
    }

    /// The lines after the one with the number `after`, oldest first.
    pub fn after(&self, after: u64) -> Vec<LogLine> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.kept.iter().filter(|line| line.number > after).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_lines_are_dropped_for_the_newest() {
        let buffer = LogBuffer::default();
        (0..LINES + 3).for_each(|n| buffer.push("info", 1, &n.to_string()));
        let lines = buffer.after(0);
        assert_eq!((lines.len(), lines[0].number), (LINES, 4));
        let last = buffer.after(LINES as u64 + 2);
        assert_eq!((last.len(), last[0].message.as_str()), (1, "502"));
    }
}
