//! A retrieval of both retrievers at once agrees with each of them alone.

use std::collections::{BTreeMap, BTreeSet};

use kenning_index::{Candidate, Entry, Evidence, FactIndex, Filter, Index, IndexError};
use kenning_index::{Retrieved, Work};

use crate::support::{clustered, put};

const FACTS: usize = 700;

/// Facts of random words and vectors; some have no vector, some no word.
fn index(random: &mut fastrand::Rng) -> Index {
    let index = Index::new();
    for number in 0..FACTS {
        let vector = clustered(random, 24);
        let metadata = format!(r#"{{"kind": {}}}"#, random.u8(..4));
        let vector = (number % 7 != 0).then_some(&vector[..]);
        put(&index, &number.to_string(), &random_text(random), &metadata, vector);
    }
    for _ in 0..50 {
        index.remove(&random.usize(..FACTS).to_string(), 1).unwrap();
    }
    index
}

/// Words of which those with low numbers are far more frequent.
fn random_text(random: &mut fastrand::Rng) -> String {
    let word = |random: &mut fastrand::Rng| format!("w{}", (900.0_f64.powf(random.f64())) as u32);
    (0..random.usize(..30)).map(|_| word(random)).collect::<Vec<_>>().join(" ")
}

fn retrieve(
    index: &Index,
    text: &str,
    vector: Option<&[f32]>,
    filter: Option<&Filter>,
    limit: usize,
) -> Retrieved {
    index.retrieve_within(text, vector, filter, limit, &Work::unbounded()).unwrap()
}

fn evidence(index: &Index, text: &str, vector: Option<&[f32]>, id: &str) -> Option<Evidence> {
    index.evidence_within(text, vector, &[id], &Work::unbounded()).unwrap()[0]
}

/// Scores by id, exactly.
fn scores(candidates: &[Candidate]) -> BTreeMap<&str, u32> {
    candidates.iter().map(|found| (&*found.id, found.score.to_bits())).collect()
}

#[test]
fn a_retrieval_has_the_facts_of_both_retrievers_with_exactly_their_scores() {
    let mut random = fastrand::Rng::with_seed(31);
    let index = index(&mut random);
    let kind = Filter::parse_text(r#"{"kind": 2}"#).unwrap();
    for round in 0..200 {
        let text = if round % 9 == 0 { "w3".into() } else { random_text(&mut random) };
        let vector = clustered(&mut random, 24);
        let filter = random.bool().then_some(&kind);
        let limit = [1, 10, 100, FACTS][random.usize(..4)];
        let found = retrieve(&index, &text, Some(&vector), filter, limit);

        let nearest = index.nearest(&vector, filter, limit).unwrap();
        let matching = index.matching(&text, filter, limit).unwrap();
        let both: BTreeSet<_> = nearest.iter().chain(&matching).map(|found| &found.id).collect();
        let (pools, others) = found.candidates.split_at(both.len());
        assert_eq!(pools.iter().map(|(id, _)| id).collect::<BTreeSet<_>>(), both);
        assert!(others.iter().all(|(id, known)| known.rarest == 1 && !both.contains(id)));

        let (all_near, all_words) = (
            index.nearest(&vector, None, FACTS).unwrap(),
            index.matching(&text, None, FACTS).unwrap(),
        );
        let (near, words) = (scores(&all_near), scores(&all_words));
        for (id, known) in &found.candidates {
            assert_eq!(known.similarity.map(f32::to_bits), near.get(&**id).copied());
            assert_eq!(known.words.to_bits(), words.get(&**id).copied().unwrap_or(0));
            assert_eq!(known.words > 0.0, known.rarest > 0);
            assert_eq!(known.words > 0.0, known.coverage > 0.0);
            assert!(known.coverage <= 1.0 && known.words <= found.attainable);
            assert_eq!(evidence(&index, &text, Some(&vector), id), Some(*known));
        }
    }
}

#[test]
fn the_pool_of_each_retriever_is_the_first_by_its_score() {
    let mut random = fastrand::Rng::with_seed(32);
    let index = index(&mut random);
    for _ in 0..50 {
        let (text, vector) = (random_text(&mut random), clustered(&mut random, 24));
        let found = retrieve(&index, &text, Some(&vector), None, 20);
        let first = |score: fn(&Evidence) -> Option<f32>| {
            let scored = found.candidates.iter();
            let mut scored: Vec<_> =
                scored.filter_map(|(id, known)| Some((score(known)?, id.clone()))).collect();
            scored.sort_by(|l, r| r.0.total_cmp(&l.0).then_with(|| l.1.cmp(&r.1)));
            scored.truncate(20);
            scored.into_iter().map(|(score, id)| Candidate { id, score }).collect::<Vec<_>>()
        };
        let nearest = first(|known| known.similarity);
        assert_eq!(nearest, index.nearest(&vector, None, 20).unwrap());
        let matching = first(|known| Some(known.words).filter(|words| *words > 0.0));
        assert_eq!(matching, index.matching(&text, None, 20).unwrap());
    }
}

#[test]
fn facts_that_alone_have_a_word_are_found_beyond_the_pools() {
    let index = Index::new();
    for number in 0..50 {
        put(&index, &format!("f{number}"), "plain tea with milk", "{}", None);
        put(&index, &format!("g{number}"), "nothing of the kind", "{}", None);
    }
    let long = format!("quokka {}", "filler ".repeat(200));
    put(&index, "sole", &long, r#"{"kind": 1}"#, None);
    let found = retrieve(&index, "plain tea with milk and quokka", None, None, 5);
    assert_eq!(found.candidates.len(), 6);
    let (id, known) = &found.candidates[5];
    assert_eq!((&**id, known.rarest), ("sole", 1));
    let other = Filter::parse_text(r#"{"kind": 2}"#).unwrap();
    assert_eq!(retrieve(&index, "quokka tea", None, Some(&other), 5).candidates, []);
}

#[test]
fn of_facts_with_forms_of_a_word_the_one_with_the_form_of_the_query_comes_first() {
    let index = Index::new();
    for number in 0..20 {
        put(&index, &format!("f{number}"), &format!("law of the year {number}"), "{}", None);
    }
    put(&index, "sole", "it is lawful to say so in a text that is longer", "{}", None);
    assert_eq!(&*index.matching("lawful", None, 21).unwrap()[0].id, "sole");
    assert_eq!(index.matching("lawful", None, 50).unwrap().len(), 21);
    assert_eq!(&*index.matching("laws", None, 21).unwrap()[0].id, "f0");
    assert_eq!(evidence(&index, "lawful", None, "sole").unwrap().rarest, 1);
    assert_eq!(evidence(&index, "lawful", None, "f1").unwrap().rarest, 21);
    // In a long query a form counts for nothing.
    let long = (0..17).map(|number| format!(" w{number}")).collect::<String>();
    let long = format!("lawful{long}");
    assert_eq!(evidence(&index, &long, None, "sole").unwrap().rarest, 21);
}

/// Such a word has no term of its form: the stem is marked instead.
#[test]
fn of_facts_with_forms_of_a_word_the_one_with_its_stem_alone_comes_first() {
    let index = Index::new();
    for number in 0..20 {
        put(&index, &format!("f{number}"), &format!("feeling of the year {number}"), "{}", None);
    }
    put(&index, "sole", "it may feel right to say so in a text that is longer", "{}", None);
    put(&index, "both", "a feeling that others feel too", "{}", None);
    let first = |query: &str| index.matching(query, None, 50).unwrap()[0].id.to_string();
    assert_eq!(evidence(&index, "feel", None, "sole").unwrap().rarest, 2);
    assert!(index.remove("both", 2).unwrap());
    assert_eq!((first("feel").as_str(), first("feeling").as_str()), ("sole", "f0"));
    assert_eq!(evidence(&index, "feel", None, "sole").unwrap().rarest, 1);
    assert_eq!(evidence(&index, "feel", None, "f1").unwrap().rarest, 21);
    let coverage = |id: &str| evidence(&index, "feel", None, id).unwrap().coverage;
    assert!(coverage("sole") > coverage("f1"));
    // Where all facts have it so, it says nothing.
    assert_eq!(evidence(&index, "year", None, "f1").unwrap().rarest, 20);
}

#[test]
fn words_that_no_fact_has_count_in_what_is_attainable_and_not_in_coverage() {
    let index = Index::new();
    put(&index, "a", "zebra crossing", "{}", None);
    put(&index, "b", "crossing", "{}", None);
    put(&index, "c", "crossing and more", "{}", None);
    let rare = evidence(&index, "zebra crossing", None, "a").unwrap();
    assert_eq!((rare.coverage, rare.rarest, rare.similarity), (1.0, 1, None));
    let common = evidence(&index, "zebra crossing", None, "b").unwrap();
    assert!(common.coverage > 0.0 && common.coverage < 0.5, "{common:?}");
    assert_eq!(common.rarest, 3);
    let drowned = evidence(&index, "zebra unheard", None, "a").unwrap();
    assert!(drowned.coverage > 0.2 && drowned.coverage < 0.5, "{drowned:?}");
    let known = retrieve(&index, "zebra", None, None, 10).attainable;
    let more = retrieve(&index, "zebra unheard", None, None, 10).attainable;
    assert!(more > 2.0 * known, "{more} is not twice {known}");
    assert_eq!(retrieve(&index, "?!", None, None, 10).attainable.to_bits(), 0);
}

#[test]
fn a_retrieval_counts_the_facts_that_match_the_filter_and_their_vectors() {
    let index = Index::new();
    for number in 0..10 {
        let (id, metadata) = (number.to_string(), format!(r#"{{"even": {}}}"#, number % 2 == 0));
        let vector = [1.0, number as f32];
        put(&index, &id, "tea", &metadata, (number < 5).then_some(&vector[..]));
    }
    let even = Filter::parse_text(r#"{"even": true}"#).unwrap();
    let all = retrieve(&index, "tea", None, None, 3);
    assert_eq!((all.facts, all.vectors, all.candidates.len()), (10, 5, 3));
    let half = retrieve(&index, "tea", Some(&[1.0, 1.0]), Some(&even), 10);
    assert_eq!((half.facts, half.vectors, half.candidates.len()), (5, 3, 5));
}

#[test]
fn facts_that_are_not_there_have_no_evidence() {
    let index = Index::new();
    put(&index, "a", "tea", "{}", Some(&[1.0, 0.0]));
    index
        .upsert(&Entry { id: "b", revision: 1, text: "tea", metadata: "{}", vector: None })
        .unwrap();
    index.remove("b", 2).unwrap();
    let work = Work::unbounded();
    let known =
        index.evidence_within("tea", Some(&[2.0, 0.0]), &["b", "a", "c", "a"], &work).unwrap();
    assert_eq!((known[0], known[2]), (None, None));
    assert_eq!(known[1], known[3]);
    assert_eq!(known[1].and_then(|known| known.similarity), Some(1.0));
    let wrong = index.evidence_within("tea", Some(&[1.0]), &["a"], &work);
    assert_eq!(wrong, Err(IndexError::Dimensions { expected: 2, got: 1 }));
}

#[test]
fn the_work_is_counted_and_stopped() {
    let mut random = fastrand::Rng::with_seed(33);
    let index = index(&mut random);
    let vector = clustered(&mut random, 24);
    let units_of = |limit| {
        let mut units = 0;
        let mut go_on = |more: u64| {
            units += more;
            true
        };
        let query = "w1 w2 w3";
        let work = &Work::bounded(&mut go_on);
        index.retrieve_within(query, Some(&vector), None, limit, work).unwrap();
        units
    };
    assert!(units_of(300) > units_of(1) + 300 * 3 * 16, "each lookup counts");
    let mut stop = |_| false;
    let work = Work::bounded(&mut stop);
    let ids: Vec<String> = (0..10_000).map(|number| (number % FACTS).to_string()).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let stopped = index.evidence_within("w1 w2 w3", Some(&vector), &ids, &work);
    assert_eq!(stopped, Err(IndexError::Stopped));
}
