//! Where the next page of a search begins.
//!
//! A cursor holds hashes of the hits that the caller has been shown, not a number of hits to skip:
//! how many hits the logic is asked for can change their order, and facts are stored meanwhile. So
//! no fact comes twice. Of facts that an extension hides, a cursor holds how many there were, and
//! nothing else: its reader could recognise their ids.

use std::collections::HashSet;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kenning_core::error::Error;
use kenning_runtime::wit::Query;
use kenning_storage::TenantId;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::options::Options;

/// The first byte of a cursor of this form.
const FORM: u8 = 1;

/// Bytes of a fingerprint and of an id's hash.
const HASH: usize = 8;

/// Bytes before the ids' hashes: the form, the fingerprint, and how many hits were hidden.
const HEAD: usize = 1 + HASH + 2;

type Hash = [u8; HASH];

/// Which search a cursor belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint(Hash);

impl Fingerprint {
    /// Of everything that decides which hits there are and in which order.
    pub(super) fn new(tenant: &TenantId, query: &Query, options: &Options) -> Self {
        let recency = options.recency.as_ref();
        let recency = recency.map(|recency| (recency.half_life, &recency.field, recency.weight));
        let (mode, fusion) = (format!("{:?}", query.mode), format!("{:?}", query.fusion));
        let Options { min_relevance, diversity, vector, .. } = options;
        let request = json!([
            tenant.to_string(),
            query.text,
            mode,
            fusion,
            query.filter,
            min_relevance,
            diversity,
            recency,
            vector,
        ]);
        Self(hash(&request.to_string()))
    }
}

/// What the pages before this one held.
#[derive(Debug, Default)]
pub(super) struct Shown {
    ids: HashSet<Hash>,
    /// Hits before the page's end that extensions hid. They are asked for again, and hidden again.
    hidden: usize,
}

impl Shown {
    /// What `cursor` says was shown; nothing, if there is no cursor.
    ///
    /// # Errors
    /// If it is no cursor, or that of another search.
    pub(super) fn before(cursor: Option<&str>, search: Fingerprint) -> Result<Self, Error> {
        let Some(cursor) = cursor else { return Ok(Self::default()) };
        let (of, shown) = decode(cursor).ok_or_else(|| {
            let message = "this is no cursor of a search; use next_cursor of the page before";
            Error::invalid("/cursor", message)
        })?;
        if of != search {
            let message = "this cursor belongs to another search: send it with the same query, \
                           mode, fusion, filter, vector, min_relevance, diversity and recency";
            return Err(Error::invalid("/cursor", message));
        }
        Ok(shown)
    }

    /// Whether the fact was shown.
    pub(super) fn has(&self, id: &str) -> bool {
        self.ids.contains(&hash(id))
    }

    /// How many hits were shown or hidden.
    pub(super) fn count(&self) -> usize {
        self.ids.len() + self.hidden
    }

    pub(super) fn hidden(&self) -> usize {
        self.hidden
    }

    /// After a page that showed `ids`, while `hidden` hits in all were hidden.
    pub(super) fn after<'a>(mut self, ids: impl Iterator<Item = &'a str>, hidden: usize) -> Self {
        self.ids.extend(ids.map(hash));
        self.hidden = hidden;
        self
    }

    pub(super) fn encode(&self, search: Fingerprint) -> String {
        let mut bytes = vec![FORM];
        bytes.extend(search.0);
        bytes.extend(u16::try_from(self.hidden).unwrap_or(u16::MAX).to_be_bytes());
        let mut ids: Vec<_> = self.ids.iter().collect();
        ids.sort_unstable();
        ids.into_iter().for_each(|id| bytes.extend(id));
        URL_SAFE_NO_PAD.encode(bytes)
    }
}

fn decode(cursor: &str) -> Option<(Fingerprint, Shown)> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let (head, ids) = bytes.split_at_checked(HEAD)?;
    let (form, head) = head.split_first()?;
    let (fingerprint, hidden) = head.split_first_chunk::<HASH>()?;
    let (ids, rest) = ids.as_chunks::<HASH>();
    if *form != FORM || !rest.is_empty() {
        return None;
    }
    let hidden = u16::from_be_bytes(hidden.try_into().ok()?).into();
    Some((Fingerprint(*fingerprint), Shown { ids: ids.iter().copied().collect(), hidden }))
}

fn hash(text: &str) -> Hash {
    let digest: [u8; 32] = Sha256::digest(text).into();
    std::array::from_fn(|at| digest[at])
}

#[cfg(test)]
mod tests {
    use kenning_runtime::wit::{Fusion, Mode};

    use super::*;

    fn print(text: &str, diversity: f64) -> Fingerprint {
        let (mode, fusion, filter) = (Mode::Hybrid, Fusion::Score, None);
        let query = Query { text: text.into(), top_k: 1, mode, fusion, filter, explain: false };
        let options = Options { diversity, ..Options::default() };
        Fingerprint::new(&TenantId::parse("a").unwrap(), &query, &options)
    }

    #[test]
    fn a_cursor_holds_what_was_shown_and_how_many_hits_were_hidden() {
        let search = print("tea", 0.0);
        let shown = Shown::default().after(["a", "b"].into_iter(), 3);
        let again = Shown::before(Some(&shown.encode(search)), search).unwrap();
        assert!(again.has("a") && again.has("b") && !again.has("c"));
        assert_eq!((again.count(), again.hidden()), (5, 3));
        let next = again.after(["c"].into_iter(), 0);
        let next = Shown::before(Some(&next.encode(search)), search).unwrap();
        assert!(next.has("a") && next.has("c") && next.count() == 3);
        assert_eq!(Shown::before(None, search).unwrap().count(), 0);
    }

    #[test]
    fn a_cursor_of_another_search_and_what_is_no_cursor_are_refused() {
        let cursor = Shown::default().encode(print("tea", 0.0));
        let pointer = |cursor: &str, search| {
            let error = Shown::before(Some(cursor), search).unwrap_err();
            error.details.unwrap()["pointer"].clone()
        };
        for other in [print("coffee", 0.0), print("tea", 0.5)] {
            assert_eq!(pointer(&cursor, other), "/cursor");
        }
        let long = format!("{cursor}AAAA");
        for no_cursor in ["", "x", "!", &cursor[1..], &long, "AAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
            assert_eq!(pointer(no_cursor, print("tea", 0.0)), "/cursor", "{no_cursor}");
        }
    }
}
