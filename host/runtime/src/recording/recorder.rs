//! What is noted while a guest runs. Nothing is made of it unless the call fails.

use std::ops::Range;
use std::sync::Arc;

use serde::Serialize;

use super::clocks::Readings;
use super::document::{Bytes, Call, Recording};

/// Most bytes that are noted of one call. A call that sees more is replayed up to there.
const BYTES: usize = 2 << 20;

/// The seed of a guest's random numbers.
pub(crate) type Seed = [u8; 32];

/// What a guest was given. It is turned into bytes only for a call that is kept.
pub(crate) trait Input: Send + Sync {
    fn to_bytes(&self) -> Vec<u8>;
}

impl<T: Serialize + Send + Sync> Input for T {
    fn to_bytes(&self) -> Vec<u8> {
        postcard::to_allocvec(self).unwrap_or_default()
    }
}

/// Notes what a guest sees.
pub(crate) struct Recorder {
    calls: Vec<Noting>,
    /// The answers, one after the other.
    answers: Vec<u8>,
    wall_clock: Readings,
    monotonic_clock: Readings,
    pub(crate) seed: Seed,
    is_complete: bool,
    /// The secrets that the guest read: their names and texts.
    secrets: Vec<(String, String)>,
}

struct Noting {
    import: &'static str,
    answer: Option<Range<usize>>,
    fuel: u64,
}

/// All that was noted of a call that has ended.
pub(crate) struct Noted {
    recorder: Recorder,
    input: Arc<dyn Input>,
    http: Vec<Option<Vec<u8>>>,
}

impl Recorder {
    pub(crate) fn new() -> Self {
        Self {
            calls: Vec::new(),
            answers: Vec::new(),
            wall_clock: Readings::default(),
            monotonic_clock: Readings::default(),
            seed: rand::random(),
            is_complete: true,
            secrets: Vec::new(),
        }
    }

    /// The guest calls `import`, and the host has used `fuel` for it so far.
    pub(crate) fn begin(&mut self, import: &'static str, fuel: u64) {
        if self.is_complete {
            self.calls.push(Noting { import, answer: None, fuel });
        }
    }

    /// What it is answered, when the host has used `fuel`.
    pub(crate) fn end(&mut self, answer: &impl Serialize, fuel: u64) {
        let Some(call) = self.calls.last_mut().filter(|_| self.is_complete) else { return };
        let (before, answers) = (self.answers.len(), std::mem::take(&mut self.answers));
        self.answers = postcard::to_extend(answer, answers).unwrap_or_default();
        if self.answers.len() < before || self.answers.len() > BYTES {
            self.answers.truncate(before);
            self.is_complete = false;
            return;
        }
        (call.answer, call.fuel) = (Some(before..self.answers.len()), fuel - call.fuel);
    }

    /// What the guest is told that reads the wall clock.
    pub(crate) fn wall_clock(&mut self, now: u64) -> u64 {
        Self::read(&mut self.wall_clock, &mut self.is_complete, now)
    }

    /// The same for the monotonic clock.
    pub(crate) fn monotonic_clock(&mut self, now: u64) -> u64 {
        Self::read(&mut self.monotonic_clock, &mut self.is_complete, now)
    }

    fn read(readings: &mut Readings, is_complete: &mut bool, now: u64) -> u64 {
        let (told, noted) = readings.note(now);
        *is_complete &= noted;
        told
    }

    /// The guest reads a secret, which the recording must not show. What stands for it.
    pub(crate) fn secret(&mut self, name: &str, text: &str) -> String {
        if !self.secrets.iter().any(|(_, known)| known == text) {
            self.secrets.push((name.to_owned(), text.to_owned()));
        }
        blot(text)
    }

    /// All that was noted of a call with this input, and with these answers over HTTP.
    pub(crate) fn of(mut self, input: Arc<dyn Input>, mut http: Vec<Option<Vec<u8>>>) -> Noted {
        let mut bytes = self.answers.len();
        for answer in &mut http {
            bytes += answer.as_ref().map_or(0, Vec::len);
            if bytes > BYTES {
                (*answer, self.is_complete) = (None, false);
            }
        }
        Noted { recorder: self, input, http }
    }
}

impl Noted {
    /// The recording, of which `about` has everything that is not noted here.
    pub(crate) fn into_recording(self, about: Recording) -> Recording {
        let Recorder { calls, answers, wall_clock, monotonic_clock, seed, is_complete, secrets } =
            self.recorder;
        let clean = |bytes: &[u8]| Bytes(without_secrets(bytes, &secrets));
        let calls = calls.into_iter().map(|call| Call {
            import: call.import.to_owned(),
            fuel: if call.answer.is_some() { call.fuel } else { 0 },
            answer: call.answer.map(|answer| clean(&answers[answer])),
        });
        Recording {
            input: clean(&self.input.to_bytes()),
            calls: calls.collect(),
            http: self.http.iter().map(|one| one.as_deref().map(clean)).collect(),
            wall_clock,
            monotonic_clock,
            seed: Bytes(seed.into()),
            is_complete,
            secrets: secrets.iter().map(|(name, _)| name.clone()).collect(),
            ..about
        }
    }

    /// A text about the call, without secrets.
    pub(crate) fn clean(&self, text: &str) -> String {
        let clean = without_secrets(text.as_bytes(), &self.recorder.secrets);
        String::from_utf8_lossy(&clean).into_owned()
    }
}

/// What stands for a secret: of the same length, so that what is around it stays where it is, and a
/// guest does the same work.
fn blot(secret: &str) -> String {
    format!("{:*<width$}", "[secret]", width = secret.len())
}

fn without_secrets(bytes: &[u8], secrets: &[(String, String)]) -> Vec<u8> {
    let mut clean = bytes.to_vec();
    for (_, secret) in secrets {
        let (secret, blot) = (secret.as_bytes(), blot(secret));
        let mut at = 0;
        while let Some(found) = find(&clean[at..], secret) {
            at += found;
            clean[at..at + secret.len()].copy_from_slice(blot.as_bytes());
            at += secret.len();
        }
    }
    clean
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_blotted_out_of_whatever_the_guest_saw_and_nothing_moves() {
        let secrets = [("key".to_string(), "sk-12345678".to_string())];
        let text = "before sk-12345678sk-12345678 after";
        let clean = String::from_utf8(without_secrets(text.as_bytes(), &secrets)).unwrap();
        assert_eq!(clean, "before [secret]***[secret]*** after");
    }

    #[test]
    fn a_call_that_sees_too_much_is_noted_up_to_there() {
        let mut recorder = Recorder::new();
        for _ in 0..3 {
            recorder.begin("storage.read", 0);
            recorder.end(&"x".repeat(BYTES / 2), 0);
        }
        assert!(!recorder.is_complete);
        let answered = recorder.calls.iter().filter(|call| call.answer.is_some()).count();
        assert_eq!((answered, recorder.calls.len()), (1, 2));
        assert!(recorder.answers.len() <= BYTES);
    }
}
