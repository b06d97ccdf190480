//! Full-text search agrees with a plain implementation of BM25.

use std::collections::BTreeMap;

use kenning_index::{Candidate, Entry, FactIndex, Filter, Index};

use crate::support::{ids, put};

/// Words without vowels, which the stemmer does not change, those with low numbers far more often.
fn random_text(random: &mut fastrand::Rng) -> String {
    let numbers = (0..random.usize(..40)).map(|_| (2_000.0_f64.powf(random.f64())) as u32);
    numbers.map(word).collect::<Vec<_>>().join(" ")
}

/// A number in letters: one with digits would have a part.
fn word(number: u32) -> String {
    let letter = |digit: u8| char::from(b"bcdfghjklm"[usize::from(digit - b'0')]);
    number.to_string().bytes().map(letter).collect::<String>() + "w"
}

/// The BM25 score of every fact that shares a word with `query`, by the formula. A word that the
/// query repeats counts each time.
fn scores<'a>(facts: &'a BTreeMap<String, String>, query: &str) -> BTreeMap<&'a str, f64> {
    let words: BTreeMap<&str, Vec<&str>> =
        facts.iter().map(|(id, text)| (id.as_str(), text.split(' ').collect())).collect();
    let length = |words: &[&str]| words.iter().filter(|word| !word.is_empty()).count() as f64;
    let mean = words.values().map(|words| length(words)).sum::<f64>() / words.len() as f64;
    let mean = mean.max(100.0);
    let mut scores = BTreeMap::new();
    for term in query.split(' ').filter(|term| !term.is_empty()) {
        let having = words.values().filter(|words| words.contains(&term)).count() as f64;
        let rarity = (1.0 + (words.len() as f64 - having + 0.5) / (having + 0.5)).ln();
        for (id, words) in &words {
            let count = words.iter().filter(|word| **word == term).count() as f64;
            if count > 0.0 {
                let weight = 1.2 * (1.0 - 0.75 + 0.75 * length(words) / mean);
                *scores.entry(*id).or_default() += rarity * count * 2.2 / (count + weight);
            }
        }
    }
    scores
}

fn assert_ranked(answer: &[Candidate], scores: &BTreeMap<&str, f64>, limit: usize) {
    let mut best: Vec<f64> = scores.values().copied().collect();
    best.sort_by(|left, right| right.total_cmp(left));
    assert_eq!(answer.len(), limit.min(best.len()));
    for (candidate, best) in answer.iter().zip(&best) {
        let score = f64::from(candidate.score);
        assert!((score - scores[&*candidate.id]).abs() < 1e-4, "{candidate:?}");
        assert!((score - best).abs() < 1e-4, "{candidate:?} instead of {best}");
    }
    for pair in answer.windows(2) {
        assert!(pair[0].score > pair[1].score || pair[0].id < pair[1].id);
    }
}

#[test]
fn results_agree_with_the_formula_after_upserts_and_removals() {
    let mut random = fastrand::Rng::with_seed(21);
    let index = Index::new();
    let mut facts = BTreeMap::new();
    for revision in 1..6_000 {
        let id = random.u32(..800).to_string();
        if random.u8(..4) == 0 {
            index.remove(&id, revision).unwrap();
            facts.remove(&id);
        } else {
            let text = random_text(&mut random);
            let entry = Entry { id: &id, revision, text: &text, metadata: "{}", vector: None };
            index.upsert(&entry).unwrap();
            facts.insert(id, text);
        }
    }
    for rare in [false, true].repeat(50) {
        let query = match rare {
            true => word(random.u32(500..2_000)) + " " + &word(random.u32(500..2_000)),
            false => [word(1), word(2), word(1), random_text(&mut random)].join(" "),
        };
        for limit in [1, 10, 1_000] {
            let answer = index.matching(&query, None, limit).unwrap();
            assert_ranked(&answer, &scores(&facts, query.trim()), limit);
        }
    }
}

