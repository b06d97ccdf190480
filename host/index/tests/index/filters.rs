//! The filter language: which facts match, and which filters are refused and with which pointer.

use kenning_index::limits::{
    FILTER_CONDITIONS, FILTER_DEPTH, FILTER_POINTER_BYTES, FILTER_SCANS, FILTER_VALUES,
};
use kenning_index::{FactIndex, Filter, Index, Metadata};
use serde_json::{Value, json};

use crate::support::put;

/// Whether a filter matches, according to the filter itself and to an index, which must agree.
fn holds(filter: &Value, metadata: &Value) -> bool {
    let filter = Filter::parse(filter).unwrap();
    let alone = filter.matches(&Metadata::parse(&metadata.to_string()).unwrap());
    let index = Index::new();
    put(&index, "before", "x", "{}", None);
    put(&index, "a", "x", &metadata.to_string(), None);
    let found = index.matching("x", Some(&filter), 10).unwrap();
    assert_eq!(found.iter().any(|candidate| &*candidate.id == "a"), alone);
    alone
}

#[track_caller]
fn assert_holds(filter: Value, metadata: Value) {
    assert!(holds(&filter, &metadata), "{filter} does not hold for {metadata}");
}

#[track_caller]
fn assert_fails(filter: Value, metadata: Value) {
    assert!(!holds(&filter, &metadata), "{filter} holds for {metadata}");
}

#[track_caller]
fn assert_refused(filter: Value, pointer: &str, says: &str) {
    let error = Filter::parse(&filter).expect_err("the filter is accepted");
    assert_eq!(error.pointer, pointer, "{error}");
    assert!(error.message.contains(says), "{error}");
}

#[test]
fn eq_holds_for_an_equal_scalar() {
    for value in [json!("x"), json!(1), json!(1.5), json!(true), json!(null), json!("")] {
        assert_holds(json!({"a": value}), json!({"a": value}));
        assert_holds(json!({"a": {"eq": value}}), json!({"a": value}));
        assert_holds(json!({"a": {"eq": value}}), json!({"a": ["other", value]}));
        assert_fails(json!({"a": {"ne": value}}), json!({"a": value}));
        assert_fails(json!({"a": value}), json!({"b": value}));
        assert_fails(json!({"a": value}), json!({"a": {"x": value}}));
        assert_fails(json!({"a": value}), json!({"a": [[value]]}));
    }
    assert_holds(json!({"a": 1}), json!({"a": 1.0}));
    assert_fails(json!({"a": 9007199254740993_u64}), json!({"a": 9007199254740992_u64}));
    assert_fails(json!({"a": u64::MAX}), json!({"a": u64::MAX - 1}));
}

#[test]
fn values_of_different_types_are_never_equal() {
    let values = [json!("1"), json!(1), json!(true), json!(null), json!([]), json!({})];
    for (at, operand) in values.iter().enumerate().take(4) {
        for (other, value) in values.iter().enumerate() {
            assert_eq!(holds(&json!({"a": operand}), &json!({"a": value})), at == other);
        }
    }
}

#[test]
fn ne_and_nin_hold_for_a_missing_field() {
    assert_holds(json!({"a": {"ne": 1}}), json!({}));
    assert_holds(json!({"a": {"nin": [1, 2]}}), json!({}));
    assert_holds(json!({"NOT": {"a": {"gt": 1}}}), json!({}));
    assert_fails(json!({"a": {"ne": 1}}), json!({"a": [1, 2]}));
    assert_fails(json!({"a": {"nin": [1, 2]}}), json!({"a": 2}));
    assert_holds(json!({"a": {"nin": [1, 2]}}), json!({"a": 3}));
}

