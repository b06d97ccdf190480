//! When a key ends: a time, or how long from now. The server reads it in the same way.

use chrono::DateTime;

/// The last millisecond of the year 9999, since 1970. RFC 3339 has no year after it.
const LATEST: u64 = 253_402_300_799_999;

/// Why a text is no end of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadExpiry {
    /// It is neither a time nor a duration.
    Form,
    /// It is over.
    Past,
    /// It is after the year 9999.
    Late,
}

/// A time in milliseconds since 1970: of a date such as `2027-01-31T00:00:00Z`, or so long after
/// `now`, such as `90d`, `12h` or `30m`.
///
/// # Errors
/// If it is none, or not from now to the year 9999.
pub fn expiry(text: &str, now: u64) -> Result<u64, BadExpiry> {
    let date = DateTime::parse_from_rfc3339(text).ok();
    let date = date.map(|date| u64::try_from(date.timestamp_millis()).unwrap_or_default());
    let after = || Some(now.saturating_add(milliseconds(text)?));
    match date.or_else(after).ok_or(BadExpiry::Form)? {
        moment if moment <= now => Err(BadExpiry::Past),
        moment if moment > LATEST => Err(BadExpiry::Late),
        moment => Ok(moment),
    }
}

/// At most `u64::MAX`.
fn milliseconds(duration: &str) -> Option<u64> {
    let unit = duration.chars().last()?;
    let number: u64 = duration.strip_suffix(unit)?.parse().ok()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        'w' => 604_800,
        _ => return None,
    };
    Some(number.saturating_mul(seconds * 1_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_expires_at_a_time_or_after_one() {
        let now = 1_000_000_000_000;
        let end = |text| expiry(text, now);
        assert_eq!(end("90d"), Ok(now + 90 * 86_400_000));
        assert_eq!(end("2w"), end("14d"));
        assert_eq!((end("1h"), end("60m")), (end("3600s"), end("1h")));
        assert_eq!(end("2033-05-18T03:33:20Z"), Ok(2_000_000_000_000));
        assert_eq!(end("2033-05-18T05:33:20+02:00"), end("2033-05-18T03:33:20Z"));
        for past in ["0s", "2001-09-09T01:46:40Z", "1960-01-01T00:00:00Z"] {
            assert_eq!(end(past), Err(BadExpiry::Past), "{past}");
        }
        assert_eq!(end("9999-12-31T23:59:59Z"), Ok(LATEST - 999));
        for late in ["9999-12-31T23:59:59-01:00", "100000000d", "99999999999999999d"] {
            assert_eq!(end(late), Err(BadExpiry::Late), "{late}");
        }
        for bad in ["", "d", "-1d", "90", "90 d", "1.5h", "2033-05-18", "1é", "soon"] {
            assert_eq!(end(bad), Err(BadExpiry::Form), "{bad}");
        }
    }
}