#[test]
fn a_filter_removes_facts_and_leaves_scores_unchanged() {
    let mut random = fastrand::Rng::with_seed(22);
    let index = Index::new();
    let mut facts = BTreeMap::new();
    for number in 0..600_u32 {
        let text = random_text(&mut random);
        put(&index, &number.to_string(), &text, &format!(r#"{{"n":{number}}}"#), None);
        facts.insert(number.to_string(), text);
    }
    let filter = Filter::parse_text(r#"{"n":{"lt":60}}"#).unwrap();
    for numbers in [&[1, 2, 3][..], &[700], &[900, 1_000, 1_100, 40]] {
        let query = &numbers.iter().map(|number| word(*number)).collect::<Vec<_>>().join(" ");
        let mut scores = scores(&facts, query);
        scores.retain(|id, _| id.parse::<u32>().unwrap() < 60);
        assert_ranked(&index.matching(query, Some(&filter), 100).unwrap(), &scores, 100);
    }
}

#[test]
fn a_fact_is_found_at_once_and_not_after_its_removal() {
    let index = Index::new();
    put(&index, "a", "Grüße aus Köln", "{}", None);
    assert_eq!(ids(&index.matching("koln", None, 10).unwrap()), ["a"]);
    let text = "greetings from Bonn";
    let entry = Entry { id: "a", revision: 2, text, metadata: "{}", vector: None };
    assert!(index.upsert(&entry).unwrap());
    assert_eq!(index.matching("koln", None, 10).unwrap(), []);
    assert_eq!(ids(&index.matching("greeting", None, 10).unwrap()), ["a"]);
    assert!(index.remove("a", 3).unwrap());
    assert_eq!(index.matching("bonn", None, 10).unwrap(), []);
    assert_eq!(index.sizes().postings, 0);
    assert_eq!(index.sizes().terms, 0);
}

#[test]
fn a_text_without_spaces_is_found_by_any_part() {
    let index = Index::new();
    put(&index, "ja", "新しい東京の駅で猫を見た", "{}", None);
    put(&index, "th", "ฉันกินข้าวที่ร้านอาหาร", "{}", None);
    put(&index, "ko", "서울에서 만나요", "{}", None);
    for (query, id) in [("東京", "ja"), ("猫", "ja"), ("ข้าว", "th"), ("서울", "ko")] {
        assert_eq!(ids(&index.matching(query, None, 1).unwrap()), [id], "{query}");
    }
}

#[test]
fn equal_facts_are_ordered_by_id() {
    let index = Index::new();
    for id in ["c", "a", "d", "b"] {
        put(&index, id, "the same words", "{}", None);
    }
    assert_eq!(ids(&index.matching("same", None, 3).unwrap()), ["a", "b", "c"]);
    assert_eq!(index.matching("same", None, 0).unwrap(), []);
}

#[test]
fn memory_does_not_grow_with_upserts_of_the_same_facts() {
    let index = Index::new();
    let mut random = fastrand::Rng::with_seed(23);
    let mut after_the_first_round = None;
    for revision in 1..=100_u64 {
        for number in 0..100 {
            // Ten words per fact: nine from a shared set, one that no fact has a round later.
            let words: Vec<_> =
                (0..9).map(|word| format!("w{word}x{}", random.u32(..90))).collect();
            let text = format!("{} {}", words.join(" "), revision * 1_000 + number);
            let metadata = format!(r#"{{"revision":{revision},"number":{number}}}"#);
            let vector = [revision as f32, 1.0];
            let vector = Some(vector.as_slice());
            let id = number.to_string();
            let entry = Entry { id: &id, revision, text: &text, metadata: &metadata, vector };
            assert!(index.upsert(&entry).unwrap());
        }
        let sizes = index.sizes();
        assert_eq!((sizes.facts, sizes.vectors, sizes.postings), (100, 100, 100 * (10 + 2)));
        assert!(sizes.terms <= 9 * 90 + 100);
        let first = *after_the_first_round.get_or_insert(sizes.bytes);
        assert!(sizes.bytes < 4 * first, "{} bytes, {first} at first", sizes.bytes);
    }
}
