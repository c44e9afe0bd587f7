//! A queue and the function that works it off, second by second.
//!
//! Messages that arrive together wait together (a cohort). What takes a second or longer keeps a server until it
//! is done; what is shorter takes its part of a second. Nothing is lost, and nothing made: the tests say so.

use std::collections::VecDeque;

use crate::dice::{Dice, whole};
use crate::workload::{EVERYBODY, GROUPS, LARGEST};

/// How far ahead an end may lie, in seconds; longer work is cut into invocations anyway.
const AHEAD: usize = 4_096;
/// From so many cohorts on, those of one minute are held as one: a queue that is so long is not looked at by the second.
const COHORTS: usize = 600;
const MINUTE: u32 = 60;
/// A fair queue takes an account for noisy that has more than this of it. AWS does not say from which share on; this
/// is more than the largest account has as a rule.
const NOISY: f64 = 0.1;

/// How many calls of a function an event source mapping leads to at the same time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Servers {
    /// At least, also at rest.
    pub least: u32,
    /// At most.
    pub most: u32,
    /// More with each second in which messages wait.
    pub more_a_second: f64,
}

impl Servers {
    /// Lambda's standard mode: five at first, 300 more a minute.
    #[must_use]
    pub fn of_standard_mode(most: u32) -> Self {
        Self {
            least: most.min(5),
            most,
            more_a_second: 5.0,
        }
    }
}

/// Messages, by class.
pub type Counts = Vec<u64>;

#[derive(Debug, Clone)]
struct Cohort {
    since: u32,
    counts: Counts,
    total: u64,
}

/// Messages that were taken out of the queue in one second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Whose.
    pub group: usize,
    /// How long they had waited, in seconds.
    pub age: u32,
    /// How many of each class.
    pub counts: Counts,
    /// How many.
    pub total: u64,
}

/// What may be taken in one second, beside what servers there are.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Messages.
    pub most: u64,
    /// Messages of the largest account that have waited for longer than [`Limits::stale_after`]: each asks Zoom,
    /// which counts requests by account.
    pub stale_of_largest: u64,
    /// Seconds.
    pub stale_after: u32,
}

impl Limits {
    /// None.
    pub const NONE: Self = Self {
        most: u64::MAX,
        stale_of_largest: u64::MAX,
        stale_after: u32::MAX,
    };
}

/// A queue and its function.
#[derive(Debug, Clone)]
pub struct Queue {
    servers: Servers,
    /// How long a message of each class takes.
    seconds: Vec<f64>,
    batch: u32,
    fair: bool,
    waiting: [VecDeque<Cohort>; GROUPS],
    count: u64,
    /// Of these, each group's.
    counts: [u64; GROUPS],
    allowed: f64,
    busy: u64,
    /// Servers that become free, by second.
    free_at: VecDeque<u64>,
    invocations: f64,
    in_use: f64,
}

impl Queue {
    /// An empty one, whose messages take so long by class.
    #[must_use]
    pub fn new(servers: Servers, batch: u32, fair: bool, seconds: Vec<f64>) -> Self {
        Self {
            servers,
            seconds,
            batch,
            fair,
            waiting: Default::default(),
            count: 0,
            counts: [0; GROUPS],
            allowed: f64::from(servers.least),
            busy: 0,
            free_at: vec![0; AHEAD].into(),
            invocations: 0.0,
            in_use: 0.0,
        }
    }

    /// Puts messages of a group into the queue.
    pub fn put(&mut self, now: u32, group: usize, counts: Counts) {
        let total: u64 = counts.iter().sum();
        if total == 0 {
            return;
        }
        self.count += total;
        self.counts[group] += total;
        let cohorts = &mut self.waiting[group];
        let long = cohorts.len() > COHORTS;
        match cohorts.back_mut() {
            Some(last) if last.since == now || long && last.since / MINUTE == now / MINUTE => {
                last.total += total;
                for (held, more) in last.counts.iter_mut().zip(counts) {
                    *held += more;
                }
            }
            _ => cohorts.push_back(Cohort {
                since: now,
                counts,
                total,
            }),
        }
    }

