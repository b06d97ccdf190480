//! A target's bounded run: over its stored corpus, and over mutations of that.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::{fs, io};

use fastrand::Rng;

use crate::Verdict;
use crate::mutation::mutated;

/// How many bytes were taken, and how many refused.
#[derive(Debug, Default)]
pub struct Counts {
    pub taken: usize,
    pub refused: usize,
}

/// Runs `target` over `corpus/NAME` and over so many mutations.
///
/// # Panics
/// When a property does not hold; the bytes are then left in a file that the message names.
pub fn run(name: &str, target: fn(&[u8]) -> Verdict, mutations: usize) -> Counts {
    let seeds = seeds(name).expect("a stored corpus");
    let mut counts = Counts::default();
    let mut random = Rng::with_seed(7);
    let mutated = (0..mutations).map(|_| mutated(&mut random, &seeds));
    for bytes in seeds.iter().cloned().chain(mutated) {
        match catch_unwind(AssertUnwindSafe(|| target(&bytes))) {
            Ok(Verdict::Taken) => counts.taken += 1,
            Ok(Verdict::Refused) => counts.refused += 1,
            Err(panic) => {
                keep(name, &bytes);
                resume_unwind(panic);
            }
        }
    }
    counts
}

/// The files of a corpus, by name.
fn seeds(name: &str) -> io::Result<Vec<Vec<u8>>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let entries: io::Result<Vec<_>> = fs::read_dir(directory)?.collect();
    let mut paths: Vec<_> = entries?.into_iter().map(|entry| entry.path()).collect();
    paths.sort();
    paths.into_iter().map(fs::read).collect()
}

fn keep(name: &str, bytes: &[u8]) {
    let path = std::env::temp_dir().join(format!("kenning-fuzz-{name}"));
    match fs::write(&path, bytes) {
        Ok(()) => eprintln!("the bytes are in {}", path.display()),
        Err(error) => eprintln!("the bytes, not written ({error}): {}", bytes.escape_ascii()),
    }
}
