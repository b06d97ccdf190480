//! An inverted index: from keys (terms of texts, values of metadata) to the facts that have them.
//!
//! Each key has a list of postings, and each fact records where its own postings are, so that a
//! removal deletes exactly those. There are no tombstones and no compaction: memory use follows
//! the number of facts, counts are exact, and no write does the work of earlier ones. The cost is
//! 8 bytes per posting, and that lists are unordered, which rules out skipping within them.

use hashbrown::HashTable;
use slab::Slab;
use smallvec::SmallVec;

/// A fact that has the key, with data such as the term frequency.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Posting<P> {
    pub(crate) slot: u32,
    pub(crate) payload: P,
}

/// A key with the facts that have it.
#[derive(Debug)]
pub(crate) struct List<K, P> {
    pub(crate) key: K,
    hash: u64,
    /// Most terms are in one or two facts only, which fit in place without an allocation.
    postings: SmallVec<[Posting<P>; 2]>,
}

impl<K, P> List<K, P> {
    pub(crate) fn postings(&self) -> &[Posting<P>] {
        &self.postings
    }
}

/// One key of a fact, with its hash.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Item<K, P> {
    pub(crate) key: K,
    pub(crate) hash: u64,
    pub(crate) payload: P,
}

/// The location of one posting of a fact: a list, and an index into it.
#[derive(Debug, Clone, Copy)]
struct Link {
    list: u32,
    at: u32,
}

/// A map from keys to slots. Slots are numbered from 0 without gaps.
#[derive(Debug)]
pub(crate) struct Inverted<K, P> {
    /// Keys into `lists`, by hash of the list's key.
    table: HashTable<u32>,
    lists: Slab<List<K, P>>,
    /// The postings of each slot, sorted by list.
    links: Vec<Box<[Link]>>,
    postings: usize,
}

impl<K: Eq, P: Copy> Inverted<K, P> {
    pub(crate) fn new() -> Self {
        Self { table: HashTable::new(), lists: Slab::new(), links: Vec::new(), postings: 0 }
    }

    /// Adds a slot without keys.
    pub(crate) fn push(&mut self) {
        self.links.push(Box::default());
    }

    /// Adds the `items`, whose keys are distinct, to `slot`, which must have no keys. Calls
    /// `added` with every new list and its key.
    pub(crate) fn fill(
        &mut self,
        slot: u32,
        items: Vec<Item<K, P>>,
        mut added: impl FnMut(u32, &K),
    ) {
        let mut links = Vec::with_capacity(items.len());
        for item in items {
            let payload = item.payload;
            let list = match self.find(item.hash, |key| *key == item.key) {
                Some(list) => list,
                None => self.add_list(item, &mut added),
            };
            let postings = &mut self.lists[list as usize].postings;
            links.push(Link { list, at: postings.len() as u32 });
            postings.push(Posting { slot, payload });
        }
        links.sort_unstable_by_key(|link| link.list);
        self.postings += links.len();
        self.links[slot as usize] = links.into_boxed_slice();
    }

    /// Removes all keys of `slot`. Calls `removed` with every list that became empty and its key.
    pub(crate) fn clear(&mut self, slot: u32, mut removed: impl FnMut(u32, K)) {
        let links = std::mem::take(&mut self.links[slot as usize]);
        self.postings -= links.len();
        for link in links {
            let postings = &mut self.lists[link.list as usize].postings;
            postings.swap_remove(link.at as usize);
            if postings.len() * 4 < postings.capacity() {
                postings.shrink_to_fit();
            }
            if let Some(moved) = postings.get(link.at as usize) {
                let links = &mut self.links[moved.slot as usize];
                if let Ok(found) = links.binary_search_by_key(&link.list, |link| link.list) {
                    links[found].at = link.at;
                }
            } else if postings.is_empty() {
                removed(link.list, self.remove_list(link.list));
            }
        }
    }

    /// Removes `slot`, which must have no keys; the last slot takes its number.
    pub(crate) fn swap_remove(&mut self, slot: u32) {
        self.links.swap_remove(slot as usize);
        for link in self.links.get(slot as usize).into_iter().flatten() {
            self.lists[link.list as usize].postings[link.at as usize].slot = slot;
        }
    }

    /// The list whose key has this hash and satisfies `same`.
    pub(crate) fn find(&self, hash: u64, same: impl Fn(&K) -> bool) -> Option<u32> {
        self.table.find(hash, |&list| same(&self.lists[list as usize].key)).copied()
    }

    pub(crate) fn list(&self, list: u32) -> &List<K, P> {
        &self.lists[list as usize]
    }

