//! Searching: ask both halves of the index, make one order, read the best facts.
//!
//! A half that fails is left out and named, because half an answer helps an agent more
//! than none. The half that knows words is asked first: it is quick, and so a wrong filter
//! is refused before anything is embedded.

use crate::budget::{Fit, Room, Watch};
use crate::fact::Fact;
use crate::fusion::{self, Fused, Half, Leg, Part};
use crate::limits;
use crate::ports::{Hash, Ports, Purpose};
use crate::{Error, Logic, Result};

/// What is searched for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// In the words of whoever asks; not blank.
    pub text: String,
    /// How many hits at most, 1 to 1,000.
    pub top_k: u32,
    /// Which half of the index is asked.
    pub mode: Mode,
    /// How two halves become one order.
    pub fusion: Fusion,
    /// A filter over metadata as JSON text, which the index understands.
    pub filter: Option<String>,
    /// Whether each hit says why it stands where it stands.
    pub explain: bool,
}

impl Query {
    /// A hybrid query for `text` with scores fused and nothing explained.
    pub fn new(text: impl Into<String>, top_k: u32) -> Self {
        let (mode, fusion) = (Mode::Hybrid, Fusion::Score);
        Self { text: text.into(), top_k, mode, fusion, filter: None, explain: false }
    }

    fn check(&self) -> Result<()> {
        if self.text.trim().is_empty() {
            return Err(Error::invalid("/query", "the query is blank; say what to look for"));
        }
        if !(1..=limits::TOP_K).contains(&self.top_k) {
            return Err(Error::invalid("/top_k", "top_k is 1 to 1000"));
        }
        Ok(())
    }

    /// How many candidates to ask a half for.
    fn pool(&self) -> u32 {
        match self.mode {
            Mode::Hybrid => {
                let pool = self.top_k.saturating_mul(limits::POOL_PER_HIT);
                pool.clamp(limits::POOL_LEAST, limits::POOL_MOST)
            }
            Mode::Vector | Mode::Text => self.top_k + limits::SPARE_CANDIDATES,
        }
    }
}

/// Which half of the index a search asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Both.
    Hybrid,
    /// By meaning only.
    Vector,
    /// By words only.
    Text,
}

/// How the two halves of a hybrid search become one order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fusion {
    /// By scores.
    Score,
    /// By ranks.
    Rank,
}

/// A fact that answers a query.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// The fact.
    pub fact: Fact,
    /// Finite; larger is better; comparable within one answer only.
    pub score: f64,
    /// What each half said, if the query asked for it.
    pub explanation: Option<Vec<Part>>,
}

/// Hits, best first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answer {
    /// At most as many as were asked for.
    pub hits: Vec<Hit>,
    /// One sentence for each part that was left out.
    pub degraded: Vec<String>,
}

impl<P: Ports> Logic<P> {
    /// The facts that answer `query`, best first.
    ///
    /// A half that fails is named in `degraded`. It is an error only if no half answers,
    /// if the filter is wrong, or if no fact could be read.
    pub fn search(&self, query: &Query) -> Result<Answer> {
        query.check()?;
        let mut degraded = Vec::new();
        let legs = self.ask(query, &mut degraded)?;
        let ranked = match (query.mode, query.fusion, &legs[..]) {
            (Mode::Vector | Mode::Text, _, [leg]) => fusion::alone(leg),
            (_, Fusion::Score, legs) => fusion::fuse(legs, fusion::Fusion::SCORE),
            (_, Fusion::Rank, legs) => fusion::fuse(legs, fusion::Fusion::RANK),
        };
        let mut answering = Answering::begin(self, query, degraded);
        answering.read(&ranked)?;
        Ok(answering.answer)
    }

    /// The legs that answered.
    fn ask(&self, query: &Query, degraded: &mut Vec<String>) -> Result<Vec<Leg>> {
        match query.mode {
            Mode::Vector => return Ok(vec![self.nearest(query)?]),
            Mode::Text => return Ok(vec![self.matching(query)?]),
            Mode::Hybrid => {}
        }
        let text = self.matching(query);
        if let Err(error @ Error::InvalidFilter(_)) = text {
            return Err(error);
        }
        let vector = self.nearest(query);
        match (vector, text) {
            (Ok(vector), Ok(text)) => Ok(vec![vector, text]),
            (Err(error @ Error::InvalidFilter(_)), _) | (Err(error), Err(_)) => Err(error),
            (Ok(leg), Err(error)) => {
                degraded.push(left_out(Half::Text, &error));
                Ok(vec![leg])
            }
            (Err(error), Ok(leg)) => {
                degraded.push(left_out(Half::Vector, &error));
                Ok(vec![leg])
            }
        }
    }

