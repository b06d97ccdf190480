//! Searching: ask both retrievers, merge what they know, read the best facts.
//!
//! A vector retriever that fails, or that knows no word of the query, is left out and named
//! in the answer, because a partial answer is more useful than none. The query is examined
//! first: a wrong filter is rejected, and a query that means nothing to the model is known,
//! before anything is embedded.

use crate::budget::{Deadline, Fit, ResponseBudget};
use crate::fact::Fact;
use crate::fusion::{self, Contribution, Fused, Retriever};
use crate::limits;
use crate::ports::{Candidate, Embeddings, Evidence, Hash, Ports, Purpose};
use crate::{Error, Logic, Result};

/// A search request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The query in natural language; not blank.
    pub text: String,
    /// Maximum number of hits, 1 to 1,000.
    pub top_k: u32,
    /// Which retrievers are asked.
    pub mode: Mode,
    /// How the results of two retrievers are merged.
    pub fusion: Fusion,
    /// A filter over metadata as JSON text. The index interprets it.
    pub filter: Option<String>,
    /// Whether each hit carries an explanation of its score.
    pub explain: bool,
}

impl Query {
    /// A hybrid query for `text`, fused by score, without filter and explanations.
    pub fn new(text: impl Into<String>, top_k: u32) -> Self {
        let (mode, fusion) = (Mode::Hybrid, Fusion::Score);
        Self { text: text.into(), top_k, mode, fusion, filter: None, explain: false }
    }

    fn validate(&self) -> Result<()> {
        if self.text.trim().is_empty() {
            return Err(Error::invalid("/query", "the query is blank; enter what to look for"));
        }
        if !(1..=limits::TOP_K).contains(&self.top_k) {
            return Err(Error::invalid("/top_k", "top_k must be between 1 and 1000"));
        }
        Ok(())
    }

    /// How many candidates to ask a retriever for.
    fn pool(&self) -> u32 {
        match self.mode {
            Mode::Hybrid => {
                let pool = self.top_k.saturating_mul(limits::POOL_PER_HIT);
                pool.clamp(limits::POOL_MIN, limits::POOL_MAX)
            }
            Mode::Vector | Mode::Text => self.top_k + limits::SPARE_CANDIDATES,
        }
    }
}

/// Which retrievers a search asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Both.
    Hybrid,
    /// By meaning only.
    Vector,
    /// By words only.
    Text,
}

/// How a hybrid search merges the results of its two retrievers.
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
    /// What each retriever contributed to the score, if the query asked for it.
    pub explanation: Option<Vec<Contribution>>,
}

/// The result of a search.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answer {
    /// Best first, at most [`Query::top_k`].
    pub hits: Vec<Hit>,
    /// One sentence for each thing that was left out. Empty if the answer is complete.
    pub degraded: Vec<String>,
}

/// What the retrievers found.
enum Found {
    /// By one retriever.
    One(Retriever, Vec<Candidate>),
    /// By either, with what both know of each.
    Both(Vec<Evidence>),
}

impl Found {
    /// Best first.
    fn ranked(&self, query: &Query) -> Vec<Fused<'_>> {
        match (self, query.fusion) {
            (Self::One(retriever, candidates), _) => fusion::single(*retriever, candidates),
            (Self::Both(found), Fusion::Score) => fusion::fuse(found, fusion::Fusion::SCORE),
            (Self::Both(found), Fusion::Rank) => {
                fusion::fuse(found, fusion::Fusion::rank(query.pool()))
            }
        }
    }
}

impl<P: Ports> Logic<P> {
    /// Finds the facts that answer `query`, best first.
    ///
    /// If the vector retriever of a hybrid search fails, the answer comes from the words and
    /// `degraded` names the failure.
    ///
    /// # Errors
    /// If the query or its filter is invalid, if every retriever fails, or if no fact can
    /// be read.
    pub fn search(&self, query: &Query) -> Result<Answer> {
        query.validate()?;
        let mut degraded = Vec::new();
        let found = match query.mode {
            Mode::Text => Found::One(Retriever::Text, self.matching(query)?),
            Mode::Vector => Found::One(Retriever::Vector, self.nearest(query, &mut degraded)?),
            Mode::Hybrid => self.retrieve(query, &mut degraded)?,
        };
        let mut builder = AnswerBuilder::new(self, query, degraded);
        builder.read(&found.ranked(query))?;
        Ok(builder.answer)
    }

    fn matching(&self, query: &Query) -> Result<Vec<Candidate>> {
        self.ports.matching(&query.text, query.filter.as_deref(), query.pool())
    }

    fn nearest(&self, query: &Query, degraded: &mut Vec<String>) -> Result<Vec<Candidate>> {
        let Some(target) = self.target(query, degraded)? else { return Ok(Vec::new()) };
        self.ports.nearest(&target, query.filter.as_deref(), query.pool())
    }