    /// Works for a second: what was taken out of the queue, the longest waiting first.
    pub fn work(&mut self, now: u32, limits: Limits, dice: &mut Dice) -> Vec<Taken> {
        self.busy -= self.free_at.pop_front().unwrap_or_default();
        self.free_at.push_back(0);
        self.scale();
        let servers = whole(self.allowed.floor());
        let mut free = as_number(servers.saturating_sub(self.busy));
        // Servers that find more than one message each take several at once.
        let batch =
            (as_number(self.count) / self.allowed.max(1.0)).clamp(1.0, f64::from(self.batch));
        let mut most = limits.most;
        let mut stale = limits.stale_of_largest;
        let (mut taken, mut passed_over) = (Vec::new(), [false; GROUPS]);
        self.in_use = as_number(self.busy);
        while let Some(group) = self.next_group(passed_over) {
            let Some(cohort) = self.waiting[group].front() else {
                break;
            };
            let is_stale = group == LARGEST && now - cohort.since > limits.stale_after;
            let allowed = if is_stale { most.min(stale) } else { most };
            let before = free;
            let one = self.take(now, group, batch, &mut free, allowed, dice);
            if one.total == 0 && is_stale && stale == 0 {
                // Zoom's limit is this account's alone.
                passed_over[group] = true;
                continue;
            }
            if one.total == 0 {
                break;
            }
            most -= one.total;
            if is_stale {
                stale -= one.total;
            }
            self.in_use += before - free;
            self.invocations += as_number(one.total) / batch;
            taken.push(one);
        }
        taken
    }

    /// More servers while messages wait, fewer when there is nothing for them.
    fn scale(&mut self) {
        let (least, most) = (f64::from(self.servers.least), f64::from(self.servers.most));
        self.allowed = if self.count > 0 {
            (self.allowed + self.servers.more_a_second).min(most)
        } else {
            (self.allowed - self.servers.more_a_second)
                .max(least)
                .max(as_number(self.busy))
        };
    }

    /// In a fair queue the largest account waits for all others while it has more than its part of the queue.
    fn next_group(&self, passed_over: [bool; GROUPS]) -> Option<usize> {
        let since = |group: usize| {
            let first = self.waiting[group].front().filter(|_| !passed_over[group]);
            first.map(|cohort| cohort.since)
        };
        match (since(EVERYBODY), since(LARGEST)) {
            (Some(_), None) => Some(EVERYBODY),
            (None, Some(_)) => Some(LARGEST),
            (Some(_), Some(_)) if self.fair && self.is_noisy() => Some(EVERYBODY),
            (Some(others), Some(largest)) if others <= largest => Some(EVERYBODY),
            (Some(_), Some(_)) => Some(LARGEST),
            (None, None) => None,
        }
    }

    fn is_noisy(&self) -> bool {
        as_number(self.counts[LARGEST]) > NOISY * as_number(self.count)
    }

