//! Listing facts, newest first, optionally only those that contain a text.
//!
//! Across all pages of a listing, a fact that stays must appear exactly once, whatever is
//! stored or deleted in between. Storage guarantees this for its own pages, so each page
//! returned here ends where a storage page ends. When the page is full or the budget is
//! low in the middle of a storage page, a smaller storage page is requested from the same
//! cursor. That page must end with a fact that was examined, or later facts would be
//! skipped. Of the facts examined, only those inside that page are returned; the others
//! belong to the next page.

use crate::budget::{Deadline, Fit, ResponseBudget};
use crate::containing::Needle;
use crate::error::{Backend, Failure};
use crate::fact::{self, Fact, FactPage};
use crate::limits::{FACTS_PER_CALL, FIRST_SCAN_IDS, PAGE_ATTEMPTS, PAGE_END_ATTEMPTS, PAGE_FACTS};
use crate::ports::{Hash, Ports};
use crate::{Error, Logic, Result};

impl<P: Ports> Logic<P> {
    /// Lists facts after `cursor`, at most `limit` (1 to 1,000). With `containing`, lists
    /// only those whose text contains it, ignoring case.
    ///
    /// The page ends early, with a cursor, when the budget is low or the response would be
    /// too large. Every page makes progress.
    ///
    /// # Errors
    /// If `limit` is out of range, if storage fails or rejects the cursor, or
    /// [`Error::Unavailable`] if facts change too fast to find the end of a page.
    pub fn list(
        &self,
        containing: Option<&str>,
        limit: u32,
        cursor: Option<&str>,
    ) -> Result<FactPage> {
        if !(1..=PAGE_FACTS).contains(&limit) {
            return Err(Error::invalid("/limit", "limit must be between 1 and 1000"));
        }
        let mut listing = Listing::new(self, containing, limit);
        let mut cursor = cursor.map(str::to_owned);
        let mut scan = FIRST_SCAN_IDS;
        loop {
            let checkpoint = listing.checkpoint();
            let size = if listing.needle.is_some() { scan } else { listing.wanted() };
            let page = self.ports.page(cursor.as_deref(), size)?;
            let examined = listing.examine(&page.ids)?;
            if examined < page.ids.len() {
                let examined = &page.ids[..examined];
                match listing.end_within(cursor.as_deref(), &checkpoint, examined)? {
                    PageEnd::Found(cursor) => {
                        return Ok(FactPage { facts: listing.facts, cursor });
                    }
                    PageEnd::NotFound => listing.rewind(checkpoint)?,
                }
                continue;
            }
            let is_last = page.cursor.is_none();
            if is_last || listing.is_full || listing.wanted() == 0 || listing.is_low() {
                return Ok(FactPage { facts: listing.facts, cursor: page.cursor });
            }
            cursor = page.cursor;
            scan = (scan * 2).min(PAGE_FACTS);
        }
    }
}

/// A page under construction.
struct Listing<'a, P> {
    logic: &'a Logic<P>,
    needle: Option<Needle>,
    limit: usize,
    facts: Vec<Fact>,
    deadline: Deadline,
    budget: ResponseBudget,
    /// A matching fact was found that no longer fits.
    is_full: bool,
    /// How often a storage page had to be started again.
    attempts: u32,
}

impl<'a, P: Ports> Listing<'a, P> {
    fn new(logic: &'a Logic<P>, containing: Option<&str>, limit: u32) -> Self {
        let deadline = Deadline::start(&logic.ports);
        Self {
            logic,
            needle: containing.filter(|text| !text.is_empty()).map(Needle::new),
            limit: limit as usize,
            facts: Vec::new(),
            budget: deadline.response_budget(),
            deadline,
            is_full: false,
            attempts: 0,
        }
    }

    fn wanted(&self) -> u32 {
        (self.limit - self.facts.len()) as u32
    }

    fn is_low(&mut self) -> bool {
        self.deadline.is_near(&self.logic.ports)
    }

