//! Texts to store and to search for: words of the samples in any order, the same in every run.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Result;
use fastrand::Rng;
use kenning_tests::Collection;
use serde_json::{Value, json};

/// Words in a fact and in a query. Sentences of the samples have 17 on average.
const FACT_WORDS: usize = 20;
const QUERY_WORDS: usize = 6;

/// Words that make the tests' extension `hooks` do something.
const DEEDS: [&str; 11] = [
    "alias", "invent", "mark", "nan", "nothing", "refuse", "reverse", "say", "secret", "split",
    "withheld",
];

/// Makes texts.
pub(crate) struct Texts {
    words: Vec<String>,
}

impl Texts {
    /// Of the words in `samples/facts.jsonl`.
    pub(crate) fn new() -> Result<Self> {
        let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples");
        let facts = Collection::samples(&samples)?.facts;
        let texts = facts.iter().filter_map(|fact| fact["text"].as_str());
        let words = texts.flat_map(|text| text.split(|letter: char| !letter.is_alphabetic()));
        let words: BTreeSet<&str> = words.filter(|word| word.len() > 2).collect();
        Ok(Self { words: words.into_iter().map(Into::into).collect() })
    }

    /// The same, without the words that the tests' extension `hooks` takes for commands.
    pub(crate) fn harmless() -> Result<Self> {
        let mut texts = Self::new()?;
        texts.words.retain(|word| !DEEDS.contains(&word.as_str()));
        Ok(texts)
    }

    pub(crate) fn fact(&self, random: &mut Rng) -> String {
        self.draw(random, FACT_WORDS)
    }

    pub(crate) fn query(&self, random: &mut Rng) -> String {
        self.draw(random, QUERY_WORDS)
    }

    fn draw(&self, random: &mut Rng, count: usize) -> String {
        let words = (0..count).map(|_| self.words[random.usize(..self.words.len())].as_str());
        words.collect::<Vec<_>>().join(" ")
    }
}

/// Metadata of a fact.
pub(crate) fn metadata(random: &mut Rng) -> Value {
    json!({ "source": "bench", "number": random.u32(..1_000_000) })
}
