//! Merging what the vector and the text retriever know into one ranking.
//!
//! By default scores are added. Each retriever's scores are measured in units of their
//! spread over the best facts of *both* retrievers: a fact that shares no word with the
//! query has the text score 0, and that zero is part of mean and spread. They are measured
//! from the lowest, which equals the z-score up to a constant, so the ranking is the same
//! and a hit's score is the sum of its shares. A fact without a vector counts as the lowest.
//! The spread is that of the first fifty of each retriever, however many were asked for: so
//! the first hits do not depend on how many a caller wants.
//!
//! A spread tells which fact is ahead, not whether the retriever knows anything: a match
//! of one word of ten is as many deviations ahead as a match of all ten. So the text scores
//! count in full only if some fact covers enough of the query's words, and below that with
//! the square of what the best one covers: the less the words know of a query, the more its
//! vector decides.
//!
//! Nor does a spread tell how rare a word is: among fifty candidates, one match is an outlier
//! of bounded height. So a fact also gains for what it covers of the query, squared, and more
//! the fewer facts have the rarest of its words. And a fact that alone has a word of the query
//! is kept among the first ten, however many other words the query has.
//!
//! The alternative is to fuse by rank, which needs no spread but ignores how far ahead the
//! best candidate is.
//!
//! ```
//! use kenning_logic::fusion::{Fusion, fuse};
//! use kenning_logic::ports::Evidence;
//! let evidence = |id: &str, similarity, words, coverage| Evidence {
//!     id: id.into(),
//!     similarity: Some(similarity),
//!     words,
//!     coverage,
//!     rarest: if words > 0.0 { 2 } else { 0 },
//! };
//! let found = [
//!     evidence("a", 0.9, 0.0, 0.0),
//!     evidence("b", 0.8, 7.0, 0.6),
//!     evidence("c", 0.1, 3.0, 0.3),
//! ];
//! let ranking = fuse(&found, Fusion::SCORE);
//! assert_eq!(ranking[0].id, "b", "both retrievers rank it high");
//! ```

use crate::limits;
use crate::ports::{Candidate, Evidence};

/// One of the two ways to retrieve candidates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retriever {
    /// By meaning: nearest vectors.
    Vector,
    /// By words: BM25.
    Text,
}

impl Retriever {
    /// Its name in the contract.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vector => "vector",
            Self::Text => "text",
        }
    }
}

/// How what two retrievers know is merged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fusion {
    /// Weighted sum of scores, each in units of its retriever's spread.
    Score(Scoring),
    /// Reciprocal rank fusion.
    Rank {
        /// Reduces the advantage of the first ranks.
        k: f64,
        /// The last rank that counts: how many candidates were asked of each retriever.
        pool: u32,
    },
}

impl Fusion {
    /// Fusion by scores, with the tuned parameters.
    pub const SCORE: Self = Self::Score(Scoring {
        vector_weight: limits::VECTOR_WEIGHT,
        trusted_coverage: limits::TRUSTED_COVERAGE,
        coverage_weight: limits::COVERAGE_WEIGHT,
        exact_weight: limits::EXACT_WEIGHT,
    });

    /// Fusion of the first `pool` ranks, with the published parameter.
    pub const fn rank(pool: u32) -> Self {
        Self::Rank { k: limits::RANK_FUSION_K, pool }
    }
}

/// The parameters of fusion by scores.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scoring {
    /// Weight of the vector retriever, from 0 to 1. The text retriever gets the rest.
    pub vector_weight: f64,
    /// The share of the query's word weight, from 0 to 1, that the best fact must have for the
    /// text scores to count in full. At 0 they always do.
    pub trusted_coverage: f64,
    /// What a fact gains that has all words of the query, however many others have them.
    pub coverage_weight: f64,
    /// What it gains in addition if no other fact has one of them.
    pub exact_weight: f64,
}

impl Scoring {
    /// The weight of the text scores: less if no fact covers much of the query.
    fn text_weight(&self, found: &[&Evidence]) -> f64 {
        let best = found.iter().map(|fact| coverage(fact)).fold(0.0, f64::max);
        let trust = if best < self.trusted_coverage { best / self.trusted_coverage } else { 1.0 };
        (1.0 - self.vector_weight) * trust.powi(2)
    }

    /// What a fact gains by the share of the query's word weight that it has. Squared, because
    /// in a long question, a word that is there by chance covers little.
    fn bonus(&self, fact: &Evidence) -> f64 {
        let rarity = 1.0 / f64::from(fact.rarest.max(1));
        (self.coverage_weight + self.exact_weight * rarity) * coverage(fact).powi(2)
    }
}

