//! What a search can be asked for beyond its query: relevance, order, facets, pages, highlights.

use anyhow::{Context, Result};
use kenning_tests::{Answer, Backend, Caller, Server, Setup, all_indexed, on_both_backends};
use serde_json::{Value, json};

on_both_backends!(every_hit_says_how_similar_and_how_relevant_it_is, pages_hold_each_fact_once);

const TEXTS: [(&str, &str); 4] = [
    ("pot", "tea is brewed in a pot"),
    ("pot-again", "tea is brewed in a pot"),
    ("pot-too", "tea is brewed in a pot"),
    ("milk", "milk goes into the tea of some people"),
];

async fn store_tea(caller: &Caller) -> Result<()> {
    for (number, (id, text)) in TEXTS.iter().enumerate() {
        let metadata = json!({ "kind": ["drink", id], "hot": number < 3 });
        let fact = json!({ "text": text, "fact_id": id, "metadata": metadata });
        caller.store(fact).await?;
    }
    caller.store(json!({ "text": "rain on Monday", "fact_id": "rain" })).await?;
    all_indexed(caller).await?;
    Ok(())
}

async fn asked(caller: &Caller, search: Value) -> Result<Answer> {
    let answer = caller.post("/v1/search", search).await?;
    assert_eq!(answer.status, 200, "{}", answer.text);
    Ok(answer)
}