    /// How many keys both slots have, and how many at least one of them has.
    pub(crate) fn shared(&self, left: u32, right: u32) -> (usize, usize) {
        let (left, right) = (&self.links[left as usize], &self.links[right as usize]);
        let has = |link: &&Link| right.binary_search_by_key(&link.list, |link| link.list).is_ok();
        let both = left.iter().filter(has).count();
        (both, left.len() + right.len() - both)
    }

    /// The posting of `slot` in `list`, if it has that key.
    pub(crate) fn posting(&self, list: u32, slot: u32) -> Option<&Posting<P>> {
        let links = &self.links[slot as usize];
        let found = links.binary_search_by_key(&list, |link| link.list).ok()?;
        self.lists[list as usize].postings.get(links[found].at as usize)
    }

    /// Number of postings: pairs of a fact and a key it has.
    pub(crate) fn postings(&self) -> usize {
        self.postings
    }

    /// Number of distinct keys.
    pub(crate) fn keys(&self) -> usize {
        self.lists.len()
    }

    /// Approximate memory use in bytes, without what the keys own.
    pub(crate) fn bytes(&self) -> usize {
        self.lists.capacity() * size_of::<List<K, P>>()
            + self.table.capacity() * (size_of::<u32>() + 1)
            + self.links.capacity() * size_of::<Box<[Link]>>()
            + self.postings * (size_of::<Link>() + size_of::<Posting<P>>())
    }

    fn add_list(&mut self, item: Item<K, P>, added: &mut impl FnMut(u32, &K)) -> u32 {
        let hash = item.hash;
        let entry = List { key: item.key, hash, postings: SmallVec::new() };
        let list = self.lists.insert(entry) as u32;
        added(list, &self.lists[list as usize].key);
        let lists = &self.lists;
        self.table.insert_unique(hash, list, |&list| lists[list as usize].hash);
        list
    }

    fn remove_list(&mut self, list: u32) -> K {
        let removed = self.lists.remove(list as usize);
        if let Ok(entry) = self.table.find_entry(removed.hash, |&other| other == list) {
            entry.remove();
        }
        removed.key
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    type Facts = Vec<BTreeSet<u32>>;

    /// Hashes collide in groups of ten keys, so that lookups must compare keys.
    fn items(keys: &BTreeSet<u32>) -> Vec<Item<u32, ()>> {
        keys.iter().map(|&key| Item { key, hash: u64::from(key / 10), payload: () }).collect()
    }

    fn slots_by_key(inverted: &Inverted<u32, ()>) -> BTreeMap<u32, BTreeSet<u32>> {
        let slots = |list: &List<u32, ()>| list.postings.iter().map(|p| p.slot).collect();
        inverted.lists.iter().map(|(_, list)| (list.key, slots(list))).collect()
    }

    fn expected(facts: &Facts) -> BTreeMap<u32, BTreeSet<u32>> {
        let mut expected = BTreeMap::<u32, BTreeSet<u32>>::new();
        for (slot, keys) in (0..).zip(facts) {
            for &key in keys {
                expected.entry(key).or_default().insert(slot);
            }
        }
        expected
    }

    #[test]
    fn the_index_holds_exactly_the_keys_of_the_remaining_facts() {
        let mut random = fastrand::Rng::with_seed(5);
        let mut inverted = Inverted::new();
        let mut facts = Facts::new();
        let mut live_lists = BTreeSet::new();
        for _ in 0..3_000 {
            let keys: BTreeSet<u32> = (0..random.usize(..8)).map(|_| random.u32(..40)).collect();
            let slot = random.u32(..=facts.len().min(60) as u32);
            let ended = |lists: &mut BTreeSet<u32>, list| assert!(lists.remove(&list));
            if slot as usize >= facts.len() {
                inverted.push();
                facts.push(BTreeSet::new());
            } else {
                inverted.clear(slot, |list, _| ended(&mut live_lists, list));
            }
            if random.u8(..3) == 0 {
                inverted.clear(slot, |list, _| ended(&mut live_lists, list));
                inverted.swap_remove(slot);
                facts.swap_remove(slot as usize);
            } else {
                inverted.fill(slot, items(&keys), |list, _| assert!(live_lists.insert(list)));
                facts[slot as usize] = keys;
            }
            assert_eq!(inverted.postings(), facts.iter().map(BTreeSet::len).sum::<usize>());
        }
        assert_eq!(slots_by_key(&inverted), expected(&facts));
        assert_eq!(live_lists.len(), inverted.keys());
        assert_eq!(inverted.table.len(), inverted.keys());
    }
}
