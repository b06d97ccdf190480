//! The steps of a search: the logic finds and ranks, and the host does what the caller asks for
//! around it.
//!
//! on-query → the logic → relevance → recency → diversity → the floor of relevance → the page →
//! on-read → rerank → highlights. What stands before on-read sees facts as they are stored; what
//! is returned of their text is made from what on-read shows.

mod cursor;
mod extension_options;
mod options;
mod order;
mod relevance;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use kenning_index::{Evidence, Facet, FactIndex, Filter, Index, IndexError, Passage, Work};
use kenning_runtime::wit::{Answer, Hit, Query};
use kenning_runtime::{CallError, Hook, TenantIndex, Waiting};
use serde_json::json;

use super::pipeline::Pipeline;
use super::validate;
use cursor::{Fingerprint, Shown};
use kenning_core::error::{Code, Error};
pub use options::{Options, Recency, Search};
use order::Judged;

/// What a search found.
#[derive(Debug)]
pub struct Found {
    /// Best first.
    pub hits: Vec<FoundHit>,
    /// One sentence for each part that failed or was left out.
    pub degraded: Vec<String>,
    /// The values of each field that was asked for.
    pub facets: Vec<(String, Facet)>,
    /// Where the next page begins; `None` if there is no more.
    pub next_cursor: Option<String>,
}

/// A hit, and what is known of it.
#[derive(Debug)]
pub struct FoundHit {
    /// The fact as the caller may see it, and its score.
    pub hit: Hit,
    /// Cosine similarity to the query, -1 to 1, if both have a vector.
    pub similarity: Option<f64>,
    /// How likely the fact answers the query, 0 to 1.
    pub relevance: f64,
    /// Passages with the query's words, if they were asked for.
    pub highlights: Option<Vec<Highlight>>,
}

/// A passage of a hit's text. Places are in characters (Unicode scalar values).
#[derive(Debug, PartialEq, Eq)]
pub struct Highlight {
    /// The passage.
    pub text: String,
    /// Where it begins in the hit's text.
    pub start: usize,
    /// Where words of the query begin and end in the passage.
    pub matches: Vec<(usize, usize)>,
}

/// The hits of one page.
struct Page {
    hits: Vec<Judged>,
    /// Whether there are hits behind it.
    has_more: bool,
}

impl Pipeline {
    /// Searches `index`, with which the call was admitted.
    pub(super) async fn search_in(
        &mut self,
        index: Arc<TenantIndex>,
        search: Search,
    ) -> Result<Found, Error> {
        self.session.use_index(index);
        self.search(search).await
    }

    /// Searches: hooks change the query, hide or redact hits, and rerank them. A hook may ask for
    /// more hits than the caller, to have a choice; the caller gets as many as it asked for.
    pub(super) async fn search(&mut self, search: Search) -> Result<Found, Error> {
        let Search { query, options } = search;
        let fingerprint = Fingerprint::new(self.session.tenant(), &query, &options);
        let shown = Shown::before(options.cursor.as_deref(), fingerprint)?;
        self.refuse_facets(&options)?;
        self.check_extension_options(&options).await?;
        let asked_for = query.top_k as usize;
        let query = self.on_query(query).await?;
        self.give_query(&query, options.vector.as_deref())?;
        let wanted = shown.count() + query.top_k as usize;
        let depth = options.depth(wanted).min(self.session.services().limits.search_hits);
        let (answer, vector) =
            self.ask_logic(Query { top_k: depth as u32, ..query.clone() }).await?;
        let Answer { hits, mut degraded } = answer;
        let is_full = hits.len() >= depth;
        let hits = self.judge(&query, hits, vector).await?;
        // Hits are in the order of the logic; behind one that is not relevant come others.
        let floor = options.min_relevance.unwrap_or(0.0);
        let goes_on = is_full && hits.last().is_some_and(|judged| judged.relevance >= floor);
        let hits = self.arrange(hits, &options, wanted).await?;
        let room = shown.hidden() + query.top_k as usize;
        let page = page(hits, floor, &shown, room);
        let has_more =
            page.has_more || (goes_on && !page.hits.is_empty() && depth < self.findable_facts());
        let in_page = page.hits.len();
        let (mut answer, known) = apart(page.hits);
        self.read_hits(&mut answer).await?;
        self.rerank(&query, &mut answer).await?;
        let hidden = in_page - answer.hits.len();
        let has_more = has_more || answer.hits.len() > asked_for;
        answer.hits.truncate(asked_for);
        let ids = answer.hits.iter().map(|hit| hit.fact.id.as_str());
        let shown = has_more.then(|| shown.after(ids, hidden));
        let next_cursor = shown.and_then(|shown| self.next(&shown, fingerprint, &mut degraded));
        let facets = self.facets(&options.facets, query.filter.as_deref()).await?;
        let hits = together(answer.hits, &known);
        let hits = if options.highlights { self.highlight(&query, hits).await? } else { hits };
        degraded.extend(self.hooks.degraded());
        Ok(Found { hits, degraded, facets, next_cursor })
    }

