//! Parsing the timestamps of facts, a subset of RFC 3339.

/// Seconds since 1970 in UTC, or `None` if the timestamp is malformed. A time without an
/// offset counts as UTC, and a date alone as midnight.
pub(crate) fn seconds(timestamp: &str) -> Option<i64> {
    let (date, clock) = timestamp.split_at_checked(10)?;
    let [year, month, day] = numbers(date, '-')?;
    let is_date = (1..=12).contains(&month) && (1..=31).contains(&day);
    let midnight = is_date.then(|| days(year, month, day) * 86_400)?;
    if clock.is_empty() {
        return Some(midnight);
    }
    let clock = clock.strip_prefix(['T', 't', ' '])?;
    let (clock, offset) = split_offset(clock)?;
    let whole = clock.split('.').next().unwrap_or(clock);
    let [hour, minute, second] = numbers(whole, ':')?;
    Some(midnight + hour * 3_600 + minute * 60 + second - offset)
}

/// Splits off the offset from UTC and returns it in seconds; positive is east.
fn split_offset(clock: &str) -> Option<(&str, i64)> {
    if let Some(clock) = clock.strip_suffix(['Z', 'z']) {
        return Some((clock, 0));
    }
    let Some(at) = clock.rfind(['+', '-']) else { return Some((clock, 0)) };
    let [hours, minutes] = numbers(&clock[at + 1..], ':')?;
    let sign = if clock[at..].starts_with('-') { -1 } else { 1 };
    Some((&clock[..at], sign * (hours * 3_600 + minutes * 60)))
}

/// Parses exactly `N` unsigned numbers.
fn numbers<const N: usize>(text: &str, separator: char) -> Option<[i64; N]> {
    let mut parts = text.split(separator);
    let mut numbers = [0; N];
    for number in &mut numbers {
        let part = parts.next()?;
        let is_number = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        *number = is_number.then(|| part.parse().ok())??;
    }
    parts.next().is_none().then_some(numbers)
}

/// Days from 1970-01-01 to a date of the Gregorian calendar. Years are shifted to start in
/// March, so that the leap day is the last day.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month > 2 { year } else { year - 1 };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = of_era * 365 + of_era / 4 - of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_of_a_facts_timestamp_is_parsed() {
        for (timestamp, expected) in [
            ("1970-01-01T00:00:00+00:00", 0),
            ("2000-02-29T12:00:00Z", 951_825_600),
            ("2000-03-01 00:00:00.999", 951_868_800),
            ("2026-03-01T12:00:00+02:00", 1_772_359_200),
            ("2026-03-01T05:00:00-05:30", 1_772_361_000),
            ("1969-12-31", -86_400),
        ] {
            assert_eq!(seconds(timestamp), Some(expected), "{timestamp}");
        }
    }

    #[test]
    fn a_malformed_timestamp_gives_none() {
        for timestamp in
            ["", "now", "2026-13-01", "2026-03-01T", "2026-03-01T1:2", "+026-03-01", "äöüäöü"]
        {
            assert_eq!(seconds(timestamp), None, "{timestamp}");
        }
    }
}