    fn nearest(&self, query: &Query) -> Result<Leg> {
        let target = self.ports.embed(&[&query.text], Purpose::Query)?;
        let found = self.ports.nearest(&target, query.filter.as_deref(), query.pool())?;
        Ok(Leg::new(Half::Vector, found))
    }

    fn matching(&self, query: &Query) -> Result<Leg> {
        let found = self.ports.matching(&query.text, query.filter.as_deref(), query.pool())?;
        Ok(Leg::new(Half::Text, found))
    }
}

fn left_out(half: Half, error: &Error) -> String {
    format!("{}: {error}", half.name())
}

/// An answer in the making.
struct Answering<'a, P> {
    logic: &'a Logic<P>,
    query: &'a Query,
    watch: Watch,
    answer: Answer,
}

impl<'a, P: Ports> Answering<'a, P> {
    fn begin(logic: &'a Logic<P>, query: &'a Query, degraded: Vec<String>) -> Self {
        let answer = Answer { hits: Vec::new(), degraded };
        Self { logic, query, watch: Watch::begin(&logic.ports), answer }
    }

    /// Reads the facts of the first of `ranked`, and of those after them in place of facts
    /// that are gone.
    fn read(&mut self, ranked: &[Fused<'_>]) -> Result<()> {
        let mut room = self.watch.room();
        let mut rest = ranked;
        while self.wanted() > 0 && !rest.is_empty() {
            let batch = &rest[..self.wanted().min(rest.len())];
            let ids: Vec<_> = batch.iter().map(|fused| fused.id).collect();
            let hashes = match self.logic.read_tolerantly(&ids) {
                Err(error) if self.answer.hits.is_empty() => return Err(error),
                Err(error) => {
                    self.end_early(&error.to_string());
                    break;
                }
                Ok(hashes) => hashes,
            };
            rest = &rest[hashes.len()..];
            if !self.take(batch, hashes, &mut room) {
                self.end_early("the rest did not fit the answer");
                break;
            }
            let is_done = self.wanted() == 0 || rest.is_empty();
            if !is_done && self.watch.is_low(&self.logic.ports) {
                self.end_early("the budget was nearly spent");
                break;
            }
        }
        Ok(())
    }

    /// Makes hits of what was read; `false` if there is no room for one.
    fn take(&mut self, batch: &[Fused<'_>], hashes: Vec<Option<Hash>>, room: &mut Room) -> bool {
        for (fused, hash) in batch.iter().zip(hashes) {
            let Some(fact) = hash.and_then(|hash| Fact::from_hash(fused.id, hash)) else {
                continue;
            };
            match room.take(self.bytes(&fact)) {
                Fit::Fits => self.hit(fused, fact),
                Fit::Never => {
                    self.logic.note_oversized(fused.id);
                    let sentence = "hits: a fact larger than an answer may be was left out";
                    self.answer.degraded.push(sentence.into());
                }
                Fit::Full => return false,
            }
        }
        true
    }

    /// How many facts to read next.
    fn wanted(&self) -> usize {
        let missing = self.query.top_k as usize - self.answer.hits.len();
        missing.min(limits::FACTS_PER_CALL.allowed as usize)
    }

    fn bytes(&self, fact: &Fact) -> usize {
        let legs = if self.query.explain { 2 * limits::EXPLAINED_LEG_BYTES } else { 0 };
        fact.bytes() + legs
    }

    fn hit(&mut self, fused: &Fused<'_>, fact: Fact) {
        let explanation = self.query.explain.then(|| fused.parts.into_iter().flatten().collect());
        self.answer.hits.push(Hit { fact, score: fused.score, explanation });
    }

    fn end_early(&mut self, why: &str) {
        let (given, asked) = (self.answer.hits.len(), self.query.top_k);
        self.answer.degraded.push(format!("hits: {given} of at most {asked}: {why}"));
    }
}
