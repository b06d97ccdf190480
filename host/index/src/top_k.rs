//! Selects the `k` highest scores without sorting everything.

use std::cmp::Ordering;

/// The score of one fact.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Scored {
    pub(crate) score: f32,
    pub(crate) slot: u32,
}

/// Keeps the `k` highest scores, equal ones ordered by `ties`, in time linear in the number of
/// pushes.
///
/// When the buffer is full, a selection cuts it back to `k` entries and sets the score that later
/// entries must reach.
pub(crate) struct TopK<T> {
    k: usize,
    threshold: f32,
    buffer: Vec<Scored>,
    ties: T,
}

impl<T: Fn(u32, u32) -> Ordering> TopK<T> {
    pub(crate) fn new(k: usize, ties: T) -> Self {
        Self { k, threshold: f32::NEG_INFINITY, buffer: Vec::new(), ties }
    }

    #[inline]
    pub(crate) fn push(&mut self, score: f32, slot: u32) {
        if score >= self.threshold && self.k > 0 {
            self.buffer.push(Scored { score, slot });
            if self.buffer.len() >= self.k.saturating_mul(2).max(64) {
                self.cut();
            }
        }
    }

    /// The entries that remain, highest score first.
    pub(crate) fn into_sorted(mut self) -> Vec<Scored> {
        self.cut();
        let ties = self.ties;
        self.buffer.sort_unstable_by(|left, right| order(left, right, &ties));
        self.buffer
    }

    fn cut(&mut self) {
        if self.buffer.len() <= self.k {
            return;
        }
        let ties = &self.ties;
        let last = self.k - 1;
        let compare = |left: &Scored, right: &Scored| order(left, right, ties);
        let (_, lowest, _) = self.buffer.select_nth_unstable_by(last, compare);
        self.threshold = lowest.score;
        self.buffer.truncate(self.k);
    }
}

fn order(left: &Scored, right: &Scored, ties: &impl Fn(u32, u32) -> Ordering) -> Ordering {
    right.score.total_cmp(&left.score).then_with(|| ties(left.slot, right.slot))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_top_k_equal_the_first_k_of_a_full_sort() {
        let mut random = fastrand::Rng::with_seed(3);
        for k in [0, 1, 10, 63, 64, 1_000, usize::MAX] {
            let all: Vec<_> =
                (0..700).map(|slot| Scored { score: f32::from(random.u8(..50)), slot }).collect();
            let mut top = TopK::new(k, |left: u32, right: u32| right.cmp(&left));
            for scored in &all {
                top.push(scored.score, scored.slot);
            }
            let mut expected = all;
            expected.sort_by(|l, r| r.score.total_cmp(&l.score).then(r.slot.cmp(&l.slot)));
            expected.truncate(k);
            assert_eq!(top.into_sorted(), expected, "k = {k}");
        }
    }
}
