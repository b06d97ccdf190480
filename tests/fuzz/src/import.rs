//! Import streams.
//!
//! - The same bytes give the same lines wherever the stream was cut.
//! - Every line is accounted for: whole, or with the length that made it too long.
//! - No more is held than twice the bound of a line.
//! - Each line is read as a fact or refused, and a refusal says where.
//!
//! The first byte is the bound, the second seeds where the stream is cut, the others are the
//! stream.

use kenning::fuzzing::{Import, read_line};

use crate::Verdict;
use crate::body::assert_draft;
use crate::pointer::assert_refusal;

/// A line as the stream gives it, or its length where that is too long.
type Line = Result<Vec<u8>, usize>;

/// What is held at the least, however small the bound: the allocation of the first bytes.
const HELD: usize = 64;

/// Runs the target.
pub fn run(bytes: &[u8]) -> Verdict {
    let [bound, cuts, stream @ ..] = bytes else { return Verdict::Refused };
    let bound = usize::from(*bound);
    let expected = expected(stream, bound);
    assert_eq!(read(stream, bound, &mut |rest| rest), expected, "at once");
    assert_eq!(read(stream, bound, &mut |_| 1), expected, "byte by byte");
    let mut random = fastrand::Rng::with_seed((*cuts).into());
    assert_eq!(read(stream, bound, &mut |rest| random.usize(0..=rest)), expected, "in parts");
    let mut facts = 0;
    for line in expected.iter().flatten() {
        match read_line(line) {
            Ok(submission) => {
                facts += 1;
                assert_draft(&submission.draft);
            }
            Err(error) => assert_refusal(&error, line),
        }
    }
    Verdict::taken_if(facts > 0)
}

fn read(mut stream: &[u8], bound: usize, part: &mut dyn FnMut(usize) -> usize) -> Vec<Line> {
    let mut import = Import::new(bound);
    let mut lines = Vec::new();
    while !stream.is_empty() {
        let (now, later) = stream.split_at(part(stream.len()));
        lines.extend(import.push(now));
        assert!(import.held() <= (2 * bound).max(HELD), "{} held for {bound}", import.held());
        stream = later;
    }
    lines.extend(import.finish());
    assert!(import.finish().is_none(), "a line came twice");
    lines.into_iter().map(|line| line.map(Vec::from)).collect()
}

/// The lines, by the simplest way there is.
fn expected(stream: &[u8], bound: usize) -> Vec<Line> {
    let mut lines: Vec<&[u8]> = stream.split(|byte| *byte == b'\n').collect();
    // What follows the last break is a line only if it is something.
    lines.pop_if(|last| last.is_empty());
    let line = |line: &[u8]| match line.len() {
        length if length > bound => Err(length),
        _ => Ok(line.strip_suffix(b"\r").unwrap_or(line).to_vec()),
    };
    lines.into_iter().map(line).collect()
}
