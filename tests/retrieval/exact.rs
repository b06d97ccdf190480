//! A word that one fact alone has leads to that fact, whatever is near by meaning.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use kenning_tests::{Collection, Server};
use serde_json::{Value, json};

use super::{samples, serve};

/// How many words are asked for.
const WORDS: usize = 80;

/// The share of them that must be first when asked alone, and among the first ten when asked
/// inside a question.
const FIRST: f64 = 0.95;
const AMONG_TEN: f64 = 0.97;

/// Pairs of identifiers that differ by little, each in a fact of its own.
const IDENTIFIERS: [(&str, &str); 6] = [
    ("disc-a", "Brake disc, part 411772K5, fits the older axle."),
    ("disc-b", "Brake disc, part 411672K1, fits the newer axle."),
    ("printer-a", "Printer QXT6644ZK is on floor two."),
    ("printer-b", "Printer RL6645 is on floor three."),
    ("error-a", "Error E1042: cannot open the display."),
    ("error-b", "Error E1043: cannot open the printer."),
];

fn words(text: &str) -> BTreeSet<String> {
    let lower = text.to_lowercase();
    let words = lower.split(|letter: char| !letter.is_ascii_alphabetic());
    words.filter(|word| word.len() > 3).map(ToString::to_string).collect()
}

/// The facts that have each word.
fn holders(facts: &[Value]) -> BTreeMap<String, Vec<&str>> {
    let mut holders = BTreeMap::<String, Vec<&str>>::new();
    for fact in facts {
        let (Some(id), Some(text)) = (fact["fact_id"].as_str(), fact["text"].as_str()) else {
            continue;
        };
        words(text).into_iter().for_each(|word| holders.entry(word).or_default().push(id));
    }
    holders
}

/// Words that one fact has, spread over the alphabet. A word with a cousin that may have the same
/// stem is left out.
fn rare(holders: &BTreeMap<String, Vec<&str>>) -> Vec<(String, String)> {
    let begins_alike = |word: &str| {
        let stem = &word[..word.len().min(4)];
        holders.keys().filter(|other| other.starts_with(stem)).count()
    };
    let alone: Vec<_> = holders
        .iter()
        .filter(|(word, ids)| ids.len() == 1 && begins_alike(word) == 1)
        .map(|(word, ids)| (word.clone(), ids[0].to_string()))
        .collect();
    let step = (alone.len() / WORDS).max(1);
    alone.into_iter().step_by(step).take(WORDS).collect()
}

/// The words that most facts have.
fn common(holders: &BTreeMap<String, Vec<&str>>) -> Vec<String> {
    let mut words: Vec<_> = holders.iter().collect();
    words.sort_by_key(|(word, ids)| (std::cmp::Reverse(ids.len()), word.to_string()));
    words.into_iter().take(30).map(|(word, _)| word.clone()).collect()
}

/// The share of `asked` whose fact is among the first `depth` hits of the default search.
async fn found(server: &Server, asked: &[(String, String)], depth: usize) -> Result<f64> {
    let mut found = 0;
    for (query, id) in asked {
        let hits = server.search(json!({ "query": query, "top_k": 10 })).await?;
        found += usize::from(hits.iter().take(depth).any(|hit| hit == id));
    }
    Ok(found as f64 / asked.len() as f64)
}

#[tokio::test]
async fn a_word_that_one_fact_has_finds_it_alone_and_inside_a_question() -> Result<()> {
    let collection = Collection::samples(&samples())?;
    let identifiers = IDENTIFIERS.map(|(id, text)| json!({ "fact_id": id, "text": text }));
    let facts = [collection.facts, identifiers.to_vec()].concat();
    let server = serve(&facts).await?;
    let holders = holders(&facts);
    let rare = rare(&holders);
    assert_eq!(rare.len(), WORDS);

    let alone = found(&server, &rare, 1).await?;
    assert!(alone >= FIRST, "first for {alone} of the words");

    let common = common(&holders);
    let question = |number: usize, word: &str| {
        let others = common.iter().cycle().skip(number * 7).step_by(3).take(6 + number % 4);
        let others: Vec<&str> = others.map(String::as_str).collect();
        let (before, after) = others.split_at(others.len() / 2);
        format!("{} {word} {}", before.join(" "), after.join(" "))
    };
    let asked = rare.iter().enumerate().map(|(at, (word, id))| (question(at, word), id.clone()));
    let asked: Vec<_> = asked.collect();
    let inside = found(&server, &asked, 10).await?;
    assert!(inside >= AMONG_TEN, "among ten for {inside} of the questions");

    for (query, id) in [
        ("411772K5", "disc-a"),
        ("part 411672K1", "disc-b"),
        ("QXT6644ZK", "printer-a"),
        ("where is RL6645?", "printer-b"),
        ("E1042", "error-a"),
        ("error E1043", "error-b"),
    ] {
        let first = server.search(json!({ "query": query })).await?;
        assert_eq!(first.first().context("a hit")?, id, "{query}");
    }
    Ok(())
}