#[test]
fn in_holds_for_one_of_a_list() {
    assert_holds(json!({"a": {"in": ["x", 1, true, null]}}), json!({"a": 1.0}));
    assert_holds(json!({"a": {"in": ["x", 1]}}), json!({"a": ["y", "x"]}));
    assert_fails(json!({"a": {"in": ["x", 1]}}), json!({"a": "1"}));
    assert_fails(json!({"a": {"in": []}}), json!({"a": 1}));
    assert_holds(json!({"a": {"nin": []}}), json!({"a": 1}));
}

#[test]
fn comparisons_hold_for_numbers_and_for_texts() {
    for (operator, below, same, above) in [
        ("gt", false, false, true),
        ("gte", false, true, true),
        ("lt", true, false, false),
        ("lte", true, true, false),
    ] {
        for (operand, values) in [
            (json!(3), [json!(-1), json!(3.0), json!(3.5)]),
            (json!(2.5), [json!(2), json!(2.5), json!(u64::MAX)]),
            (json!("b"), [json!("a"), json!("b"), json!("ba")]),
            (
                json!("2026-11-02T00:00:00Z"),
                [
                    json!("2026-10-31T23:59:59Z"),
                    json!("2026-11-02T00:00:00Z"),
                    json!("2026-11-10T00:00:00Z"),
                ],
            ),
        ] {
            let filter = json!({"a": {operator: operand}});
            for (value, expected) in values.iter().zip([below, same, above]) {
                let metadata = json!({"a": value});
                assert_eq!(holds(&filter, &metadata), expected, "{filter} {metadata}");
            }
        }
    }
}

#[test]
fn comparisons_fail_for_other_types_and_missing_fields() {
    for operator in ["gt", "gte", "lt", "lte"] {
        for value in [json!("5"), json!(true), json!(null), json!([5]), json!({"x": 5})] {
            assert_fails(json!({"a": {operator: 5}}), json!({"a": value}));
        }
        assert_fails(json!({"a": {operator: 5}}), json!({}));
    }
}

#[test]
fn between_includes_both_ends() {
    for (value, expected) in [(2, false), (3, true), (5, true), (9, true), (10, false)] {
        assert_eq!(holds(&json!({"a": {"between": [3, 9]}}), &json!({"a": value})), expected);
    }
    assert_holds(json!({"a": {"between": ["b", "d"]}}), json!({"a": "c"}));
    assert_fails(json!({"a": {"between": ["b", "d"]}}), json!({"a": 3}));
    assert_fails(json!({"a": {"between": [9, 3]}}), json!({"a": 5}));
}

#[test]
fn contains_finds_a_substring_and_an_element_of_a_list() {
    assert_holds(json!({"a": {"contains": "edi"}}), json!({"a": "Redis"}));
    assert_fails(json!({"a": {"contains": "EDI"}}), json!({"a": "Redis"}));
    assert_holds(json!({"a": {"contains": "edi"}}), json!({"a": [1, "Redis"]}));
    assert_holds(json!({"a": {"contains": 3}}), json!({"a": [1, 3.0]}));
    assert_holds(json!({"a": {"contains": null}}), json!({"a": [null]}));
    assert_fails(json!({"a": {"contains": 3}}), json!({"a": 3}));
    assert_fails(json!({"a": {"contains": "a"}}), json!({"a": {"a": "a"}}));
    assert_fails(json!({"a": {"contains": ""}}), json!({}));
}

#[test]
fn icontains_ignores_case() {
    for (part, text) in [
        ("EDI", "Redis"),
        ("", "x"),
        ("straSSE", "STRASSE 1"),
        ("ÄÖ", "xäöx"),
        ("δΟΣ", "ΟΔΟΣ"),
        ("ΟΔΟΣ", "οδοσα"),
        ("привет", "ПРИВЕТ!"),
        ("STRASSE", "Die Straße"),
        ("straße", "STRASSE"),
        ("İSTANBUL", "i\u{307}stanbul"),
        ("ΟΔΟΣ", "οδος"),
        ("οδος", "ΟΔΟΣ ΜΟΥ"),
        ("FINE", "ﬁne"),
        ("CAFE\u{301}", "café"),
    ] {
        assert_holds(json!({"a": {"icontains": part}}), json!({"a": text}));
        assert_holds(json!({"a": {"icontains": part}}), json!({"a": [1, text]}));
    }
    assert_fails(json!({"a": {"icontains": "cafe"}}), json!({"a": "Café"}));
    assert_fails(json!({"a": {"icontains": "redis cluster"}}), json!({"a": "redis"}));
    assert_fails(json!({"a": {"icontains": "1"}}), json!({"a": 1}));
}

