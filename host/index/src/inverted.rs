//! Which facts have which keys: the words of texts, and the values of metadata.
//!
//! A key has a list of postings, and each fact knows where its own are, so a removal takes
//! exactly those out, at once. Nothing is marked as dead and cleaned up later: memory follows
//! the facts that live, counts are exact, and no write pays for the ones before it. The price is
//! 8 bytes for each posting, and lists in no order, which rules out skipping inside them.

use hashbrown::HashTable;
use slab::Slab;
use smallvec::SmallVec;

/// A fact that has the key, and what the key is to it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Posting<P> {
    pub(crate) slot: u32,
    pub(crate) payload: P,
}

/// A key, and the facts that have it.
#[derive(Debug)]
pub(crate) struct List<K, P> {
    pub(crate) key: K,
    hash: u64,
    /// Most words are in one or two facts only: those need no memory of their own.
    postings: SmallVec<[Posting<P>; 2]>,
}

impl<K, P> List<K, P> {
    pub(crate) fn postings(&self) -> &[Posting<P>] {
        &self.postings
    }
}

/// A key of one fact, with its hash.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Item<K, P> {
    pub(crate) key: K,
    pub(crate) hash: u64,
    pub(crate) payload: P,
}

/// Where one posting of a fact is.
#[derive(Debug, Clone, Copy)]
struct Link {
    list: u32,
    place: u32,
}

/// An index from keys to slots, which are numbers without gaps.
#[derive(Debug)]
pub(crate) struct Inverted<K, P> {
    /// Numbers of lists, by key.
    table: HashTable<u32>,
    lists: Slab<List<K, P>>,
    /// Of each slot, by list.
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

    /// Gives `slot`, which has no keys, the `items`: each key once. Calls `begun` with every
    /// list that is new.
    pub(crate) fn fill(
        &mut self,
        slot: u32,
        items: Vec<Item<K, P>>,
        mut begun: impl FnMut(u32, &K),
    ) {
        let mut links = Vec::with_capacity(items.len());
        for item in items {
            let payload = item.payload;
            let list = match self.find(item.hash, |key| *key == item.key) {
                Some(list) => list,
                None => self.begin(item, &mut begun),
            };
            let postings = &mut self.lists[list as usize].postings;
            links.push(Link { list, place: postings.len() as u32 });
            postings.push(Posting { slot, payload });
        }
        links.sort_unstable_by_key(|link| link.list);
        self.postings += links.len();
        self.links[slot as usize] = links.into_boxed_slice();
    }

    /// Takes all keys of `slot` away. Calls `ended` with every list that is gone.
    pub(crate) fn clear(&mut self, slot: u32, mut ended: impl FnMut(u32, K)) {
        let links = std::mem::take(&mut self.links[slot as usize]);
        self.postings -= links.len();
        for link in links {
            let postings = &mut self.lists[link.list as usize].postings;
            postings.swap_remove(link.place as usize);
            if postings.len() * 4 < postings.capacity() {
                postings.shrink_to_fit();
            }
            if let Some(moved) = postings.get(link.place as usize) {
                let links = &mut self.links[moved.slot as usize];
                if let Ok(at) = links.binary_search_by_key(&link.list, |link| link.list) {
                    links[at].place = link.place;
                }
            } else if postings.is_empty() {
                ended(link.list, self.end(link.list));
            }
        }
    }

    /// Removes `slot`, which has no keys; the last slot takes its number.
    pub(crate) fn swap_remove(&mut self, slot: u32) {
        self.links.swap_remove(slot as usize);
        for link in self.links.get(slot as usize).into_iter().flatten() {
            self.lists[link.list as usize].postings[link.place as usize].slot = slot;
        }
    }

    /// The list of the key that has this hash and is `same`.
    pub(crate) fn find(&self, hash: u64, same: impl Fn(&K) -> bool) -> Option<u32> {
        self.table.find(hash, |&list| same(&self.lists[list as usize].key)).copied()
    }

    pub(crate) fn list(&self, list: u32) -> &List<K, P> {
        &self.lists[list as usize]
    }

    /// How many postings there are: the pairs of a fact and a key it has.
    pub(crate) fn postings(&self) -> usize {
        self.postings
    }

    /// How many keys there are.
    pub(crate) fn keys(&self) -> usize {
        self.lists.len()
    }

    /// About what this takes in bytes, without what keys own.
    pub(crate) fn bytes(&self) -> usize {
        self.lists.capacity() * size_of::<List<K, P>>()
            + self.table.capacity() * (size_of::<u32>() + 1)
            + self.links.capacity() * size_of::<Box<[Link]>>()
            + self.postings * (size_of::<Link>() + size_of::<Posting<P>>())
    }

    fn begin(&mut self, item: Item<K, P>, begun: &mut impl FnMut(u32, &K)) -> u32 {
        let hash = item.hash;
        let entry = List { key: item.key, hash, postings: SmallVec::new() };
        let list = self.lists.insert(entry) as u32;
        begun(list, &self.lists[list as usize].key);
        let lists = &self.lists;
        self.table.insert_unique(hash, list, |&list| lists[list as usize].hash);
        list
    }

    fn end(&mut self, list: u32) -> K {
        let ended = self.lists.remove(list as usize);
        if let Ok(entry) = self.table.find_entry(ended.hash, |&other| other == list) {
            entry.remove();
        }
        ended.key
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    type Facts = Vec<BTreeSet<u32>>;

    /// All hashes collide in groups of ten, so that equality is what decides.
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
    fn it_holds_the_keys_of_the_facts_that_are_left() {
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
