//! {{name}}: adds a greeting to every fact that is read.

use kenning_extension::{Fact, OnRead};

/// The extension. It has no fields: each call runs in a new instance, so no state is kept.
struct Extension;

impl OnRead for Extension {
    fn on_read(mut facts: Vec<Fact>) -> Vec<Fact> {
        for fact in &mut facts {
            fact.metadata.set("greeting", "hello from {{name}}");
        }
        facts
    }
}

// List every implemented hook: OnStore, OnQuery, OnRead, Rerank.
kenning_extension::export!(Extension: OnRead);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fact_is_greeted() {
        let facts = vec![Fact::new("a", "Tea is hot."), Fact::new("b", "Ice is cold.")];
        let left = Extension::on_read(facts);
        assert_eq!(left.len(), 2);
        assert!(left.iter().all(|fact| fact.metadata.get_str("greeting").is_some()));
    }
}
