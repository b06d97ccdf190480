//! The sample facts and questions keep what their README promises.

use std::collections::HashSet;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

fn lines(name: &str) -> Result<Vec<Value>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples").join(name);
    let text = std::fs::read_to_string(path)?;
    let parse = |(number, line): (usize, &str)| {
        line.parse().with_context(|| format!("{name}:{}: {line}", number + 1))
    };
    text.lines().enumerate().map(parse).collect()
}

fn strings<'a>(value: &'a Value, name: &str) -> Vec<&'a str> {
    let list = value[name].as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter().filter_map(Value::as_str).collect()
}

#[test]
fn every_fact_has_an_id_of_its_own_and_the_fields_of_the_readme() -> Result<()> {
    let topics = topics()?;
    let mut ids = HashSet::new();
    for fact in lines("facts.jsonl")? {
        let id = fact["fact_id"].as_str().unwrap_or_default();
        assert!(kenning_storage::FactId::parse(id).is_ok(), "{fact}");
        assert!(ids.insert(id.to_string()), "twice: {id}");
        assert!(fact["text"].as_str().is_some_and(|text| !text.trim().is_empty()), "{fact}");
        let metadata = &fact["metadata"];
        let topic = metadata["topic"].as_str().unwrap_or_default();
        assert!(topics.contains(topic), "{fact}");
        assert!(!strings(metadata, "tags").is_empty(), "{fact}");
        assert!(metadata["difficulty"].as_u64().is_some_and(|d| (1..=3).contains(&d)), "{fact}");
        assert!(metadata.get("year").is_none_or(Value::is_i64), "{fact}");
        assert!(metadata.get("region").is_none_or(Value::is_string), "{fact}");
    }
    Ok(())
}

#[test]
fn every_question_is_answered_by_facts_that_are_there() -> Result<()> {
    let facts = lines("facts.jsonl")?;
    let ids: HashSet<&str> = facts.iter().filter_map(|fact| fact["fact_id"].as_str()).collect();
    for question in lines("questions.jsonl")? {
        assert!(question["query"].as_str().is_some_and(|query| !query.is_empty()), "{question}");
        let answers = strings(&question, "fact_ids");
        assert!((1..=3).contains(&answers.len()), "{question}");
        assert!(answers.iter().all(|id| ids.contains(id)), "{question}");
    }
    Ok(())
}

#[test]
fn the_readme_counts_right() -> Result<()> {
    for name in ["facts.jsonl", "questions.jsonl"] {
        let row = readme()?;
        let row = row.lines().find(|line| line.starts_with(&format!("| `{name}`")));
        let count = row.and_then(|row| row.trim_end_matches([' ', '|']).rsplit(' ').next());
        assert_eq!(count, Some(lines(name)?.len().to_string().as_str()), "{name}");
    }
    Ok(())
}

/// The topics between backquotes in the README's row of `metadata.topic`.
fn topics() -> Result<HashSet<String>> {
    let text = readme()?;
    let row = text.lines().find(|line| line.contains("`metadata.topic`")).context("no topics")?;
    Ok(row.split('`').skip(3).step_by(2).map(str::to_string).collect())
}

fn readme() -> Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples/README.md");
    Ok(std::fs::read_to_string(path)?)
}
