//! Which recordings a link covers: those that completed since its first activation window, and those of the days that
//! the app requested a backfill for. Older ones, and those between a disconnect and a new link, are not covered.

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan as _};
use serde::{Deserialize, Serialize};

use crate::listing::{self, ListedMeeting};
use crate::time::utc_date;

/// Maximum ranges of days that a link's backfills cover. Beyond that the oldest one is no longer compared.
const MAX_BACKFILLED: usize = 32;

/// Days (UTC), both inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DayRange {
    /// First day.
    pub from: Date,
    /// Last day.
    pub to: Date,
}

/// Which recordings a link covers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Coverage {
    /// Start of the earliest activation window; `None` before the first activation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<Timestamp>,
    /// Start days of the recordings that backfills covered, ordered and disjoint.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    backfilled: Vec<DayRange>,
}

impl Coverage {
    /// Covers the recordings that completed since a time.
    pub fn since(since: Timestamp) -> Self {
        Self { since: Some(since), backfilled: Vec::new() }
    }

    /// Adds another coverage.
    pub fn extend(&mut self, other: &Self) {
        self.since = [self.since, other.since].into_iter().flatten().min();
        other.backfilled.iter().for_each(|days| self.add(*days));
    }

    /// Adds days.
    pub fn add(&mut self, days: DayRange) {
        self.backfilled.push(days);
        self.backfilled.sort_unstable();
        self.backfilled.dedup_by(|next, kept| {
            let is_joined = next.from <= kept.to.saturating_add(1.day());
            if is_joined {
                kept.to = kept.to.max(next.to);
            }
            is_joined
        });
        let excess = self.backfilled.len().saturating_sub(MAX_BACKFILLED);
        self.backfilled.drain(..excess);
    }

    /// Whether a listed meeting is covered. A meeting whose times cannot be read counts as covered.
    pub fn includes(&self, meeting: &ListedMeeting) -> bool {
        let is_recent = self.since.is_some_and(|since| meeting.may_have_completed_since(since));
        let is_backfilled = || {
            let day = meeting.start_day();
            day.is_some_and(|day| self.backfilled.iter().any(|it| it.from <= day && day <= it.to))
        };
        is_recent || is_backfilled()
    }

    /// Returns the first day to list; `None` if nothing is covered.
    pub fn first_day(&self) -> Option<Date> {
        let since = self.since.map(|since| utc_date(listing::earliest_start(since)));
        let backfilled = self.backfilled.first().map(|days| days.from);
        since.into_iter().chain(backfilled).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn days(from: &str, to: &str) -> DayRange {
        DayRange { from: from.parse().unwrap(), to: to.parse().unwrap() }
    }

    #[test]
    fn coverage_has_gaps_between_consents() {
        let mut coverage = Coverage::since(at("2026-10-01T12:00:00Z"));
        coverage.add(days("2026-03-01", "2026-03-10"));
        let includes = |start: &str| {
            let meeting = json!({"uuid": "m", "start_time": start, "duration": 30});
            coverage.includes(&ListedMeeting::parse(&meeting))
        };
        for (start, expected) in [
            ("2026-10-02T12:00:00Z", true),
            // It may have completed a day later.
            ("2026-09-30T13:00:00Z", true),
            ("2026-09-30T11:00:00Z", false),
            ("2026-03-10T23:59:59Z", true),
            ("2026-03-11T00:00:00Z", false),
            ("2026-02-28T23:59:59Z", false),
        ] {
            assert_eq!(includes(start), expected, "{start}");
        }
    }

    #[test]
    fn backfilled_days_are_joined() {
        let mut coverage = Coverage::default();
        for range in [days("2026-03-05", "2026-03-10"), days("2026-01-01", "2026-01-02")] {
            coverage.add(range);
        }
        coverage.add(days("2026-03-11", "2026-03-12"));
        coverage.add(days("2026-03-06", "2026-03-07"));
        assert_eq!(
            coverage.backfilled,
            [days("2026-01-01", "2026-01-02"), days("2026-03-05", "2026-03-12")]
        );
        let mut other = Coverage::since(at("2026-10-01T00:00:00Z"));
        other.extend(&coverage);
        assert_eq!(other.backfilled, coverage.backfilled);
    }
}
