//! Decides whether a rejected token refresh marks its grant, or a mistake of the operator or of Zoom is more likely.
//!
//! A mistake (another client, an incident at Zoom) makes Zoom reject the refresh tokens of many accounts at
//! once. Then marking waits, for [`MAX_MARKING_DELAY`] at most.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::ids::AccountId;

/// Time over which refreshes are counted.
pub const WINDOW: SignedDuration = SignedDuration::from_mins(10);

/// Time for which a grant's refreshes must fail before it is marked, if a mistake may explain the failures.
pub const MAX_MARKING_DELAY: SignedDuration = SignedDuration::from_hours(24);

/// Minimum number of rejected refreshes within [`WINDOW`] that opens the breaker.
const MIN_INVALID: u64 = 20;

/// Minimum number of accounts among them, unless fewer accounts were refreshed.
const MIN_ACCOUNTS: usize = 3;

/// Number of buckets over which accounts are counted: a bucket identifies no account, and a set stays small.
const ACCOUNT_BUCKETS: u16 = 256;

/// Results of the token refreshes of all accounts within [`WINDOW`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RefreshCounts {
    /// Number of refreshes that Zoom rejected as `invalid_grant`.
    pub invalid: u64,
    /// Buckets of their accounts.
    pub invalid_accounts: BTreeSet<u16>,
    /// Number of successful refreshes.
    pub succeeded: u64,
    /// Buckets of their accounts.
    pub succeeded_accounts: BTreeSet<u16>,
}

impl RefreshCounts {
    /// Counts one refresh.
    pub fn add(&mut self, account: &AccountId, is_valid: bool) {
        let (count, accounts) = if is_valid {
            (&mut self.succeeded, &mut self.succeeded_accounts)
        } else {
            (&mut self.invalid, &mut self.invalid_accounts)
        };
        *count += 1;
        accounts.insert(account_bucket(account));
    }

    /// Adds the counts of another part of the window.
    pub fn merge(&mut self, other: Self) {
        self.invalid += other.invalid;
        self.succeeded += other.succeeded;
        self.invalid_accounts.extend(other.invalid_accounts);
        self.succeeded_accounts.extend(other.succeeded_accounts);
    }

    /// Whether so many refreshes fail that the grants are not to blame: at least 20 of at least three
    /// accounts (all, if there are fewer), and more than half.
    pub fn is_open(&self) -> bool {
        let accounts = self.invalid_accounts.union(&self.succeeded_accounts).count();
        self.invalid >= MIN_INVALID
            && self.invalid > self.succeeded
            && self.invalid_accounts.len() >= accounts.min(MIN_ACCOUNTS)
    }
}

fn account_bucket(account: &AccountId) -> u16 {
    let [a, b, ..]: [u8; 32] = Sha256::digest(account.as_str()).into();
    u16::from_be_bytes([a, b]) % ACCOUNT_BUCKETS
}

/// Why Zoom rejected a refresh, or why none was possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rejection {
    /// `invalid_grant`, which a mistake may explain.
    InvalidGrant,
    /// Codes 4735 and 4741, which concern this grant alone: its user was deleted, or authorized the app again.
    GrantEnded,
    /// The stack has credentials of another client, and none of the grant's.
    ClientReplaced,
}

impl Rejection {
    /// Whether the grant is marked now. `failing_since`: first rejection of these tokens.
    pub fn is_final(self, is_breaker_open: bool, failing_since: Timestamp, now: Timestamp) -> bool {
        let is_overdue = failing_since + MAX_MARKING_DELAY <= now;
        match self {
            Self::GrantEnded => true,
            Self::InvalidGrant => !is_breaker_open || is_overdue,
            Self::ClientReplaced => is_overdue,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(
        invalid: u64,
        invalid_accounts: u8,
        succeeded: u64,
        more_accounts: u8,
    ) -> RefreshCounts {
        let account = |n: u64| format!("Account{n}").parse().unwrap();
        let mut counts = RefreshCounts::default();
        for n in 0..invalid {
            counts.add(&account(n % u64::from(invalid_accounts)), false);
        }
        for n in 0..succeeded {
            counts.add(&account(100 + n % u64::from(more_accounts)), true);
        }
        counts
    }

    #[test]
    fn breaker_opens_for_many_accounts_only() {
        for (invalid, invalid_accounts, succeeded, more_accounts, is_open) in [
            (20, 3, 0, 1, true),
            (19, 3, 0, 1, false),
            // More than half.
            (20, 3, 19, 2, true),
            (20, 3, 20, 2, false),
            // At least three accounts, or all.
            (20, 2, 0, 1, true),
            (20, 1, 0, 1, true),
            (20, 2, 1, 1, false),
            (20, 1, 1, 1, false),
        ] {
            let counts = counts(invalid, invalid_accounts, succeeded, more_accounts);
            assert_eq!(counts.is_open(), is_open, "{counts:?}");
        }
    }

    #[test]
    fn parts_of_the_window_add_up() {
        let mut sum = counts(12, 2, 3, 1);
        sum.merge(counts(8, 3, 4, 2));
        let sizes = (sum.invalid_accounts.len(), sum.succeeded_accounts.len());
        assert_eq!((sum.invalid, sum.succeeded, sizes), (20, 7, (3, 2)));
    }

    #[test]
    fn mistake_delays_marking_by_a_day() {
        let since: Timestamp = "2026-01-01T10:00:00Z".parse().unwrap();
        let (soon, day) = (since + SignedDuration::from_hours(23), since + MAX_MARKING_DELAY);
        for (rejection, is_open, now, is_final) in [
            (Rejection::InvalidGrant, false, since, true),
            (Rejection::InvalidGrant, true, soon, false),
            (Rejection::InvalidGrant, true, day, true),
            (Rejection::GrantEnded, true, since, true),
            (Rejection::ClientReplaced, false, soon, false),
            (Rejection::ClientReplaced, false, day, true),
        ] {
            let found = rejection.is_final(is_open, since, now);
            assert_eq!(found, is_final, "{rejection:?} {is_open} {now}");
        }
    }
}
