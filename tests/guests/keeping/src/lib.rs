//! An extension that keeps state, and does what texts say.
//!
//! A query is a JSON object: `{"do": "get", "key": "k"}`, with `set`, `cas`, `add`, `delete` and
//! `list`. A key is a string, or a list of bytes. `on-query` does it and refuses the query with the
//! result, so that nothing is searched.
//!
//! `on-change` keeps what it is told under `told/REVISION`, and counts under `told`. It does not
//! take a fact whose text contains `poison` unless the key `antidote` is there, and traps for
//! `trap`.
//! `on-delete` keeps facts whose metadata has `hold`.

#![cfg(target_family = "wasm")]

use std::time::Duration;

use kenning_extension::json::{self, Value, json};
use kenning_extension::{
    Change, DeletionRefusal, Error, Fact, OnChange, OnDelete, OnQuery, Query, Refusal, state,
};

struct Keeping;

fn bytes(value: &Value) -> Vec<u8> {
    match value {
        Value::String(text) => text.clone().into_bytes(),
        other => json::from_value(other.clone()).unwrap_or_default(),
    }
}

/// Bytes as text if they are, or as a list.
fn shown(bytes: &[u8]) -> Value {
    std::str::from_utf8(bytes).map_or_else(|_| json!(bytes), |text| json!(text))
}

fn done(asked: &Value) -> Result<Value, Error> {
    let key = bytes(&asked["key"]);
    let value = match &asked["size"] {
        Value::Number(size) => vec![b'x'; size.as_u64().unwrap_or_default() as usize],
        _ => bytes(&asked["value"]),
    };
    let ttl = asked["ttl"].as_u64().map(Duration::from_millis);
    Ok(match asked["do"].as_str() {
        Some("get") => match state::get(&key)? {
            Some(entry) => json!({ "value": shown(&entry.value), "version": entry.version }),
            None => Value::Null,
        },
        Some("set") => json!(state::set(&key, &value, ttl)?),
        Some("cas") => {
            json!(state::compare_and_set(&key, asked["expected"].as_u64(), &value, ttl)?)
        }
        Some("add") => json!(state::increment(&key, asked["by"].as_i64().unwrap_or(1), ttl)?),
        Some("delete") => json!(state::delete(&key)?),
        Some("list") => {
            let page = state::list(&key, None, 1_000)?;
            page.keys.iter().map(|key| shown(key)).collect()
        }
        _ => Value::Null,
    })
}

impl OnQuery for Keeping {
    fn on_query(query: Query) -> Result<Query, Refusal> {
        let Ok(asked) = json::from_str::<Value>(&query.text) else { return Ok(query) };
        match done(&asked) {
            Ok(value) => Err(Refusal::new(json!({ "ok": value }).to_string())),
            Err(error) => Err(Refusal::new(json!({ "error": error.to_string() }).to_string())),
        }
    }
}

impl OnDelete for Keeping {
    fn on_delete(fact: Fact) -> Result<(), DeletionRefusal> {
        match fact.metadata.get_str("hold") {
            Some(why) => Err(DeletionRefusal::new(format!("{} is held: {why}", fact.id))
                .with_code("legal-hold")
                .at("/metadata/hold")),
            None => Ok(()),
        }
    }
}

impl OnChange for Keeping {
    fn on_change(change: Change) -> Result<(), String> {
        let Change { id, kind, revision, fact, attempt } = change;
        let text = fact.map(|fact| fact.text);
        let failed = |error: Error| error.to_string();
        let has = |word: &str| text.as_ref().is_some_and(|text| text.contains(word));
        if has("poison") && state::get("antidote").map_err(failed)?.is_none() {
            return Err(format!("attempt {attempt}: {id} is poisoned"));
        }
        assert!(!has("trap"), "trapped by {id}");
        let told = json!([id, format!("{kind:?}"), text]).to_string();
        state::set(format!("told/{revision:06}"), told, None).map_err(failed)?;
        state::increment("told", 1, None).map_err(failed)?;
        Ok(())
    }
}

kenning_extension::export!(Keeping: OnQuery, OnDelete, OnChange);