#[test]
fn exists_tests_only_whether_the_field_is_present() {
    for value in [json!(null), json!(0), json!([]), json!({})] {
        assert_holds(json!({"a": {"exists": true}}), json!({"a": value}));
        assert_fails(json!({"a": {"exists": false}}), json!({"a": value}));
    }
    assert_fails(json!({"a": {"exists": true}}), json!({"b": 1}));
    assert_holds(json!({"a": {"exists": false}}), json!({"b": 1}));
}

#[test]
fn members_and_operators_must_all_hold() {
    assert_holds(json!({"a": 1, "b": 2}), json!({"a": 1, "b": 2}));
    assert_fails(json!({"a": 1, "b": 2}), json!({"a": 1, "b": 3}));
    let filter = json!({"age": {"gte": 3, "lt": 9}});
    for (age, expected) in [(2, false), (3, true), (8, true), (9, false)] {
        assert_eq!(holds(&filter, &json!({"age": age})), expected);
    }
    assert_holds(json!({}), json!({}));
}

#[test]
fn groups_combine_filters_in_either_case() {
    for (and, or, not) in [("AND", "OR", "NOT"), ("and", "or", "not")] {
        let filter = json!({and: [{"a": 1}, {or: [{"b": 1}, {"c": 1}]}], not: {"d": 1}});
        assert_holds(filter.clone(), json!({"a": 1, "c": 1}));
        assert_fails(filter.clone(), json!({"a": 1}));
        assert_fails(filter.clone(), json!({"b": 1, "c": 1}));
        assert_fails(filter, json!({"a": 1, "c": 1, "d": 1}));
        let none = json!({not: [{"a": 1}, {"b": 1}]});
        assert_holds(none.clone(), json!({"a": 2, "b": 2}));
        assert_fails(none, json!({"a": 2, "b": 1}));
    }
}

#[test]
fn a_dot_reaches_into_objects_unless_a_field_has_that_name() {
    assert_holds(json!({"a.b": 1}), json!({"a": {"b": 1}}));
    assert_holds(json!({"a.b.c": 1}), json!({"a": {"b": {"c": 1}}}));
    assert_holds(json!({"a.b.c": 1}), json!({"a": {"b.c": 1}}));
    assert_fails(json!({"a.b": 1}), json!({"a.b": 2, "a": {"b": 1}}));
    assert_holds(json!({"a.b": 2}), json!({"a.b": 2, "a": {"b": 1}}));
    assert_holds(json!({"a.b": {"ne": 1}}), json!({"a": 1}));
}

/// A fact of two objects in a list.
fn shirt() -> Value {
    json!({"attributes": [{"key": "Color", "value": "Red"}, {"key": "Size", "value": 4}]})
}