    /// Takes what servers are free for of a group's first cohort.
    fn take(
        &mut self,
        now: u32,
        group: usize,
        batch: f64,
        free: &mut f64,
        most: u64,
        dice: &mut Dice,
    ) -> Taken {
        let mut taken = Taken {
            group,
            age: 0,
            counts: vec![0; self.seconds.len()],
            total: 0,
        };
        let Some(cohort) = self.waiting[group].front_mut() else {
            return taken;
        };
        taken.age = now - cohort.since;
        let needed: f64 = cohort
            .counts
            .iter()
            .zip(&self.seconds)
            .map(|(count, seconds)| as_number(*count) * seconds.min(1.0) / batch)
            .sum();
        let share = (*free / needed)
            .min(as_number(most) / as_number(cohort.total))
            .min(1.0);
        let classes = self.seconds.len();
        // Whoever comes last of a second finds the fewest servers; so it is not always the same class.
        let first = usize::try_from(dice.happened(f64::from(now % 7))).unwrap_or(0) * 13;
        for class in (0..classes).map(|class| (class + first) % classes) {
            let count = cohort.counts[class];
            if count == 0 {
                continue;
            }
            let seconds = self.seconds[class];
            let cost = seconds.min(1.0) / batch;
            let fitting = whole((*free / cost + 1e-9).floor());
            let wanted = if share < 1.0 {
                dice.rounded(as_number(count) * share)
            } else {
                count
            };
            let number = wanted.min(count).min(fitting).min(most - taken.total);
            cohort.counts[class] -= number;
            taken.counts[class] = number;
            taken.total += number;
            *free = (*free - as_number(number) * cost).max(0.0);
            self.busy += occupy(&mut self.free_at, seconds, number);
        }
        if taken.total == 0 && most > 0 {
            // Chance has rounded all of them down: one, whichever it is, if there is a server for it.
            let mut at = whole((dice.even() * as_number(cohort.total)).floor());
            let class = cohort.counts.iter().position(|count| {
                let found = at < *count;
                at = at.saturating_sub(*count);
                found
            });
            if let Some(class) =
                class.filter(|class| self.seconds[*class].min(1.0) / batch <= *free)
            {
                cohort.counts[class] -= 1;
                (taken.counts[class], taken.total) = (1, 1);
                *free -= self.seconds[class].min(1.0) / batch;
                self.busy += occupy(&mut self.free_at, self.seconds[class], 1);
            }
        }
        cohort.total -= taken.total;
        self.count -= taken.total;
        self.counts[group] -= taken.total;
        if cohort.total == 0 {
            self.waiting[group].pop_front();
        }
        taken
    }

    /// Messages that nobody has taken yet.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// How long the oldest of a group has waited, in seconds.
    #[must_use]
    pub fn oldest(&self, now: u32, group: usize) -> u32 {
        self.waiting[group]
            .front()
            .map_or(0, |cohort| now - cohort.since)
    }

    /// Servers at work in the last second; of those that were done within it, their part of it.
    #[must_use]
    pub fn in_use(&self) -> f64 {
        self.in_use
    }

    /// Calls of the function so far.
    #[must_use]
    pub fn invocations(&self) -> f64 {
        self.invocations
    }
}

/// Keeps servers until their message is done, if that takes longer than this second. Gives how many.
fn occupy(free_at: &mut VecDeque<u64>, seconds: f64, number: u64) -> u64 {
    if seconds <= 1.0 {
        return 0;
    }
    // This second is one of them, and the first in `free_at` is the next.
    let ends = usize::try_from(whole(seconds.ceil())).unwrap_or(AHEAD);
    free_at[ends.clamp(1, AHEAD) - 1] += number;
    number
}