    /// Asks both retrievers. If that fails with the vector, the words are searched alone.
    fn retrieve(&self, query: &Query, degraded: &mut Vec<String>) -> Result<Found> {
        let target = match self.target(query, degraded) {
            Ok(target) => target,
            Err(error @ Error::InvalidFilter(_)) => return Err(error),
            Err(error) => return self.only_words(query, error, degraded),
        };
        let filter = query.filter.as_deref();
        match self.ports.retrieve(&query.text, target.as_ref(), filter, query.pool()) {
            Ok(found) => Ok(both_if_known(found.candidates)),
            Err(error) if target.is_some() && !matches!(error, Error::InvalidFilter(_)) => {
                self.only_words(query, error, degraded)
            }
            Err(error) => Err(error),
        }
    }

    /// The words' part of a hybrid search whose vector part failed with `error`.
    fn only_words(&self, query: &Query, error: Error, degraded: &mut Vec<String>) -> Result<Found> {
        let filter = query.filter.as_deref();
        let found = match self.ports.retrieve(&query.text, None, filter, query.pool()) {
            Ok(found) => found,
            Err(wrong @ Error::InvalidFilter(_)) => return Err(wrong),
            Err(_) => return Err(error),
        };
        degraded.push(format!("{}: {error}", Retriever::Vector.name()));
        Ok(both_if_known(found.candidates))
    }

    /// The query's vector; `None`, and a sentence in `degraded`, if the model knows none of its
    /// words. Its vector would be that of any such text.
    fn target(&self, query: &Query, degraded: &mut Vec<String>) -> Result<Option<Embeddings>> {
        let known_share = self.ports.examine(&query.text, query.filter.as_deref())?;
        if known_share == Some(0.0) {
            degraded.push(format!("{}: {NOTHING_KNOWN}", Retriever::Vector.name()));
            return Ok(None);
        }
        self.ports.embed(&[&query.text], Purpose::Query).map(Some)
    }
}

/// Why a query is not searched for by meaning.
const NOTHING_KNOWN: &str = "the embedding model knows none of the query's words";

/// Where no vector was compared, the words alone rank.
fn both_if_known(found: Vec<Evidence>) -> Found {
    if found.iter().any(|fact| fact.similarity.is_some()) {
        return Found::Both(found);
    }
    let candidate = |fact: Evidence| Candidate { id: fact.id, score: fact.words };
    Found::One(Retriever::Text, found.into_iter().map(candidate).collect())
}

/// Reads ranked facts until the answer is complete, full or out of budget.
struct AnswerBuilder<'a, P> {
    logic: &'a Logic<P>,
    query: &'a Query,
    deadline: Deadline,
    answer: Answer,
}

impl<'a, P: Ports> AnswerBuilder<'a, P> {
    fn new(logic: &'a Logic<P>, query: &'a Query, degraded: Vec<String>) -> Self {
        let answer = Answer { hits: Vec::new(), degraded };
        Self { logic, query, deadline: Deadline::start(&logic.ports), answer }
    }

    /// Reads the facts of the first candidates in `ranked`. Candidates whose fact is gone
    /// are replaced by the next ones.
    fn read(&mut self, ranked: &[Fused<'_>]) -> Result<()> {
        let mut budget = self.deadline.response_budget();
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
            if !self.add_hits(batch, hashes, &mut budget) {
                self.end_early("the rest did not fit into the answer");
                break;
            }
            let is_done = self.wanted() == 0 || rest.is_empty();
            if !is_done && self.deadline.is_near(&self.logic.ports) {
                self.end_early("the budget was nearly spent");
                break;
            }
        }
        Ok(())
    }

    /// Adds a hit for each fact that was read; `false` once one does not fit.
    fn add_hits(
        &mut self,
        batch: &[Fused<'_>],
        hashes: Vec<Option<Hash>>,
        budget: &mut ResponseBudget,
    ) -> bool {
        for (fused, hash) in batch.iter().zip(hashes) {
            let Some(fact) = hash.and_then(|hash| Fact::from_hash(fused.id, hash)) else {
                continue;
            };
            match budget.reserve(self.bytes(&fact)) {
                Fit::Fits => self.add_hit(fused, fact),
                Fit::TooLarge => {
                    self.logic.log_oversized(fused.id);
                    let sentence = "hits: a fact too large for an answer was left out";
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

    /// Approximate size of a hit in the answer, in bytes.
    fn bytes(&self, fact: &Fact) -> usize {
        let contributions = if self.query.explain { 2 * limits::CONTRIBUTION_BYTES } else { 0 };
        fact.bytes() + contributions
    }

    fn add_hit(&mut self, fused: &Fused<'_>, fact: Fact) {
        let explain = self.query.explain;
        let explanation = explain.then(|| fused.contributions.into_iter().flatten().collect());
        self.answer.hits.push(Hit { fact, score: fused.score, explanation });
    }

    fn end_early(&mut self, why: &str) {
        let (given, asked) = (self.answer.hits.len(), self.query.top_k);
        self.answer.degraded.push(format!("hits: {given} of at most {asked}: {why}"));
    }
}
