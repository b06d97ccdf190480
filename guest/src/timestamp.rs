//! RFC 3339 timestamps with microsecond precision.
//!
//! Written by hand because the chrono crate would make the component about 35 KiB larger
//! (358 instead of 324 KiB, measured). The calendar arithmetic follows Howard Hinnant,
//! "chrono-Compatible Low-Level Date Algorithms".

use std::fmt;

const SECOND: i64 = 1_000_000;
const DAY_SECONDS: i64 = 86_400;

/// An instant with an optional offset from UTC.
///
/// It is formatted with six fractional digits and a numeric offset, which Python's
/// `datetime.fromisoformat` accepts since 3.7: `2026-11-23T17:48:43.123456+00:00`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timestamp {
    /// Local time, in microseconds since 1970.
    local: i64,
    /// Offset in minutes east of UTC, if known.
    offset: Option<i64>,
}

impl Timestamp {
    /// The time `micros` microseconds after 1970 in UTC, clamped to the years 1 to 9999.
    pub fn from_micros(micros: i64) -> Self {
        let year_one = days(1, 1, 1) * DAY_SECONDS * SECOND;
        let year_ten_thousand = days(10_000, 1, 1) * DAY_SECONDS * SECOND;
        Self { local: micros.clamp(year_one, year_ten_thousand - 1), offset: Some(0) }
    }

    /// Parses RFC 3339 with years 1 to 9999. Digits beyond microseconds are dropped, and a
    /// leap second becomes the following second.
    ///
    /// A time without an offset, as some programs write it, is accepted. It is ordered as
    /// UTC and formatted without an offset, since the real one is unknown.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let (date, rest) = bytes.split_at_checked(10)?;
        let (time, rest) = rest.split_at_checked(9)?;
        let (micros, zone) = fraction(rest)?;
        let offset = offset(zone)?;
        let local = (parse_date(date)? * DAY_SECONDS + parse_time(time)?) * SECOND + micros;
        let year = civil(local.div_euclid(DAY_SECONDS * SECOND)).0;
        (1..=9999).contains(&year).then_some(Self { local, offset })
    }

    /// A fact's position in listings: microseconds since 1970 in UTC, or 0 for earlier
    /// times.
    pub fn order(self) -> u64 {
        let utc = self.local - self.offset.unwrap_or(0) * 60 * SECOND;
        u64::try_from(utc).unwrap_or(0)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil(self.local.div_euclid(DAY_SECONDS * SECOND));
        let in_day = self.local.rem_euclid(DAY_SECONDS * SECOND);
        let (seconds, micros) = (in_day / SECOND, in_day % SECOND);
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}")?;
        let Some(offset) = self.offset else {
            return Ok(());
        };
        let (sign, size) = (if offset < 0 { '-' } else { '+' }, offset.abs());
        write!(f, "{sign}{:02}:{:02}", size / 60, size % 60)
    }
}

/// Days since 1970 of `YYYY-MM-DD`.
fn parse_date(text: &[u8]) -> Option<i64> {
    let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = text else {
        return None;
    };
    let year = number(&[y1, y2, y3, y4])?;
    let month = number(&[m1, m2]).filter(|month| (1..=12).contains(month))?;
    let day = number(&[d1, d2])?;
    let since = days(year, month, day);
    // A day that does not exist in this month converts back to a different date.
    (civil(since) == (year, month, day)).then_some(since)
}

/// Seconds since midnight of `Thh:mm:ss`.
fn parse_time(text: &[u8]) -> Option<i64> {
    let &[b'T' | b't' | b' ', h1, h2, b':', m1, m2, b':', s1, s2] = text else {
        return None;
    };
    let hour = number(&[h1, h2]).filter(|hour| *hour < 24)?;
    let minute = number(&[m1, m2]).filter(|minute| *minute < 60)?;
    let second = number(&[s1, s2]).filter(|second| *second <= 60)?;
    Some(hour * 3600 + minute * 60 + second)
}

/// Microseconds of an optional `.ffffff…`, and the text after it.
fn fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let Some(text) = text.strip_prefix(b".") else {
        return Some((0, text));
    };
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    let mut six = [b'0'; 6];
    let kept = digits.len().min(six.len());
    six[..kept].copy_from_slice(&digits[..kept]);
    (kept > 0).then_some((number(&six)?, rest))
}

/// Minutes east of UTC of `Z` or `±hh:mm`; the inner `None` is for an empty text.
#[expect(clippy::option_option, reason = "malformed and missing are different")]
fn offset(text: &[u8]) -> Option<Option<i64>> {
    let (sign, digits) = match *text {
        [] => return Some(None),
        [b'Z' | b'z'] => return Some(Some(0)),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => (sign, [h1, h2, m1, m2]),
        _ => return None,
    };
    let hour = number(&digits[..2]).filter(|hour| *hour < 24)?;
    let minute = number(&digits[2..]).filter(|minute| *minute < 60)?;
    let minutes = hour * 60 + minute;
    Some(Some(if sign == b'-' { -minutes } else { minutes }))
}

/// Parses ASCII digits, without a sign.
fn number(digits: &[u8]) -> Option<i64> {
    let all = digits.iter().all(u8::is_ascii_digit);
    all.then(|| digits.iter().fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0')))
}

/// Days since 1970 of a date in the proleptic Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> i64 {
    // Years start in March, so that the leap day is the last day.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Year, month and day of the date `days` after 1970-01-01.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400;
    (if month <= 2 { year + 1 } else { year }, month, day)
}