/// How much of the query's word weight a fact has, from 0 to 1.
fn coverage(fact: &Evidence) -> f64 {
    let is_known = fact.rarest > 0 && fact.coverage.is_finite();
    if is_known { f64::from(fact.coverage.clamp(0.0, 1.0)) } else { 0.0 }
}

/// A fact in a ranking.
#[derive(Debug, Clone, PartialEq)]
pub struct Fused<'a> {
    /// The fact's id.
    pub id: &'a str,
    /// Finite; the sum of the contributions' shares.
    pub score: f64,
    /// At most one per retriever.
    pub contributions: [Option<Contribution>; 2],
}

impl Fused<'_> {
    /// Sets the score. The difference counts as the words' share.
    fn raise(&mut self, score: f64) {
        if let Some(words) = &mut self.contributions[1] {
            words.share += score - self.score;
        }
        self.score = score;
    }
}

/// What one retriever contributed to a fact's score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Contribution {
    /// Which retriever.
    pub retriever: Retriever,
    /// The fact's rank among all candidates by this retriever's score; 1 is best.
    pub rank: u32,
    /// The score that the index returned.
    pub score: f64,
    /// What this adds to the fact's score.
    pub share: f64,
}

/// Merges what both retrievers know of `found` into one ranking: best first, ties by id.
///
/// Values that are not finite count as unknown, and of facts with the same id only one stays.
pub fn fuse(found: &[Evidence], fusion: Fusion) -> Vec<Fused<'_>> {
    let found = distinct(found);
    let similarity = |fact: &&Evidence| fact.similarity.filter(|score| score.is_finite());
    let words =
        |fact: &&Evidence| (fact.words.is_finite() && fact.words > 0.0).then_some(fact.words);
    let vector = Scores::new(Retriever::Vector, &found, similarity);
    let text = Scores::new(Retriever::Text, &found, words);
    let best: Vec<bool> =
        (0..found.len()).map(|at| vector.is_best(at) || text.is_best(at)).collect();
    let shares: [Vec<f64>; 2] = match fusion {
        Fusion::Rank { k, pool } => [vector.by_rank(k, pool), text.by_rank(k, pool)],
        Fusion::Score(scoring) => {
            let mut by_text = text.by_score(scoring.text_weight(&found), 0.0, &best);
            for (share, fact) in by_text.iter_mut().zip(&found) {
                *share += scoring.bonus(fact);
            }
            [vector.by_score(scoring.vector_weight, vector.lowest(), &best), by_text]
        }
    };
    let fused = found.iter().enumerate().map(|(at, fact)| {
        let one = |scores: &Scores, shares: &[f64]| scores.contribution(at, shares[at]);
        (combine(&fact.id, [one(&vector, &shares[0]), one(&text, &shares[1])]), fact.rarest)
    });
    let mut ranking: Vec<_> = fused.collect();
    // Ties stay in the order of ids.
    ranking.sort_by(|(a, _), (b, _)| b.score.total_cmp(&a.score));
    if matches!(fusion, Fusion::Score(_)) {
        keep_exact(&mut ranking);
    }
    ranking.into_iter().map(|(fused, _)| fused).collect()
}

/// Moves the best facts by words that alone have a word of the query, and that are further
/// down, to the end of the first [`limits::EXACT_RANK`]. Each takes the score of the fact whose
/// place it takes. The other facts keep their order.
fn keep_exact(ranking: &mut Vec<(Fused<'_>, u32)>) {
    let words = |at: usize| ranking[at].0.contributions[1].map_or(0.0, |part| part.score);
    let below = limits::EXACT_RANK..ranking.len();
    let mut late: Vec<usize> = below.filter(|&at| ranking[at].1 == 1).collect();
    late.sort_by(|&a, &b| words(b).total_cmp(&words(a)));
    late.truncate(limits::EXACT_KEPT);
    late.sort_unstable();
    for (from, to) in late.iter().zip(limits::EXACT_RANK - late.len()..) {
        let (mut fused, rarest) = ranking.remove(*from);
        fused.raise(ranking[to].0.score);
        ranking.insert(to, (fused, rarest));
    }
}

/// Ranks by the score of a single retriever, which is used unchanged. Candidates whose score
/// is not finite come last and get the lowest finite score.
pub fn single(retriever: Retriever, found: &[Candidate]) -> Vec<Fused<'_>> {
    let finite = found.iter().map(|candidate| candidate.score).filter(|score| score.is_finite());
    let lowest = finite.min_by(f32::total_cmp).unwrap_or(0.0);
    let key = |candidate: &Candidate| match candidate.score.is_finite() {
        true => candidate.score,
        false => f32::NEG_INFINITY,
    };
    let mut ordered: Vec<&Candidate> = found.iter().collect();
    // Of candidates with the same id, the best comes first and stays.
    ordered.sort_unstable_by(|a, b| a.id.cmp(&b.id).then(key(b).total_cmp(&key(a))));
    ordered.dedup_by(|later, first| later.id == first.id);
    ordered.sort_by(|a, b| key(b).total_cmp(&key(a)));
    let fused = ordered.into_iter().zip(1..).map(|(candidate, rank)| {
        let score = f64::from(key(candidate).max(lowest));
        let contribution = Contribution { retriever, rank, score, share: score };
        combine(&candidate.id, [Some(contribution), None])
    });
    fused.collect()
}

