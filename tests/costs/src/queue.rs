//! An SQS queue and its consumer function, simulated second by second.
//!
//! Messages that arrive together form a cohort. A message that takes longer than a second occupies an execution
//! environment until it is done; a shorter one occupies a fraction of a second.

use std::collections::VecDeque;

use crate::number::{round, to_f64};
use crate::random::{Generator, round_randomly, uniform};
use crate::settings::Function;
use crate::workload::{GROUPS, LARGEST, OTHERS};

/// Maximum duration of a message in seconds; longer downloads continue in a new invocation.
const MAX_SECONDS: usize = 4_096;
/// Number of cohorts above which those of one minute are merged, which bounds memory.
const MAX_EXACT_COHORTS: usize = 600;
/// Share of the backlog above which a fair queue treats an account as noisy. AWS does not publish its threshold.
const NOISY_SHARE: f64 = 0.1;
/// Initial concurrency of an SQS event source mapping in standard mode.
const INITIAL_CONCURRENCY: u32 = 5;
/// Lambda adds 300 concurrent invocations per minute for an SQS event source.
const GROWTH_PER_SECOND: f64 = 5.0;

/// Number of messages by class.
pub(crate) type Counts = Vec<u64>;

#[derive(Debug, Clone)]
struct Cohort {
    since: u32,
    counts: Counts,
    total: u64,
}

/// Messages of one cohort that were received in one second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) group: usize,
    /// Seconds in the queue.
    pub(crate) age: u32,
    pub(crate) counts: Counts,
    pub(crate) total: u64,
}

/// Limits per second in addition to the concurrency.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) messages: u64,
    /// Messages of the largest account older than [`Limits::expires_after`]. Each needs a request to Zoom, which
    /// limits requests by account.
    pub(crate) expired_of_largest: u64,
    /// Age in seconds.
    pub(crate) expires_after: u32,
}

impl Limits {
    pub(crate) const NONE: Self =
        Self { messages: u64::MAX, expired_of_largest: u64::MAX, expires_after: u32::MAX };
}

#[derive(Debug, Clone)]
pub(crate) struct Queue {
    max_concurrency: f64,
    batch_size: f64,
    is_fair: bool,
    /// Duration of a message in seconds, by class.
    seconds: Vec<f64>,
    backlog: [VecDeque<Cohort>; GROUPS],
    /// Number of messages in the backlog by group.
    sizes: [u64; GROUPS],
    /// Concurrency that Lambda has scaled to.
    scaled: f64,
    busy: u64,
    /// Number of executions that end, by seconds from now.
    ending: VecDeque<u64>,
    invocations: f64,
    concurrency: f64,
}

impl Queue {
    /// An empty queue whose messages have these durations by class.
    pub(crate) fn new(function: Function, is_fair: bool, seconds: Vec<f64>) -> Self {
        Self {
            max_concurrency: function.max_concurrency.into(),
            batch_size: function.batch_size.into(),
            is_fair,
            seconds,
            backlog: Default::default(),
            sizes: [0; GROUPS],
            scaled: function.max_concurrency.min(INITIAL_CONCURRENCY).into(),
            busy: 0,
            ending: vec![0; MAX_SECONDS].into(),
            invocations: 0.0,
            concurrency: 0.0,
        }
    }

    pub(crate) fn enqueue(&mut self, now: u32, group: usize, counts: Counts) {
        let total: u64 = counts.iter().sum();
        if total == 0 {
            return;
        }
        self.sizes[group] += total;
        let cohorts = &mut self.backlog[group];
        let is_long = cohorts.len() > MAX_EXACT_COHORTS;
        match cohorts.back_mut() {
            Some(last) if last.since == now || is_long && last.since / 60 == now / 60 => {
                last.total += total;
                for (sum, count) in last.counts.iter_mut().zip(counts) {
                    *sum += count;
                }
            }
            _ => cohorts.push_back(Cohort { since: now, counts, total }),
        }
    }

