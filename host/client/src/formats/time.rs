//! Times as other programs write them.

use chrono::{DateTime, NaiveDateTime, SecondsFormat, Utc};
use serde_json::Value;

/// Seconds since 1970 that are more are milliseconds: the year 5138 in seconds.
const MOST_SECONDS: f64 = 1e11;

/// A time in RFC 3339, if the value is one: written with or without an offset (then it is UTC), or
/// as seconds or milliseconds since 1970, as a number or as text.
pub(super) fn rfc3339(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => of_text(text.trim()),
        Value::Number(number) => of_number(number.as_f64()?),
        _ => None,
    }
}

fn of_text(text: &str) -> Option<String> {
    if DateTime::parse_from_rfc3339(text).is_ok() {
        return Some(text.to_owned());
    }
    // ISO 8601 allows an offset without its colon, and Python writes a space for the `T`.
    for format in ["%Y-%m-%dT%H:%M:%S%.f%z", "%Y-%m-%d %H:%M:%S%.f%z"] {
        if let Ok(time) = DateTime::parse_from_str(text, format) {
            return Some(time.to_rfc3339_opts(SecondsFormat::AutoSi, true));
        }
    }
    for format in ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"] {
        if let Ok(time) = NaiveDateTime::parse_from_str(text, format) {
            return Some(time.and_utc().to_rfc3339_opts(SecondsFormat::AutoSi, true));
        }
    }
    of_number(text.parse().ok()?)
}

fn of_number(number: f64) -> Option<String> {
    if !number.is_finite() || number <= 0.0 {
        return None;
    }
    let milliseconds = if number > MOST_SECONDS { number } else { number * 1_000.0 };
    let time = DateTime::<Utc>::from_timestamp_millis(milliseconds as i64)?;
    Some(time.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn times_are_read_in_every_way_that_they_are_written() {
        for (written, read) in [
            (json!("2024-07-26T08:17:03.12-07:00"), "2024-07-26T08:17:03.12-07:00"),
            (json!("2024-07-26T08:17:03Z"), "2024-07-26T08:17:03Z"),
            (json!("2024-07-26T08:17:03.120000"), "2024-07-26T08:17:03.120Z"),
            (json!("2024-07-26 08:17:03+0200"), "2024-07-26T08:17:03+02:00"),
            (json!(1_721_981_823), "2024-07-26T08:17:03Z"),
            (json!("1721981823.5"), "2024-07-26T08:17:03.500Z"),
            (json!(1_721_981_823_500_i64), "2024-07-26T08:17:03.500Z"),
        ] {
            assert_eq!(rfc3339(&written).as_deref(), Some(read), "{written}");
        }
        for other in [json!("yesterday"), json!(""), json!(null), json!(0), json!(-5), json!([])] {
            assert_eq!(rfc3339(&other), None, "{other}");
        }
    }
}
