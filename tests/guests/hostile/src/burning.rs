//! Deeds with the guest's own means.

use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

use crate::amount;
use crate::bindings::kenning::knowledge::log::log;
use crate::bindings::kenning::knowledge::types::Level;

const MIB: usize = 1 << 20;

/// A memory page of the machine below.
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
            // Looked at afterwards, or the compiler would leave it out.
            if held.try_reserve_exact(1 << 30).is_ok() && black_box(held).capacity() > 0 {
                return Some(vec!["a gibibyte was given".into()]);
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
        "panic" => panic!("this logic panics when it is told to"),
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

/// Says first that it is about to.
fn spin() {
    log(Level::Warn, "spinning");
    let mut turns = 0_u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

/// Each turn goes to the host and back.
fn spin_on_clock() {
    let begun = Instant::now();
    while black_box(begun.elapsed()) < Duration::MAX {}
}

/// A few million steps for each of `millions`.
fn work(millions: usize) {
    for turn in 0..millions * 1_000_000 {
        black_box(turn);
    }
}

/// Takes `mebibytes` of memory, touches all of it and gives it back.
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

/// Says first that it is about to.
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