    /// Reads `ids` and keeps the matching facts. Returns how many ids were examined, which
    /// is less than all if the page is full or the budget is low.
    fn examine(&mut self, ids: &[String]) -> Result<usize> {
        let ids: Vec<_> = ids.iter().map(String::as_str).collect();
        let mut examined = 0;
        while examined < ids.len() {
            let end = ids.len().min(examined + FACTS_PER_CALL.allowed as usize);
            let batch = &ids[examined..end];
            for (id, hash) in batch.iter().zip(self.logic.read_tolerantly(batch)?) {
                if !self.keep(id, hash) {
                    return Ok(examined);
                }
                examined += 1;
            }
            if examined < ids.len() && (self.wanted() == 0 || self.is_low()) {
                break;
            }
        }
        Ok(examined)
    }

    /// Keeps a fact if it matches; `false` if it matches but does not fit.
    fn keep(&mut self, id: &str, hash: Option<Hash>) -> bool {
        let Some(hash) = hash.filter(|hash| self.matches(hash)) else {
            return true;
        };
        let Some(fact) = Fact::from_hash(id, hash) else {
            return true;
        };
        if self.wanted() == 0 {
            self.is_full = true;
            return false;
        }
        match self.budget.reserve(fact.bytes()) {
            Fit::Fits => self.facts.push(fact),
            Fit::TooLarge => self.logic.log_oversized(id),
            Fit::Full => self.is_full = true,
        }
        !self.is_full
    }

    /// Checks the hash because converting it to a fact costs more than the check.
    fn matches(&mut self, hash: &Hash) -> bool {
        let Some(needle) = &mut self.needle else {
            return true;
        };
        hash.get(fact::CONTENT).is_some_and(|text| needle.is_in(text))
    }

    fn checkpoint(&self) -> Checkpoint {
        Checkpoint { facts: self.facts.len(), budget: self.budget, is_full: self.is_full }
    }

    /// Finds where to end after `examined`, the first ids of the storage page that starts
    /// at `cursor`. Drops facts kept since `checkpoint` that come after that end.
    fn end_within(
        &mut self,
        cursor: Option<&str>,
        checkpoint: &Checkpoint,
        examined: &[String],
    ) -> Result<PageEnd> {
        if examined.is_empty() {
            return Ok(PageEnd::Found(cursor.map(str::to_owned)));
        }
        let mut size = examined.len();
        for _ in 0..PAGE_END_ATTEMPTS {
            let page = self.logic.ports.page(cursor, size as u32)?;
            size = match page.ids.iter().rposition(|id| examined.contains(id)) {
                Some(last) if last + 1 == page.ids.len() => {
                    self.retain(&page.ids, checkpoint, examined);
                    return Ok(PageEnd::Found(page.cursor));
                }
                // Facts were deleted, and later ones moved into this page.
                Some(last) => last + 1,
                // New facts fill the page, or every examined fact is gone.
                None => PAGE_FACTS as usize,
            };
        }
        Ok(PageEnd::NotFound)
    }

    /// Drops the facts kept since `checkpoint` that are not in `page`.
    fn retain(&mut self, page: &[String], checkpoint: &Checkpoint, examined: &[String]) {
        if page != examined {
            let recent = self.facts.split_off(checkpoint.facts);
            let kept = recent.into_iter().filter(|fact| page.contains(&fact.id));
            self.facts.extend(kept);
        }
    }

    /// Goes back to `checkpoint` to try again, unless that has failed too often.
    fn rewind(&mut self, checkpoint: Checkpoint) -> Result<()> {
        self.attempts += 1;
        if self.attempts == PAGE_ATTEMPTS || self.is_low() {
            let message = "facts change faster than they can be listed; try again".into();
            return Err(Error::Unavailable(Failure { backend: Backend::Storage, message }));
        }
        self.facts.truncate(checkpoint.facts);
        (self.budget, self.is_full) = (checkpoint.budget, checkpoint.is_full);
        Ok(())
    }
}

/// The state of a listing before a storage page.
struct Checkpoint {
    facts: usize,
    budget: ResponseBudget,
    is_full: bool,
}

/// Where a page that ends inside a storage page can end.
enum PageEnd {
    /// At this cursor.
    Found(Option<String>),
    /// Nowhere: too much changed in the meantime.
    NotFound,
}
