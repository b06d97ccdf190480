//! Making one order of what the halves of a search found.
//!
//! By default scores are added, each half's measured from its lowest candidate in units of
//! its own spread. That is the z-score but for a constant, so the order is the same, and
//! it has two comforts: a candidate that a half did not find adds nothing for it, which
//! ranks it like that half's last; and a hit's score is the sum of its shares. Ranks are
//! the alternative: they need no spread, and forget how much better the best one is.

use crate::limits;
use crate::ports::Candidate;

/// One half of a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Half {
    /// By meaning.
    Vector,
    /// By words.
    Text,
}

impl Half {
    /// As the contract spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vector => "vector",
            Self::Text => "text",
        }
    }
}

/// What one half found, best first, each fact once, with finite scores.
#[derive(Debug, Clone, PartialEq)]
pub struct Leg {
    half: Half,
    candidates: Vec<Candidate>,
}

impl Leg {
    /// Puts `candidates` in order: by score, then by id. One whose score is not finite
    /// comes last and counts as the lowest that is.
    pub fn new(half: Half, mut candidates: Vec<Candidate>) -> Self {
        let finite = candidates.iter().map(|candidate| candidate.score).filter(|s| s.is_finite());
        let lowest = finite.min_by(f32::total_cmp).unwrap_or(0.0);
        candidates.sort_unstable_by(|a, b| {
            let by_score = key(b.score).total_cmp(&key(a.score));
            by_score.then_with(|| a.id.cmp(&b.id))
        });
        let mut leg = Self { half, candidates };
        leg.drop_repeated();
        for candidate in leg.candidates.iter_mut().rev().take_while(|c| !c.score.is_finite()) {
            candidate.score = lowest;
        }
        leg
    }

    /// Keeps the best of candidates with the same id, should an index repeat one.
    fn drop_repeated(&mut self) {
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

    /// The part of a fact at `rank`, counted from 0, when it adds `share`.
    fn part(&self, rank: usize, share: f64) -> Part {
        let score = f64::from(self.candidates[rank].score);
        Part { half: self.half, rank: rank as u32 + 1, score, share }
    }
}

/// Worst for what is not finite.
fn key(score: f32) -> f32 {
    if score.is_finite() { score } else { f32::NEG_INFINITY }
}

/// How legs become one order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fusion {
    /// Scores, in units of each leg's spread, added with weights.
    Score(Scoring),
    /// Reciprocal rank fusion.
    Rank {
        /// Dampens the lead of the first ranks.
        k: f64,
    },
}

impl Fusion {
    /// By scores, as it is tuned.
    pub const SCORE: Self = Self::Score(Scoring {
        spread: Spread::Deviation,
        floor: Floor::Lowest,
        vector_weight: limits::VECTOR_WEIGHT,
    });
    /// By ranks, as it was published.
    pub const RANK: Self = Self::Rank { k: limits::RANK_FUSION_K };
}

/// How scores are made comparable.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scoring {
    /// The unit.
    pub spread: Spread,
    /// What counts as nothing.
    pub floor: Floor,
    /// From 0 to 1; the text half has the rest.
    pub vector_weight: f64,
}

/// The unit that a leg's scores are measured in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spread {
    /// Their standard deviation: z-scores.
    Deviation,
    /// From the floor to the best: min-max.
    Range,
}

/// The score that adds nothing, and that a fact counts with which a leg did not find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Floor {
    /// The leg's lowest.
    Lowest,
    /// Zero for words, as BM25 gives a text that shares none; the lowest for vectors,
    /// which have no such point.
    NoWords,
}

/// A fact in the order, with what each half said of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Fused<'a> {
    /// The fact.
    pub id: &'a str,
    /// Finite; the sum of its shares.
    pub score: f64,
    /// At most one of each half.
    pub parts: [Option<Part>; 2],
}

/// What one half of a search said of one fact.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Part {
    /// Which half.
    pub half: Half,
    /// 1 is best.
    pub rank: u32,
    /// As the index gave it.
    pub score: f64,
    /// What it added to the fact's score.
    pub share: f64,
}