    /// Simulates one second and returns the messages received in it, the oldest first.
    pub(crate) fn process(
        &mut self,
        now: u32,
        mut limits: Limits,
        rng: &mut Generator,
    ) -> Vec<Received> {
        self.busy -= self.ending.pop_front().unwrap_or_default();
        self.ending.push_back(0);
        self.scale();
        self.concurrency = to_f64(self.busy);
        let mut free = (self.scaled.floor() - self.concurrency).max(0.0);
        // Batches fill only while each execution finds more than one message.
        let batch = (to_f64(self.size()) / self.scaled.max(1.0)).clamp(1.0, self.batch_size);
        let (mut received, mut is_skipped) = (Vec::new(), [false; GROUPS]);
        while let Some(group) = self.next_group(is_skipped) {
            let is_expired = group == LARGEST
                && self.backlog[group]
                    .front()
                    .is_some_and(|cohort| now - cohort.since > limits.expires_after);
            let mut limit = limits.messages;
            if is_expired {
                limit = limit.min(limits.expired_of_largest);
            }
            let before = free;
            let Some(batches) = self.receive(now, group, batch, &mut free, limit, rng) else {
                if is_expired && limits.expired_of_largest == 0 {
                    // Zoom's limit applies to this account only.
                    is_skipped[group] = true;
                    continue;
                }
                break;
            };
            limits.messages -= batches.total;
            if is_expired {
                limits.expired_of_largest -= batches.total;
            }
            self.concurrency += before - free;
            self.invocations += to_f64(batches.total) / batch;
            received.push(batches);
        }
        received
    }

    /// Scales up while messages wait and down while the queue is empty.
    fn scale(&mut self) {
        self.scaled = if self.size() > 0 {
            (self.scaled + GROWTH_PER_SECOND).min(self.max_concurrency)
        } else {
            let min = self.max_concurrency.min(INITIAL_CONCURRENCY.into());
            (self.scaled - GROWTH_PER_SECOND).max(min).max(to_f64(self.busy))
        };
    }

    /// The group of the oldest message; in a fair queue the other accounts while the largest is noisy.
    fn next_group(&self, is_skipped: [bool; GROUPS]) -> Option<usize> {
        let since = |group: usize| {
            let first = self.backlog[group].front().filter(|_| !is_skipped[group]);
            first.map(|cohort| cohort.since)
        };
        let is_noisy = || to_f64(self.sizes[LARGEST]) > NOISY_SHARE * to_f64(self.size());
        match (since(OTHERS), since(LARGEST)) {
            (Some(_), None) => Some(OTHERS),
            (None, Some(_)) => Some(LARGEST),
            (Some(_), Some(_)) if self.is_fair && is_noisy() => Some(OTHERS),
            (Some(others), Some(largest)) if others <= largest => Some(OTHERS),
            (Some(_), Some(_)) => Some(LARGEST),
            (None, None) => None,
        }
    }

