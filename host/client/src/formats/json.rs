//! Lists of JSON objects, as APIs return them and as people collect them.

use serde_json::{Map, Value};

/// The objects of a list: the list itself, or the member of an object that one of `members` names,
/// or one object a line. Each with its name.
pub(super) fn objects(text: &str, members: &[&str]) -> Result<Vec<(String, Value)>, String> {
    let whole = serde_json::from_str::<Value>(text);
    let (list, is_lines) = match whole {
        Ok(Value::Array(list)) => (list, false),
        Ok(Value::Object(mut object)) => match take_list(&mut object, members) {
            Some(list) => (list, false),
            // A single line of many.
            None => (vec![Value::Object(object)], true),
        },
        Ok(_) => return Err("it is JSON, and neither a list nor an object".to_owned()),
        Err(error) => (lines(text).ok_or_else(|| format!("it is no JSON: {error}"))?, true),
    };
    let kind = if is_lines { "line" } else { "element" };
    Ok(list
        .into_iter()
        .enumerate()
        .map(|(number, object)| (format!("{kind} {}", number + 1), object))
        .collect())
}

fn take_list(object: &mut Map<String, Value>, members: &[&str]) -> Option<Vec<Value>> {
    let name = members.iter().find(|name| object.get(**name).is_some_and(Value::is_array))?;
    match object.remove(*name) {
        Some(Value::Array(list)) => Some(list),
        _ => None,
    }
}

/// The JSON of each line; `null` for a line that is none. `None` if the first is none.
fn lines(text: &str) -> Option<Vec<Value>> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let values: Vec<Value> =
        lines.map(|line| serde_json::from_str(line).unwrap_or_default()).collect();
    values.first().is_some_and(Value::is_object).then_some(values)
}

/// The text of the first of `names` that an object has.
pub(super) fn text<'a>(object: &'a Map<String, Value>, names: &[&str]) -> Option<&'a str> {
    names.iter().find_map(|name| object.get(*name)?.as_str())
}

/// What is worth keeping of a member: not `null`, nor an empty text, list or object.
pub(super) fn is_filled(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(object) => !object.is_empty(),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        objects(text, &["results"]).unwrap().into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn a_list_a_member_and_lines_are_lists() {
        assert_eq!(names("[{}, {}]"), ["element 1", "element 2"]);
        assert_eq!(names(r#"{"results": [{}], "relations": []}"#), ["element 1"]);
        assert_eq!(names("{\"a\":1}\n\n{\"a\":2}\n"), ["line 1", "line 2"]);
        assert_eq!(names(r#"{"a":1}"#), ["line 1"]);
        assert_eq!(names("[]"), [""; 0]);
        for wrong in ["", "tea", "7", "[1"] {
            assert!(objects(wrong, &[]).is_err(), "{wrong}");
        }
    }
}
