//! The bounded run of `component`, which counts the memory of its whole process.

use kenning_fuzz::{component, stored};

/// Mutations of the corpus; each may be compiled, which takes some milliseconds.
const MUTATIONS: usize = 2_000;

#[test]
fn components_are_linked_or_refused_in_little_memory() {
    let counts = stored::run("component", component::run, MUTATIONS);
    assert!(counts.taken > 10 && counts.refused > 10, "{counts:?}");
}
