//! Listing facts, newest first, perhaps only those that contain a text.
//!
//! A listing is to name a fact that stays exactly once, whatever is stored or deleted
//! between its pages. Storage promises that for its own pages, so every page of ours ends
//! where one of storage's ends. Where ours must end inside one, because it is full or the
//! budget is low, a smaller page is asked for from the same place. It must end with a fact
//! that was looked at, so that none after it is passed over; and of the facts that were
//! looked at the answer keeps those it holds, as the others come after it.

use crate::budget::{Fit, Room, Watch};
use crate::containing::Needle;
use crate::error::{Backend, Failure};
use crate::fact::{self, Fact, FactPage};
use crate::limits::{FACTS_PER_CALL, FIRST_SCAN_IDS, LISTING_ENDS, LISTING_TRIES, PAGE_FACTS};
use crate::ports::{Hash, Ports};
use crate::{Error, Logic, Result};

impl<P: Ports> Logic<P> {
    /// Facts after `cursor`, at most `limit` (1 to 1,000); with `containing`, only those
    /// whose text contains it, in any case of letters.
    ///
    /// It ends early, with a cursor, when the budget is low or the answer would be too
    /// large, but never without a step forward.
    pub fn list(
        &self,
        containing: Option<&str>,
        limit: u32,
        cursor: Option<&str>,
    ) -> Result<FactPage> {
        if !(1..=PAGE_FACTS).contains(&limit) {
            return Err(Error::invalid("/limit", "a limit is 1 to 1000"));
        }
        let mut listing = Listing::begin(self, containing, limit);
        let mut cursor = cursor.map(str::to_owned);
        let mut scan = FIRST_SCAN_IDS;
        loop {
            let mark = listing.mark();
            let size = if listing.needle.is_some() { scan } else { listing.wanted() };
            let page = self.ports.page(cursor.as_deref(), size)?;
            let examined = listing.examine(&page.ids)?;
            if examined < page.ids.len() {
                match listing.end_inside(cursor.as_deref(), &mark, &page.ids[..examined])? {
                    Ending::At(cursor) => {
                        return Ok(FactPage { facts: listing.facts, cursor });
                    }
                    Ending::Nowhere => listing.go_back(mark)?,
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

/// A page of ours in the making.
struct Listing<'a, P> {
    logic: &'a Logic<P>,
    needle: Option<Needle>,
    limit: usize,
    facts: Vec<Fact>,
    watch: Watch,
    room: Room,
    /// A fact was met that has no room here.
    is_full: bool,
    /// How often a page of storage had to be done again.
    tries: u32,
}

impl<'a, P: Ports> Listing<'a, P> {
    fn begin(logic: &'a Logic<P>, containing: Option<&str>, limit: u32) -> Self {
        let watch = Watch::begin(&logic.ports);
        Self {
            logic,
            needle: containing.filter(|text| !text.is_empty()).map(Needle::new),
            limit: limit as usize,
            facts: Vec::new(),
            room: watch.room(),
            watch,
            is_full: false,
            tries: 0,
        }
    }

    fn wanted(&self) -> u32 {
        (self.limit - self.facts.len()) as u32
    }

    fn is_low(&mut self) -> bool {
        self.watch.is_low(&self.logic.ports)
    }

    /// Reads `ids` and keeps what belongs here. Says how many it came to: fewer than all
    /// if there is no room for more, or no budget.
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

    /// Keeps a fact that belongs here; `false` if it does and there is no room.
    fn keep(&mut self, id: &str, hash: Option<Hash>) -> bool {
        let Some(hash) = hash.filter(|hash| self.asks_for(hash)) else {
            return true;
        };
        let Some(fact) = Fact::from_hash(id, hash) else {
            return true;
        };
        if self.wanted() == 0 {
            self.is_full = true;
            return false;
        }
        match self.room.take(fact.bytes()) {
            Fit::Fits => self.facts.push(fact),
            Fit::Never => self.logic.note_oversized(id),
            Fit::Full => self.is_full = true,
        }
        !self.is_full
    }

    /// Looked at before the hash is made a fact, which costs more than the look.
    fn asks_for(&mut self, hash: &Hash) -> bool {
        let Some(needle) = &mut self.needle else {
            return true;
        };
        hash.get(fact::CONTENT).is_some_and(|text| needle.is_in(text))
    }

    fn mark(&self) -> Mark {
        Mark { facts: self.facts.len(), room: self.room, is_full: self.is_full }
    }

    /// Where to end after `examined`, the first ids of the page of storage that began at
    /// `cursor`, when the listing was at `mark`. Drops the facts that come after that end.
    fn end_inside(
        &mut self,
        cursor: Option<&str>,
        mark: &Mark,
        examined: &[String],
    ) -> Result<Ending> {
        if examined.is_empty() {
            return Ok(Ending::At(cursor.map(str::to_owned)));
        }
        let mut size = examined.len();
        for _ in 0..LISTING_ENDS {
            let page = self.logic.ports.page(cursor, size as u32)?;
            size = match page.ids.iter().rposition(|id| examined.contains(id)) {
                Some(last) if last + 1 == page.ids.len() => {
                    self.keep_of(&page.ids, mark, examined);
                    return Ok(Ending::At(page.cursor));
                }
                // Facts were deleted, and others moved up into this page.
                Some(last) => last + 1,
                // So many were stored that they fill it, or all that were looked at are gone.
                None => PAGE_FACTS as usize,
            };
        }
        Ok(Ending::Nowhere)
    }

    /// Drops the facts since `mark` that are not in `page`.
    fn keep_of(&mut self, page: &[String], mark: &Mark, examined: &[String]) {
        if page != examined {
            let of_page = self.facts.split_off(mark.facts);
            let kept = of_page.into_iter().filter(|fact| page.contains(&fact.id));
            self.facts.extend(kept);
        }
    }

    /// Forgets what was done since `mark`, to do it again while that makes sense.
    fn go_back(&mut self, mark: Mark) -> Result<()> {
        self.tries += 1;
        if self.tries == LISTING_TRIES || self.is_low() {
            let message = "facts change faster than they can be listed; try again".into();
            return Err(Error::Unavailable(Failure { backend: Backend::Storage, message }));
        }
        self.facts.truncate(mark.facts);
        (self.room, self.is_full) = (mark.room, mark.is_full);
        Ok(())
    }
}

/// Where a listing was before a page of storage.
struct Mark {
    facts: usize,
    room: Room,
    is_full: bool,
}

/// How a page of ours ends inside one of storage's.
enum Ending {
    /// With this cursor.
    At(Option<String>),
    /// Nowhere: too much changed meanwhile.
    Nowhere,
}
