//! An inverted index from metadata fields and values to facts, which evaluates filters.
//!
//! Each distinct scalar of a field is stored once, in order, with the facts that have it as the
//! field's value or as an element of the field's list. A condition is therefore a lookup that
//! reads no fact, and its cost is about that of writing the matching slots into a bit set. Only
//! `contains` and `icontains` test every distinct text of their field, which is why a filter may
//! hold few of them (see [`FILTER_SCANS`](crate::limits::FILTER_SCANS)).

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};

use fixedbitset::FixedBitSet;

use crate::filter::{Condition, Filter, Lookup, Node, Predicate};
use crate::inverted::{Inverted, Item};
use crate::metadata::{Metadata, Object, Scalar, Value};
use crate::work::Work;

/// The work of finding a list, of reading a posting, and of testing a text without its bytes.
const LIST_UNITS: u64 = 20;
const POSTING_UNITS: u64 = 2;
const TEXT_UNITS: u64 = 60;

/// The path to a field through nested objects, as a 128-bit hash, so that long or deeply nested
/// names take no memory. Two paths collide with probability 2^-128.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
struct FieldPath(u64, u64);

impl FieldPath {
    fn join(self, name: &str, hasher: &RandomState) -> Self {
        Self(hasher.hash_one((0, self, name)), hasher.hash_one((1, self, name)))
    }
}

/// What a fact has at a path. A list also has one `Element` per distinct scalar in it, and an
/// `Object` if it has objects, whose members are at the paths below.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum FieldValue {
    Scalar(Scalar),
    Element(Scalar),
    List,
    Object,
}

/// An entry of the index: a path, and what a fact has there.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct MetadataKey {
    path: FieldPath,
    value: FieldValue,
}

/// The distinct keys of one fact's metadata.
pub(crate) type MetadataKeys = Vec<Item<MetadataKey, ()>>;

/// The keys of `metadata`.
pub(crate) fn keys(metadata: &Metadata, hasher: &RandomState) -> MetadataKeys {
    let mut keys = Vec::new();
    collect(metadata.object(), FieldPath::default(), hasher, &mut keys);
    // Objects of one list may have equal members.
    keys.sort_unstable_by(|left, right| left.key.cmp(&right.key));
    keys.dedup_by(|left, right| left.key == right.key);
    keys
}

fn collect(object: &Object, path: FieldPath, hasher: &RandomState, keys: &mut MetadataKeys) {
    for (name, value) in object.members() {
        let path = path.join(name, hasher);
        let mut add = |value| {
            let key = MetadataKey { path, value };
            keys.push(Item { hash: hasher.hash_one(&key), key, payload: () });
        };
        match value {
            Value::Scalar(scalar) => add(FieldValue::Scalar(scalar.clone())),
            Value::List(values) => {
                add(FieldValue::List);
                let mut elements: Vec<_> = values.iter().filter_map(Value::scalar).collect();
                elements.sort_unstable();
                elements.dedup();
                elements.into_iter().for_each(|element| add(FieldValue::Element(element.clone())));
            }
            Value::Object(_) => {}
        }
        for inner in value.objects() {
            let key = MetadataKey { path, value: FieldValue::Object };
            keys.push(Item { hash: hasher.hash_one(&key), key, payload: () });
            collect(inner, path, hasher, keys);
        }
    }
}

/// The metadata of all facts.
#[derive(Debug)]
pub(crate) struct MetadataIndex {
    inverted: Inverted<MetadataKey, ()>,
    fields: HashMap<FieldPath, FieldLists>,
    slots: usize,
    /// Memory of the texts in keys, in bytes.
    bytes: usize,
}

/// The posting lists of one path: numbers of lists in `inverted`.
#[derive(Debug, Default)]
struct FieldLists {
    values: BTreeMap<Scalar, u32>,
    elements: BTreeMap<Scalar, u32>,
    list: Option<u32>,
    object: Option<u32>,
}

impl FieldLists {
    fn insert(&mut self, value: &FieldValue, list: u32) {
        match value {
            FieldValue::Scalar(scalar) => drop(self.values.insert(scalar.clone(), list)),
            FieldValue::Element(scalar) => drop(self.elements.insert(scalar.clone(), list)),
            FieldValue::List => self.list = Some(list),
            FieldValue::Object => self.object = Some(list),
        }
    }

    fn remove(&mut self, value: &FieldValue) {
        match value {
            FieldValue::Scalar(scalar) => drop(self.values.remove(scalar)),
            FieldValue::Element(scalar) => drop(self.elements.remove(scalar)),
            FieldValue::List => self.list = None,
            FieldValue::Object => self.object = None,
        }
    }

