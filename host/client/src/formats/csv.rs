//! A table: the first line names its columns, each other line is a fact.

use csv::{ByteRecord, ReaderBuilder, StringRecord};
use serde_json::{Map, Value};

use super::{Converted, Draft, Metadata, Reading, identify, time};

/// Names of the columns with the text, the id and the time; others are metadata.
const TEXT: [&str; 2] = ["text", "content"];
const ID: [&str; 3] = ["id", "fact_id", "doc_id"];
const TIME: [&str; 1] = ["timestamp"];
/// The name of a column with a JSON object of further metadata.
const METADATA: &str = "metadata";

/// What each column is.
struct Columns {
    names: Vec<String>,
    text: usize,
    id: Option<usize>,
    timestamp: Option<usize>,
}

pub(super) fn convert(bytes: &[u8], reading: &Reading<'_>) -> Result<Converted, String> {
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    let mut table = ReaderBuilder::new()
        .delimiter(reading.delimiter.unwrap_or(b','))
        .flexible(true)
        .from_reader(bytes);
    let names = table.headers().map_err(|error| format!("the column names: {error}"))?;
    let columns = Columns::of(names, reading.text_column)?;
    let mut converted = Converted::default();
    let mut row = ByteRecord::new();
    loop {
        let line = table.position().line();
        match table.read_byte_record(&mut row) {
            Ok(false) => return Ok(converted),
            Ok(true) => {
                let line = row.position().map_or(line, csv::Position::line);
                match draft(&row, &columns) {
                    Ok(draft) => converted.add(format!("line {line}"), draft),
                    Err(reason) => converted.refuse(format!("line {line}"), reason),
                }
            }
            Err(error) => return Err(format!("line {line}: {error}")),
        }
    }
}

impl Columns {
    fn of(names: &StringRecord, text_column: Option<&str>) -> Result<Self, String> {
        let names: Vec<String> = names.iter().map(|name| name.trim().to_owned()).collect();
        let at = |wanted: &[&str]| {
            let is_wanted = |name: &String| wanted.iter().any(|one| name.eq_ignore_ascii_case(one));
            names.iter().position(is_wanted)
        };
        let text = match text_column {
            Some(name) => names.iter().position(|one| one == name),
            None => at(&TEXT),
        };
        let text = text.ok_or_else(|| {
            let wanted = text_column.unwrap_or("text or content");
            format!("no column is named {wanted}; name it with --text-column, of: {names:?}")
        })?;
        Ok(Self { text, id: at(&ID), timestamp: at(&TIME), names })
    }
}

fn draft(row: &ByteRecord, columns: &Columns) -> Result<Draft, String> {
    let row = StringRecord::from_byte_record(row.clone()).map_err(|_| "it is not UTF-8")?;
    if row.len() != columns.names.len() {
        let (fields, names) = (row.len(), columns.names.len());
        return Err(format!("it has {fields} fields, and there are {names} columns"));
    }
    let mut metadata = Map::new();
    let mut timestamp = None;
    for (column, (name, field)) in columns.names.iter().zip(&row).enumerate() {
        let is_other = column != columns.text && Some(column) != columns.id;
        if !is_other || field.is_empty() {
            continue;
        }
        if Some(column) == columns.timestamp {
            timestamp = time::rfc3339(&Value::from(field));
            if timestamp.is_none() {
                return Err(format!("its {name} {field:?} is no time in RFC 3339"));
            }
        } else if name.eq_ignore_ascii_case(METADATA) {
            let object: Metadata = serde_json::from_str(field)
                .map_err(|error| format!("its {name} is no JSON object: {error}"))?;
            metadata.extend(object);
        } else {
            metadata.insert(name.clone(), value(field));
        }
    }
    let content = row[columns.text].to_owned();
    let id = columns.id.map(|column| row[column].trim()).filter(|id| !id.is_empty());
    let id = id.map_or_else(
        || identify("csv", &[&content, &Value::from(metadata.clone()).to_string()]),
        str::to_owned,
    );
    Ok(Draft { id: Some(id), content, metadata, timestamp })
}

/// A field that is written as JSON writes a number or a truth value is one: filters compare
/// numbers. `007` and `1e3` stay as they are.
fn value(field: &str) -> Value {
    match serde_json::from_str::<Value>(field) {
        Ok(value @ (Value::Number(_) | Value::Bool(_))) if is_written(&value, field) => value,
        _ => Value::from(field),
    }
}

/// Whether a value has this text in JSON.
fn is_written(value: &Value, text: &str) -> bool {
    serde_json::to_string(value).is_ok_and(|json| json == text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const READING: Reading<'_> = Reading { name: "t.csv", text_column: None, delimiter: None };

    #[test]
    fn each_row_is_a_fact_with_its_other_columns_as_metadata() {
        let table = "\u{feff}id,Text,topic,stars,ok,code,timestamp\n\
                     a,\"tea, hot\",drinks,4.5,true,007,2026-01-02T03:04:05Z\n\
                     ,\"two\nlines\",,,,,\n";
        let converted = convert(table.as_bytes(), &READING).unwrap();
        let [first, second] = &converted.records[..] else { panic!("{converted:?}") };
        assert_eq!(first.draft.id.as_deref(), Some("a"));
        assert_eq!(first.draft.content, "tea, hot");
        let metadata = json!({ "topic": "drinks", "stars": 4.5, "ok": true, "code": "007" });
        assert_eq!(Value::from(first.draft.metadata.clone()), metadata);
        assert_eq!(first.draft.timestamp.as_deref(), Some("2026-01-02T03:04:05Z"));
        assert_eq!(second.draft.content, "two\nlines");
        assert!(second.draft.id.as_deref().unwrap().starts_with("csv-"));
        assert_eq!((&*first.name, &*second.name), ("line 2", "line 3"));
        assert_eq!(convert(table.as_bytes(), &READING).unwrap(), converted, "the ids are stable");
    }

    #[test]
    fn rows_that_are_wrong_are_named_and_the_others_go_on() {
        let table = b"text,timestamp,metadata\nfine,,\nshort\n\xff,,\nx,noon,\nx,,[1]\n,,\n\
                      good,,\"{\"\"a\"\":1}\"\n";
        let converted = convert(table, &READING).unwrap();
        let texts: Vec<_> = converted.records.iter().map(|record| &record.draft.content).collect();
        assert_eq!(texts, ["fine", "good"]);
        assert_eq!(converted.records[1].draft.metadata["a"], 1);
        let said: Vec<String> =
            converted.refused.iter().map(|one| format!("{}: {}", one.name, one.reason)).collect();
        for (said, expected) in said.iter().zip([
            "line 3: it has 1 fields, and there are 3 columns",
            "line 4: it is not UTF-8",
            "line 5: its timestamp \"noon\" is no time",
            "line 6: its metadata is no JSON object",
            "line 7: it has no text",
        ]) {
            assert!(said.starts_with(expected), "{said}");
        }
        assert_eq!(said.len(), 5);
    }

    #[test]
    fn the_column_of_the_text_can_be_named_and_must_be_there() {
        let reading = Reading { text_column: Some("body"), delimiter: Some(b';'), ..READING };
        let converted = convert(b"body;text\nhello;x\n", &reading).unwrap();
        assert_eq!(converted.records[0].draft.content, "hello");
        assert_eq!(converted.records[0].draft.metadata["text"], "x");
        let error = convert(b"a,b\n1,2\n", &READING).unwrap_err();
        assert!(error.contains("--text-column") && error.contains("\"a\", \"b\""), "{error}");
    }
}