    /// The logic's hits, and the vector that it made of the query.
    async fn ask_logic(&mut self, query: Query) -> Result<(Answer, Option<Arc<[f32]>>), Error> {
        let (logic, top_k) = (self.logic(), query.top_k);
        let answer = self.session.search(&logic, query).await;
        let (mut answer, effects) =
            self.validated(answer, |answer, effects| validate::found(top_k, answer, effects))?;
        answer.hits = self.keep_valid(answer.hits, |hit| &hit.fact);
        answer.degraded.extend(
            effects
                .unreadable
                .iter()
                .map(|id| format!("storage: the fact {id} is damaged and was left out")),
        );
        Ok((answer, effects.query_vector))
    }

    /// Adds to each hit what the index knows of it.
    async fn judge(
        &self,
        query: &Query,
        hits: Vec<Hit>,
        vector: Option<Arc<[f32]>>,
    ) -> Result<Vec<Judged>, Error> {
        if hits.is_empty() {
            return Ok(Vec::new());
        }
        // The vector of a text that the model does not know is that of any such text.
        let embedder = self.session.services().embedders.of(self.session.tenant());
        let vector = vector.filter(|_| !embedder.knows_nothing(&query.text));
        let text = query.text.clone();
        let ids: Vec<String> = hits.iter().map(|hit| hit.fact.id.clone()).collect();
        let evidence = move |index: &Index, work: &Work<'_>| {
            let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
            index.evidence_within(&text, vector.as_deref(), &ids, work)
        };
        let evidence = self.ask_index(evidence).await?.unwrap_or_default();
        // A fact that is not in the index has neither a vector nor words.
        let mut evidence = evidence.into_iter();
        let mut judged = |hit| {
            let evidence: Evidence = evidence.next().flatten().unwrap_or_default();
            let similarity = evidence.similarity.map(|value| relevance::rounded(value.into()));
            Judged { hit, similarity, relevance: relevance::relevance(&evidence) }
        };
        Ok(hits.into_iter().map(&mut judged).collect())
    }

    /// The hits in the order that the options ask for.
    async fn arrange(
        &self,
        mut hits: Vec<Judged>,
        options: &Options,
        wanted: usize,
    ) -> Result<Vec<Judged>, Error> {
        if options.recency.is_none() && options.diversity == 0.0 {
            return Ok(hits);
        }
        order::scale(&mut hits);
        if let Some(recency) = &options.recency {
            order::prefer_recent(&mut hits, recency, now());
        }
        if options.diversity == 0.0 {
            return Ok(hits);
        }
        let ranked: Vec<_> =
            hits.iter().map(|judged| (judged.hit.fact.id.clone(), judged.hit.score)).collect();
        let diversity = options.diversity;
        let picked =
            self.ask_index(move |index, work| index.diversify(&ranked, diversity, wanted, work));
        let picked = picked.await?.unwrap_or_default();
        Ok(order::in_picked_order(hits, &picked))
    }

    /// The cursor of the next page, unless the limit on hits ends the paging.
    fn next(
        &self,
        shown: &Shown,
        fingerprint: Fingerprint,
        degraded: &mut Vec<String>,
    ) -> Option<String> {
        let most = self.session.services().limits.search_hits;
        if shown.count() < most {
            return Some(shown.encode(fingerprint));
        }
        degraded.push(format!(
            "hits: there are more, and paging ends after {most} (search_hits); a filter finds the \
             others"
        ));
        None
    }

    /// How many facts a search can find at most.
    fn findable_facts(&self) -> usize {
        self.session.index().map_or(0, |index| index.sizes().facts)
    }

    /// Facets are counted from stored metadata, which an extension may hide from its readers.
    fn refuse_facets(&self, options: &Options) -> Result<(), Error> {
        let mut extensions = self.snapshot.extensions.iter();
        let hides = extensions.find(|extension| extension.has(Hook::OnRead));
        match hides {
            Some(extension) if !options.facets.is_empty() => {
                let message = format!(
                    "facets are not available: the extension {} decides what is read of each fact \
                     (on-read), and facets are counted without reading",
                    extension.name()
                );
                Err(Error::invalid("/facets", message))
            }
            _ => Ok(()),
        }
    }

    async fn facets(
        &self,
        fields: &[String],
        filter: Option<&str>,
    ) -> Result<Vec<(String, Facet)>, Error> {
        if fields.is_empty() {
            return Ok(Vec::new());
        }
        let filter = filter.map(parse_filter).transpose()?;
        let (names, most) = (fields.to_vec(), self.session.services().limits.facet_values);
        let facets =
            self.ask_index(move |index, work| index.facets(&names, filter.as_ref(), most, work));
        let none = || vec![Facet { values: Vec::new(), distinct: 0 }; fields.len()];
        let facets = facets.await?.unwrap_or_else(none);
        Ok(fields.iter().cloned().zip(facets).collect())
    }

    /// Adds passages of what the caller sees to each hit.
    async fn highlight(
        &self,
        query: &Query,
        mut hits: Vec<FoundHit>,
    ) -> Result<Vec<FoundHit>, Error> {
        let (text, texts) = (query.text.clone(), Arc::<[String]>::from_iter(texts(&hits)));
        let given = texts.clone();
        let passages = self.ask_index(move |index, work| index.passages(&text, &given, work));
        let passages = passages.await?.unwrap_or_default();
        for ((hit, text), passages) in hits.iter_mut().zip(&*texts).zip(passages) {
            let highlights = passages.iter().map(|passage| Highlight::new(text, passage));
            hit.highlights = Some(highlights.collect());
        }
        Ok(hits)
    }

    async fn ask_index<T: Send + 'static>(
        &self,
        search: impl Fn(&Index, &Work<'_>) -> Result<T, IndexError> + Send + Sync + 'static,
    ) -> Result<Option<T>, Error> {
        self.session.search_index(search).await.map_err(|error| match error {
            IndexError::Stopped => self
                .errors
                .call_error(&CallError::Deadline { in_guest: true, waiting: Waiting::Index }),
            other => Error::internal(other),
        })
    }
}

