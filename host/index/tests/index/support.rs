//! What the tests share: short ways to put facts in, and random facts.

use kenning_index::{Candidate, Entry, FactIndex, Index};

/// Puts in a fact with revision 1, which must be taken.
pub(crate) fn put(index: &Index, id: &str, text: &str, metadata: &str, vector: Option<&[f32]>) {
    let entry = Entry { id, revision: 1, text, metadata, vector };
    assert!(index.upsert(&entry).unwrap(), "{id} was not taken");
}

/// The index's answer to a word that all facts of a test share, as ids.
pub(crate) fn ids(candidates: &[Candidate]) -> Vec<&str> {
    candidates.iter().map(|candidate| &*candidate.id).collect()
}

/// A vector near one of ten centres, as embeddings are, and of no particular length.
pub(crate) fn clustered(random: &mut fastrand::Rng, dimensions: usize) -> Vec<f32> {
    let mut centre = fastrand::Rng::with_seed(random.u64(..10));
    (0..dimensions).map(|_| centre.f32() - 0.5 + 0.3 * (random.f32() - 0.5)).collect()
}
