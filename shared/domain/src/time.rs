//! Times and dates.

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

/// Adds a duration to a time, up to the greatest representable one.
pub fn saturating_add(time: Timestamp, duration: SignedDuration) -> Timestamp {
    time.checked_add(duration).unwrap_or(Timestamp::MAX)
}
