//! Times in metadata and filters, which compare as instants.
//!
//! A text is a time if it is an ISO 8601 date, alone or with a time of day, in one of the ways in
//! which programs write it: RFC 3339, a space for the `T`, no seconds, an offset without a colon
//! or minutes. A time without an offset is read as UTC, and a date alone as its first instant.
//! Digits beyond nanoseconds are dropped, and a leap second is the second that follows.

/// The shortest and the longest text that can be a time: a date, and a fraction of 35 digits.
const BYTES: std::ops::RangeInclusive<usize> = 10..=62;

/// A text that is a time. Ordered by its instant, and by the text for equal instants.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Time {
    pub(crate) instant: Instant,
    pub(crate) text: Box<str>,
}

/// A moment, to the nanosecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Instant {
    /// Since 1970 in UTC.
    seconds: i64,
    nanoseconds: u32,
}

impl Instant {
    /// Before every time that a text can name.
    pub(crate) const FIRST: Self = Self { seconds: i64::MIN, nanoseconds: 0 };

    /// The least instant above this one.
    pub(crate) fn next(self) -> Self {
        Self { nanoseconds: self.nanoseconds + 1, ..self }
    }

    /// Seconds since 1970 in UTC.
    pub(crate) fn seconds(self) -> f64 {
        self.seconds as f64 + f64::from(self.nanoseconds) * 1e-9
    }

    /// The instant that `text` names, if it is a time.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        if !BYTES.contains(&bytes.len()) || bytes[4] != b'-' {
            return None;
        }
        let (date, rest) = bytes.split_at(10);
        let midnight = days(date)? * 86_400;
        if rest.is_empty() {
            return Some(Self { seconds: midnight, nanoseconds: 0 });
        }
        let (seconds, nanoseconds, zone) = time_of_day(rest)?;
        Some(Self { seconds: midnight + seconds - offset(zone)?, nanoseconds })
    }
}

/// The moment that `text` names, in seconds since 1970 in UTC; `None` if it is no time.
pub fn parse_time(text: &str) -> Option<f64> {
    Instant::parse(text).map(Instant::seconds)
}

/// Days since 1970 of `YYYY-MM-DD` in the proleptic Gregorian calendar.
fn days(date: &[u8]) -> Option<i64> {
    let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = date else { return None };
    let (year, month, day) = (number(&[y1, y2, y3, y4])?, number(&[m1, m2])?, number(&[d1, d2])?);
    if !(1..=12).contains(&month) || !(1..=days_of_month(year, month)).contains(&day) {
        return None;
    }
    // Years start in March, so that the leap day is the last one.
    let (year, month) = if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    Some(year * 365 + leap_days + (153 * month + 2) / 5 + day - 1 - 719_468)
}

fn days_of_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Seconds since midnight and nanoseconds of `Thh:mm[:ss[.f]]`, and the offset after it.
fn time_of_day(text: &[u8]) -> Option<(i64, u32, &[u8])> {
    let ([b'T' | b't' | b' ', h1, h2, b':', m1, m2], rest) = text.split_first_chunk::<6>()? else {
        return None;
    };
    let hour = number(&[*h1, *h2]).filter(|hour| *hour < 24)?;
    let minute = number(&[*m1, *m2]).filter(|minute| *minute < 60)?;
    let (second, nanoseconds, rest) = match rest {
        [b':', s1, s2, rest @ ..] => {
            let (nanoseconds, rest) = fraction(rest)?;
            (number(&[*s1, *s2]).filter(|second| *second <= 60)?, nanoseconds, rest)
        }
        rest => (0, 0, rest),
    };
    Some((hour * 3600 + minute * 60 + second, nanoseconds, rest))
}

