//! Several operations at the same time, in an order that is drawn from a seed, and any of them killed
//! at any point.
//!
//! A *step* goes from one await point of an operation to its next. In operation the network decides
//! whose step comes when; here the dice do.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use tokio::time::Sleep;

use crate::dice::Dice;

/// Who is still waiting for an answer gets so long before the others go on without it, so that the dice
/// have a choice. It decides nothing but how many orders are possible.
const GRACE: Duration = Duration::from_millis(2);

/// So many steps of everybody without anything written, and they are waiting for somebody who is dead.
const IN_VAIN: usize = 30;

/// An operation, and what is to become of it.
pub(crate) struct Op<'a, T> {
    future: Pin<Box<dyn Future<Output = T> + 'a>>,
    starts_after: usize,
    killed_after: Option<usize>,
    /// Await points count only once this holds.
    counts_once: Option<Box<dyn Fn() -> bool + 'a>>,
}

impl<'a, T> Op<'a, T> {
    /// One that begins at once and is not killed.
    pub(crate) fn new(future: impl Future<Output = T> + 'a) -> Self {
        Self {
            future: Box::pin(future),
            starts_after: 0,
            killed_after: None,
            counts_once: None,
        }
    }

    /// Begins only after so many steps of the others, or when these have ended.
    #[must_use]
    pub(crate) fn starting_after(mut self, steps: usize) -> Self {
        self.starts_after = steps;
        self
    }

    /// Is dropped at its await point of this number, counted from 0. If it has fewer, it lives.
    #[must_use]
    pub(crate) fn killed_at(mut self, await_point: usize) -> Self {
        self.killed_after = Some(await_point);
        self
    }

    /// Counts its await points only from the one on at which this holds.
    #[must_use]
    pub(crate) fn counted_once(mut self, holds: impl Fn() -> bool + 'a) -> Self {
        self.counts_once = Some(Box::new(holds));
        self
    }
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Ran<T> {
    /// Each operation's result, in the order given; `None` of those that were killed.
    pub(crate) ended: Vec<Option<T>>,
    /// Steps made.
    pub(crate) steps: usize,
    /// Operations that were killed.
    pub(crate) kills: usize,
}

/// Runs operations until all have ended or are dead. `written` counts what has been written anywhere; if it
/// stands still for long, all are waiting for somebody who will not come, and `time_passes` is called.
pub(crate) async fn interleave<T>(
    ops: Vec<Op<'_, T>>,
    dice: Dice,
    written: impl Fn() -> u64 + Unpin,
    time_passes: impl FnMut() + Unpin,
) -> Ran<T> {
    let slots = ops
        .into_iter()
        .map(|op| Slot {
            op: Some(op),
            ended: None,
            signal: Arc::new(Signal {
                // To begin it waits for nobody.
                ready: AtomicBool::new(true),
                driver: std::sync::Mutex::default(),
            }),
        })
        .collect();
    Interleave {
        slots,
        dice,
        written,
        time_passes,
        steps: 0,
        kills: 0,
        last_written: 0,
        in_vain: 0,
        grace: None,
    }
    .await
}

/// Whether an operation can go on; wakes whoever drives them all.
struct Signal {
    ready: AtomicBool,
    driver: std::sync::Mutex<Option<Waker>>,
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.ready.store(true, Ordering::SeqCst);
        let driver = self.driver.lock().unwrap_or_else(|held| held.into_inner());
        if let Some(driver) = driver.as_ref() {
            driver.wake_by_ref();
        }
    }
}

struct Slot<'a, T> {
    op: Option<Op<'a, T>>,
    ended: Option<T>,
    signal: Arc<Signal>,
}

struct Interleave<'a, T, W, P> {
    slots: Vec<Slot<'a, T>>,
    dice: Dice,
    written: W,
    time_passes: P,
    steps: usize,
    kills: usize,
    last_written: u64,
    in_vain: usize,
    grace: Option<Pin<Box<Sleep>>>,
}

// Nothing in it is pinned but what stands in boxes.
impl<T, W, P> Unpin for Interleave<'_, T, W, P> {}

