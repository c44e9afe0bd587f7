//! Delivery of notifications: when a failed one is retried, when Reelay gives up, and when a destination counts as
//! down.
//!
//! A message in the queue makes a few attempts within minutes. After that the notification's delivery state carries
//! the time of the next attempt, until Reelay gives up some days after its creation.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::ids::AppUserId;

/// Maximum attempts of one message, within about ten minutes.
pub const MAX_ATTEMPTS_PER_MESSAGE: u32 = 5;

/// Time after which a message counts as lost. Exceeds the ten minutes of its attempts.
pub const MESSAGE_TTL: SignedDuration = SignedDuration::from_mins(15);

/// Delays between the attempts of one message, in seconds: 9 minutes and 40 seconds together.
const MESSAGE_DELAYS: [u64; MAX_ATTEMPTS_PER_MESSAGE as usize - 1] = [10, 40, 130, 400];

/// Bounds of the interval between attempts after a message gave up.
const MIN_INTERVAL: SignedDuration = SignedDuration::from_mins(15);
const MAX_INTERVAL: SignedDuration = SignedDuration::from_hours(3);

/// Returns the seconds until a message's next attempt, or `None` after its last one.
pub fn message_delay_seconds(attempts: u32) -> Option<u64> {
    let index = usize::try_from(attempts).ok()?.checked_sub(1)?;
    MESSAGE_DELAYS.get(index).copied()
}

/// Parses `Retry-After` (RFC 9110, section 10.2.3): seconds, or an HTTP-date. `None` if it is neither.
pub fn parse_retry_after(text: &str, now: Timestamp) -> Option<Timestamp> {
    if let Ok(seconds) = text.trim().parse::<u32>() {
        return now.checked_add(SignedDuration::from_secs(seconds.into())).ok();
    }
    jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text.trim()).ok()
}

/// Delivery of one notification to one destination.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Delivery {
    /// When the destination accepted it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivered_at: Option<Timestamp>,
    /// When Reelay gave up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gave_up_at: Option<Timestamp>,
    /// Number of attempts.
    pub attempts: u32,
    /// Result of the last attempt: a status or a kind of failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_answer: Option<String>,
    /// Earliest time of the next attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_attempt_at: Option<Timestamp>,
    /// Whether it waits for the destination's breaker to close.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_held: bool,
}

/// Result of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attempt {
    /// The destination accepted the notification.
    Delivered(String),
    /// The destination did not accept it; a later attempt may succeed.
    Failed {
        /// A status or a kind of failure.
        answer: String,
        /// `Retry-After` of the response.
        retry_after: Option<Timestamp>,
        /// Whether another attempt of the same message follows.
        is_message_retried: bool,
    },
    /// No attempt was made, because the destination's breaker is open.
    Held,
}

impl Delivery {
    /// Whether the destination has neither accepted it nor been given up.
    pub fn is_pending(&self) -> bool {
        self.delivered_at.is_none() && self.gave_up_at.is_none()
    }