/// The first hits that are relevant and were not shown.
fn page(hits: Vec<Judged>, floor: f64, shown: &Shown, room: usize) -> Page {
    let is_next = |judged: &Judged| judged.relevance >= floor && !shown.has(&judged.hit.fact.id);
    let mut hits: Vec<_> = hits.into_iter().filter(is_next).collect();
    let has_more = hits.len() > room;
    hits.truncate(room);
    Page { hits, has_more }
}

/// The hits, and what is known of each by its id.
fn apart(hits: Vec<Judged>) -> (Answer, HashMap<String, (Option<f64>, f64)>) {
    let known =
        |judged: &Judged| (judged.hit.fact.id.clone(), (judged.similarity, judged.relevance));
    let known = hits.iter().map(known).collect();
    let hits = hits.into_iter().map(|judged| judged.hit).collect();
    (Answer { hits, degraded: Vec::new() }, known)
}

fn together(hits: Vec<Hit>, known: &HashMap<String, (Option<f64>, f64)>) -> Vec<FoundHit> {
    let found = |hit: Hit| {
        let (similarity, relevance) = known.get(&hit.fact.id).copied().unwrap_or_default();
        FoundHit { hit, similarity, relevance, highlights: None }
    };
    hits.into_iter().map(found).collect()
}

fn texts(hits: &[FoundHit]) -> impl Iterator<Item = String> {
    hits.iter().map(|found| found.hit.fact.text.clone())
}

fn parse_filter(filter: &str) -> Result<Filter, Error> {
    Filter::parse_text(filter).map_err(|error| {
        let pointer = format!("/filter{}", error.pointer);
        Error::new(Code::InvalidFilter, error.message).with_details(json!({ "pointer": pointer }))
    })
}

/// Seconds since 1970. A clock before 1970 counts as 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

impl Highlight {
    fn new(text: &str, passage: &Passage) -> Self {
        let part = &text[passage.range.clone()];
        let characters = |end: usize| part[..end - passage.range.start].chars().count();
        let matches = passage.matches.iter();
        let matches = matches.map(|range| (characters(range.start), characters(range.end)));
        let start = text[..passage.range.start].chars().count();
        Self { text: part.to_string(), start, matches: matches.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_a_highlight_are_in_characters() {
        let text = "Tête-à-tête: déjà vu, naïve";
        let from = text.find("déjà").unwrap();
        let matches = ["déjà", "vu"].map(|word| {
            let start = text.find(word).unwrap();
            start..start + word.len()
        });
        let passage = Passage { range: from..text.len(), matches: matches.to_vec() };
        let found = Highlight::new(text, &passage);
        assert_eq!((found.start, &found.matches[..]), (13, &[(0, 4), (5, 7)][..]));
        assert_eq!(found.text, "déjà vu, naïve");
    }
}