fn hits(answer: &Answer) -> &[Value] {
    answer.json["results"].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn ids(answer: &Answer) -> Vec<&str> {
    hits(answer).iter().filter_map(|hit| hit["id"].as_str()).collect()
}

async fn every_hit_says_how_similar_and_how_relevant_it_is(backend: &Backend) -> Result<()> {
    let server = backend.serve().await?;
    store_tea(&server).await?;
    for mode in ["hybrid", "vector", "text"] {
        let answer =
            asked(&server, json!({ "query": "tea is brewed in a pot", "mode": mode })).await?;
        for hit in hits(&answer) {
            assert_eq!(hit["id"], hit["doc_id"], "{hit}");
            let relevance = hit["relevance"].as_f64().context("relevance")?;
            assert!((0.0..=1.0).contains(&relevance), "{hit}");
            let similarity = hit["similarity"].as_f64();
            assert_eq!(similarity.is_none(), mode == "text", "{mode} {hit}");
            assert!(similarity.is_none_or(|value| (-1.0..=1.0).contains(&value)), "{hit}");
        }
        let relevance = |at: usize| hits(&answer)[at]["relevance"].as_f64().unwrap_or(f64::NAN);
        let last = hits(&answer).len() - 1;
        assert!(relevance(0) > relevance(last), "{mode}: {}", answer.text);
    }
    let best = asked(&server, json!({ "query": "tea is brewed in a pot" })).await?;
    assert_eq!(hits(&best)[0]["similarity"], 1.0, "the same text: {}", best.text);
    Ok(())
}

#[tokio::test]
async fn hits_below_the_floor_are_left_out() -> Result<()> {
    let server = Server::start().await?;
    store_tea(&server).await?;
    let all = asked(&server, json!({ "query": "milk tea" })).await?;
    assert_eq!(ids(&all).len(), 5);
    let least = hits(&all)[0]["relevance"].clone();
    let some = asked(&server, json!({ "query": "milk tea", "min_relevance": least })).await?;
    assert_eq!(ids(&some), ["milk"]);
    let none =
        json!({ "query": "quarterly zeppelin audit", "mode": "text", "min_relevance": 0.01 });
    let none = asked(&server, none).await?;
    assert_eq!((&none.json["results"], &none.json["degraded"]), (&json!([]), &json!([])));
    assert_eq!(none.json["next_cursor"], Value::Null);
    let zero = asked(&server, json!({ "query": "milk tea", "min_relevance": 0 })).await?;
    assert_eq!(ids(&zero), ids(&all));
    Ok(())
}

#[tokio::test]
async fn diversity_moves_a_repetition_down() -> Result<()> {
    let server = Server::start().await?;
    store_tea(&server).await?;
    let tea = "tea is brewed in a pot";
    let query = |diversity: f64| json!({ "query": tea, "top_k": 2, "diversity": diversity });
    let same = asked(&server, query(0.0)).await?;
    assert!(ids(&same).iter().all(|id| id.starts_with("pot")), "{}", same.text);
    let diverse = asked(&server, query(0.7)).await?;
    assert!(ids(&diverse)[0].starts_with("pot") && !ids(&diverse)[1].starts_with("pot"));
    let scores: Vec<f64> = hits(&diverse).iter().filter_map(|hit| hit["score"].as_f64()).collect();
    assert!(scores.is_sorted_by(|one, next| one >= next), "{scores:?}");
    Ok(())
}

#[tokio::test]
async fn recency_prefers_new_facts_by_their_own_time_or_a_field() -> Result<()> {
    let server = Server::start().await?;
    let mut lines = String::new();
    for (id, stored, checked) in [
        ("a", "2001-01-01T00:00:00Z", "2024-06-01"),
        ("b", "2011-01-01T00:00:00Z", "2004-06-01"),
        ("c", "2021-01-01T00:00:00Z", "2014-06-01"),
        ("d", "1991-01-01T00:00:00Z", "never"),
    ] {
        let metadata = json!({ "checked": [checked] });
        let line = json!({ "id": id, "text": "tea", "timestamp": stored, "metadata": metadata });
        lines.push_str(&format!("{line}\n"));
    }
    assert_eq!(server.post_raw("/v1/import", lines).await?.status, 200);
    let order = async |recency: Value| {
        let answer = asked(&server, json!({ "query": "tea", "recency": recency })).await?;
        anyhow::Ok(ids(&answer).join(" "))
    };
    let half_life = 10 * 365 * 86_400;
    assert_eq!(order(json!({ "half_life": "3650d" })).await?, "c b a d");
    assert_eq!(order(json!({ "half_life": half_life, "field": "$timestamp" })).await?, "c b a d");
    assert_eq!(order(json!({ "half_life": "3650d", "field": "checked" })).await?, "a c b d");
    assert_eq!(order(json!({ "half_life": "3650d", "weight": 0 })).await?, "a b c d");
    Ok(())
}

#[tokio::test]
async fn facets_count_the_values_of_the_facts_that_match_the_filter() -> Result<()> {
    let server = Server::start().await?;
    let empty = asked(&server, json!({ "query": "tea", "facets": ["kind"] })).await?;
    assert_eq!(empty.json["facets"], json!({ "kind": { "values": [], "distinct": 0 } }));
    store_tea(&server).await?;
    let search = json!({
        "query": "zeppelin", "mode": "text", "facets": ["hot", "kind"],
        "filter": { "kind": { "exists": true } },
    });
    let answer = asked(&server, search).await?;
    assert_eq!(answer.json["results"], json!([]), "what is counted need not be found");
    let facets = &answer.json["facets"];
    let hot = json!([{ "value": true, "count": 3 }, { "value": false, "count": 1 }]);
    assert_eq!(facets["hot"], json!({ "values": hot, "distinct": 2 }));
    assert_eq!(facets["kind"]["values"][0], json!({ "value": "drink", "count": 4 }));
    assert_eq!(facets["kind"]["distinct"], 5);
    let without = asked(&server, json!({ "query": "tea" })).await?;
    assert!(without.json.get("facets").is_none());
    let many: Vec<String> = (0..11).map(|number| number.to_string()).collect();
    let refused = server.post("/v1/search", json!({ "query": "tea", "facets": many })).await?;
    refused.assert_error(413, "too_large");
    assert_eq!(refused.json["details"]["limit"], "search_facets");
    Ok(())
}

/// All pages of a search, and how many there were.
async fn pages(caller: &Caller, mut search: Value) -> Result<(Vec<String>, usize)> {
    let (mut found, mut count) = (Vec::new(), 0);
    loop {
        let answer = asked(caller, search.clone()).await?;
        found.extend(ids(&answer).into_iter().map(String::from));
        count += 1;
        match answer.json["next_cursor"].as_str() {
            Some(cursor) => search["cursor"] = cursor.into(),
            None => return Ok((found, count)),
        }
    }
}

async fn pages_hold_each_fact_once(backend: &Backend) -> Result<()> {
    let server = backend.serve().await?;
    let texts = (0..25).map(|number| format!("tea number {number} of {}", number % 7));
    let facts: Vec<_> = texts.map(|text| json!({ "text": text })).collect();
    assert_eq!(server.post("/v1/facts/batch", json!({ "facts": facts })).await?.status, 200);
    server.store(json!({ "text": "rain on Monday" })).await?;
    all_indexed(&server).await?;
    for (search, found) in [
        (json!({ "query": "tea number 3", "mode": "text" }), 25),
        (json!({ "query": "tea number 3", "mode": "vector" }), 26),
        (json!({ "query": "tea number 3" }), 26),
        (json!({ "query": "tea number 3", "diversity": 0.5 }), 26),
        (json!({ "query": "tea number 3", "recency": { "half_life": "1d" } }), 26),
    ] {
        let mut search = search;
        search["top_k"] = json!(10);
        let (mut all, count) = pages(&server, search.clone()).await?;
        assert_eq!((all.len(), count), (found, 3), "{search}");
        all.sort();
        all.dedup();
        assert_eq!(all.len(), found, "each once: {search}");
        // Whether more follows may show only when it is asked for.
        search["top_k"] = json!(found);
        assert_eq!(pages(&server, search.clone()).await?.0.len(), found, "{search}");
    }
    Ok(())
}

#[tokio::test]
async fn a_cursor_is_for_its_own_search_and_paging_ends_at_its_limit() -> Result<()> {
    let config = Some("[limits]\nsearch_hits = 4\n".to_string());
    let server = Server::start_with(Setup { config, ..Setup::patient() }).await?;
    store_tea(&server).await?;
    let first = asked(&server, json!({ "query": "tea", "top_k": 2 })).await?;
    let cursor = first.json["next_cursor"].clone();
    for (search, pointer) in [
        (json!({ "query": "rain", "cursor": cursor }), "/cursor"),
        (json!({ "query": "tea", "mode": "text", "cursor": cursor }), "/cursor"),
        (json!({ "query": "tea", "filter": {}, "cursor": cursor }), "/cursor"),
        (json!({ "query": "tea", "cursor": "no cursor" }), "/cursor"),
    ] {
        server.post("/v1/search", search).await?.assert_invalid(pointer);
    }
    let other = json!({ "query": "tea", "cursor": cursor });
    server.tenant("other").post("/v1/search", other).await?.assert_invalid("/cursor");
    let last = json!({ "query": "tea", "top_k": 2, "highlights": true, "cursor": cursor });
    let last = asked(&server, last).await?;
    assert_eq!((ids(&last).len(), &last.json["next_cursor"]), (2, &Value::Null));
    assert!(last.json["degraded"][0].as_str().is_some_and(|why| why.contains("search_hits")));
    assert!(ids(&last).iter().all(|id| !ids(&first).contains(id)));
    Ok(())
}

#[tokio::test]
async fn highlights_are_passages_with_the_places_of_the_words() -> Result<()> {
    let server = Server::start().await?;
    let filler = "Nothing of interest happens in this sentence. ".repeat(30);
    let text = format!("{filler}Zoë migrated the CAFÉ tables. {filler}");
    server.store(json!({ "text": text, "fact_id": "long" })).await?;
    server.store(json!({ "text": "a short one about rain", "fact_id": "short" })).await?;
    all_indexed(&server).await?;
    let search = json!({ "query": "cafe migrations", "highlights": true });
    let answer = asked(&server, search).await?;
    let hit = hits(&answer).iter().find(|hit| hit["id"] == "long").context("long")?;
    let passages = hit["highlights"].as_array().context("highlights")?;
    assert!((1..=3).contains(&passages.len()), "{hit}");
    let content: Vec<char> = text.chars().collect();
    let mut words = Vec::new();
    for passage in passages {
        let shown: Vec<char> = passage["text"].as_str().unwrap_or_default().chars().collect();
        let start = passage["start"].as_u64().context("start")? as usize;
        assert!(shown.len() <= 200);
        assert_eq!(content[start..][..shown.len()], shown[..]);
        for word in passage["matches"].as_array().context("matches")? {
            let place = |name: &str| word[name].as_u64().unwrap_or_default() as usize;
            words.push(shown[place("start")..place("end")].iter().collect::<String>());
        }
    }
    assert_eq!(words, ["migrated", "CAFÉ"]);
    let other = hits(&answer).iter().find(|hit| hit["id"] == "short").context("short")?;
    let whole = json!([{ "text": "a short one about rain", "start": 0, "matches": [] }]);
    assert_eq!(other["highlights"], whole, "found by its vector only");
    let without = asked(&server, json!({ "query": "cafe" })).await?;
    assert!(hits(&without).iter().all(|hit| hit.get("highlights").is_none()));
    Ok(())
}

#[tokio::test]
async fn an_option_out_of_its_range_is_pointed_at() -> Result<()> {
    let server = Server::start().await?;
    for (option, pointer) in [
        (json!({ "min_relevance": 1.01 }), "/min_relevance"),
        (json!({ "min_relevance": "high" }), "/min_relevance"),
        (json!({ "diversity": -0.1 }), "/diversity"),
        (json!({ "recency": {} }), "/recency/half_life"),
        (json!({ "recency": { "half_life": "7 days" } }), "/recency/half_life"),
        (json!({ "recency": { "half_life": 0 } }), "/recency/half_life"),
        (json!({ "recency": { "half_life": "7d", "weight": 2 } }), "/recency/weight"),
        (json!({ "recency": { "half_life": "7d", "scale": 2 } }), "/recency/scale"),
        (json!({ "facets": "topic" }), "/facets"),
        (json!({ "highlights": 3 }), "/highlights"),
        (json!({ "min_relevence": 0.5 }), "/min_relevence"),
    ] {
        let mut search = option.clone();
        search["query"] = json!("tea");
        let answer = server.post("/v1/search", search).await?;
        answer.assert_error(400, "invalid_request");
        assert_eq!(answer.pointer(), pointer, "{option}: {}", answer.text);
    }
    Ok(())
}

#[tokio::test]
async fn a_batch_runs_each_search_on_its_own() -> Result<()> {
    let server = Server::start().await?;
    store_tea(&server).await?;
    let batch = json!({ "searches": [
        { "query": "rain", "mode": "text" },
        { "query": "tea", "min_relevance": 7 },
        { "query": "tea", "filter": { "a": { "near": 1 } } },
        { "query": "milk", "mode": "text", "highlights": true },
        { "query": "tea", "surprise": 1 },
    ] });
    let answer = server.post("/v1/search/batch", batch).await?;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let results = answer.json["results"].as_array().context("results")?;
    assert_eq!(results.len(), 5);
    assert_eq!(results[0]["results"][0]["id"], "rain");
    assert_eq!(results[1]["details"]["pointer"], "/min_relevance");
    assert_eq!(results[2]["code"], "invalid_filter");
    assert_eq!(results[3]["results"][0]["highlights"][0]["matches"][0]["end"], 4);
    for failed in [&results[1], &results[2], &results[4]] {
        kenning_tests::assert_error_body(failed);
    }
    assert_eq!(answer.header("x-kenning-generation"), "1");
    server.post("/v1/search/batch", json!({ "searches": [] })).await?.assert_invalid("/searches");
    let many = vec![json!({ "query": "tea" }); 21];
    let refused = server.post("/v1/search/batch", json!({ "searches": many })).await?;
    refused.assert_error(413, "too_large");
    let details = json!({ "limit": "batch_searches", "allowed": 20, "used": 21 });
    assert_eq!(refused.json["details"], details);
    Ok(())
}
