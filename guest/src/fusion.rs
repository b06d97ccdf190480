//! Merging the results of the vector and the text retriever into one ranking.
//!
//! By default scores are added. Each retriever's scores are measured from its lowest
//! candidate, in units of their spread. This equals the z-score up to a constant, so the
//! ranking is the same, with two advantages: a candidate that a retriever did not return
//! gets 0 from it, which ranks it like that retriever's last candidate, and a hit's score
//! is the sum of its shares. The alternative is to fuse by rank, which needs no spread but
//! ignores how far ahead the best candidate is.
//!
//! ```
//! use kenning_logic::fusion::{Fusion, RankedList, Retriever, fuse};
//! use kenning_logic::ports::Candidate;
//! let candidate = |id: &str, score| Candidate { id: id.into(), score };
//! let vector = RankedList::new(Retriever::Vector, vec![candidate("a", 0.9), candidate("b", 0.2)]);
//! let text = RankedList::new(Retriever::Text, vec![candidate("b", 7.0), candidate("c", 3.0)]);
//! let lists = [vector, text];
//! let ranking = fuse(&lists, Fusion::RANK);
//! assert_eq!(ranking[0].id, "b", "both retrievers returned it");
//! ```

use crate::limits;
use crate::ports::Candidate;

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

/// What one retriever returned: best first, without duplicates, with finite scores.
#[derive(Debug, Clone, PartialEq)]
pub struct RankedList {
    retriever: Retriever,
    candidates: Vec<Candidate>,
}

impl RankedList {
    /// Sorts `candidates` by score, then by id, and removes duplicates.
    ///
    /// Candidates whose score is not finite come last and get the lowest finite score.
    pub fn new(retriever: Retriever, mut candidates: Vec<Candidate>) -> Self {
        let finite = candidates.iter().map(|candidate| candidate.score).filter(|s| s.is_finite());
        let lowest = finite.min_by(f32::total_cmp).unwrap_or(0.0);
        candidates.sort_unstable_by(|a, b| {
            let by_score = sort_key(b.score).total_cmp(&sort_key(a.score));
            by_score.then_with(|| a.id.cmp(&b.id))
        });
        let mut list = Self { retriever, candidates };
        list.remove_duplicates();
        for candidate in list.candidates.iter_mut().rev().take_while(|c| !c.score.is_finite()) {
            candidate.score = lowest;
        }
        list
    }

    /// Keeps the best of the candidates with the same id, in case an index repeats one.
    fn remove_duplicates(&mut self) {
        let ids = &self.candidates;
        let mut by_id: Vec<usize> = (0..ids.len()).collect();
        by_id.sort_unstable_by_key(|&at| (&ids[at].id, at));
        let mut repeated = vec![false; ids.len()];
        for pair in by_id.windows(2) {
            repeated[pair[1]] = ids[pair[0]].id == ids[pair[1]].id;
        }
        let mut repeated = repeated.into_iter();
        self.candidates.retain(|_| repeated.next() == Some(false));
    }

    /// The contribution of the candidate at `rank`, counted from 0, that adds `share`.
    fn contribution(&self, rank: usize, share: f64) -> Contribution {
        let score = f64::from(self.candidates[rank].score);
        Contribution { retriever: self.retriever, rank: rank as u32 + 1, score, share }
    }
}

/// Sorts scores that are not finite last.
fn sort_key(score: f32) -> f32 {
    if score.is_finite() { score } else { f32::NEG_INFINITY }
}

/// How ranked lists are merged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fusion {
    /// Weighted sum of scores, each in units of its list's spread.
    Score(Scoring),
    /// Reciprocal rank fusion.
    Rank {
        /// Reduces the advantage of the first ranks.
        k: f64,
    },
}

impl Fusion {
    /// Fusion by scores, with the tuned parameters.
    pub const SCORE: Self = Self::Score(Scoring {
        spread: Spread::Deviation,
        floor: Floor::Lowest,
        vector_weight: limits::VECTOR_WEIGHT,
    });
    /// Fusion by ranks, with the published parameter.
    pub const RANK: Self = Self::Rank { k: limits::RANK_FUSION_K };
}

/// How scores of different retrievers are made comparable.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scoring {
    /// The unit.
    pub spread: Spread,
    /// The score that counts as zero.
    pub floor: Floor,
    /// Weight of the vector retriever, from 0 to 1. The text retriever gets the rest.
    pub vector_weight: f64,
}

/// The unit in which a list's scores are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spread {
    /// Their standard deviation: z-score normalization.
    Deviation,
    /// The distance from the floor to the best: min-max normalization.
    Range,
}

/// The score that counts as zero, and that a fact gets from a retriever that did not
/// return it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Floor {
    /// The lowest score in the list.
    Lowest,
    /// Zero for text, the BM25 score of a text that shares no word with the query. Vector
    /// scores have no such point and use the lowest score.
    NoWords,
}

