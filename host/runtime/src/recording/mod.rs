//! What a guest saw in one call, so that an author can have it run again: what it was given, each
//! import's answer, the clocks and the random numbers.
//!
//! | file | holds |
//! |---|---|
//! | `clocks` | what the clocks said |
//! | `document` | a recording, as it is kept and handed out |
//! | `recorder` | what is noted while a guest runs; dropped if its call succeeds |
//! | `player` | answers a guest's imports from a recording |
//! | `witness` | which of the two a call has |
//! | `kept` | the recordings of failed calls, bounded, in memory |

mod clocks;
mod document;
mod kept;
mod player;
mod recorder;
mod witness;

pub use document::{CallEnd, Recording};
pub use kept::Recordings;
pub(crate) use player::{Player, Stopped};
pub(crate) use recorder::{Input, Noted, Recorder};
pub(crate) use witness::Witness;
