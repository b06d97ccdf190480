//! Validation and conversion of facts: ids, metadata, timestamps, hashes, and substring
//! search.

use super::pointer;
use crate::containing::Needle;
use crate::fact::{Fact, validate_id, validate_text};
use crate::metadata;
use crate::ports::Hash;
use crate::timestamp::Timestamp;

fn hash(fields: &[(&str, &str)]) -> Hash {
    let fields = fields.iter().map(|&(name, value)| (name.into(), value.into())).collect();
    Hash { fields }
}

fn written(text: &str) -> Option<String> {
    Timestamp::parse(text).map(|timestamp| timestamp.to_string())
}

#[test]
fn an_id_of_allowed_characters_is_accepted() {
    let longest = "a".repeat(128);
    for id in ["a", "7", "_", "a.b_c-d", "_-.", longest.as_str()] {
        assert_eq!(validate_id(id), Ok(()), "{id}");
    }
}

#[test]
fn an_id_with_other_characters_is_rejected() {
    let longer = "a".repeat(129);
    for id in ["", ".a", "-a", "a:b", "a b", "ä", "a/b", "a\n", longer.as_str()] {
        assert_eq!(pointer(validate_id(id)), "/fact_id", "{id}");
    }
}

#[test]
fn a_text_of_any_kind_of_white_space_is_blank() {
    for text in ["", " ", "\n\t", "\u{a0}\u{2003}"] {
        assert_eq!(pointer(validate_text(text)), "/text");
    }
}

#[test]
fn a_timestamp_is_formatted_so_that_python_3_7_can_parse_it() {
    let now = Timestamp::from_micros(1_795_456_123_123_456);
    assert_eq!(now.to_string(), "2026-11-23T17:48:43.123456+00:00");
    assert_eq!(Timestamp::from_micros(0).to_string(), "1970-01-01T00:00:00.000000+00:00");
    assert_eq!(Timestamp::from_micros(-1).to_string(), "1969-12-31T23:59:59.999999+00:00");
}

#[test]
fn a_time_beyond_four_digit_years_is_clamped() {
    let (first, last) = (Timestamp::from_micros(i64::MIN), Timestamp::from_micros(i64::MAX));
    assert_eq!(first.to_string(), "0001-01-01T00:00:00.000000+00:00");
    assert_eq!(last.to_string(), "9999-12-31T23:59:59.999999+00:00");
}

