//! The best few of many, without sorting the many.

use std::cmp::Ordering;

/// A score and what it belongs to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Scored {
    pub(crate) score: f32,
    pub(crate) slot: u32,
}

/// Collects the `keep` best by score, then by `ties`, in time linear in what is pushed.
///
/// A full buffer is cut back to the best half by selection, which also raises the bar for what
/// comes after.
pub(crate) struct Best<T> {
    keep: usize,
    bar: f32,
    buffer: Vec<Scored>,
    ties: T,
}

impl<T: Fn(u32, u32) -> Ordering> Best<T> {
    pub(crate) fn new(keep: usize, ties: T) -> Self {
        Self { keep, bar: f32::NEG_INFINITY, buffer: Vec::new(), ties }
    }

    #[inline]
    pub(crate) fn push(&mut self, score: f32, slot: u32) {
        if score >= self.bar && self.keep > 0 {
            self.buffer.push(Scored { score, slot });
            if self.buffer.len() >= self.keep.saturating_mul(2).max(64) {
                self.cut();
            }
        }
    }

    /// The best, best first.
    pub(crate) fn into_sorted(mut self) -> Vec<Scored> {
        self.cut();
        let ties = self.ties;
        self.buffer.sort_unstable_by(|left, right| order(left, right, &ties));
        self.buffer
    }

    fn cut(&mut self) {
        if self.buffer.len() <= self.keep {
            return;
        }
        let ties = &self.ties;
        let last = self.keep - 1;
        let compare = |left: &Scored, right: &Scored| order(left, right, ties);
        let (_, bar, _) = self.buffer.select_nth_unstable_by(last, compare);
        self.bar = bar.score;
        self.buffer.truncate(self.keep);
    }
}

fn order(left: &Scored, right: &Scored, ties: &impl Fn(u32, u32) -> Ordering) -> Ordering {
    right.score.total_cmp(&left.score).then_with(|| ties(left.slot, right.slot))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_are_those_that_sorting_everything_gives() {
        let mut random = fastrand::Rng::with_seed(3);
        for keep in [0, 1, 10, 63, 64, 1_000, usize::MAX] {
            let all: Vec<_> =
                (0..700).map(|slot| Scored { score: f32::from(random.u8(..50)), slot }).collect();
            let mut best = Best::new(keep, |left: u32, right: u32| right.cmp(&left));
            for scored in &all {
                best.push(scored.score, scored.slot);
            }
            let mut expected = all;
            expected.sort_by(|l, r| r.score.total_cmp(&l.score).then(r.slot.cmp(&l.slot)));
            expected.truncate(keep);
            assert_eq!(best.into_sorted(), expected, "keep {keep}");
        }
    }
}
