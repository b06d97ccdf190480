//! Answers a guest's imports from a recording.

use std::fmt::Debug;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::clocks::Told;
use super::document::{Bytes, Call, Recording};

/// Most bytes of an import's arguments, and of its answer, in a trace.
const SHOWN: usize = 400;

/// Ends a replay in a call of an import.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Stopped {
    /// Where the recorded call ended, too.
    #[error("{0} did not answer any more: the call ended here")]
    InImport(&'static str),
    /// Where more happened than was recorded.
    #[error("the recording ends here, and the call went on: it saw too much for one recording")]
    Incomplete,
    /// The guest does something else than the one that was recorded.
    #[error("the guest calls {import} here, and {recorded}: nobody knows the answer")]
    Differs {
        /// What it calls.
        import: &'static str,
        /// What was recorded instead.
        recorded: String,
    },
}

/// Replays one call.
pub(crate) struct Player {
    recording: Arc<Recording>,
    /// Whether the guest has the recorded bytes. Another one may leave calls out.
    is_same: bool,
    answered: Vec<bool>,
    wall_clock: Told,
    monotonic_clock: Told,
    /// One line for each call of an import.
    pub(crate) trace: Vec<String>,
    /// Why it ended early.
    pub(crate) stopped: Option<Stopped>,
}

impl Player {
    pub(crate) fn new(recording: Arc<Recording>, is_same: bool) -> Self {
        let answered = vec![false; recording.calls.len()];
        let (wall_clock, monotonic_clock) = Default::default();
        let (trace, stopped) = Default::default();
        Self { recording, is_same, answered, wall_clock, monotonic_clock, trace, stopped }
    }

    /// The recorded answer to this call of `import`, and the fuel that the host used for it.
    pub(crate) fn answer<T: DeserializeOwned + Debug>(
        &mut self,
        import: &'static str,
        arguments: &dyn Debug,
    ) -> Result<(T, u64), Stopped> {
        let asked = format!("{import}{}", cut(&format!("{arguments:?}")));
        match self.next(import) {
            Ok((answer, fuel)) => {
                self.trace.push(format!("{asked} -> {}", cut(&format!("{answer:?}"))));
                Ok((answer, fuel))
            }
            Err(stopped) => {
                self.trace.push(format!("{asked} -> {stopped}"));
                self.stopped = Some(stopped.clone());
                Err(stopped)
            }
        }
    }

    fn next<T: DeserializeOwned>(&mut self, import: &'static str) -> Result<(T, u64), Stopped> {
        let open = |at: &usize| !self.answered[*at];
        let calls = &self.recording.calls;
        let mut left = (0..calls.len()).filter(open);
        let at = match self.is_same {
            true => left.next(),
            false => left.find(|at| calls[*at].import == import),
        };
        let Some(at) = at else { return Err(self.beyond(import)) };
        let Call { import: recorded, answer, fuel } = &calls[at];
        if recorded != import {
            let recorded = format!("{recorded} was called");
            return Err(Stopped::Differs { import, recorded });
        }
        self.answered[at] = true;
        match answer {
            None if self.recording.is_complete => Err(Stopped::InImport(import)),
            None => Err(Stopped::Incomplete),
            Some(Bytes(answer)) => match postcard::from_bytes(answer) {
                Ok(answer) => Ok((answer, *fuel)),
                Err(error) => {
                    let recorded = format!("its recorded answer cannot be read ({error})");
                    Err(Stopped::Differs { import, recorded })
                }
            },
        }
    }

    fn beyond(&self, import: &'static str) -> Stopped {
        match self.recording.is_complete {
            false => Stopped::Incomplete,
            true => {
                let recorded = "no such call was recorded any more".to_owned();
                Stopped::Differs { import, recorded }
            }
        }
    }

    pub(crate) fn wall_clock(&mut self) -> u64 {
        self.wall_clock.next(&self.recording.wall_clock)
    }

    pub(crate) fn monotonic_clock(&mut self) -> u64 {
        self.monotonic_clock.next(&self.recording.monotonic_clock)
    }

    /// The answers to the recorded call's requests over HTTP.
    pub(crate) fn http(&self) -> Vec<Option<Vec<u8>>> {
        self.recording.http.iter().map(|one| one.as_ref().map(|one| one.0.clone())).collect()
    }

    /// The seed of the recorded call's random numbers.
    pub(crate) fn seed(&self) -> [u8; 32] {
        <[u8; 32]>::try_from(self.recording.seed.0.as_slice()).unwrap_or_default()
    }
}

fn cut(text: &str) -> String {
    match text.len() <= SHOWN {
        true => text.to_owned(),
        false => format!("{}… ({} bytes)", &text[..text.floor_char_boundary(SHOWN)], text.len()),
    }
}