#[test]
fn a_path_through_a_list_of_objects_matches_if_one_of_them_does() {
    for condition in [
        json!("Red"),
        json!({"eq": 4}),
        json!({"in": ["Blue", 4]}),
        json!({"gt": 3}),
        json!({"between": ["Rea", "Ree"]}),
        json!({"contains": "ed"}),
        json!({"icontains": "RED"}),
        json!({"exists": true}),
        json!({"ne": "Blue"}),
    ] {
        assert_holds(json!({"attributes.value": condition}), shirt());
    }
    for condition in [json!("Blue"), json!({"gt": 4}), json!({"ne": "Red"}), json!({"nin": [4]})] {
        assert_fails(json!({"attributes.value": condition}), shirt());
    }
    assert_holds(json!({"attributes.weight": {"exists": false}}), shirt());
    let nested = json!({"a": [1, {"b": [{"c": 1}, {"c": [2, 3]}]}, {"b": {"c": 4}}]});
    for number in 1..=4 {
        assert_holds(json!({"a.b.c": number}), nested.clone());
    }
    assert_fails(json!({"a.b.c": 5}), nested.clone());
    assert_holds(json!({"a": 1}), nested);
    let equal = json!({"a": [{"b": 1}, {"b": 1}, {"b": [1, 1]}, {"b": [1]}]});
    assert_holds(json!({"a.b": 1}), equal);
    assert_fails(json!({"a.b": 1}), json!({"a": [[{"b": 1}]]}));
    assert_fails(json!({"a.b": 1}), json!({"a.b": 2, "a": [{"b": 1}]}));
}

#[test]
fn times_compare_as_instants_whatever_their_offset_and_fraction() {
    let noon = "2025-03-01T12:00:00Z";
    for same in
        ["2025-03-01T12:00:00.000Z", "2025-03-01T05:00:00-07:00", "2025-03-01 21:00:00+0900"]
    {
        for operator in ["eq", "gte", "lte"] {
            assert_holds(json!({"at": {operator: noon}}), json!({"at": same}));
        }
        for operator in ["ne", "gt", "lt"] {
            assert_fails(json!({"at": {operator: noon}}), json!({"at": same}));
        }
        assert_holds(json!({"at": {"between": [noon, noon]}}), json!({"at": same}));
        assert_holds(json!({"at": {"in": ["x", noon]}}), json!({"at": [same]}));
        assert_holds(json!({"at": {"contains": noon}}), json!({"at": [same]}));
        assert_holds(json!({"at": {"contains": &same[11..19]}}), json!({"at": same}));
    }
    assert_fails(json!({"at": {"contains": "12:00"}}), json!({"at": "2025-03-01T05:00:00-07:00"}));
    for (early, late) in [
        ("2025-03-01T18:30:00+09:00", "2025-03-01T10:00:00Z"),
        ("2025-03-01T10:00:00Z", "2025-03-01T10:00:00.5Z"),
        ("2025-03-01T10:00:00.25+00:00", "2025-03-01T10:00:00.5Z"),
        ("2025-03-01", "2025-03-01T00:00:01Z"),
        ("2025-03-01T23:00:00-01:00", "2025-03-02T00:00:01"),
    ] {
        assert_holds(json!({"at": {"lt": late}}), json!({"at": early}));
        assert_holds(json!({"at": {"gt": early}}), json!({"at": late}));
        assert_fails(json!({"at": {"gte": late}}), json!({"at": early}));
        assert_fails(json!({"at": {"between": [late, early]}}), json!({"at": late}));
    }
}

#[test]
fn a_time_and_another_text_compare_by_code_point() {
    let may = json!({"at": "2025-05-01T10:00:00Z"});
    assert_holds(json!({"at": {"gte": "2025"}}), may.clone());
    assert_holds(json!({"at": {"gte": "2025-05", "lt": "2025-06"}}), may.clone());
    assert_holds(json!({"at": {"between": ["2025", "2025-06-01"]}}), may.clone());
    assert_fails(json!({"at": {"between": ["2025-04-01", "2025-05"]}}), may.clone());
    assert_fails(json!({"at": {"lt": "2025-05"}}), may);
    assert_holds(json!({"at": {"gt": "2025-05-01T10:00:00Z"}}), json!({"at": "next week"}));
    assert_fails(json!({"at": {"eq": "2025-05-01"}}), json!({"at": "2025-05"}));
}