    /// Elements need no check: a fact with an element also has the list.
    fn is_empty(&self) -> bool {
        self.values.is_empty() && self.list.is_none() && self.object.is_none()
    }

    /// Calls `each` with lists that together hold every fact with a value at this path.
    fn existing(&self, each: impl FnMut(u32)) {
        self.values.values().copied().chain(self.list).chain(self.object).for_each(each);
    }

    /// Calls `each` with lists that together hold every fact that satisfies `predicate`.
    fn matching(&self, predicate: &Predicate, work: &Work<'_>, mut each: impl FnMut(u32)) {
        if *predicate == Predicate::Exists {
            return self.existing(each);
        }
        for lookup in predicate.value_lookups() {
            let holds = |scalar: &Scalar| work.spend(units(scalar)) && predicate.holds_for(scalar);
            matching(&self.values, lookup, holds, &mut each);
        }
        for lookup in predicate.element_lookups() {
            let holds =
                |scalar: &Scalar| work.spend(units(scalar)) && predicate.holds_for_element(scalar);
            matching(&self.elements, lookup, holds, &mut each);
        }
    }
}

/// The work of testing a scalar.
fn units(scalar: &Scalar) -> u64 {
    match scalar {
        Scalar::Text(text) => TEXT_UNITS + text.len() as u64,
        _ => TEXT_UNITS,
    }
}

/// Calls `each` with the lists of the scalars in `lookup`, if it must test them only of those for
/// which `holds` is true.
fn matching(
    lists: &BTreeMap<Scalar, u32>,
    lookup: Lookup,
    holds: impl Fn(&Scalar) -> bool,
    each: impl FnMut(u32),
) {
    if lookup.is_empty() {
        return;
    }
    let Lookup { from, to, all } = lookup;
    let found = lists.range((from, to)).filter(|(scalar, _)| all || holds(scalar));
    found.map(|(_, list)| *list).for_each(each);
}

impl MetadataIndex {
    pub(crate) fn new() -> Self {
        Self { inverted: Inverted::new(), fields: HashMap::new(), slots: 0, bytes: 0 }
    }

    /// Adds a slot without metadata.
    pub(crate) fn push(&mut self) {
        self.inverted.push();
        self.slots += 1;
    }

    /// Replaces the keys of `slot`.
    pub(crate) fn set(&mut self, slot: u32, keys: MetadataKeys) {
        self.clear(slot);
        let (fields, bytes) = (&mut self.fields, &mut self.bytes);
        self.inverted.fill(slot, keys, |list, key| {
            *bytes += key.bytes();
            fields.entry(key.path).or_default().insert(&key.value, list);
        });
    }

    /// Removes `slot`; the last slot takes its number.
    pub(crate) fn swap_remove(&mut self, slot: u32) {
        self.clear(slot);
        self.inverted.swap_remove(slot);
        self.slots -= 1;
    }

    fn clear(&mut self, slot: u32) {
        let (fields, bytes) = (&mut self.fields, &mut self.bytes);
        self.inverted.clear(slot, |_, key| {
            *bytes -= key.bytes();
            if let Some(field) = fields.get_mut(&key.path) {
                field.remove(&key.value);
                if field.is_empty() {
                    fields.remove(&key.path);
                }
            }
        });
    }

    /// Number of pairs of a fact and a key.
    pub(crate) fn postings(&self) -> usize {
        self.inverted.postings()
    }