/// A fact in the merged ranking.
#[derive(Debug, Clone, PartialEq)]
pub struct Fused<'a> {
    /// The fact's id.
    pub id: &'a str,
    /// Finite; the sum of the contributions' shares.
    pub score: f64,
    /// At most one per retriever.
    pub contributions: [Option<Contribution>; 2],
}

/// What one retriever contributed to a fact's score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Contribution {
    /// Which retriever.
    pub retriever: Retriever,
    /// The fact's rank in the retriever's list; 1 is best.
    pub rank: u32,
    /// The score that the index returned.
    pub score: f64,
    /// What this adds to the fact's score.
    pub share: f64,
}

/// Merges `lists`, of different retrievers, into one ranking: best first, ties by id.
pub fn fuse<'a>(lists: &'a [RankedList], fusion: Fusion) -> Vec<Fused<'a>> {
    let mut contributions: Vec<(&str, Contribution)> = Vec::new();
    for list in lists {
        let weighting = Weighting::of(list, fusion);
        let ranked = list.candidates.iter().enumerate();
        contributions.extend(ranked.map(|(rank, candidate)| {
            let share = weighting.share(rank, candidate.score);
            (candidate.id.as_str(), list.contribution(rank, share))
        }));
    }
    // Stable, so that a fact's contributions stay in the order of the lists.
    contributions.sort_by_key(|(id, _)| *id);
    sorted(contributions.chunk_by(|a, b| a.0 == b.0).map(combine).collect())
}

/// The ranking of a single list, whose scores are used unchanged.
pub fn single(list: &RankedList) -> Vec<Fused<'_>> {
    let fused = list.candidates.iter().enumerate().map(|(rank, candidate)| {
        let score = f64::from(candidate.score);
        let contributions = [Some(list.contribution(rank, score)), None];
        Fused { id: &candidate.id, score, contributions }
    });
    fused.collect()
}

/// Combines the contributions to one fact.
fn combine<'a>(contributions: &[(&'a str, Contribution)]) -> Fused<'a> {
    let score = contributions.iter().map(|(_, contribution)| contribution.share).sum();
    let mut all = contributions.iter().map(|(_, contribution)| *contribution);
    Fused { id: contributions[0].0, score, contributions: [all.next(), all.next()] }
}

fn sorted(mut fused: Vec<Fused<'_>>) -> Vec<Fused<'_>> {
    fused.sort_unstable_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.id.cmp(b.id)));
    fused
}

/// How much a candidate of one list adds to a fact's score.
enum Weighting {
    Score {
        floor: f64,
        per_unit: f64,
    },
    /// All scores are equal, so each candidate gets the whole weight.
    Constant {
        weight: f64,
    },
    Rank {
        k: f64,
    },
}

impl Weighting {
    fn of(list: &RankedList, fusion: Fusion) -> Self {
        let scoring = match fusion {
            Fusion::Rank { k } => return Self::Rank { k },
            Fusion::Score(scoring) => scoring,
        };
        let weight = match list.retriever {
            Retriever::Vector => scoring.vector_weight,
            Retriever::Text => 1.0 - scoring.vector_weight,
        };
        let floor = floor(list, scoring.floor);
        let best = list.candidates.first().map_or(floor, |candidate| f64::from(candidate.score));
        let spread = match scoring.spread {
            Spread::Deviation => deviation(list),
            Spread::Range => best - floor,
        };
        // A smaller spread is rounding error; dividing by it would amplify noise.
        if spread <= f64::from(f32::EPSILON) * best.abs().max(floor.abs()) {
            return Self::Constant { weight };
        }
        Self::Score { floor, per_unit: weight / spread }
    }

    /// The share of the candidate at `rank`, counted from 0, with `score`.
    fn share(&self, rank: usize, score: f32) -> f64 {
        match self {
            Self::Score { floor, per_unit } => (f64::from(score) - floor) * per_unit,
            Self::Constant { weight } => *weight,
            Self::Rank { k } => 1.0 / (k + rank as f64 + 1.0),
        }
    }
}

fn floor(list: &RankedList, floor: Floor) -> f64 {
    let lowest = list.candidates.last().map_or(0.0, |candidate| f64::from(candidate.score));
    match (floor, list.retriever) {
        (Floor::NoWords, Retriever::Text) => lowest.min(0.0),
        _ => lowest,
    }
}

/// The standard deviation of a list's scores.
fn deviation(list: &RankedList) -> f64 {
    let scores = || list.candidates.iter().map(|candidate| f64::from(candidate.score));
    let count = list.candidates.len().max(1) as f64;
    let mean = scores().sum::<f64>() / count;
    (scores().map(|score| (score - mean).powi(2)).sum::<f64>() / count).sqrt()
}