    /// Whether an attempt may be made now.
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.is_pending() && self.next_attempt_at.is_none_or(|at| at <= now)
    }

    /// Records an attempt. `pending_since`: creation of the notification, or its reset by an operator;
    /// `give_up_at`: when Reelay gives up.
    pub fn record(
        &mut self,
        attempt: Attempt,
        pending_since: Timestamp,
        give_up_at: Timestamp,
        now: Timestamp,
    ) {
        self.is_held = false;
        match attempt {
            Attempt::Delivered(answer) => {
                self.attempts += 1;
                self.last_answer = Some(answer);
                self.delivered_at = Some(now);
                self.next_attempt_at = None;
            }
            Attempt::Failed { answer, retry_after, is_message_retried } => {
                self.attempts += 1;
                self.last_answer = Some(answer);
                self.schedule(retry_after, is_message_retried, pending_since, give_up_at, now);
            }
            Attempt::Held if now >= give_up_at => self.give_up(now),
            Attempt::Held => {
                self.is_held = true;
                self.next_attempt_at = Some(now);
            }
        }
    }

    /// Ends the delivery without an attempt. `reason` takes the place of a response.
    pub fn end(&mut self, reason: &str, now: Timestamp) {
        if self.is_pending() {
            self.last_answer = Some(reason.to_owned());
            self.give_up(now);
        }
    }

    fn schedule(
        &mut self,
        retry_after: Option<Timestamp>,
        is_message_retried: bool,
        pending_since: Timestamp,
        give_up_at: Timestamp,
        now: Timestamp,
    ) {
        if now >= give_up_at {
            return self.give_up(now);
        }
        let age = now.duration_since(pending_since);
        let interval = (age / 2).clamp(MIN_INTERVAL, MAX_INTERVAL);
        let at = now.checked_add(interval).unwrap_or(Timestamp::MAX);
        // The message retries by itself, so the guard needs a time only for `Retry-After`.
        let at = match retry_after {
            None if is_message_retried => None,
            None => Some(at),
            Some(retry_after) if is_message_retried => Some(retry_after),
            Some(retry_after) => Some(retry_after.max(at)),
        };
        // The last attempt is made when the time ends, not before.
        self.next_attempt_at = at.map(|at| at.min(give_up_at));
    }

    fn give_up(&mut self, now: Timestamp) {
        self.is_held = false;
        self.gave_up_at = Some(now);
        self.next_attempt_at = None;
    }
}

/// Age up to which an instance may rely on the breaker's state without reading it again.
pub const MAX_BREAKER_AGE: SignedDuration = SignedDuration::from_secs(5);

/// Time without a success after which a failing destination counts as down: a minute, and the time for which an instance
/// that is successful may not know of the failure.
const BREAKER_WINDOW: SignedDuration = SignedDuration::from_secs(60 + MAX_BREAKER_AGE.as_secs());

/// Minimum number of app users whose notifications must fail; all of them, if there are fewer.
const MIN_APP_USERS: usize = 5;

/// Maximum app users in the state of a breaker. More make no difference.
const MAX_APP_USERS: usize = 8;

/// Time after which an app user who is notified again is recorded again.
const KNOWN_INTERVAL: SignedDuration = SignedDuration::from_hours(12);

/// Time without a notification after which an app user no longer counts as notified.
const KNOWN_TTL: SignedDuration = SignedDuration::from_hours(24);

/// The state of a destination's breaker, shared by all instances. It opens when, for a minute, the notifications of
/// several app users had nothing but timeouts, refused connections or 5xx responses. While it is open, notifications
/// wait. It stores hashes in place of app users.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Breaker {
    /// Time of the first failure since the last success.
    #[serde(skip_serializing_if = "Option::is_none")]
    failing_since: Option<Timestamp>,
    /// App users whose notifications failed since, hashed.
    failing: BTreeSet<String>,
    /// App users who were notified, successfully or not, hashed, and when they were recorded.
    known: BTreeMap<String, Timestamp>,
    /// When it opened.
    #[serde(skip_serializing_if = "Option::is_none")]
    opened_at: Option<Timestamp>,
}

impl Breaker {
    /// Whether notifications wait.
    pub fn is_open(&self) -> bool {
        self.opened_at.is_some()
    }

    /// Records a success, or a response that shows that the destination is up.
    pub fn record_success(&mut self, app_user: &AppUserId, now: Timestamp) {
        self.failing_since = None;
        self.failing.clear();
        self.opened_at = None;
        self.insert_known(hashed(app_user), now);
    }

