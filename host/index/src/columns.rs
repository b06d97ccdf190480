//! The metadata of all facts, by field and value, and which facts pass a filter.
//!
//! Each scalar of a field is held once, in order, with the facts that have it: as the value, or
//! as an element of a list. So a condition looks its values up and never looks at a fact, and a
//! filter costs little more than writing down its answer. Only `contains` and `icontains` try
//! every text of their field, which is why a filter has few of them.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};

use fixedbitset::FixedBitSet;

use crate::filter::{Condition, Filter, Node, Scalars, Test, first_text};
use crate::inverted::{Inverted, Item};
use crate::metadata::{Metadata, Object, Scalar, Value};

/// The way to a field through objects, as a hash of 128 bits: names take no memory, however long
/// or deep. Two ways have the same hash with a chance of 1 in 2^128.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Path(u64, u64);

impl Path {
    fn to(self, name: &str, hasher: &RandomState) -> Self {
        Self(hasher.hash_one((0, self, name)), hasher.hash_one((1, self, name)))
    }
}

/// What a fact has at a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Part {
    Value(Scalar),
    /// In the list there.
    Element(Scalar),
    List,
    Object,
}

/// A path and what a fact has there.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Member {
    path: Path,
    part: Part,
}

/// The members of one fact's metadata, each once, ready to be put in.
pub(crate) type Members = Vec<Item<Member, ()>>;

/// The members of `metadata`.
pub(crate) fn members(metadata: &Metadata, hasher: &RandomState) -> Members {
    let mut members = Vec::new();
    collect(metadata.object(), Path::default(), hasher, &mut members);
    members
}

fn collect(object: &Object, path: Path, hasher: &RandomState, members: &mut Members) {
    for (name, value) in object.members() {
        let path = path.to(name, hasher);
        let mut add = |part| {
            let key = Member { path, part };
            members.push(Item { hash: hasher.hash_one(&key), key, payload: () });
        };
        match value {
            Value::Scalar(scalar) => add(Part::Value(scalar.clone())),
            Value::List(values) => {
                add(Part::List);
                let mut elements: Vec<_> = values.iter().filter_map(Value::scalar).collect();
                elements.sort_unstable();
                elements.dedup();
                elements.into_iter().for_each(|element| add(Part::Element(element.clone())));
            }
            Value::Object(inner) => {
                add(Part::Object);
                collect(inner, path, hasher, members);
            }
        }
    }
}

/// The metadata of all facts.
#[derive(Debug)]
pub(crate) struct Columns {
    inverted: Inverted<Member, ()>,
    fields: HashMap<Path, Field>,
    slots: usize,
    /// What the texts themselves take.
    bytes: usize,
}

/// The lists of postings of one path.
#[derive(Debug, Default)]
struct Field {
    values: BTreeMap<Scalar, u32>,
    elements: BTreeMap<Scalar, u32>,
    list: Option<u32>,
    object: Option<u32>,
}

impl Field {
    fn insert(&mut self, part: &Part, list: u32) {
        match part {
            Part::Value(scalar) => drop(self.values.insert(scalar.clone(), list)),
            Part::Element(scalar) => drop(self.elements.insert(scalar.clone(), list)),
            Part::List => self.list = Some(list),
            Part::Object => self.object = Some(list),
        }
    }

    fn remove(&mut self, part: &Part) {
        match part {
            Part::Value(scalar) => drop(self.values.remove(scalar)),
            Part::Element(scalar) => drop(self.elements.remove(scalar)),
            Part::List => self.list = None,
            Part::Object => self.object = None,
        }
    }

    /// A fact with an element has the list, too.
    fn is_empty(&self) -> bool {
        self.values.is_empty() && self.list.is_none() && self.object.is_none()
    }

    /// Calls `each` with lists that together hold every fact that has anything at this path.
    fn existing(&self, each: impl FnMut(u32)) {
        self.values.values().copied().chain(self.list).chain(self.object).for_each(each);
    }

    /// Calls `each` with lists that together hold every fact that passes `test`.
    fn passing(&self, test: &Test, mut each: impl FnMut(u32)) {
        if *test == Test::Exists {
            return self.existing(each);
        }
        passing(&self.values, test.scalars(), |scalar| test.holds_for(scalar), &mut each);
        passing(&self.elements, test.elements(), |scalar| test.holds_for_element(scalar), each);
    }
}