#[test]
fn a_member_that_is_given_twice_is_refused_with_its_pointer() {
    for (text, pointer) in [
        (r#"{"a":1,"a":2}"#, "/a"),
        (r#"{"a":{"gt":1,"gt":2}}"#, "/a/gt"),
        (r#"{"OR":[{"b":1},{"a":1,"b":{"in":[1,2]},"a":1}]}"#, "/OR/1/a"),
        (r#"{"a":1,"\u0061":2}"#, "/a"),
    ] {
        let error = Filter::parse_text(text).unwrap_err();
        assert_eq!(error.pointer, pointer);
        assert!(error.message.contains("twice"), "{error}");
    }
    for text in [r#"{"and":[{"a":1}],"AND":[{"a":1}]}"#, r#"{"a":{"eq":1.5,"ne":null}}"#] {
        let value = serde_json::from_str::<Value>(text).unwrap();
        assert_eq!(Filter::parse_text(text).unwrap(), Filter::parse(&value).unwrap());
    }
    assert!(Filter::parse_text("{} {}").is_err());
}

#[test]
fn an_unknown_operator_is_refused_with_its_pointer() {
    let names = "eq, ne, gt, gte, lt, lte, in, nin, contains, icontains, exists and between";
    assert_refused(json!({"age": {"foo": 3}}), "/age/foo", names);
    assert_refused(json!({"age": {"foo": 3}}), "/age/foo", "\"foo\"");
    assert_refused(json!({"age": {"$gt": 3}}), "/age/$gt", names);
    assert_refused(json!({"age": {"GT": 3}}), "/age/GT", names);
    assert_refused(json!({"OR": [{"x": 1}, {"a/b~c": {"is": 3}}]}), "/OR/1/a~1b~0c/is", names);
    assert_refused(json!({"not": {"and": [{"": {"": 3}}]}}), "/not/and/0//", names);
    let long = "x".repeat(100_000);
    let error = Filter::parse(&json!({"a": {long: 1}})).unwrap_err();
    assert!(error.message.len() < 300);
}

#[test]
fn the_pointer_length_is_obeyed() {
    let name = "x".repeat(FILTER_POINTER_BYTES - 10);
    assert_refused(json!({"NOT": {name.clone(): [1]}}), &format!("/NOT/{name}"), "not a list");
}

#[test]
fn a_pointer_is_cut_to_an_enclosing_value_when_its_length_is_violated() {
    let long = "x".repeat(FILTER_POINTER_BYTES);
    assert_refused(json!({"NOT": {long.clone(): [1]}}), "/NOT", "not a list");
    assert_refused(json!({"NOT": {long: {"in": [1, []]}}}), "/NOT", "one text");
}

#[test]
fn an_operand_of_the_wrong_type_is_refused_with_its_pointer() {
    for operator in ["eq", "ne", "contains"] {
        for operand in [json!([]), json!({})] {
            assert_refused(
                json!({"a": {operator: operand}}),
                &format!("/a/{operator}"),
                "one text",
            );
        }
    }
    for operator in ["gt", "gte", "lt", "lte"] {
        for operand in [json!(true), json!(null), json!([1]), json!({})] {
            let pointer = format!("/a/{operator}");
            assert_refused(json!({"a": {operator: operand}}), &pointer, "a number or a text");
        }
    }
    for operator in ["in", "nin"] {
        assert_refused(json!({"a": {operator: 1}}), &format!("/a/{operator}"), "a list");
        assert_refused(json!({"a": {operator: [1, [2]]}}), &format!("/a/{operator}/1"), "one text");
    }
    assert_refused(json!({"a": {"icontains": 1}}), "/a/icontains", "a text");
    assert_refused(json!({"a": {"exists": 1}}), "/a/exists", "true or false");
    for operand in [json!(1), json!([]), json!([1]), json!([1, 2, 3]), json!([1, "2"])] {
        assert_refused(json!({"a": {"between": operand}}), "/a/between", "a list of two");
    }
    assert_refused(json!({"a": {"between": [1, null]}}), "/a/between/1", "a number or a text");
    assert_refused(json!({"a": [1, 2]}), "/a", "\"in\" takes a list");
    assert_refused(json!({"a": {}}), "/a", "no operator");
}

#[test]
fn groups_of_the_wrong_shape_are_refused_with_their_pointer() {
    for whole in [json!([]), json!("x"), json!(1), json!(null)] {
        assert_refused(whole, "", "a JSON object");
    }
    for group in ["AND", "OR", "and", "or"] {
        assert_refused(json!({group: []}), &format!("/{group}"), "empty");
        assert_refused(json!({group: {"a": 1}}), &format!("/{group}"), "a list of filters");
        assert_refused(json!({group: [{"a": 1}, 1]}), &format!("/{group}/1"), "a JSON object");
        assert_refused(json!({group: [{}]}), &format!("/{group}/0"), "empty");
    }
    assert_refused(json!({"NOT": []}), "/NOT", "empty");
    assert_refused(json!({"NOT": {}}), "/NOT", "empty");
    assert_refused(json!({"NOT": 1}), "/NOT", "a filter or a list");
    let error = Filter::parse_text("{\"a\":").unwrap_err();
    assert_eq!(error.pointer, "");
    assert!(error.message.contains("not JSON"), "{error}");
    assert!(Filter::parse_text(&"[".repeat(1_000_000)).is_err());
}

fn nested(depth: usize) -> Value {
    (0..depth).fold(json!({"a": 1}), |filter, level| match level % 3 {
        0 => json!({"AND": [filter]}),
        1 => json!({"OR": [filter]}),
        _ => json!({"NOT": filter}),
    })
}

#[test]
fn a_filters_depth_is_obeyed() {
    assert!(Filter::parse(&nested(FILTER_DEPTH)).is_ok());
}

#[test]
fn a_filters_depth_is_violated() {
    let filter = json!({"AND": [nested(FILTER_DEPTH)]});
    let pointer = Filter::parse(&filter).unwrap_err().pointer;
    assert!(filter.pointer(&pointer).is_some_and(|inner| *inner == nested(1)["AND"]));
    assert_refused(filter, &pointer, "16");
}

#[test]
fn a_filters_conditions_are_obeyed() {
    let filters = vec![json!({"a": {"gt": 1, "lt": 9}}); FILTER_CONDITIONS / 2];
    assert!(Filter::parse(&json!({"AND": filters})).is_ok());
}

#[test]
fn a_filters_conditions_are_violated() {
    let filters = vec![json!({"a": 1}); FILTER_CONDITIONS + 1];
    assert_refused(json!({"OR": filters}), "/OR/256/a", "256 conditions");
    let filters = vec![json!({"a": {"gt": 1, "lt": 9}}); FILTER_CONDITIONS];
    assert_refused(json!({"OR": filters}), "/OR/128/a/gt", "256 conditions");
}

#[test]
fn a_filters_scans_are_obeyed() {
    let filters = vec![json!({"a": {"contains": "x", "icontains": "y"}}); FILTER_SCANS / 2];
    assert!(Filter::parse(&json!({"AND": filters})).is_ok());
}

#[test]
fn a_filters_scans_are_violated() {
    let filters = vec![json!({"a": {"contains": "x"}}); FILTER_SCANS + 1];
    assert_refused(json!({"AND": filters}), "/AND/16/a/contains", "16 conditions with contains");
    let filters = vec![json!({"a": {"icontains": "x"}}); FILTER_SCANS + 1];
    assert_refused(json!({"AND": filters}), "/AND/16/a/icontains", "16 conditions with contains");
}

#[test]
fn a_lists_values_are_obeyed() {
    assert!(Filter::parse(&json!({"a": {"in": vec![1; FILTER_VALUES]}})).is_ok());
}

#[test]
fn a_lists_values_are_violated() {
    assert_refused(json!({"a": {"nin": vec![1; FILTER_VALUES + 1]}}), "/a/nin", "1024 values");
}
