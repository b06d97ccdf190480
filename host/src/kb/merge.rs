//! JSON merge patches (RFC 7396), on text: what a patch does not touch stays as it was written, and
//! so a number keeps all of its digits.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use kenning_core::error::Error;

type Object = BTreeMap<String, Box<RawValue>>;

/// `target` with `patch` applied to it. Both are JSON objects.
///
/// # Errors
/// If one of them is not, or nests too deep to be read.
pub(super) fn merged(target: &str, patch: &str) -> Result<String, Error> {
    let unreadable = |error: serde_json::Error| {
        Error::invalid("/metadata", format!("cannot be merged: {error}"))
    };
    merge(Some(target), patch).map_err(unreadable)
}

fn merge(target: Option<&str>, patch: &str) -> serde_json::Result<String> {
    if !is_object(patch) {
        return Ok(patch.to_owned());
    }
    let mut object: Object = match target.filter(|target| is_object(target)) {
        Some(target) => serde_json::from_str(target)?,
        None => Object::new(),
    };
    let patch: Object = serde_json::from_str(patch)?;
    for (name, change) in patch {
        if change.get() == "null" {
            object.remove(&name);
        } else {
            let value = merge(object.get(&name).map(|old| old.get()), change.get())?;
            object.insert(name, RawValue::from_string(value)?);
        }
    }
    serde_json::to_string(&object)
}

fn is_object(json: &str) -> bool {
    json.trim_ascii_start().starts_with('{')
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn value(json: &str) -> Value {
        serde_json::from_str(json).unwrap()
    }

    /// The examples of RFC 7396, appendix A, whose target is an object.
    #[test]
    fn the_examples_of_the_rfc_hold() {
        for (target, patch, result) in [
            (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"a":null}"#, "{}"),
            (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
            (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"c"}"#, r#"{"a":["b"]}"#, r#"{"a":["b"]}"#),
            (r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#),
            (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
            (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"e":null,"a":1}"#),
            ("{}", r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
        ] {
            let merged = merged(target, patch).unwrap();
            assert_eq!(value(&merged), value(result), "{target} with {patch}");
        }
    }

    #[test]
    fn a_number_keeps_its_digits() {
        let merged = merged(r#"{"n":12345678901234567890.10}"#, r#"{"m":1e400}"#).unwrap();
        assert_eq!(merged, r#"{"m":1e400,"n":12345678901234567890.10}"#);
    }

    #[test]
    fn the_names_of_members_may_hold_anything() {
        let merged = merged(r#"{"a\"\n":1,"ä":2}"#, r#"{"a\"\n":null,"\u00e4":3}"#).unwrap();
        assert_eq!(value(&merged), value(r#"{"ä":3}"#));
    }
}
