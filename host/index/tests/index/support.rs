//! Helpers of the tests: adding facts, and random vectors.

use kenning_index::{Candidate, Entry, FactIndex, Index};

/// Adds a fact with revision 1, which must be accepted.
pub(crate) fn put(index: &Index, id: &str, text: &str, metadata: &str, vector: Option<&[f32]>) {
    let entry = Entry { id, revision: 1, text, metadata, vector };
    assert!(index.upsert(&entry).unwrap(), "{id} was not accepted");
}

/// The ids of `candidates`, in order.
pub(crate) fn ids(candidates: &[Candidate]) -> Vec<&str> {
    candidates.iter().map(|candidate| &*candidate.id).collect()
}

/// A vector near one of ten centres, clustered as embeddings are; its length is arbitrary.
pub(crate) fn clustered(random: &mut fastrand::Rng, dimensions: usize) -> Vec<f32> {
    let mut centre = fastrand::Rng::with_seed(random.u64(..10));
    (0..dimensions).map(|_| centre.f32() - 0.5 + 0.3 * (random.f32() - 0.5)).collect()
}