    /// Approximate memory use, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        // Trees are about two thirds full.
        let trees = self.inverted.keys() * size_of::<(Scalar, u32)>() * 3 / 2;
        let fields = self.fields.capacity() * size_of::<(FieldPath, FieldLists)>();
        self.inverted.bytes() + self.bytes + trees + fields
    }

    /// The slots whose metadata matches `filter`, as decided by [`Filter::matches`].
    ///
    /// If `work` is stopped, the result is not complete.
    pub(crate) fn select(
        &self,
        filter: &Filter,
        hasher: &RandomState,
        work: &Work<'_>,
    ) -> FixedBitSet {
        self.select_node(filter.root(), hasher, work)
    }

    fn select_node(&self, node: &Node, hasher: &RandomState, work: &Work<'_>) -> FixedBitSet {
        let select = |node| self.select_node(node, hasher, work);
        match node {
            Node::All(nodes) => {
                let mut selected = self.none();
                selected.insert_range(..);
                nodes.iter().for_each(|node| selected.intersect_with(&select(node)));
                selected
            }
            Node::Any(nodes) => {
                let mut selected = self.none();
                nodes.iter().for_each(|node| selected.union_with(&select(node)));
                selected
            }
            Node::Not(node) => {
                let mut selected = select(node);
                selected.toggle_range(..);
                selected
            }
            Node::Condition(condition) => self.select_condition(condition, hasher, work),
        }
    }

    /// Resolves the field as [`Object::values`] does, for all facts at once. The deepest path is
    /// evaluated first, and each shallower one then overrides it for the facts that have it: a
    /// field named `a.b` hides the field `b` of the object `a`.
    fn select_condition(
        &self,
        condition: &Condition,
        hasher: &RandomState,
        work: &Work<'_>,
    ) -> FixedBitSet {
        let mut selected = self.none();
        for path in self.paths(&condition.field, hasher).into_iter().rev() {
            let Some(field) = self.fields.get(&path) else { continue };
            if !selected.is_clear() {
                field
                    .existing(|list| self.slots(list, work).for_each(|slot| selected.remove(slot)));
            }
            field.matching(&condition.predicate, work, |list| {
                self.slots(list, work).for_each(|slot| selected.insert(slot));
            });
        }
        selected
    }

    /// How many facts have each scalar at `field`, as its value or as an element of its list; of
    /// the slots in `allowed` only, if given. The field is resolved as for a filter.
    pub(crate) fn counts(
        &self,
        field: &str,
        allowed: Option<&FixedBitSet>,
        hasher: &RandomState,
        work: &Work<'_>,
    ) -> BTreeMap<Scalar, u64> {
        let mut counts = BTreeMap::new();
        // A field named `a.b` hides the field `b` of the object `a`.
        let mut hidden = self.none();
        for path in self.paths(field, hasher) {
            let Some(field) = self.fields.get(&path) else { continue };
            let is_counted = |slot: &usize| {
                !hidden.contains(*slot) && allowed.is_none_or(|allowed| allowed.contains(*slot))
            };
            for (scalar, list) in &field.values {
                let count = self.slots(*list, work).filter(is_counted).count();
                add(&mut counts, scalar, count);
            }
            for (scalar, list) in &field.elements {
                // Objects of one list may have the scalar and a list with it.
                let counted = field.values.get(scalar).map(|list| self.slot_set(*list, work));
                let is_new = |slot: &usize| counted.as_ref().is_none_or(|set| !set.contains(*slot));
                let slots = self.slots(*list, work).filter(is_counted);
                add(&mut counts, scalar, slots.filter(is_new).count());
            }
            field.existing(|list| self.slots(list, work).for_each(|slot| hidden.insert(slot)));
        }
        counts
    }

    fn slot_set(&self, list: u32, work: &Work<'_>) -> FixedBitSet {
        let mut set = self.none();
        self.slots(list, work).for_each(|slot| set.insert(slot));
        set
    }

    /// The paths that a dotted name can stand for, in the order of [`Object::values`].
    fn paths(&self, field: &str, hasher: &RandomState) -> Vec<FieldPath> {
        let (mut parent, mut rest) = (FieldPath::default(), field);
        let mut paths = vec![parent.join(rest, hasher)];
        while let Some((head, tail)) = rest.split_once('.') {
            (parent, rest) = (parent.join(head, hasher), tail);
            if self.fields.get(&parent).is_none_or(|field| field.object.is_none()) {
                break;
            }
            paths.push(parent.join(rest, hasher));
        }
        paths
    }

    /// The slots of a list; none if `work` is stopped.
    fn slots(&self, list: u32, work: &Work<'_>) -> impl Iterator<Item = usize> {
        let postings = self.inverted.list(list).postings();
        let go_on = work.spend(LIST_UNITS + POSTING_UNITS * postings.len() as u64);
        let postings = if go_on { postings } else { &[] };
        postings.iter().map(|posting| posting.slot as usize)
    }

    fn none(&self) -> FixedBitSet {
        FixedBitSet::with_capacity(self.slots)
    }
}

fn add(counts: &mut BTreeMap<Scalar, u64>, scalar: &Scalar, count: usize) {
    if count > 0 {
        *counts.entry(scalar.clone()).or_default() += count as u64;
    }
}

impl MetadataKey {
    fn bytes(&self) -> usize {
        match &self.value {
            FieldValue::Scalar(scalar) | FieldValue::Element(scalar) => scalar.bytes(),
            FieldValue::List | FieldValue::Object => 0,
        }
    }
}