/// Nanoseconds of an optional `.f…`, and what follows.
fn fraction(text: &[u8]) -> Option<(u32, &[u8])> {
    let Some(digits) = text.strip_prefix(b".").or_else(|| text.strip_prefix(b",")) else {
        return Some((0, text));
    };
    let end = digits.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(digits.len());
    let (digits, rest) = digits.split_at(end);
    let mut nine = [b'0'; 9];
    let kept = digits.len().min(nine.len());
    nine[..kept].copy_from_slice(&digits[..kept]);
    (kept > 0).then_some((u32::try_from(number(&nine)?).ok()?, rest))
}

/// Seconds east of UTC of `Z`, `±hh`, `±hhmm` or `±hh:mm`; 0 without an offset.
fn offset(text: &[u8]) -> Option<i64> {
    let (sign, hours, minutes) = match *text {
        [] | [b'Z' | b'z'] => return Some(0),
        [sign, h1, h2] => (sign, [h1, h2], [b'0'; 2]),
        [sign, h1, h2, m1, m2] | [sign, h1, h2, b':', m1, m2] => (sign, [h1, h2], [m1, m2]),
        _ => return None,
    };
    let hours = number(&hours).filter(|hours| *hours < 24)?;
    let minutes = number(&minutes).filter(|minutes| *minutes < 60)?;
    let seconds = (hours * 60 + minutes) * 60;
    match sign {
        b'+' => Some(seconds),
        b'-' => Some(-seconds),
        _ => None,
    }
}

/// Parses ASCII digits, without a sign.
fn number(digits: &[u8]) -> Option<i64> {
    let all = digits.iter().all(u8::is_ascii_digit);
    all.then(|| digits.iter().fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instant(seconds: i64, nanoseconds: u32) -> Option<Instant> {
        Some(Instant { seconds, nanoseconds })
    }

    #[test]
    fn a_time_is_the_same_instant_however_it_is_written() {
        for text in [
            "2025-03-01T09:30:00Z",
            "2025-03-01t09:30:00z",
            "2025-03-01 09:30:00.000+00:00",
            "2025-03-01T18:30:00+09:00",
            "2025-03-01T04:30:00,000000000000-05",
            "2025-03-01T15:00+0530",
            "2025-02-28T23:30:00-10:00",
            "2025-03-01T09:29:60Z",
            "2025-03-01T09:30:00",
            "2025-03-01T09:30",
        ] {
            assert_eq!(Instant::parse(text), instant(1_740_821_400, 0), "{text}");
        }
        assert_eq!(Instant::parse("1970-01-02"), instant(86_400, 0));
        assert_eq!(Instant::parse("1969-12-31T23:59:59.25Z"), instant(-1, 250_000_000));
        assert_eq!(Instant::parse("1970-01-01T00:00:00.1234567891Z"), instant(0, 123_456_789));
    }

    #[test]
    fn every_day_of_four_centuries_follows_the_one_before() {
        let mut expected = Instant::parse("1804-01-01").unwrap().seconds;
        for year in 1804..2204 {
            for month in 1..=12 {
                for day in 1..=days_of_month(year, month) {
                    let text = format!("{year}-{month:02}-{day:02}");
                    assert_eq!(Instant::parse(&text), instant(expected, 0), "{text}");
                    expected += 86_400;
                }
            }
        }
        assert_eq!(Instant::parse("2000-03-01"), instant(951_868_800, 0));
    }

    #[test]
    fn a_text_that_is_no_time_has_no_instant() {
        for text in [
            "",
            "2025",
            "2025-03",
            "2025-3-01",
            "2025-13-01",
            "2025-02-29",
            "2025-03-01T",
            "2025-03-01T24:00:00Z",
            "2025-03-01T10:60:00Z",
            "2025-03-01T10:00:00.Z",
            "2025-03-01T10:00:00+24:00",
            "2025-03-01T10:00:00 Z",
            "2025-03-01T10Z",
            "+025-03-01",
            "2025-03-01 a meeting",
            "２０２５-03-01",
        ] {
            assert_eq!(Instant::parse(text), None, "{text}");
        }
    }
}