/// One order of all that `legs`, of different halves, found: best first, ties by id.
pub fn fuse<'a>(legs: &'a [Leg], fusion: Fusion) -> Vec<Fused<'a>> {
    let mut parts: Vec<(&str, Part)> = Vec::new();
    for leg in legs {
        let measure = Measure::of(leg, fusion);
        let of_leg = leg.candidates.iter().enumerate();
        parts.extend(of_leg.map(|(rank, candidate)| {
            (candidate.id.as_str(), leg.part(rank, measure.share(rank, candidate.score)))
        }));
    }
    // Stable, so that a fact's parts stay in the order of the legs.
    parts.sort_by_key(|(id, _)| *id);
    in_order(parts.chunk_by(|a, b| a.0 == b.0).map(join).collect())
}

/// The order of one leg alone, whose scores stand as they are.
pub fn alone(leg: &Leg) -> Vec<Fused<'_>> {
    let fused = leg.candidates.iter().enumerate().map(|(rank, candidate)| {
        let score = f64::from(candidate.score);
        Fused { id: &candidate.id, score, parts: [Some(leg.part(rank, score)), None] }
    });
    fused.collect()
}

fn join<'a>(parts: &[(&'a str, Part)]) -> Fused<'a> {
    let score = parts.iter().map(|(_, part)| part.share).sum();
    let mut all = parts.iter().map(|(_, part)| *part);
    Fused { id: parts[0].0, score, parts: [all.next(), all.next()] }
}

fn in_order(mut fused: Vec<Fused<'_>>) -> Vec<Fused<'_>> {
    fused.sort_unstable_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.id.cmp(b.id)));
    fused
}

/// What a place in a leg is worth.
enum Measure {
    Score {
        floor: f64,
        per_unit: f64,
    },
    /// All scores are equal: to be found is all that counts.
    Found {
        weight: f64,
    },
    Rank {
        k: f64,
    },
}

impl Measure {
    fn of(leg: &Leg, fusion: Fusion) -> Self {
        let scoring = match fusion {
            Fusion::Rank { k } => return Self::Rank { k },
            Fusion::Score(scoring) => scoring,
        };
        let weight = match leg.half {
            Half::Vector => scoring.vector_weight,
            Half::Text => 1.0 - scoring.vector_weight,
        };
        let floor = floor(leg, scoring.floor);
        let best = leg.candidates.first().map_or(floor, |candidate| f64::from(candidate.score));
        let spread = match scoring.spread {
            Spread::Deviation => deviation(leg),
            Spread::Range => best - floor,
        };
        // A smaller unit is rounding, and dividing by it would let noise decide.
        if spread <= f64::from(f32::EPSILON) * best.abs().max(floor.abs()) {
            return Self::Found { weight };
        }
        Self::Score { floor, per_unit: weight / spread }
    }

    fn share(&self, rank: usize, score: f32) -> f64 {
        match self {
            Self::Score { floor, per_unit } => (f64::from(score) - floor) * per_unit,
            Self::Found { weight } => *weight,
            Self::Rank { k } => 1.0 / (k + rank as f64 + 1.0),
        }
    }
}

fn floor(leg: &Leg, floor: Floor) -> f64 {
    let lowest = leg.candidates.last().map_or(0.0, |candidate| f64::from(candidate.score));
    match (floor, leg.half) {
        (Floor::NoWords, Half::Text) => lowest.min(0.0),
        _ => lowest,
    }
}

/// The standard deviation of a leg's scores.
fn deviation(leg: &Leg) -> f64 {
    let scores = || leg.candidates.iter().map(|candidate| f64::from(candidate.score));
    let count = leg.candidates.len().max(1) as f64;
    let mean = scores().sum::<f64>() / count;
    (scores().map(|score| (score - mean).powi(2)).sum::<f64>() / count).sqrt()
}
