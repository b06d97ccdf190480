//! What the clocks said. A guest may read them millions of times in a call, so after the first
//! readings they say whole milliseconds, and equal readings are counted.

use serde::{Deserialize, Serialize};

/// Readings of one clock that are exact.
const EXACT: u32 = 1_000;

/// What further readings are rounded down to.
const STEP_NS: u64 = 1_000_000;

/// Most readings of one clock that differ: 20 seconds of reading it all the time.
const RUNS: usize = 20_000;

/// The readings of one clock, in nanoseconds, each with how often it was read in a row.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Readings {
    runs: Vec<(u64, u32)>,
    #[serde(skip)]
    read: u32,
}

impl Readings {
    /// What a guest is told that reads `now`. The second value says whether it is noted.
    pub(crate) fn note(&mut self, now: u64) -> (u64, bool) {
        self.read = self.read.saturating_add(1);
        let told = if self.read <= EXACT { now } else { now - now % STEP_NS };
        let is_full = self.runs.len() == RUNS;
        match self.runs.last_mut() {
            // Never backwards: the reading before may have been exact.
            Some((last, times)) if told <= *last && *times < u32::MAX => {
                *times += 1;
                (*last, true)
            }
            _ if is_full => (told, false),
            _ => {
                self.runs.push((told, 1));
                (told, true)
            }
        }
    }

    /// Bytes that they take.
    pub(crate) fn bytes(&self) -> usize {
        self.runs.len() * size_of::<(u64, u32)>()
    }
}

/// Tells the readings of one clock again.
#[derive(Debug, Default)]
pub(crate) struct Told {
    run: usize,
    times: u32,
    beyond: u64,
}

impl Told {
    /// The next reading. Beyond the last one each is a millisecond later, so that a guest that
    /// waits for a time reaches it.
    pub(crate) fn next(&mut self, readings: &Readings) -> u64 {
        match readings.runs.get(self.run) {
            Some((reading, times)) => {
                self.times += 1;
                if self.times == *times {
                    (self.run, self.times) = (self.run + 1, 0);
                }
                *reading
            }
            None => {
                self.beyond += STEP_NS;
                readings.runs.last().map_or(0, |(last, _)| *last) + self.beyond
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_are_told_again_as_they_were() {
        let (mut readings, mut told) = (Readings::default(), Told::default());
        let first: Vec<u64> = [5, 5, 7, 7, 7, 9].map(|now| readings.note(now).0).into();
        let again: Vec<u64> = first.iter().map(|_| told.next(&readings)).collect();
        assert_eq!(again, first);
        assert_eq!(told.next(&readings), 9 + STEP_NS);
        assert_eq!(told.next(&readings), 9 + 2 * STEP_NS);
    }

    #[test]
    fn a_clock_that_is_read_all_the_time_takes_little_room_and_never_goes_back() {
        let (mut readings, mut last) = (Readings::default(), 0);
        for reading in 0..5_000_000_u64 {
            let (told, noted) = readings.note(reading * 100);
            assert!(noted && told >= last);
            last = told;
        }
        assert!(readings.bytes() < 32 * 1024, "{}", readings.bytes());
    }

    #[test]
    fn what_is_over_the_bound_is_said_not_to_be_noted() {
        let mut readings = Readings::default();
        let noted = (0..RUNS as u64 + 1).filter(|n| readings.note(n * STEP_NS).1).count();
        assert_eq!(noted, RUNS);
    }
}