    /// Receives as much of a group's oldest cohort as the free executions and the limit allow.
    fn receive(
        &mut self,
        now: u32,
        group: usize,
        batch: f64,
        free: &mut f64,
        limit: u64,
        rng: &mut Generator,
    ) -> Option<Received> {
        let cohort = self.backlog[group].front_mut()?;
        let classes = self.seconds.len();
        let cost = |class: usize| self.seconds[class].min(1.0) / batch;
        let (mut counts, mut total) = (vec![0; classes], 0);
        let needed: f64 =
            (0..classes).map(|class| to_f64(cohort.counts[class]) * cost(class)).sum();
        let share = (*free / needed).min(to_f64(limit) / to_f64(cohort.total)).min(1.0);
        // A random first class, because the last one finds the fewest free executions.
        let first = round((uniform(rng) * to_f64(classes as u64)).floor());
        let first = usize::try_from(first).unwrap_or_default();
        for class in (0..classes).map(|class| (class + first) % classes) {
            let count = cohort.counts[class];
            if count == 0 {
                continue;
            }
            let wanted =
                if share < 1.0 { round_randomly(rng, to_f64(count) * share) } else { count };
            let fitting = round((*free / cost(class) + 1e-9).floor());
            counts[class] = wanted.min(count).min(fitting).min(limit - total);
            total += counts[class];
            *free = (*free - to_f64(counts[class]) * cost(class)).max(0.0);
        }
        if total == 0 && limit > 0 {
            // All classes were rounded down to 0: receive one random message if an execution is free.
            let mut at = round((uniform(rng) * to_f64(cohort.total)).floor());
            let class = cohort.counts.iter().position(|count| {
                let is_found = at < *count;
                at = at.saturating_sub(*count);
                is_found
            });
            if let Some(class) = class.filter(|class| cost(*class) <= *free) {
                (counts[class], total) = (1, 1);
                *free -= cost(class);
            }
        }
        if total == 0 {
            return None;
        }
        for (class, count) in counts.iter().enumerate() {
            cohort.counts[class] -= count;
            let seconds = self.seconds[class];
            if seconds > 1.0 {
                // The current second counts; the first entry of `ending` is the next one.
                let end = usize::try_from(round(seconds.ceil())).unwrap_or(MAX_SECONDS);
                self.ending[end.min(MAX_SECONDS) - 1] += count;
                self.busy += count;
            }
        }
        let age = now - cohort.since;
        cohort.total -= total;
        self.sizes[group] -= total;
        if cohort.total == 0 {
            self.backlog[group].pop_front();
        }
        Some(Received { group, age, counts, total })
    }

    /// Number of messages in the backlog.
    pub(crate) fn size(&self) -> u64 {
        self.sizes.iter().sum()
    }

    /// Average concurrency in the last second.
    pub(crate) fn concurrency(&self) -> f64 {
        self.concurrency
    }

