//! Checks values by a JSON Schema that a stranger wrote: an extension's settings, which an operator
//! sets once in a while, and its options, which come with requests.
//!
//! In this crate because the validator is generic: whoever calls it compiles it.

use jsonschema::{PatternOptions, Validator};
use serde_json::Value;

/// The maximum size of a schema.
const SCHEMA_BYTES: usize = 64 * 1024;

/// The maximum size of a schema that requests are checked by.
const OPTIONS_SCHEMA_BYTES: usize = 16 * 1024;

/// How many times a value of a request may meet a value of the schema.
const MEETINGS: usize = 100_000;

/// Keywords whose cost is not bounded by the sizes of the schema and of what it checks: references
/// and what depends on the results of other keywords can take exponential time, and each pattern
/// reads a text as often as it has states.
const UNBOUNDED: [&str; 7] = [
    "$dynamicRef",
    "$recursiveRef",
    "$ref",
    "pattern",
    "patternProperties",
    "unevaluatedItems",
    "unevaluatedProperties",
];

/// Keywords that hold subschemas by names that the schema's author chose.
const BY_NAME: [&str; 5] =
    ["$defs", "definitions", "dependencies", "dependentSchemas", "properties"];

/// Keywords that hold values and no schemas.
const VALUES: [&str; 4] = ["const", "default", "enum", "examples"];

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

/// The schema of an extension's options in requests. A check costs little, whatever the schema and
/// the options: no more than so many comparisons.
#[derive(Debug)]
pub struct OptionsSchema {
    validator: Validator,
    values: usize,
}

/// Why options are not allowed.
#[derive(Debug, PartialEq, Eq)]
pub enum Violation {
    /// They have too many values for the schema.
    TooMany {
        /// How many they may have.
        allowed: u64,
        /// How many they have.
        used: u64,
    },
    /// One of them is not as the schema asks.
    At {
        /// The JSON pointer to it; empty for all of them.
        pointer: String,
        /// What is wrong, without the value.
        message: String,
    },
}

impl OptionsSchema {
    /// The schema in `text`.
    ///
    /// # Errors
    /// A sentence that begins with the schema.
    pub fn read(text: &str) -> Result<Self, String> {
        if text.len() > OPTIONS_SCHEMA_BYTES {
            let used = text.len();
            return Err(format!("its schema has {used} bytes; {OPTIONS_SCHEMA_BYTES} are allowed"));
        }
        let schema: Value = serde_json::from_str(text)
            .map_err(|error| format!("its schema is not JSON: {error}"))?;
        if let Some(keyword) = unbounded(&schema) {
            return Err(format!(
                "its schema has `{keyword}`, which schemas of options may not have; leave that to \
                 the extension"
            ));
        }
        let validator = jsonschema::options().build(&schema);
        let validator = validator.map_err(|error| format!("its schema is not valid: {error}"))?;
        Ok(Self { validator, values: values(&schema) })
    }

    /// Whether the schema allows `options`.
    ///
    /// # Errors
    /// The first violation.
    pub fn check(&self, options: &Value) -> Result<(), Violation> {
        let (allowed, used) = (MEETINGS / self.values, values(options));
        if used > allowed {
            return Err(Violation::TooMany { allowed: allowed as u64, used: used as u64 });
        }
        self.validator.validate(options).map_err(|error| Violation::At {
            pointer: error.instance_path().to_string(),
            message: error.masked().to_string(),
        })
    }
}

/// How many values there are in `value`, itself among them.
fn values(value: &Value) -> usize {
    let inner: usize = match value {
        Value::Array(items) => items.iter().map(values).sum(),
        Value::Object(members) => members.values().map(values).sum(),
        _ => 0,
    };
    1 + inner
}

/// A keyword in `schema` whose cost is not bounded.
fn unbounded(schema: &Value) -> Option<&str> {
    match schema {
        Value::Array(schemas) => schemas.iter().find_map(unbounded),
        Value::Object(members) => members.iter().find_map(|(keyword, value)| match value {
            _ if UNBOUNDED.contains(&keyword.as_str()) => Some(keyword.as_str()),
            _ if VALUES.contains(&keyword.as_str()) => None,
            Value::Object(named) if BY_NAME.contains(&keyword.as_str()) => {
                named.values().find_map(unbounded)
            }
            value => unbounded(value),
        }),
        _ => None,
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

    #[test]
    fn options_are_checked_and_the_first_violation_has_its_place_and_no_value() {
        let schema = OptionsSchema::read(
            r#"{ "properties": {
                "a/b": { "items": { "type": "integer" } }, "pattern": { "const": { "$ref": 1 } }
            } }"#,
        );
        let schema = schema.unwrap();
        assert_eq!(schema.check(&json!({ "a/b": [1, 2], "pattern": { "$ref": 1 } })), Ok(()));
        let Err(Violation::At { pointer, message }) = schema.check(&json!({ "a/b": [1, "tea"] }))
        else {
            panic!("a violation")
        };
        assert_eq!(pointer, "/a~1b/1");
        assert!(message.contains("integer") && !message.contains("tea"), "{message}");
        let whole = OptionsSchema::read(r#"{"type": "object"}"#).unwrap().check(&json!(1));
        assert!(matches!(whole, Err(Violation::At { pointer, .. }) if pointer.is_empty()));
    }

    #[test]
    fn a_schema_of_options_has_only_keywords_of_bounded_cost() {
        for keyword in UNBOUNDED {
            for schema in [
                json!({ keyword: "#" }),
                json!({ "anyOf": [{ "properties": { "a": { keyword: "#" } } }] }),
                json!({ "if": { "properties": { "properties": { keyword: "#" } } } }),
            ] {
                let refused = OptionsSchema::read(&schema.to_string()).unwrap_err();
                assert!(refused.contains(&format!("`{keyword}`")), "{refused}");
            }
        }
        let refused = |schema: &str| OptionsSchema::read(schema).unwrap_err();
        assert!(refused("{").contains("not JSON"));
        assert!(refused(r#"{"type": 7}"#).contains("not valid"));
        assert!(refused(&" ".repeat(OPTIONS_SCHEMA_BYTES + 1)).contains("16385 bytes"));
    }

    #[test]
    fn a_large_schema_allows_fewer_values() {
        let schema = json!({ "items": { "allOf": vec![json!({ "type": "string" }); 798] } });
        let schema = OptionsSchema::read(&schema.to_string()).unwrap();
        // The schema has two values for each of them, and three around them.
        let allowed = 100_000 / (2 * 798 + 3);
        assert_eq!(schema.check(&json!(vec!["x"; allowed - 1])), Ok(()));
        let (allowed, used) = (allowed as u64, allowed as u64 + 1);
        let over = Err(Violation::TooMany { allowed, used });
        assert_eq!(schema.check(&json!(vec!["x"; allowed as usize])), over);
    }
}
