//! Random filters over random metadata: the index selects the facts that the filter matches.

use kenning_index::{FactIndex, Filter, Index, Metadata};
use serde_json::{Value, json};

use crate::support::put;

/// Few names and few values, so that filters often match.
fn random_value(random: &mut fastrand::Rng, depth: u32) -> Value {
    match random.u8(..if depth == 0 { 6 } else { 8 }) {
        0 => json!(null),
        1 => json!(random.bool()),
        2 => json!(random.i32(-2..3)),
        3 => json!(f64::from(random.i32(-4..5)) / 2.0),
        4 => json!(*random.choice(&["a", "ab", "B", "é", ""]).unwrap()),
        5 => random_time(random),
        6 => (0..random.usize(..4)).map(|_| random_value(random, depth - 1)).collect(),
        _ => random_object(random, depth - 1),
    }
}

/// Few instants in several spellings, and texts that are no times but near them.
fn random_time(random: &mut fastrand::Rng) -> Value {
    let times = ["2025", "2025-03-01", "2025-03-01T00:00:00.0Z", "2025-03-01T01:00+02:00", "2026"];
    json!(*random.choice(&times).unwrap())
}

fn random_object(random: &mut fastrand::Rng, depth: u32) -> Value {
    let name = |random: &mut fastrand::Rng| *random.choice(&["a", "b", "a.b", "c"]).unwrap();
    let members = (0..random.usize(..4)).map(|_| (name(random), random_value(random, depth)));
    Value::Object(members.map(|(name, value)| (name.to_owned(), value)).collect())
}

fn random_condition(random: &mut fastrand::Rng) -> Value {
    let scalar = |random: &mut fastrand::Rng| random_value(random, 0);
    let number = |random: &mut fastrand::Rng| json!(random.i32(-2..3));
    let text = |random: &mut fastrand::Rng| json!(*random.choice(&["a", "b", "É", ""]).unwrap());
    match random.u8(..10) {
        0 => scalar(random),
        1 => json!({"ne": scalar(random)}),
        2 => json!({*random.choice(&["gt", "gte"]).unwrap(): number(random)}),
        3 => json!({*random.choice(&["lt", "lte"]).unwrap(): text(random)}),
        4 => json!({*random.choice(&["in", "nin"]).unwrap(): [scalar(random), scalar(random)]}),
        5 => json!({"contains": scalar(random), "icontains": text(random)}),
        6 => json!({"exists": random.bool()}),
        7 => json!({*random.choice(&["gt", "gte", "lt", "lte"]).unwrap(): random_time(random)}),
        8 => json!({"between": [random_time(random), random_time(random)]}),
        _ => json!({"between": [number(random), number(random)]}),
    }
}

fn random_filter(random: &mut fastrand::Rng, depth: u32) -> Value {
    let fields = ["a", "b", "a.b", "a.b.c", "a.b.a.b", "c.a", "b.a.b"];
    match random.u8(..if depth == 0 { 1 } else { 4 }) {
        0 => json!({*random.choice(fields).unwrap(): random_condition(random)}),
        1 => json!({"AND": [random_filter(random, depth - 1), random_filter(random, depth - 1)]}),
        2 => json!({"OR": [random_filter(random, depth - 1), random_filter(random, depth - 1)]}),
        _ => json!({"NOT": random_filter(random, depth - 1)}),
    }
}

#[test]
fn an_index_selects_the_facts_that_the_filter_matches() {
    let mut random = fastrand::Rng::with_seed(41);
    let index = Index::new();
    let mut facts = Vec::new();
    for number in 0..1_000 {
        let metadata = random_object(&mut random, 3).to_string();
        put(&index, &format!("{number:04}"), "x", &metadata, Some(&[1.0]));
        facts.push(Metadata::parse(&metadata).unwrap());
    }
    let mut selective = 0;
    for _ in 0..1_000 {
        let filter = Filter::parse(&random_filter(&mut random, 3)).unwrap();
        let passing: Vec<_> = (0..1_000)
            .filter(|&number| filter.matches(&facts[number]))
            .map(|number| format!("{number:04}"))
            .collect();
        selective += usize::from((1..1_000).contains(&passing.len()));
        for found in [
            index.matching("x", Some(&filter), 2_000).unwrap(),
            index.nearest(&[1.0], Some(&filter), 2_000).unwrap(),
        ] {
            let found: Vec<_> = found.iter().map(|candidate| candidate.id.to_string()).collect();
            assert_eq!(found, passing, "{filter:?}");
        }
    }
    assert!(selective > 500, "only {selective} filters match some facts and not others");
}