    /// Records a failure, and opens the breaker if that is due.
    pub fn record_failure(&mut self, app_user: &AppUserId, now: Timestamp) {
        if self.is_open() {
            return;
        }
        let since = *self.failing_since.get_or_insert(now);
        let app_user = hashed(app_user);
        self.insert_known(app_user.clone(), now);
        if self.failing.len() < MAX_APP_USERS {
            self.failing.insert(app_user);
        }
        let is_wide = self.failing.len() >= MIN_APP_USERS.min(self.known.len());
        if is_wide && now.duration_since(since) >= BREAKER_WINDOW {
            *self = Self { opened_at: Some(now), ..Self::default() };
        }
    }

    fn insert_known(&mut self, app_user: String, now: Timestamp) {
        self.known.retain(|_, at| now.duration_since(*at) < KNOWN_TTL);
        if self.known.len() < MAX_APP_USERS || self.known.contains_key(&app_user) {
            let at = self.known.entry(app_user).or_insert(now);
            if now.duration_since(*at) >= KNOWN_INTERVAL {
                *at = now;
            }
        }
    }
}

fn hashed(app_user: &AppUserId) -> String {
    let hash: [u8; 32] = Sha256::digest(app_user.as_str()).into();
    let [a, b, c, d, e, f, g, h, ..] = hash;
    format!("{:016x}", u64::from_be_bytes([a, b, c, d, e, f, g, h]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> Timestamp {
        "2026-01-01T10:00:00Z".parse().unwrap()
    }

    fn failed(is_message_retried: bool, retry_after: Option<Timestamp>) -> Attempt {
        Attempt::Failed { answer: "503".to_owned(), retry_after, is_message_retried }
    }

    fn user(n: usize) -> AppUserId {
        format!("user{n}").parse().unwrap()
    }

    #[test]
    fn message_makes_five_attempts_within_ten_minutes() {
        let delays: Vec<u64> = (1..).map_while(message_delay_seconds).collect();
        assert_eq!(delays.len() + 1, MAX_ATTEMPTS_PER_MESSAGE as usize);
        assert!((480..=600).contains(&delays.iter().sum::<u64>()));
        assert_eq!(message_delay_seconds(0), None);
        assert!(MESSAGE_TTL > SignedDuration::from_mins(10));
    }

    #[test]
    fn intervals_grow_to_three_hours_until_the_end() {
        let end = start() + SignedDuration::from_hours(72);
        let mut delivery = Delivery::default();
        let mut now = start() + SignedDuration::from_mins(10);
        let mut intervals = Vec::new();
        while delivery.is_pending() {
            assert!(delivery.is_due(now));
            delivery.record(failed(false, None), start(), end, now);
            let Some(next) = delivery.next_attempt_at else { break };
            assert!(!delivery.is_due(now));
            intervals.push(next.duration_since(now).as_mins());
            now = next;
        }
        assert_eq!(delivery.gave_up_at, Some(end));
        assert_eq!((intervals[0], intervals.iter().max()), (15, Some(&180)));
        let (last, growing) = intervals.split_last().unwrap();
        assert!(growing.is_sorted() && *last <= 180, "{intervals:?}");
        assert!((24..40).contains(&delivery.attempts), "{}", delivery.attempts);
    }

    #[test]
    fn retry_after_delays_the_next_attempt() {
        let end = start() + SignedDuration::from_hours(72);
        for (retried, after_minutes, expected_minutes) in
            [(true, 2, 2), (false, 2, 15), (false, 600, 600), (true, 60 * 24 * 9, 72 * 60)]
        {
            let mut delivery = Delivery::default();
            let after = start() + SignedDuration::from_mins(after_minutes);
            delivery.record(failed(retried, Some(after)), start(), end, start());
            let next = delivery.next_attempt_at.unwrap().duration_since(start());
            assert_eq!(next.as_mins(), expected_minutes, "{retried} {after_minutes}");
        }
        let mut delivery = Delivery::default();
        delivery.record(failed(true, None), start(), end, start());
        assert!(delivery.is_due(start()), "the message decides");
    }

    #[test]
    fn retry_after_is_parsed_as_seconds_or_date() {
        let date = "Thu, 01 Jan 2026 10:05:00 GMT";
        let later = |seconds| Some(start() + SignedDuration::from_secs(seconds));
        for (text, expected) in [
            ("120", later(120)),
            (" 0 ", later(0)),
            (date, later(300)),
            ("soon", None),
            ("-1", None),
        ] {
            assert_eq!(parse_retry_after(text, start()), expected, "{text}");
        }
    }

    #[test]
    fn delivered_notification_is_never_due() {
        let mut delivery = Delivery::default();
        delivery.record(Attempt::Delivered("204".to_owned()), start(), start(), start());
        assert!(!delivery.is_pending() && !delivery.is_due(Timestamp::MAX));
    }

    #[test]
    fn held_notification_is_due_at_once_until_given_up() {
        let end = start() + SignedDuration::from_hours(1);
        let mut delivery = Delivery::default();
        delivery.record(Attempt::Held, start(), end, start());
        assert!(delivery.is_held && delivery.is_due(start()));
        assert_eq!(delivery.attempts, 0);
        delivery.record(Attempt::Held, start(), end, end);
        assert!(!delivery.is_pending() && !delivery.is_held);
    }

    #[test]
    fn breaker_opens_after_a_minute_for_five_app_users_or_all() {
        let later = start() + BREAKER_WINDOW;
        for (failing, known, is_open) in
            [(5, 100, true), (4, 100, false), (1, 1, true), (2, 3, false), (3, 3, true)]
        {
            let mut breaker = Breaker::default();
            (0..known).for_each(|n| breaker.record_success(&user(n), start()));
            assert_eq!(breaker.known.len(), known.min(MAX_APP_USERS));
            (0..failing).for_each(|n| breaker.record_failure(&user(n), start()));
            assert!(!breaker.is_open(), "too early");
            let before = later - SignedDuration::from_secs(1);
            breaker.record_failure(&user(0), before);
            assert!(!breaker.is_open(), "too early");
            breaker.record_failure(&user(0), later);
            assert_eq!(breaker.is_open(), is_open, "{failing} of {known}");
        }
    }

    #[test]
    fn success_closes_the_breaker_and_restarts_the_minute() {
        let mut breaker = Breaker::default();
        breaker.record_failure(&user(0), start());
        breaker.record_success(&user(0), start());
        breaker.record_failure(&user(0), start() + BREAKER_WINDOW);
        assert!(!breaker.is_open());
        let opened_at = start() + BREAKER_WINDOW + BREAKER_WINDOW;
        breaker.record_failure(&user(0), opened_at);
        assert!(breaker.is_open());
        let open = breaker.clone();
        breaker.record_failure(&user(1), opened_at + BREAKER_WINDOW);
        assert_eq!(breaker, open, "an open breaker does not change");
        breaker.record_success(&user(0), opened_at);
        assert_eq!((breaker.is_open(), breaker.failing.len(), breaker.known.len()), (false, 0, 1));
    }

    #[test]
    fn app_users_count_for_a_day_after_their_notification() {
        for (hours, is_open) in [(23, false), (24, true)] {
            let mut breaker = Breaker::default();
            breaker.record_success(&user(0), start());
            breaker.record_success(&user(1), start());
            let later = start() + SignedDuration::from_hours(hours);
            breaker.record_failure(&user(0), later - BREAKER_WINDOW);
            breaker.record_failure(&user(0), later);
            assert_eq!(breaker.is_open(), is_open, "{hours}");
        }
    }

    #[test]
    fn repeated_success_changes_the_state_twice_a_day() {
        let mut breaker = Breaker::default();
        let mut changes = 0;
        for minutes in 0..24 * 60 {
            let before = breaker.clone();
            breaker.record_success(&user(0), start() + SignedDuration::from_mins(minutes));
            changes += usize::from(breaker != before);
        }
        assert_eq!(changes, 2);
    }
}
