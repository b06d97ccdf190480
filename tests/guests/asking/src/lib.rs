//! An extension that shows what it is told of its call, and what was set for it.
//!
//! `on-store` and `on-read` put it into the metadata of each fact, as `stored_by` and `read_by`.
//! `on-query` leaves the query as it sees it in a note, which `on-read` shows, and adds a word, so
//! that the query as it was asked is another. `rerank` puts first the id that its options name.

#![cfg(target_family = "wasm")]

use kenning_extension::json::{self, Value, json};
use kenning_extension::{
    Draft, Fact, Hit, OnQuery, OnRead, OnStore, OptionsSchema, Query, Ranked, Refusal, Rerank,
    SettingsSchema, context, log, settings,
};

struct Asking;

/// All that the host says of this call.
fn told() -> Value {
    let (caller, request) = (context::caller(), context::request());
    let attributes: Value = json::from_str(caller.attributes.as_str()).unwrap_or_default();
    json!({
        "key": caller.key_id,
        "attributes": attributes,
        "subject": caller.subject,
        "scopes": caller.scopes,
        "verb": format!("{:?}", request.verb),
        "id": request.id,
        "replay": request.is_replay,
        "asked": context::query().map(|query| json!([query.text, query.top_k])),
        "options": context::options(),
        "note": context::note("seen"),
        "none": context::note("never left"),
        "settings": json::from_str::<Value>(settings::get().as_str()).unwrap_or_default(),
    })
}

impl OnStore for Asking {
    fn on_store(mut draft: Draft) -> Result<Vec<Draft>, Refusal> {
        draft.metadata.set("stored_by", told());
        Ok(vec![draft])
    }
}

impl OnQuery for Asking {
    fn on_query(mut query: Query) -> Result<Query, Refusal> {
        if query.text == "overflow" {
            let fits = context::set_note("long", &"x".repeat(16 * 1024 - 4));
            let over = context::set_note("more", "");
            return Err(Refusal::new(format!("fits: {fits}, over: {over}")));
        }
        if let Some(name) = query.text.strip_prefix("confide ") {
            let secret = settings::secret(name);
            let known = secret.as_ref().map(String::len);
            let secret = secret.unwrap_or_default();
            log::info(format!("the secret is {secret}, again {secret}"));
            println!("printed: {secret}");
            assert!(query.mode != kenning_extension::Mode::Text, "panics with {secret}");
            return Err(Refusal::new(format!("bytes: {known:?}")));
        }
        context::set_note("seen", &format!("{} of {}", query.text, query.top_k));
        query.text.push_str(" tea");
        Ok(query)
    }
}

impl OnRead for Asking {
    fn on_read(mut facts: Vec<Fact>) -> Vec<Fact> {
        let told = told();
        for fact in &mut facts {
            fact.metadata.set("read_by", told.clone());
        }
        facts
    }
}

impl Rerank for Asking {
    fn rerank(_: &Query, hits: Vec<Hit>) -> Vec<Ranked> {
        let first = context::options().and_then(|options| json::from_str::<Value>(&options).ok());
        let first = first.and_then(|options| options["first"].as_str().map(String::from));
        let score = |hit: &Hit| if Some(&hit.fact.id) == first.as_ref() { 2.0 } else { 1.0 };
        hits.iter().map(|hit| Ranked { id: hit.fact.id.clone(), score: score(hit) }).collect()
    }
}

impl SettingsSchema for Asking {
    const SCHEMA: &'static str = r#"{
        "type": "object",
        "properties": {
            "level": { "type": "integer", "maximum": 9 },
            "words": { "type": "array" }
        },
        "additionalProperties": false
    }"#;
}

impl OptionsSchema for Asking {
    const SCHEMA: &'static str = r#"{
        "type": "object",
        "properties": {
            "first": { "type": "string" },
            "a/b": { "items": { "type": "integer" } },
            "list": { "type": "array", "minItems": 0, "maxItems": 9 }
        },
        "additionalProperties": false
    }"#;
}

kenning_extension::export!(Asking: OnStore, OnQuery, OnRead, Rerank);
kenning_extension::export_schema!(Asking);
kenning_extension::export_options_schema!(Asking);
