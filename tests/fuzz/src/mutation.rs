//! Other bytes from stored ones. The same on every machine, so that what fails once fails always.

use fastrand::Rng;

/// Changes made one after another, at most.
const CHANGES: usize = 4;

/// Bytes that are removed or repeated at once, at most.
const RUN: usize = 32;

/// Bytes that parsers look at: ends of ranges, and what JSON is made of.
const TELLING: &[u8] = b"\0\x01\x7f\x80\xff\n\r \"\\{}[]:,/~.-_0129eEtfn";

/// What JSON, filters and facts are made of.
const WORDS: [&str; 24] = [
    "null",
    "true",
    "-0.0",
    "1e309",
    "18446744073709551615",
    "\"\"",
    "\\ud800",
    "\u{301}",
    "{}",
    "[]",
    "AND",
    "NOT",
    "eq",
    "in",
    "between",
    "icontains",
    "exists",
    "text",
    "metadata",
    "fact_id",
    "query",
    "filter",
    "a.b",
    "default",
];

/// Bytes that begin as one of `seeds`, which are not empty.
pub fn mutated(random: &mut Rng, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = seeds[random.usize(..seeds.len())].clone();
    for _ in 0..random.usize(1..=CHANGES) {
        change(random, &mut bytes, seeds);
    }
    bytes
}

fn change(random: &mut Rng, bytes: &mut Vec<u8>, seeds: &[Vec<u8>]) {
    let at = random.usize(..=bytes.len());
    let end = bytes.len().min(at + random.usize(..=RUN));
    match random.u8(..8) {
        0 => set(bytes, at, random.u8(..)),
        1 => set(bytes, at, TELLING[random.usize(..TELLING.len())]),
        2 => flip(bytes, at, random.u8(..8)),
        3 => insert(bytes, at, &[TELLING[random.usize(..TELLING.len())]]),
        4 => insert(bytes, at, WORDS[random.usize(..WORDS.len())].as_bytes()),
        5 => drop(bytes.drain(at..end)),
        6 => bytes.extend_from_within(at..end),
        _ => {
            let other = &seeds[random.usize(..seeds.len())];
            splice(random, bytes, at, other);
        }
    }
}

fn set(bytes: &mut [u8], at: usize, value: u8) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte = value;
    }
}

fn flip(bytes: &mut [u8], at: usize, bit: u8) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << bit;
    }
}

fn insert(bytes: &mut Vec<u8>, at: usize, new: &[u8]) {
    bytes.splice(at..at, new.iter().copied());
}

/// Puts a part of another seed in the place of what follows, or into the middle.
fn splice(random: &mut Rng, bytes: &mut Vec<u8>, at: usize, other: &[u8]) {
    let begin = random.usize(..=other.len());
    let end = random.usize(begin..=other.len());
    let until = if random.bool() { bytes.len() } else { at };
    bytes.splice(at..until, other[begin..end].iter().copied());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mutations_are_many_and_the_same_each_time() {
        let seeds = [b"{\"a\":1}".to_vec(), vec![]];
        let some = || -> Vec<Vec<u8>> {
            let mut random = Rng::with_seed(1);
            (0..1_000).map(|_| mutated(&mut random, &seeds)).collect()
        };
        let (first, mut again) = (some(), some());
        assert_eq!(first, again);
        again.sort();
        again.dedup();
        assert!(again.len() > 700, "only {} different ones", again.len());
    }
}
