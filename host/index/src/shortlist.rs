//! The rows of a scan that may be in its result, as far as their bounds tell.

use crate::top_k::Scored;

/// A row that may be in the result, with the bounds of its cosine.
pub(crate) struct Bounded {
    pub(crate) row: u32,
    pub(crate) lower: f32,
    pub(crate) upper: f32,
}

/// The rows that may still be among the `limit` nearest during a scan.
///
/// The threshold is the `limit`-th highest *lower* bound so far: if the upper bound of a row is
/// below it, at least `limit` rows have a higher cosine. Where slots have several rows, only the
/// highest lower bound of each slot counts.
pub(crate) struct Shortlist<S> {
    limit: usize,
    threshold: f32,
    rows: Vec<Bounded>,
    /// Number of rows at which the next cut is made.
    capacity: usize,
    /// Gives the slot of a row; `None` if every slot has one row at most.
    slot: Option<S>,
}

impl<S: Fn(u32) -> u32> Shortlist<S> {
    pub(crate) fn new(limit: usize, slot: Option<S>) -> Self {
        let capacity = limit.saturating_mul(2).max(256);
        Self { limit, threshold: f32::NEG_INFINITY, rows: Vec::new(), capacity, slot }
    }

    #[inline]
    pub(crate) fn push(&mut self, row: u32, lower: f32, upper: f32) {
        if upper >= self.threshold {
            self.rows.push(Bounded { row, lower, upper });
            if self.rows.len() >= self.capacity {
                self.cut();
                // A cut may remove no row if all are nearly equal; doubling keeps the total cost
                // of the cuts linear in the number of rows.
                self.capacity = self.capacity.max(self.rows.len().saturating_mul(2));
            }
        }
    }

    fn cut(&mut self) {
        if self.rows.len() <= self.limit {
            return;
        }
        if self.slot.is_some() {
            return self.cut_slots();
        }
        let highest = |l: &Bounded, r: &Bounded| r.lower.total_cmp(&l.lower);
        let (_, last, _) = self.rows.select_nth_unstable_by(self.limit - 1, highest);
        let threshold = last.lower;
        self.threshold = threshold;
        self.rows.retain(|bounded| bounded.upper >= threshold);
    }

    /// The same where slots have several rows. A row below another one of its slot is not the best
    /// of it, and goes too.
    fn cut_slots(&mut self) {
        let Some(slot) = &self.slot else { return };
        let scored = |bounded: &Bounded| Scored { score: bounded.lower, slot: slot(bounded.row) };
        let best = best_of_slots(self.rows.iter().map(scored).collect());
        if best.len() > self.limit {
            let mut lower: Vec<f32> = best.iter().map(|scored| scored.score).collect();
            let highest = |l: &f32, r: &f32| r.total_cmp(l);
            self.threshold = *lower.select_nth_unstable_by(self.limit - 1, highest).1;
        }
        let threshold = self.threshold;
        self.rows.retain(|bounded| {
            let of_slot = best.binary_search_by_key(&slot(bounded.row), |scored| scored.slot);
            let lower = of_slot.map_or(f32::NEG_INFINITY, |at| best[at].score);
            bounded.upper >= threshold.max(lower)
        });
    }

    pub(crate) fn into_rows(mut self) -> Vec<Bounded> {
        self.cut();
        self.rows
    }
}

/// The lowest score of `found`.
pub(crate) fn lowest(found: &[Scored]) -> f32 {
    found.iter().fold(f32::INFINITY, |lowest, scored| lowest.min(scored.score))
}

/// The best score of each slot.
pub(crate) fn best_of_slots(mut found: Vec<Scored>) -> Vec<Scored> {
    found.sort_unstable_by(|l, r| l.slot.cmp(&r.slot).then(r.score.total_cmp(&l.score)));
    found.dedup_by_key(|scored| scored.slot);
    found
}
