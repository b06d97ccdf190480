//! Hostile input: extreme sizes, odd characters, invalid metadata.

use kenning_index::limits::{METADATA_DEPTH, QUERY_TERMS};
use kenning_index::{Entry, FactIndex, Filter, Index, IndexError};

use crate::support::{ids, put};

#[test]
fn unusual_texts_are_indexed_and_found_by_their_words() {
    let index = Index::new();
    let huge = "x".repeat(256 * 1024);
    let marks = format!("needle{}", "\u{301}".repeat(100_000));
    let many: String = (0..60_000).map(|n| format!("q{n} ")).collect();
    let texts =
        ["", " ", "\0\0\0", "?!…—«»", "👩‍👩‍👧🎉", "\u{202e}\u{feff}\u{200d}", &huge, &marks, &many];
    for (number, text) in texts.iter().enumerate() {
        put(&index, &number.to_string(), text, "{}", None);
        index.matching(text, None, 10).unwrap();
    }
    assert_eq!(ids(&index.matching(&huge, None, 10).unwrap()), ["6"]);
    assert_eq!(ids(&index.matching("needle", None, 10).unwrap()), ["7"]);
    assert_eq!(ids(&index.matching("q59999", None, 10).unwrap()), ["8"]);
    assert_eq!(index.matching("\0 ?! …", None, 10).unwrap(), []);
    assert_eq!(ids(&index.matching("\0 ?! 🎉", None, 10).unwrap()), ["4"]);
    for number in 0..texts.len() {
        assert!(index.remove(&number.to_string(), 1).unwrap());
    }
    assert_eq!(index.sizes().postings, 0);
}

#[test]
fn the_stemmer_accepts_any_word_of_plain_letters() {
    let mut random = fastrand::Rng::with_seed(31);
    let index = Index::new();
    let syllables = ["y", "e", "ing", "ied", "ly", "'s", "s", "ational", "x", "eed", "bb", "w"];
    for number in 0..20_000 {
        let word: String =
            (0..random.usize(1..7)).map(|_| random.choice(syllables).unwrap()).collect();
        put(&index, &number.to_string(), &word, "{}", None);
    }
    assert_eq!(index.sizes().facts, 20_000);
}

#[test]
fn a_querys_terms_are_obeyed() {
    let index = Index::new();
    put(&index, "last", "needle", "{}", None);
    let words = |count: usize| (0..count).map(|n| format!("{n} ")).collect::<String>();
    let query = words(QUERY_TERMS - 1) + "needle";
    assert_eq!(ids(&index.matching(&query, None, 1).unwrap()), ["last"]);
}

#[test]
fn a_querys_terms_are_violated() {
    let index = Index::new();
    put(&index, "last", "needle", "{}", None);
    let words = |count: usize| (0..count).map(|n| format!("q{n} ")).collect::<String>();
    let query = words(QUERY_TERMS) + "needle";
    assert_eq!(index.matching(&query, None, 1).unwrap(), []);
}

#[test]
fn metadata_that_is_not_an_object_is_refused_and_changes_nothing() {
    let index = Index::new();
    let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    for metadata in ["", "[]", "1", "{\"a\":1e999}", "{\"a\":}", &deep] {
        let entry = Entry { id: "a", revision: 1, text: "text", metadata, vector: None };
        assert!(matches!(index.upsert(&entry), Err(IndexError::Metadata(_))), "{metadata:.20}");
    }
    assert_eq!(index.sizes().facts, 0);
}

#[test]
fn metadata_at_the_maximum_depth_is_found() {
    let index = Index::new();
    let depth = METADATA_DEPTH - 1;
    let deep = format!("{}7{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
    put(&index, "deep", "x", &deep, None);
    let field = vec!["a"; depth].join(".");
    for (field, expected) in [(field.clone(), 1), (field + ".a", 0), (".".repeat(1_000_000), 0)] {
        let filter = Filter::parse(&serde_json::json!({field: 7})).unwrap();
        assert_eq!(index.matching("x", Some(&filter), 10).unwrap().len(), expected);
    }
}

#[test]
fn metadata_with_many_fields_and_odd_names_is_removed_completely() {
    let index = Index::new();
    let fields: Vec<_> = (0..8_000).map(|n| format!(r#""f{n}":{n}"#)).collect();
    put(&index, "many", "x", &format!("{{{}}}", fields.join(",")), None);
    put(&index, "odd", "x", r#"{"":1,".":2,"..":{"":3},"\u0000":[[],{}]}"#, None);
    for (filter, id) in [(r#"{"f7999":7999}"#, "many"), (r#"{"":1}"#, "odd"), (r#"{".":2}"#, "odd")]
    {
        let filter = Filter::parse_text(filter).unwrap();
        assert_eq!(ids(&index.matching("x", Some(&filter), 10).unwrap()), [id]);
    }
    assert!(index.remove("many", 1).unwrap() && index.remove("odd", 1).unwrap());
    assert_eq!(index.sizes().postings, 0);
}

#[test]
fn an_unbounded_limit_returns_all_facts() {
    let index = Index::new();
    for number in 0..50 {
        put(&index, &number.to_string(), "word", "{}", Some(&[1.0, number as f32]));
    }
    assert_eq!(index.nearest(&[1.0, 0.0], None, usize::MAX).unwrap().len(), 50);
    assert_eq!(index.matching("word", None, usize::MAX).unwrap().len(), 50);
}
