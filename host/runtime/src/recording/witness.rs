//! Whether a call is recorded, replayed, or neither.

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::player::Player;
use super::recorder::Recorder;
use crate::outbound::Source;

/// What sees what a guest sees.
#[derive(Default)]
pub(crate) enum Witness {
    /// Nothing.
    #[default]
    Nobody,
    /// A recorder.
    Recorder(Box<Recorder>),
    /// A player, which decides what the guest sees.
    Player(Box<Player>),
}

impl Witness {
    /// What the guest is told that reads the wall clock: nanoseconds since 1970.
    pub(crate) fn wall_clock(&mut self, now: u64) -> u64 {
        match self {
            Self::Nobody => now,
            Self::Recorder(recorder) => recorder.wall_clock(now),
            Self::Player(player) => player.wall_clock(),
        }
    }

    /// The same for the monotonic clock.
    pub(crate) fn monotonic_clock(&mut self, now: u64) -> u64 {
        match self {
            Self::Nobody => now,
            Self::Recorder(recorder) => recorder.monotonic_clock(now),
            Self::Player(player) => player.monotonic_clock(),
        }
    }

    /// A generator that makes the same numbers in a replay; `None` if it makes no difference. It is
    /// as good a source as WASI's own: the same algorithm, with a seed from the same place.
    pub(crate) fn random(&self) -> Option<StdRng> {
        self.seed().map(StdRng::from_seed)
    }

    /// The same for `system.random`, whose numbers are not those of WASI.
    pub(crate) fn random_of_system(&self) -> Option<StdRng> {
        self.seed().map(|seed| StdRng::from_seed(seed.map(|byte| !byte)))
    }

    fn seed(&self) -> Option<[u8; 32]> {
        match self {
            Self::Nobody => None,
            Self::Recorder(recorder) => Some(recorder.seed),
            Self::Player(player) => Some(player.seed()),
        }
    }

    /// Where answers to requests over HTTP come from, in a call that counts.
    pub(crate) fn http(&self) -> Source {
        match self {
            Self::Nobody => Source::Hosts { is_recorded: false },
            Self::Recorder(_) => Source::Hosts { is_recorded: true },
            Self::Player(player) => Source::Recording(player.http()),
        }
    }

    /// Whether the guest's imports are answered from a recording.
    pub(crate) fn is_player(&self) -> bool {
        matches!(self, Self::Player(_))
    }
}
