//! Parses the timestamps that other programs write to their facts.

use chrono::{DateTime, Local, NaiveDateTime, TimeZone};

use crate::limits::MAX_EXACT;

/// A fact's order in microseconds since 1970 in UTC, from an ISO 8601 time with an offset, or in
/// the local time zone without one. `None` if it is not a time, or is out of range.
pub(crate) fn order(timestamp: &str) -> Option<u64> {
    let micros = with_offset(timestamp).or_else(|| local(timestamp))?;
    u64::try_from(micros).ok().filter(|order| *order <= MAX_EXACT)
}

fn with_offset(timestamp: &str) -> Option<i64> {
    let formats = ["%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f%#z"];
    let parsed = DateTime::parse_from_rfc3339(timestamp).ok();
    let parsed = parsed.or_else(|| {
        formats.iter().find_map(|format| DateTime::parse_from_str(timestamp, format).ok())
    });
    Some(parsed?.timestamp_micros())
}

fn local(timestamp: &str) -> Option<i64> {
    let formats = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M"];
    let parsed = |format: &&str| NaiveDateTime::parse_from_str(timestamp, format).ok();
    let naive = formats.iter().find_map(parsed)?;
    // A local time skipped by daylight saving does not exist; it is read as UTC instead.
    let instant = Local.from_local_datetime(&naive).earliest();
    Some(instant.map_or_else(|| naive.and_utc().timestamp_micros(), |i| i.timestamp_micros()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_with_an_offset_is_that_instant() {
        assert_eq!(order("1970-01-01T00:00:01Z"), Some(1_000_000));
        assert_eq!(order("1970-01-01T02:00:01.000002+02:00"), Some(1_000_002));
        assert_eq!(order("1970-01-01 02:00:01+0200"), Some(1_000_000));
    }

    #[test]
    fn a_time_without_an_offset_is_local() {
        let there = Local.with_ymd_and_hms(2025, 10, 10, 12, 30, 0).earliest().unwrap();
        let expected = u64::try_from(there.timestamp_micros()).unwrap();
        assert_eq!(order("2025-10-10T12:30:00"), Some(expected));
        assert_eq!(order("2025-10-10T12:30:00.000007"), Some(expected + 7));
        assert_eq!(order("2025-10-10 12:30:00"), Some(expected));
    }

    #[test]
    fn a_text_that_is_not_a_time_has_no_order() {
        for text in ["", "now", "1696938600", "2025-13-10T12:30:00", "1960-01-01T00:00:00Z"] {
            assert_eq!(order(text), None, "{text:?}");
        }
        assert_eq!(order("9999-12-31T23:59:59Z"), None);
    }
}