/// The facts by id, each once.
fn distinct(found: &[Evidence]) -> Vec<&Evidence> {
    let mut facts: Vec<&Evidence> = found.iter().collect();
    facts.sort_by(|a, b| a.id.cmp(&b.id));
    facts.dedup_by(|later, first| later.id == first.id);
    facts
}

fn combine(id: &str, contributions: [Option<Contribution>; 2]) -> Fused<'_> {
    // Not `sum`, which begins with -0.0.
    let score = contributions.iter().flatten().fold(0.0, |sum, part| sum + part.share);
    Fused { id, score, contributions }
}

/// The scores of all candidates by one retriever.
struct Scores {
    retriever: Retriever,
    /// `None` where the retriever knows nothing of the fact.
    scores: Vec<Option<f64>>,
    /// 1 is best; facts without a score come last.
    ranks: Vec<u32>,
}

impl Scores {
    /// Reads the scores of `found`, which is ordered by id, so that ties are.
    fn new(
        retriever: Retriever,
        found: &[&Evidence],
        score: impl Fn(&&Evidence) -> Option<f32>,
    ) -> Self {
        let scores: Vec<_> = found.iter().map(|fact| score(fact).map(f64::from)).collect();
        let key = |at: usize| scores[at].unwrap_or(f64::NEG_INFINITY);
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|&a, &b| key(b).total_cmp(&key(a)));
        let mut ranks = vec![0; scores.len()];
        for (at, rank) in order.into_iter().zip(1..) {
            ranks[at] = rank;
        }
        Self { retriever, scores, ranks }
    }

    /// Whether the fact is among those that the retriever finds for any number of hits.
    fn is_best(&self, at: usize) -> bool {
        self.scores[at].is_some() && self.ranks[at] <= limits::POOL_MIN
    }

    fn lowest(&self) -> f64 {
        self.scores.iter().flatten().copied().min_by(f64::total_cmp).unwrap_or(0.0)
    }

    /// Each score's distance from `floor`, which is also what unknown ones count as, in standard
    /// deviations of the `best`, times `weight`.
    fn by_score(&self, weight: f64, floor: f64, best: &[bool]) -> Vec<f64> {
        let above = self.scores.iter().map(|score| score.unwrap_or(floor) - floor);
        let above: Vec<f64> = above.collect();
        let of_best = above.iter().zip(best).filter(|(_, is_best)| **is_best);
        let of_best: Vec<f64> = of_best.map(|(above, _)| *above).collect();
        let spread = deviation(&of_best);
        let highest = above.iter().copied().fold(floor.abs(), f64::max);
        if spread > f64::from(f32::EPSILON) * highest {
            return above.into_iter().map(|above| above / spread * weight).collect();
        }
        // A smaller spread is rounding error, and dividing by it would amplify noise. All are
        // equally good.
        let is_complete = self.scores.iter().all(Option::is_some);
        vec![if is_complete { weight } else { 0.0 }; above.len()]
    }

    fn by_rank(&self, k: f64, pool: u32) -> Vec<f64> {
        let counts = |rank: u32| rank <= pool;
        let share = |&rank: &u32| if counts(rank) { 1.0 / (k + f64::from(rank)) } else { 0.0 };
        self.ranks.iter().map(share).collect()
    }

    /// What the retriever adds to the candidate `at`: nothing if it does not know it.
    fn contribution(&self, at: usize, share: f64) -> Option<Contribution> {
        let score = self.scores[at]?;
        Some(Contribution { retriever: self.retriever, rank: self.ranks[at], score, share })
    }
}

/// The standard deviation.
fn deviation(values: &[f64]) -> f64 {
    let count = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / count;
    (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt()
}