    /// Number of invocations so far.
    pub(crate) fn invocations(&self) -> f64 {
        self.invocations
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::random::SeedableRng as _;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn queue(max_concurrency: u32, batch_size: u32, is_fair: bool, seconds: &[f64]) -> Queue {
        let function = Function { max_concurrency, batch_size, memory: 1.0, timeout: 900.0 };
        Queue::new(function, is_fair, seconds.to_vec())
    }

    #[test]
    fn messages_do_not_wait_with_free_executions() {
        let mut queue = queue(5, 1, true, &[0.5, 40.0]);
        let mut rng = Generator::seed_from_u64(1);
        for now in 0..1_000 {
            if now % 100 == 0 {
                queue.enqueue(now, OTHERS, vec![1, 1]);
            }
            for received in queue.process(now, Limits::NONE, &mut rng) {
                assert_eq!(received.age, 0);
            }
            assert_eq!(queue.size(), 0);
        }
        assert_eq!(queue.invocations(), 20.0);
    }

    #[test]
    fn doubled_concurrency_halves_the_drain_time() {
        let mut rng = Generator::seed_from_u64(1);
        let mut drain_time = |max_concurrency| {
            let mut queue = queue(max_concurrency, 1, true, &[10.0]);
            queue.enqueue(0, OTHERS, vec![40]);
            (0..).find(|now| {
                queue.process(*now, Limits::NONE, &mut rng);
                queue.size() == 0
            })
        };
        assert_eq!(drain_time(1), Some(390));
        assert_eq!(drain_time(2), Some(190));
    }

    #[test]
    fn concurrency_grows_at_lambda_rate() {
        let mut queue = queue(1_000, 1, true, &[3_000.0]);
        let mut rng = Generator::seed_from_u64(1);
        queue.enqueue(0, OTHERS, vec![100_000]);
        for now in 0..=300 {
            queue.process(now, Limits::NONE, &mut rng);
            let expected = (10.0 + 5.0 * f64::from(now)).min(1_000.0);
            assert_eq!(queue.concurrency(), expected, "{now}");
        }
    }

    #[test]
    fn full_batches_raise_throughput() {
        let mut queue = queue(2, 10, true, &[0.5]);
        queue.enqueue(0, OTHERS, vec![1_000]);
        let received = queue.process(0, Limits::NONE, &mut Generator::seed_from_u64(1));
        // Two executions process two batches of ten each per second.
        assert_eq!(received[0].total, 40);
        assert_eq!(queue.invocations(), 4.0);
    }

    #[test]
    fn fair_queue_prefers_other_accounts() {
        for (is_fair, first) in [(true, OTHERS), (false, LARGEST)] {
            let mut queue = queue(1, 1, is_fair, &[1.0]);
            queue.enqueue(0, LARGEST, vec![1_000]);
            queue.enqueue(1, OTHERS, vec![1]);
            let received = queue.process(1, Limits::NONE, &mut Generator::seed_from_u64(1));
            assert_eq!(received[0].group, first);
        }
    }

    #[test]
    fn expired_messages_respect_the_zoom_limit() {
        let limits = Limits { expired_of_largest: 3, expires_after: 100, ..Limits::NONE };
        let mut queue = queue(50, 1, true, &[0.01]);
        let mut rng = Generator::seed_from_u64(1);
        queue.enqueue(0, LARGEST, vec![10]);
        assert_eq!(queue.process(101, limits, &mut rng)[0].total, 3);
        assert_eq!(queue.process(102, limits, &mut rng)[0].total, 3);
        queue.enqueue(103, OTHERS, vec![10]);
        let received = queue.process(103, limits, &mut rng);
        let totals: Vec<_> = received.iter().map(|it| (it.group, it.total)).collect();
        assert_eq!(totals, [(OTHERS, 10), (LARGEST, 3)]);
    }

    proptest! {
        #[test]
        fn messages_are_conserved_within_concurrency(
            seed: u64,
            max_concurrency in 1u32..40,
            batch_size in 1u32..11,
            is_fair: bool,
            limit in 1u64..200,
            arrivals in vec((0u64..40, 0u64..40, 0usize..GROUPS), 1..900),
        ) {
            // Batches are modelled only for messages that take less than a second.
            let seconds = if batch_size > 1 { [0.2, 0.4] } else { [0.2, 7.5] };
            let mut queue = queue(max_concurrency, batch_size, is_fair, &seconds);
            let mut rng = Generator::seed_from_u64(seed);
            let (mut enqueued, mut processed) = ([0u64; 2], [0u64; 2]);
            let limits = Limits { messages: limit, ..Limits::NONE };
            for (now, (short, long, group)) in (0u32..).zip(arrivals) {
                enqueued[0] += short;
                enqueued[1] += long;
                queue.enqueue(now, group, vec![short, long]);
                let mut this_second = 0;
                for received in queue.process(now, limits, &mut rng) {
                    processed[0] += received.counts[0];
                    processed[1] += received.counts[1];
                    prop_assert_eq!(received.total, received.counts.iter().sum::<u64>());
                    this_second += received.total;
                }
                prop_assert!(this_second <= limit);
                prop_assert!(queue.concurrency() <= f64::from(max_concurrency) + 1e-6);
                let left: u64 = queue.backlog.iter().flatten().map(|cohort| cohort.total).sum();
                prop_assert_eq!(left, queue.size());
                prop_assert_eq!(enqueued[0] + enqueued[1], processed[0] + processed[1] + left);
            }
            // One execution needs at most eight seconds per message (7.5 rounded up).
            let seconds_to_drain = u32::try_from(8 * (enqueued[0] + enqueued[1])).unwrap() + 8;
            for now in 1_000..1_000 + seconds_to_drain {
                for received in queue.process(now, Limits::NONE, &mut rng) {
                    processed[0] += received.counts[0];
                    processed[1] += received.counts[1];
                }
                if queue.size() == 0 {
                    break;
                }
            }
            prop_assert_eq!(enqueued, processed);
        }
    }
}