fn passing(
    lists: &BTreeMap<Scalar, u32>,
    scalars: Scalars<'_>,
    holds: impl Fn(&Scalar) -> bool,
    mut each: impl FnMut(u32),
) {
    match scalars {
        Scalars::Each(scalars) => {
            scalars.iter().filter_map(|scalar| lists.get(scalar)).for_each(|&list| each(list));
        }
        Scalars::Range(first, last) => {
            lists.range((first, last)).for_each(|(_, &list)| each(list));
        }
        Scalars::Texts => {
            let texts = lists.range(first_text()..).filter(|(scalar, _)| holds(scalar));
            texts.for_each(|(_, &list)| each(list));
        }
        Scalars::None => {}
    }
}

impl Columns {
    pub(crate) fn new() -> Self {
        Self { inverted: Inverted::new(), fields: HashMap::new(), slots: 0, bytes: 0 }
    }

    /// Adds a slot without metadata.
    pub(crate) fn push(&mut self) {
        self.inverted.push();
        self.slots += 1;
    }

    /// Gives `slot` the `members` in place of those it has.
    pub(crate) fn set(&mut self, slot: u32, members: Members) {
        self.clear(slot);
        let (fields, bytes) = (&mut self.fields, &mut self.bytes);
        self.inverted.fill(slot, members, |list, member| {
            *bytes += member.bytes();
            fields.entry(member.path).or_default().insert(&member.part, list);
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
        self.inverted.clear(slot, |_, member| {
            *bytes -= member.bytes();
            if let Some(field) = fields.get_mut(&member.path) {
                field.remove(&member.part);
                if field.is_empty() {
                    fields.remove(&member.path);
                }
            }
        });
    }

    pub(crate) fn postings(&self) -> usize {
        self.inverted.postings()
    }

    pub(crate) fn bytes(&self) -> usize {
        // Trees are about two thirds full.
        let trees = self.inverted.keys() * size_of::<(Scalar, u32)>() * 3 / 2;
        let fields = self.fields.capacity() * size_of::<(Path, Field)>();
        self.inverted.bytes() + self.bytes + trees + fields
    }

    /// The slots whose metadata passes `filter`: what [`Filter::matches`] says of each.
    pub(crate) fn select(&self, filter: &Filter, hasher: &RandomState) -> FixedBitSet {
        self.select_node(filter.root(), hasher)
    }

    fn select_node(&self, node: &Node, hasher: &RandomState) -> FixedBitSet {
        let select = |node| self.select_node(node, hasher);
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
            Node::Condition(condition) => self.select_condition(condition, hasher),
        }
    }

    /// The same as [`Object::get`] for every fact. The deepest way comes first, and a shorter one
    /// takes back what it hides: `a.b` is not looked for in `a` when there is a field `a.b`.
    fn select_condition(&self, condition: &Condition, hasher: &RandomState) -> FixedBitSet {
        let mut selected = self.none();
        for path in self.paths(&condition.field, hasher).into_iter().rev() {
            let Some(field) = self.fields.get(&path) else { continue };
            if !selected.is_clear() {
                field.existing(|list| self.slots(list).for_each(|slot| selected.remove(slot)));
            }
            field.passing(&condition.test, |list| {
                self.slots(list).for_each(|slot| selected.insert(slot));
            });
        }
        selected
    }

    /// The ways that a dotted name can mean, in the order of [`Object::get`].
    fn paths(&self, field: &str, hasher: &RandomState) -> Vec<Path> {
        let (mut parent, mut rest) = (Path::default(), field);
        let mut paths = vec![parent.to(rest, hasher)];
        while let Some((head, tail)) = rest.split_once('.') {
            (parent, rest) = (parent.to(head, hasher), tail);
            if self.fields.get(&parent).is_none_or(|field| field.object.is_none()) {
                break;
            }
            paths.push(parent.to(rest, hasher));
        }
        paths
    }

    fn slots(&self, list: u32) -> impl Iterator<Item = usize> {
        self.inverted.list(list).postings().iter().map(|posting| posting.slot as usize)
    }

    fn none(&self) -> FixedBitSet {
        FixedBitSet::with_capacity(self.slots)
    }
}

impl Member {
    fn bytes(&self) -> usize {
        match &self.part {
            Part::Value(Scalar::Text(text)) | Part::Element(Scalar::Text(text)) => text.len(),
            _ => 0,
        }
    }
}
