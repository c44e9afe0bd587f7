//! Time: when a source is too slow, when no new part may begin, when progress is worth a write. Pure.

use std::time::{Duration, Instant};

/// When a source counts as stalled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StallRule {
    /// So long is looked at, at a time.
    pub window: Duration,
    /// Fewer bytes than this in a window are a stall.
    pub floor: u64,
}

/// Watches the throughput of one response body.
///
/// Only the time in which we wait for the source counts: while S3 takes its time, nobody asks the source,
/// and it is not to blame.
#[derive(Debug, Clone)]
pub(crate) struct StallWatch {
    rule: StallRule,
    waited: Duration,
    bytes: u64,
    waiting_since: Option<Instant>,
}

/// What waiting means now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// Look again then, if nothing has arrived.
    Until(Instant),
    /// Too little has arrived in too long a time.
    Stalled,
}

impl StallWatch {
    pub(crate) fn new(rule: StallRule) -> Self {
        Self {
            rule,
            waited: Duration::ZERO,
            bytes: 0,
            waiting_since: None,
        }
    }

    /// The source has nothing for us at the moment.
    pub(crate) fn waiting(&mut self, now: Instant) -> Waiting {
        let since = *self.waiting_since.get_or_insert(now);
        if self.waited + now.duration_since(since) < self.rule.window {
            return Waiting::Until(since + (self.rule.window - self.waited));
        }
        if self.bytes < self.rule.floor {
            return Waiting::Stalled;
        }
        self.waited = Duration::ZERO;
        self.bytes = 0;
        self.waiting_since = Some(now);
        Waiting::Until(now + self.rule.window)
    }

    /// Bytes have arrived.
    pub(crate) fn arrived(&mut self, now: Instant, bytes: u64) {
        if let Some(since) = self.waiting_since.take() {
            self.waited += now.duration_since(since);
        }
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// The time that an invocation has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allowance {
    /// After this nothing of ours runs but the hand-over.
    cutoff: Option<Instant>,
    slowest: Duration,
}

impl Allowance {
    /// `reserve` is kept for the hand-over itself; of a short allowance at most a quarter.
    pub(crate) fn new(now: Instant, deadline: Option<Instant>, reserve: Duration) -> Self {
        let cutoff = deadline.map(|deadline| {
            let all = deadline.saturating_duration_since(now);
            deadline - reserve.min(all / 4)
        });
        Self {
            cutoff,
            slowest: Duration::ZERO,
        }
    }

    /// When everything ends, whatever is in flight.
    pub(crate) fn cutoff(&self) -> Option<Instant> {
        self.cutoff
    }

    /// A part took so long.
    pub(crate) fn measured(&mut self, part: Duration) {
        self.slowest = self.slowest.max(part);
    }

    /// Whether a part that begins now will have ended in time, if it takes half as long again as the
    /// slowest so far.
    pub(crate) fn another_part(&self, now: Instant) -> bool {
        self.cutoff
            .is_none_or(|cutoff| now + self.slowest + self.slowest / 2 < cutoff)
    }
}

/// How often progress is noted: a write costs money, and a progress bar has few pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProgressRule {
    /// At most once in so long a time.
    pub every: Duration,
    /// And only after so many hundredths of the file.
    pub percent: u64,
}

/// What was noted last.
#[derive(Debug, Clone)]
pub(crate) struct ProgressWatch {
    rule: ProgressRule,
    at: Instant,
    bytes: u64,
}

impl ProgressWatch {
    pub(crate) fn new(rule: ProgressRule, now: Instant, bytes: u64) -> Self {
        Self {
            rule,
            at: now,
            bytes,
        }
    }

    /// Whether `bytes` of `length` are to be noted now.
    pub(crate) fn is_due(&mut self, now: Instant, bytes: u64, length: Option<u64>) -> bool {
        let step = length.unwrap_or(0) / 100 * self.rule.percent;
        let due = now.duration_since(self.at) >= self.rule.every
            && bytes.saturating_sub(self.bytes) >= step;
        if due {
            self.at = now;
            self.bytes = bytes;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const RULE: StallRule = StallRule {
        window: Duration::from_secs(10),
        floor: 100,
    };

    #[test]
    fn silence_is_a_stall_after_the_window_and_not_before() {
        let (start, mut watch) = (Instant::now(), StallWatch::new(RULE));
        let end = start + 10 * SECOND;
        assert_eq!(watch.waiting(start), Waiting::Until(end));
        assert_eq!(watch.waiting(start + 9 * SECOND), Waiting::Until(end));
        assert_eq!(watch.waiting(end), Waiting::Stalled);
    }

    #[test]
    fn a_trickle_is_a_stall_and_a_slow_stream_is_none() {
        for (a_second, stalls) in [(9, true), (12, false)] {
            let (mut now, mut watch) = (Instant::now(), StallWatch::new(RULE));
            let mut stalled = false;
            for _ in 0..60 {
                stalled |= watch.waiting(now) == Waiting::Stalled;
                now += SECOND;
                stalled |= watch.waiting(now) == Waiting::Stalled;
                watch.arrived(now, a_second);
            }
            assert_eq!(stalled, stalls, "{a_second} bytes a second");
        }
    }

    #[test]
    fn time_in_which_nobody_asks_the_source_does_not_count() {
        let (mut now, mut watch) = (Instant::now(), StallWatch::new(RULE));
        for _ in 0..50 {
            assert_ne!(watch.waiting(now), Waiting::Stalled);
            watch.arrived(now, 1);
            now += 30 * SECOND;
        }
    }

    #[test]
    fn no_part_begins_that_would_not_end_in_time() {
        let start = Instant::now();
        let mut allowance = Allowance::new(start, Some(start + 100 * SECOND), 10 * SECOND);
        assert_eq!(allowance.cutoff(), Some(start + 90 * SECOND));
        assert!(allowance.another_part(start + 89 * SECOND));
        allowance.measured(20 * SECOND);
        allowance.measured(10 * SECOND);
        assert!(allowance.another_part(start + 59 * SECOND));
        assert!(!allowance.another_part(start + 60 * SECOND));
        let short = Allowance::new(start, Some(start + 4 * SECOND), 10 * SECOND);
        assert_eq!(short.cutoff(), Some(start + 3 * SECOND));
        assert!(Allowance::new(start, None, SECOND).another_part(start + 9_999 * SECOND));
    }

    #[test]
    fn progress_is_noted_seldom() {
        let rule = ProgressRule {
            every: 3 * SECOND,
            percent: 2,
        };
        let start = Instant::now();
        let mut watch = ProgressWatch::new(rule, start, 0);
        assert!(!watch.is_due(start + SECOND, 50, Some(100)), "too soon");
        assert!(
            !watch.is_due(start + 9 * SECOND, 1, Some(100)),
            "too little"
        );
        assert!(watch.is_due(start + 9 * SECOND, 2, Some(100)));
        assert!(!watch.is_due(start + 10 * SECOND, 90, Some(100)));
        assert!(watch.is_due(start + 12 * SECOND, 90, Some(100)));
        assert!(
            watch.is_due(start + 20 * SECOND, 91, None),
            "of unknown length: by time alone"
        );
    }
}
