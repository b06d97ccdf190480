//! Commands that use the guest's own resources.

use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

use crate::amount;
use crate::bindings::kenning::knowledge::log::log;
use crate::bindings::kenning::knowledge::types::Level;

const MIB: usize = 1 << 20;

/// The page size of the host machine, in bytes.
const PAGE: usize = 4096;

pub(crate) fn perform(text: &str) -> Option<Vec<String>> {
    match text.split_whitespace().next()? {
        "spin" => spin(),
        "spin-on-clock" => spin_on_clock(),
        "work" => work(amount(text, 1)),
        "grow" => grow(usize::MAX),
        "use-mib" => grow(amount(text, 1)),
        "be-refused-memory-then-spin" => {
            let mut held = Vec::<u8>::new();
            // Used afterwards, so that the compiler does not remove it.
            if held.try_reserve_exact(1 << 30).is_ok() && black_box(held).capacity() > 0 {
                return Some(vec!["a gibibyte was allocated".into()]);
            }
            spin();
        }
        "recurse" => {
            black_box(recurse(usize::MAX));
        }
        "recurse-to" => {
            black_box(recurse(amount(text, 1)));
        }
        "trap" => std::process::abort(),
        "abort-in-drop" => drop(AbortsInDrop),
        "panic" => panic!("this logic panics on request"),
        "sleep" => sleep(amount(text, 60)),
        "exit" => std::process::exit(amount(text, 0) as i32),
        _ => return None,
    }
    Some(Vec::new())
}

struct AbortsInDrop;

impl Drop for AbortsInDrop {
    fn drop(&mut self) {
        std::process::abort();
    }
}

/// Logs a line and then spins forever.
fn spin() {
    log(Level::Warn, "spinning");
    let mut iterations = 0_u64;
    loop {
        iterations = black_box(iterations.wrapping_add(1));
    }
}

/// Spins forever, calling the host in each iteration.
fn spin_on_clock() {
    let begun = Instant::now();
    while black_box(begun.elapsed()) < Duration::MAX {}
}

/// Runs a loop for `millions` million iterations.
fn work(millions: usize) {
    for iteration in 0..millions * 1_000_000 {
        black_box(iteration);
    }
}

/// Allocates `mebibytes` of memory, touches every page and frees it.
fn grow(mebibytes: usize) {
    let mut held: Vec<Vec<u8>> = Vec::new();
    while held.len() < mebibytes {
        let mut more = Vec::with_capacity(MIB);
        more.resize(MIB, 1);
        black_box(more.iter().step_by(PAGE).count());
        held.push(more);
    }
    black_box(held);
}

/// Logs a line and then sleeps.
fn sleep(seconds: usize) {
    log(Level::Warn, "asleep");
    thread::sleep(Duration::from_secs(seconds as u64));
}

fn recurse(depth: usize) -> usize {
    let frame = black_box([depth; 8]);
    match depth {
        0 => 0,
        _ => recurse(depth - 1) + black_box(frame[0] & 1),
    }
}
