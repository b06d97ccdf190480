//! What must hold of code that reads bytes from strangers, whatever the bytes are.
//!
//! Each module is a target: a function that takes any bytes, and panics if one of the properties
//! in its prose does not hold. `make fuzz` lets libFuzzer look for such bytes; `make test` runs
//! every target over the stored corpus and over mutations of it.

pub mod body;
pub mod component;
pub mod cursor;
pub mod filter;
pub mod import;
pub mod keys;
pub mod mutation;
pub mod pointer;
pub mod rows;
pub mod stored;

use peak_alloc::PeakAlloc;

/// What a target made of its bytes; both keep to the properties.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Taken,
    Refused,
}

impl Verdict {
    fn taken_if(taken: bool) -> Self {
        if taken { Self::Taken } else { Self::Refused }
    }
}

/// Counts memory, for the targets that bound it.
#[global_allocator]
pub static MEMORY: PeakAlloc = PeakAlloc;
