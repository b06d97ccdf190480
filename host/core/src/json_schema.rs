//! Checks values by a JSON Schema that a stranger wrote.
//!
//! In this crate because the validator is generic: whoever calls it compiles it.

use jsonschema::PatternOptions;
use serde_json::Value;

/// The maximum size of a schema.
const SCHEMA_BYTES: usize = 64 * 1024;

/// How many violations a report names.
const VIOLATIONS: usize = 5;

/// Whether `schema` allows `values`; if not, why.
///
/// # Errors
/// A sentence that begins with what it is about: the schema, or the values.
pub fn check(schema: &str, values: &Value) -> Result<(), String> {
    if schema.len() > SCHEMA_BYTES {
        let used = schema.len();
        return Err(format!("its schema has {used} bytes; {SCHEMA_BYTES} are allowed"));
    }
    let schema: Value =
        serde_json::from_str(schema).map_err(|error| format!("its schema is not JSON: {error}"))?;
    // Patterns come from strangers: by this engine they take linear time.
    let options = jsonschema::options().with_pattern_options(PatternOptions::regex());
    let validator = options.build(&schema);
    let validator = validator.map_err(|error| format!("its schema is not valid: {error}"))?;
    let violations = validator.iter_errors(values).map(|error| {
        let place = error.instance_path().to_string();
        format!("{}: {error}", if place.is_empty() { "/" } else { &place })
    });
    let violations: Vec<String> = violations.take(VIOLATIONS).collect();
    match violations.is_empty() {
        true => Ok(()),
        false => Err(format!("not as its schema asks: {}", violations.join("; "))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SCHEMA: &str = r#"{
        "type": "object",
        "properties": {
            "level": { "type": "integer", "minimum": 1 },
            "name": { "pattern": "^a+$" }
        },
        "required": ["level"],
        "additionalProperties": false
    }"#;

    #[test]
    fn settings_are_checked_and_each_violation_names_its_place() {
        assert_eq!(check(SCHEMA, &json!({ "level": 2, "name": "aa" })), Ok(()));
        let wrong = check(SCHEMA, &json!({ "level": 0, "more": true })).unwrap_err();
        assert!(wrong.contains("/level: 0 is less than"), "{wrong}");
        assert!(wrong.contains("more"), "{wrong}");
        assert!(check(SCHEMA, &json!({})).unwrap_err().contains("level"));
    }

    #[test]
    fn a_schema_that_is_none_is_refused() {
        let refused = |schema: &str| check(schema, &json!({})).unwrap_err();
        assert!(refused("{").contains("not JSON"));
        assert!(refused(r#"{"type": 7}"#).contains("not valid"));
        assert!(refused(r#"{"pattern": "("}"#).contains("not valid"));
        let remote = refused(r#"{"$ref": "https://example.com/schema.json"}"#);
        assert!(remote.contains("not valid"), "nothing is fetched: {remote}");
        assert!(refused(&" ".repeat(SCHEMA_BYTES + 1)).contains("65537 bytes"));
    }

    /// By a backtracking engine this takes longer than anybody waits.
    #[test]
    fn a_pattern_takes_linear_time() {
        let schema = r#"{ "properties": { "a": { "pattern": "^(a+)+$" } } }"#;
        assert!(check(schema, &json!({ "a": "a".repeat(5_000) + "b" })).is_err());
    }
}