impl<T, W: Fn() -> u64, P: FnMut()> Future for Interleave<'_, T, W, P> {
    type Output = Ran<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Ran<T>> {
        let this = &mut *self;
        let begun = |slot: &Slot<'_, T>| {
            let op = slot.op.as_ref();
            op.is_some_and(|op| op.starts_after <= this.steps)
        };
        let mut alive: Vec<usize> = (0..this.slots.len())
            .filter(|place| begun(&this.slots[*place]))
            .collect();
        if alive.is_empty() {
            // Nobody is left who could make the steps that the others wait for.
            alive = (0..this.slots.len())
                .filter(|place| this.slots[*place].op.is_some())
                .collect();
            for place in &alive {
                if let Some(op) = &mut this.slots[*place].op {
                    op.starts_after = 0;
                }
            }
        }
        if alive.is_empty() {
            return Poll::Ready(Ran {
                ended: this
                    .slots
                    .iter_mut()
                    .map(|slot| slot.ended.take())
                    .collect(),
                steps: this.steps,
                kills: this.kills,
            });
        }
        let mut ready = Vec::new();
        for place in &alive {
            let signal = &this.slots[*place].signal;
            let mut driver = signal
                .driver
                .lock()
                .unwrap_or_else(|held| held.into_inner());
            *driver = Some(context.waker().clone());
            if signal.ready.load(Ordering::SeqCst) {
                ready.push(*place);
            }
        }
        if ready.is_empty() {
            return Poll::Pending;
        }
        if ready.len() < alive.len() {
            let grace = this
                .grace
                .get_or_insert_with(|| Box::pin(tokio::time::sleep(GRACE)));
            if grace.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
        }
        this.grace = None;
        let chosen = ready[this.dice.below(ready.len())];
        this.step(chosen, alive.len());
        // Whoever is to answer needs the thread as well.
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<T, W: Fn() -> u64, P: FnMut()> Interleave<'_, T, W, P> {
    fn step(&mut self, place: usize, alive: usize) {
        let slot = &mut self.slots[place];
        let Some(op) = &mut slot.op else { return };
        slot.signal.ready.store(false, Ordering::SeqCst);
        let waker = Waker::from(Arc::clone(&slot.signal));
        let polled = op.future.as_mut().poll(&mut Context::from_waker(&waker));
        self.steps += 1;
        match polled {
            Poll::Ready(ended) => {
                slot.ended = Some(ended);
                slot.op = None;
            }
            Poll::Pending => {
                if op.counts_once.as_ref().is_some_and(|holds| holds()) {
                    op.counts_once = None;
                }
                match &mut op.killed_after {
                    Some(_) if op.counts_once.is_some() => {}
                    Some(0) => {
                        slot.op = None;
                        self.kills += 1;
                    }
                    Some(left) => *left -= 1,
                    None => {}
                }
            }
        }
        let written = (self.written)();
        if written != self.last_written {
            self.last_written = written;
            self.in_vain = 0;
        }
        self.in_vain += 1;
        if self.in_vain > IN_VAIN * alive {
            self.in_vain = 0;
            (self.time_passes)();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    async fn steps(name: char, count: usize, log: &RefCell<String>) -> char {
        for _ in 0..count {
            log.borrow_mut().push(name);
            tokio::task::yield_now().await;
        }
        name
    }

    async fn order(seed: u64) -> String {
        let log = RefCell::new(String::new());
        let ops = ['a', 'b', 'c'].map(|name| Op::new(steps(name, 3, &log)));
        let ran = interleave(ops.into(), Dice::new(seed, ""), || 0, || {}).await;
        assert_eq!(ran.ended, [Some('a'), Some('b'), Some('c')]);
        assert_eq!((ran.steps, ran.kills), (12, 0));
        log.into_inner()
    }

    #[tokio::test]
    async fn the_order_of_all_steps_follows_from_the_seed() {
        let mut orders = std::collections::BTreeSet::new();
        for seed in 0..200 {
            assert_eq!(order(seed).await, order(seed).await);
            orders.insert(order(seed).await);
        }
        assert!(orders.len() > 100, "{} orders", orders.len());
    }

    #[tokio::test]
    async fn a_kill_strikes_at_its_await_point_and_the_others_go_on() {
        for point in 0..5 {
            let log = RefCell::new(String::new());
            let ops = vec![
                Op::new(steps('a', 4, &log)).killed_at(point),
                Op::new(steps('b', 2, &log)).starting_after(2),
            ];
            let ran = interleave(ops, Dice::new(1, ""), || 0, || {}).await;
            let lived = point == 4;
            assert_eq!(ran.ended, [lived.then_some('a'), Some('b')]);
            assert_eq!(ran.kills, usize::from(!lived));
            let reached = log.borrow().matches('a').count();
            assert_eq!(reached, (point + 1).min(4));
        }
    }

    #[tokio::test]
    async fn whoever_waits_for_the_dead_sees_time_pass() {
        let passed = Cell::new(0);
        let waits = async {
            while passed.get() == 0 {
                tokio::task::yield_now().await;
            }
        };
        let time_passes = || passed.set(passed.get() + 1);
        let ran = interleave(vec![Op::new(waits)], Dice::new(1, ""), || 0, time_passes).await;
        assert_eq!(passed.get(), 1);
        assert!(ran.steps > IN_VAIN);
    }
}
