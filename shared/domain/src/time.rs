//! Times and dates.

use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::Serializer;

/// Returns the UTC date of a time.
pub fn utc_date(at: Timestamp) -> Date {
    at.to_zoned_datetime(TimeZone::UTC).date()
}

/// Formats a time as the API shows it: RFC 3339 in UTC with milliseconds. Such texts compare as their times.
pub fn rfc3339(at: Timestamp) -> String {
    format!("{at:.3}")
}

/// Serializes a time, or an optional one, as [`rfc3339`].
///
/// # Errors
/// If the serializer fails.
pub fn serialize_rfc3339<T: Copy + Into<Option<Timestamp>>, S: Serializer>(
    at: &T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match (*at).into() {
        Some(at) => serializer.collect_str(&format_args!("{at:.3}")),
        None => serializer.serialize_none(),
    }
}

/// The seconds until a time, rounded up, because SQS counts whole seconds; 0 if it has passed.
pub fn whole_seconds_until(at: Timestamp, now: Timestamp) -> u64 {
    let wait = Duration::try_from(at.duration_since(now)).unwrap_or_default();
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

/// Adds a duration to a time, up to the greatest representable one.
pub fn saturating_add(time: Timestamp, duration: SignedDuration) -> Timestamp {
    time.checked_add(duration).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_rounded_up() {
        let now = Timestamp::UNIX_EPOCH;
        for (milliseconds, seconds) in [(-1, 0), (0, 0), (1, 1), (59_000, 59), (59_001, 60)] {
            let at = now + SignedDuration::from_millis(milliseconds);
            assert_eq!(whole_seconds_until(at, now), seconds, "{milliseconds} ms");
        }
    }
}
