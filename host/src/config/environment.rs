//! What has an environment variable and no flag: the secrets, and each of the limits.

use std::env;

use anyhow::{Context, anyhow};
use kenning_client::secret;
use kenning_core::limits::Limits;
use kenning_embedder::Key;
use kenning_tenants::AdminKeys;
use serde_json::{Map, Value};

const ADMIN_KEY: &str = "KENNING_ADMIN_KEY";

/// The remote embedder's key. There is no flag for it: every user of the machine can read command
/// lines.
const EMBEDDING_KEY: &str = "KENNING_EMBEDDING_KEY";

/// Who sets the variable, even to nothing, wants keys: an empty key is refused as too short.
pub(super) fn admin_keys() -> anyhow::Result<Option<AdminKeys>> {
    let wanted =
        [ADMIN_KEY, "KENNING_ADMIN_KEY_FILE"].iter().any(|name| env::var_os(name).is_some());
    let key = secret(ADMIN_KEY)?.or(wanted.then(String::new));
    let keys = key.map(|keys| AdminKeys::parse(&keys)).transpose();
    keys.map_err(|reason| anyhow!("{ADMIN_KEY}: {reason}"))
}

pub(super) fn embedding_key() -> anyhow::Result<Option<Key>> {
    let Some(key) = secret(EMBEDDING_KEY)? else { return Ok(None) };
    // The error does not repeat the key.
    let key = Key::new(&key).with_context(|| {
        format!("{EMBEDDING_KEY} has characters that an HTTP header cannot carry")
    })?;
    Ok(Some(key))
}

/// The variable of each limit: `search_ms` is `KENNING_LIMITS_SEARCH_MS`.
pub fn limit_variables() -> Vec<String> {
    by_name(&Limits::default()).keys().map(|name| variable(name)).collect()
}

/// `limits` with those changed that the environment sets.
pub(super) fn limits(limits: Limits) -> anyhow::Result<Limits> {
    let value = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
    let set = by_name(&limits).into_iter().filter_map(|(name, _)| {
        let variable = variable(&name);
        let text = value(&variable)?;
        Some((name, variable, text.to_string_lossy().into_owned()))
    });
    set.collect::<Vec<_>>().into_iter().try_fold(limits, |limits, (name, variable, text)| {
        with(&limits, name, &text).with_context(|| variable)
    })
}

fn with(limits: &Limits, name: String, text: &str) -> anyhow::Result<Limits> {
    let number: u64 =
        text.trim().parse().map_err(|_| anyhow!("{text:?} is not a whole number of 0 or more"))?;
    let mut values = by_name(limits);
    values.insert(name, number.into());
    Ok(serde_json::from_value(Value::Object(values))?)
}

fn variable(limit: &str) -> String {
    format!("KENNING_LIMITS_{}", limit.to_ascii_uppercase())
}

/// The limits by the names that they have in the file.
fn by_name(limits: &Limits) -> Map<String, Value> {
    match serde_json::to_value(limits) {
        Ok(Value::Object(limits)) => limits,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_has_a_variable_that_changes_it_alone() {
        let limits = Limits::default();
        for (name, default) in by_name(&limits) {
            let other = default.as_u64().unwrap() + 1;
            let changed = by_name(&with(&limits, name.clone(), &other.to_string()).unwrap());
            let mut wanted = by_name(&limits);
            wanted.insert(name.clone(), other.into());
            assert_eq!(changed, wanted, "{name}");
        }
        let variables = limit_variables();
        assert!(variables.contains(&"KENNING_LIMITS_SEARCH_MS".to_owned()));
        assert_eq!(variables.len(), by_name(&limits).len());
    }

    #[test]
    fn a_limit_that_is_no_number_is_refused() {
        let refused = |name: &str, text: &str| {
            with(&Limits::default(), name.into(), text).unwrap_err().to_string()
        };
        for text in ["ten", "-1", "1.5", "1_000", "10s", " "] {
            assert!(refused("search_ms", text).contains("is not a whole number"), "{text}");
        }
        assert!(refused("host_calls", "5000000000").contains("expected u32"));
    }
}