#[allow(clippy::cast_precision_loss, reason = "counts below 2^53")]
pub(crate) fn as_number(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn one_by_one(most: u32, seconds: Vec<f64>) -> Queue {
        Queue::new(Servers::of_standard_mode(most), 1, true, seconds)
    }

    #[test]
    fn what_servers_are_free_for_does_not_wait() {
        let mut queue = one_by_one(5, vec![0.5, 40.0]);
        let mut dice = Dice::new(1);
        for now in 0..1_000 {
            if now % 100 == 0 {
                queue.put(now, EVERYBODY, vec![1, 1]);
            }
            for taken in queue.work(now, Limits::NONE, &mut dice) {
                assert_eq!(taken.age, 0);
            }
            assert_eq!(queue.count(), 0);
        }
        assert_eq!(queue.invocations(), 20.0);
    }

    #[test]
    fn two_servers_need_half_the_time_of_one() {
        let mut dice = Dice::new(1);
        let mut until_empty = |most| {
            let mut queue = one_by_one(most, vec![10.0]);
            queue.put(0, EVERYBODY, vec![40]);
            (0..).find(|now| {
                queue.work(*now, Limits::NONE, &mut dice);
                queue.count() == 0
            })
        };
        assert_eq!(until_empty(1), Some(390));
        assert_eq!(until_empty(2), Some(190));
    }

    #[test]
    fn servers_become_more_as_fast_as_lambda_starts_them() {
        let mut queue = one_by_one(1_000, vec![3_000.0]);
        let mut dice = Dice::new(1);
        queue.put(0, EVERYBODY, vec![100_000]);
        for now in 0..=300 {
            queue.work(now, Limits::NONE, &mut dice);
            let expected = (10.0 + 5.0 * f64::from(now)).min(1_000.0);
            assert_eq!(queue.in_use(), expected, "{now}");
        }
    }

    #[test]
    fn full_batches_take_more_messages_with_the_same_servers() {
        let mut queue = Queue::new(Servers::of_standard_mode(2), 10, true, vec![0.5]);
        queue.put(0, EVERYBODY, vec![1_000]);
        let taken = queue.work(0, Limits::NONE, &mut Dice::new(1));
        // Two servers, two batches of ten a second each.
        assert_eq!(taken[0].total, 40);
        assert_eq!(queue.invocations(), 4.0);
    }

    #[test]
    fn in_a_fair_queue_the_others_do_not_wait_for_the_largest_account() {
        for (fair, first) in [(true, EVERYBODY), (false, LARGEST)] {
            let mut queue = Queue::new(Servers::of_standard_mode(1), 1, fair, vec![1.0]);
            queue.put(0, LARGEST, vec![1_000]);
            queue.put(1, EVERYBODY, vec![1]);
            let taken = queue.work(1, Limits::NONE, &mut Dice::new(1));
            assert_eq!(taken[0].group, first);
        }
    }

    #[test]
    fn what_is_stale_of_the_largest_account_is_taken_as_zoom_allows() {
        let limits = Limits {
            stale_of_largest: 3,
            stale_after: 100,
            ..Limits::NONE
        };
        let mut queue = one_by_one(50, vec![0.01]);
        let mut dice = Dice::new(1);
        queue.put(0, LARGEST, vec![10]);
        assert_eq!(queue.work(101, limits, &mut dice)[0].total, 3);
        assert_eq!(queue.work(102, limits, &mut dice)[0].total, 3);
        queue.put(103, EVERYBODY, vec![10]);
        let taken = queue.work(103, limits, &mut dice);
        let totals: Vec<_> = taken
            .iter()
            .map(|taken| (taken.group, taken.total))
            .collect();
        assert_eq!(totals, [(EVERYBODY, 10), (LARGEST, 3)]);
    }

    proptest! {
        #[test]
        fn messages_are_conserved_within_concurrency(
            seed: u64,
            most in 1u32..40,
            batch in 1u32..11,
            fair: bool,
            limit in 1u64..200,
            arrivals in vec((0u64..40, 0u64..40, 0usize..GROUPS), 1..900),
        ) {
            let seconds = vec![0.2, 7.5];
            // Batches are of what is done within a second.
            let seconds = if batch > 1 { vec![0.2, 0.4] } else { seconds };
            let mut queue = Queue::new(Servers::of_standard_mode(most), batch, fair, seconds);
            let mut dice = Dice::new(seed);
            let (mut put, mut taken) = ([0u64; 2], [0u64; 2]);
            let limits = Limits { most: limit, ..Limits::NONE };
            for (now, (short, long, group)) in (0u32..).zip(arrivals) {
                put[0] += short;
                put[1] += long;
                queue.put(now, group, vec![short, long]);
                let mut this_second = 0;
                for one in queue.work(now, limits, &mut dice) {
                    taken[0] += one.counts[0];
                    taken[1] += one.counts[1];
                    prop_assert_eq!(one.total, one.counts.iter().sum::<u64>());
                    this_second += one.total;
                }
                prop_assert!(this_second <= limit);
                prop_assert!(queue.in_use() <= f64::from(most) + 1e-6);
                let left: u64 = queue.waiting.iter().flatten().map(|cohort| cohort.total).sum();
                prop_assert_eq!(left, queue.count());
                prop_assert_eq!(put[0] + put[1], taken[0] + taken[1] + left);
            }
            // One server needs at most eight seconds a message (7.5 rounded up), so the queue is empty by then.
            let seconds_to_drain = u32::try_from(8 * (put[0] + put[1])).unwrap() + 8;
            for now in 1_000..1_000 + seconds_to_drain {
                for one in queue.work(now, Limits::NONE, &mut dice) {
                    taken[0] += one.counts[0];
                    taken[1] += one.counts[1];
                }
                if queue.count() == 0 {
                    break;
                }
            }
            prop_assert_eq!(put, taken);
        }
    }
}