#[test]
fn a_parsed_timestamp_keeps_its_offset_and_gets_microseconds() {
    let cases = [
        ("2026-11-23T17:48:43Z", "2026-11-23T17:48:43.000000+00:00"),
        ("2026-11-23t17:48:43.5z", "2026-11-23T17:48:43.500000+00:00"),
        ("2026-11-23 17:48:43.1234567+05:30", "2026-11-23T17:48:43.123456+05:30"),
        ("2024-02-29T00:00:00-00:30", "2024-02-29T00:00:00.000000-00:30"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00.000000+00:00"),
    ];
    for (given, expected) in cases {
        assert_eq!(written(given).as_deref(), Some(expected), "{given}");
    }
}

#[test]
fn a_timestamp_without_an_offset_is_formatted_without_one() {
    let naive = "2025-10-10T12:00:00.250000";
    assert_eq!(written(naive).as_deref(), Some(naive));
    let in_utc = Timestamp::parse("2025-10-10T12:00:00.25Z").expect("a timestamp");
    assert_eq!(Timestamp::parse(naive).map(Timestamp::order), Some(in_utc.order()));
}

#[test]
fn a_malformed_timestamp_is_rejected() {
    let cases = [
        "",
        "now",
        "2026-11-23",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-02-29T00:00:00Z",
        "2026-04-31T00:00:00Z",
        "2026-11-23T24:00:00Z",
        "2026-11-23T17:60:00Z",
        "2026-11-23T17:48:61Z",
        "2026-11-23T17:48:43.Z",
        "2026-11-23T17:48:43+24:00",
        "2026-11-23T17:48:43+00:60",
        "2026-11-23T17:48:43+0000",
        "2026-11-23T17:48:43Zulu",
        "2026-11-2éT17:48:43Z",
        "+026-11-23T17:48:43Z",
        "0000-12-31T23:59:59Z",
        "9999-12-31T23:59:60Z",
    ];
    for case in cases {
        assert_eq!(written(case), None, "{case}");
    }
}

#[test]
fn every_day_of_eight_centuries_survives_formatting_and_parsing() {
    let day = 86_400_000_000;
    for days in -146_097..146_097 {
        let timestamp = Timestamp::from_micros(days * day);
        assert_eq!(Timestamp::parse(&timestamp.to_string()), Some(timestamp));
    }
}

#[test]
fn order_is_in_utc_and_never_negative() {
    let order = |text| Timestamp::parse(text).expect("a timestamp").order();
    assert_eq!(order("1970-01-01T02:00:00.000001+02:00"), 1);
    assert_eq!(order("1969-12-31T23:00:00-02:00"), 3_600_000_000);
    assert_eq!(order("1950-01-01T00:00:00Z"), 0);
}

#[test]
fn metadata_must_be_an_object() {
    assert_eq!(metadata::validate(r#" {"a": [1, {"b": null}]} "#), Ok(()));
    let deep = ["{\"a\":", &"[".repeat(200), &"]".repeat(200), "}"].concat();
    for text in ["", "null", "[]", "7", "\"text\"", "{", "{} {}", "{'a': 1}", "{\"a\": NaN}", &deep]
    {
        assert_eq!(pointer(metadata::validate(text)), "/metadata", "{text}");
    }
}

#[test]
fn metadata_is_compared_as_json() {
    assert!(metadata::same(r#"{"a":1,"b":[2]}"#, r#"{ "b": [2], "a": 1 }"#));
    assert!(!metadata::same(r#"{"a":1}"#, r#"{"a":"1"}"#));
    assert!(!metadata::same(r#"{"b":[1,2]}"#, r#"{"b":[2,1]}"#));
    assert!(!metadata::same("not json", "not json either"));
}

#[test]
fn the_index_gets_a_facts_own_time_beside_its_metadata() {
    for (given, expected) in [
        ("{}", r#"{"$timestamp":"now"}"#),
        (" { } ", r#" { "$timestamp":"now"}"#),
        (r#"{"timestamp":"then"}"#, r#"{"timestamp":"then","$timestamp":"now"}"#),
    ] {
        assert_eq!(metadata::with_time(given, "now"), expected);
        assert_eq!(metadata::validate(expected), Ok(()));
        assert_eq!(metadata::with_time(given, ""), given);
    }
    let hidden = metadata::with_time(r#"{"$timestamp":"forged"}"#, "a \"quote\"");
    let value: serde_json::Value = serde_json::from_str(&hidden).expect("JSON");
    assert_eq!(value, serde_json::json!({"$timestamp": "a \"quote\""}));
}

#[test]
fn malformed_metadata_in_a_hash_is_returned_as_an_object() {
    let cases = [
        (None, "{}"),
        (Some(""), "{}"),
        (Some(" null "), "{}"),
        (Some(r#"{"a": 1}"#), r#"{"a": 1}"#),
        (Some("[1, 2]"), r#"{"value":[1, 2]}"#),
        (Some("\"text\""), r#"{"value":"text"}"#),
        (Some("{'a': None}"), r#"{"value":"{'a': None}"}"#),
        (Some("{\"a\": NaN}"), r#"{"value":"{\"a\": NaN}"}"#),
        (Some("say \"hi\"\n"), r#"{"value":"say \"hi\"\n"}"#),
        (Some(r#"{"a": "\ud83e\udd80"}"#), r#"{"a": "\ud83e\udd80"}"#),
        (Some(r#"{"a": "\ud83e"}"#), r#"{"value":"{\"a\": \"\\ud83e\"}"}"#),
        (Some(r#"{"a": 1e9}"#), r#"{"a": 1e9}"#),
        (Some(r#"{"a": 1e999}"#), r#"{"value":"{\"a\": 1e999}"}"#),
    ];
    for (given, expected) in cases {
        assert_eq!(metadata::from_hash(given.map(Into::into)), expected);
        assert_eq!(metadata::validate(expected), Ok(()));
    }
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(1_000), "]".repeat(1_000));
    assert_eq!(metadata::validate(&metadata::from_hash(Some(deep))), Ok(()));
}

#[test]
fn a_hash_without_content_is_not_a_fact() {
    assert_eq!(Fact::from_hash("a", hash(&[("metadata", "{}"), ("id", "a")])), None);
    assert_eq!(Fact::from_hash("a", Hash::default()), None);
}

#[test]
fn a_hash_of_another_program_is_a_fact_with_the_id_of_its_key() {
    let fields = [("content", "hi"), ("timestamp", "2025-10-10T12:00:00"), ("id", "b"), ("x", "")];
    let fact = Fact::from_hash("a", hash(&fields)).expect("a fact");
    assert_eq!((fact.id.as_str(), fact.text.as_str()), ("a", "hi"));
    assert_eq!((fact.metadata.as_str(), fact.timestamp.as_str()), ("{}", "2025-10-10T12:00:00"));
}

#[test]
fn substring_search_ignores_case_in_any_script() {
    let cases = [
        ("redis", "Redis is a database", true),
        ("REDIS IS", "redis is", true),
        ("straße", "Die STRASSE", true),
        ("STRASSE", "Die Straße", true),
        ("ı", "I", false),
        ("übung", "Eine ÜBUNG", true),
        ("ΔΟΣ", "ΟΔΟΣ", true),
        ("δος", "ΟΔΟΣΑ", true),
        ("ПРИВЕТ", "привет, мир", true),
        ("\u{212a}", "k", true),
        ("é", "e", false),
        ("", "anything", true),
        ("longer than it", "it", false),
    ];
    for (needle, text, expected) in cases {
        assert_eq!(Needle::new(needle).is_in(text), expected, "{needle} in {text}");
    }
}
