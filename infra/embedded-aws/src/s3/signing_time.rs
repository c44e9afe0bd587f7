//! The times of signed requests.
//!
//! Presigned URLs expire by the engines' clock. Other requests are signed by the system's clock, which SDKs read, or
//! by the engines'.

use http::request::Parts;
use jiff::{SignedDuration, Timestamp, civil::DateTime, tz::TimeZone};
use reelay_clock::Clock;
use s3s::{S3Result, s3_error};

/// AWS's limit for the difference between the time of a signature and its own.
const MAX_SKEW: SignedDuration = SignedDuration::from_mins(15);

/// Rejects an expired URL, and a request that was signed more than 15 minutes ago or ahead. s3s rejects the absence
/// of a time.
pub(super) fn check(parts: &Parts, clock: &Clock) -> S3Result<()> {
    let now = clock.now();
    match presigned(parts) {
        Some((signed_at, _)) if signed_at.duration_since(now) > MAX_SKEW => Err(skewed()),
        Some((signed_at, lifetime)) if now.duration_since(signed_at) > lifetime => {
            Err(s3_error!(AccessDenied, "Request has expired"))
        }
        Some(_) => Ok(()),
        None => {
            let signed_at = parts.headers.get("x-amz-date").and_then(|date| date.to_str().ok());
            let is_skewed = |signed_at: Timestamp| {
                [now, Timestamp::now()]
                    .iter()
                    .all(|now| signed_at.duration_since(*now).abs() > MAX_SKEW)
            };
            match signed_at.and_then(parse) {
                Some(signed_at) if is_skewed(signed_at) => Err(skewed()),
                _ => Ok(()),
            }
        }
    }
}

fn skewed() -> s3s::S3Error {
    s3_error!(
        RequestTimeTooSkewed,
        "The difference between the request time and the current time is too large."
    )
}

/// The time and lifetime of a presigned URL.
fn presigned(parts: &Parts) -> Option<(Timestamp, SignedDuration)> {
    let query = parts.uri.query()?;
    let parameter = |name| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
    };
    let signed_at = parse(parameter("X-Amz-Date")?)?;
    let lifetime = parameter("X-Amz-Expires")?.parse().ok()?;
    Some((signed_at, SignedDuration::from_secs(lifetime)))
}

/// Parses a time such as `20260101T100203Z`.
fn parse(text: &str) -> Option<Timestamp> {
    let civil = DateTime::strptime("%Y%m%dT%H%M%SZ", text).ok()?;
    TimeZone::UTC.to_timestamp(civil).ok()
}
