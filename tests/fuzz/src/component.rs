//! Components, on their way to a generation.
//!
//! - Any bytes become machine code that loads and links, or a refusal in one short line.
//! - Machine code stays within what the compiler's child may write, and compiling within a small
//!   part of the memory it may use.

use std::sync::OnceLock;

use kenning::fuzzing::Checker;
use kenning_core::limits::Limits;
use kenning_runtime::compiler::CompileError;

use crate::{MEMORY, Verdict};

/// Memory that checking may take: for the engine, and for each byte of the component.
const BASE_BYTES: usize = 64 << 20;
const BYTES_PER_BYTE: usize = 1_000;

/// Runs the target.
pub fn run(bytes: &[u8]) -> Verdict {
    let checker = checker();
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    let checked = checker.check(bytes);
    let (used, allowed) = (MEMORY.peak_usage() - before, BASE_BYTES + BYTES_PER_BYTE * bytes.len());
    assert!(used <= allowed, "{used} bytes of memory for {} bytes", bytes.len());
    match checked {
        Ok(_) => Verdict::Taken,
        Err(CompileError::Refused(reason)) => {
            assert!(!reason.is_empty() && !reason.contains('\n'), "{reason:?}");
            Verdict::Refused
        }
        Err(error) => panic!("{error}"),
    }
}

/// Two guests at once are enough here, and make the pool small.
fn checker() -> &'static Checker {
    static CHECKER: OnceLock<Checker> = OnceLock::new();
    CHECKER.get_or_init(|| {
        let limits = Limits { guests: 2, ..Limits::default() };
        Checker::new(&limits).expect("an engine")
    })
}
