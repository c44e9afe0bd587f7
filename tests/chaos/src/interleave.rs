//! Runs operations concurrently in a step order determined by a seed, and kills them at chosen await points.
//!
//! A *step* is one poll of an operation, from one await point to the next.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::time::Sleep;

use crate::rng::SeededRng;

/// Time to wait for further operations to become ready before the next step is chosen. A longer wait only
/// widens the choice.
const READY_GRACE: Duration = Duration::from_millis(2);

/// Maximum steps per running operation without a write. After them, all operations are assumed to wait for the
/// lease of a killed one. Without a kill none is left behind: an operation holds it whose call hangs.
const MAX_IDLE_STEPS: usize = 30;

/// An operation with its start and its kill point.
pub(crate) struct Op<'a, T> {
    future: Pin<Box<dyn Future<Output = T> + 'a>>,
    start_step: usize,
    /// While present and not met, the operation does not start.
    start_condition: Option<Box<dyn Fn() -> bool + 'a>>,
    kill_after: Option<usize>,
    /// While present, await points do not count towards the kill. Removed once the condition holds.
    count_condition: Option<Box<dyn Fn() -> bool + 'a>>,
}

impl<'a, T> Op<'a, T> {
    /// Creates an operation that starts immediately and is not killed.
    pub(crate) fn new(future: impl Future<Output = T> + 'a) -> Self {
        Self {
            future: Box::pin(future),
            start_step: 0,
            start_condition: None,
            kill_after: None,
            count_condition: None,
        }
    }

    /// Delays the start until the other operations have made `steps` steps in total or have all ended.
    #[must_use]
    pub(crate) fn start_after(mut self, steps: usize) -> Self {
        self.start_step = steps;
        self
    }

    /// Delays the start until the condition holds or the other operations have all ended.
    #[must_use]
    pub(crate) fn start_once(mut self, condition: impl Fn() -> bool + 'a) -> Self {
        self.start_condition = Some(Box::new(condition));
        self
    }

    /// Drops the operation at this await point, counted from 0. An operation with fewer await points
    /// is not killed.
    #[must_use]
    pub(crate) fn kill_at(mut self, await_point: usize) -> Self {
        self.kill_after = Some(await_point);
        self
    }

    /// Counts await points for [`Op::kill_at`] only after the condition has held once.
    #[must_use]
    pub(crate) fn count_once(mut self, condition: impl Fn() -> bool + 'a) -> Self {
        self.count_condition = Some(Box::new(condition));
        self
    }
}

/// Results of interleaved operations.
#[derive(Debug)]
pub(crate) struct Completion<T> {
    /// Results in the order of the operations; `None` if killed.
    pub(crate) results: Vec<Option<T>>,
    pub(crate) steps: usize,
    pub(crate) kills: usize,
}

/// Runs operations until each has ended or is killed. `writes` returns the number of writes so far; when it
/// stays constant for too many steps after a kill, `advance_time` is called so that leases expire. `has_killed` says
/// whether an earlier operation was killed.
pub(crate) async fn interleave<T>(
    ops: Vec<Op<'_, T>>,
    rng: SeededRng,
    has_killed: bool,
    writes: impl Fn() -> u64 + Unpin,
    advance_time: impl FnMut() + Unpin,
) -> Completion<T> {
    let slots = ops
        .into_iter()
        .map(|op| Slot {
            op: Some(op),
            result: None,
            signal: Arc::new(Signal {
                is_ready: AtomicBool::new(true),
                driver: AtomicWaker::new(),
            }),
        })
        .collect();
    Interleave {
        slots,
        rng,
        writes,
        advance_time,
        steps: 0,
        kills: 0,
        has_killed,
        last_writes: 0,
        idle_steps: 0,
        grace: None,
    }
    .await
}

/// Waker of one operation; marks it as ready and wakes the driver of all operations.
struct Signal {
    is_ready: AtomicBool,
    driver: AtomicWaker,
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.is_ready.store(true, Ordering::SeqCst);
        self.driver.wake();
    }
}

struct Slot<'a, T> {
    op: Option<Op<'a, T>>,
    result: Option<T>,
    signal: Arc<Signal>,
}

struct Interleave<'a, T, W, A> {
    slots: Vec<Slot<'a, T>>,
    rng: SeededRng,
    writes: W,
    advance_time: A,
    steps: usize,
    kills: usize,
    has_killed: bool,
    last_writes: u64,
    idle_steps: usize,
    grace: Option<Pin<Box<Sleep>>>,
}

// Only the boxed futures are pinned.
impl<T, W, A> Unpin for Interleave<'_, T, W, A> {}

impl<T, W: Fn() -> u64, A: FnMut()> Future for Interleave<'_, T, W, A> {
    type Output = Completion<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Completion<T>> {
        let this = &mut *self;
        let mut running = this.running();
        if running.is_empty() {
            // Only delayed operations are left, and no step can meet their start conditions: start them now.
            for op in this.slots.iter_mut().filter_map(|slot| slot.op.as_mut()) {
                (op.start_step, op.start_condition) = (0, None);
            }
            running = this.running();
        }
        if running.is_empty() {
            let results = this.slots.iter_mut().map(|slot| slot.result.take());
            return Poll::Ready(Completion {
                results: results.collect(),
                steps: this.steps,
                kills: this.kills,
            });
        }
        let mut ready = Vec::new();
        for index in &running {
            let signal = &this.slots[*index].signal;
            signal.driver.register(context.waker());
            if signal.is_ready.load(Ordering::SeqCst) {
                ready.push(*index);
            }
        }
        if ready.is_empty() {
            return Poll::Pending;
        }
        if ready.len() < running.len() {
            let grace = this.grace.get_or_insert_with(|| Box::pin(tokio::time::sleep(READY_GRACE)));
            if grace.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
        }
        this.grace = None;
        let chosen = *this.rng.pick(&ready);
        this.step(chosen, running.len());
        // The engines run on the same thread; yield to them after each step.
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<T, W: Fn() -> u64, A: FnMut()> Interleave<'_, T, W, A> {
    /// Indices of the operations that have started and not ended.
    fn running(&self) -> Vec<usize> {
        let is_running = |slot: &Slot<'_, T>| {
            let op = slot.op.as_ref();
            op.is_some_and(|op| {
                op.start_step <= self.steps && op.start_condition.as_ref().is_none_or(|met| met())
            })
        };
        (0..self.slots.len()).filter(|index| is_running(&self.slots[*index])).collect()
    }

    fn step(&mut self, index: usize, running_count: usize) {
        let slot = &mut self.slots[index];
        let Some(op) = &mut slot.op else { return };
        op.start_condition = None;
        slot.signal.is_ready.store(false, Ordering::SeqCst);
        let waker = Waker::from(Arc::clone(&slot.signal));
        let polled = op.future.as_mut().poll(&mut Context::from_waker(&waker));
        self.steps += 1;
        match polled {
            Poll::Ready(result) => {
                slot.result = Some(result);
                slot.op = None;
            }
            Poll::Pending => {
                if op.count_condition.as_ref().is_some_and(|holds| holds()) {
                    op.count_condition = None;
                }
                match &mut op.kill_after {
                    Some(_) if op.count_condition.is_some() => {}
                    Some(0) => {
                        slot.op = None;
                        self.kills += 1;
                        self.has_killed = true;
                    }
                    Some(remaining) => *remaining -= 1,
                    None => {}
                }
            }
        }
        let writes = (self.writes)();
        if writes != self.last_writes {
            self.last_writes = writes;
            self.idle_steps = 0;
        }
        self.idle_steps += 1;
        if self.has_killed && self.idle_steps > MAX_IDLE_STEPS * running_count {
            self.idle_steps = 0;
            (self.advance_time)();
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

    async fn step_order(seed: u64) -> String {
        let log = RefCell::new(String::new());
        let ops = ['a', 'b', 'c'].map(|name| Op::new(steps(name, 3, &log)));
        let completion = interleave(ops.into(), SeededRng::new(seed, ""), false, || 0, || {}).await;
        assert_eq!(completion.results, [Some('a'), Some('b'), Some('c')]);
        assert_eq!((completion.steps, completion.kills), (12, 0));
        log.into_inner()
    }

    #[tokio::test]
    async fn seed_determines_step_order() {
        let mut orders = std::collections::BTreeSet::new();
        for seed in 0..200 {
            assert_eq!(step_order(seed).await, step_order(seed).await);
            orders.insert(step_order(seed).await);
        }
        assert!(orders.len() > 100, "{} orders", orders.len());
    }

    #[tokio::test]
    async fn kill_drops_one_operation_at_its_await_point() {
        for point in 0..5 {
            let log = RefCell::new(String::new());
            let ops = vec![
                Op::new(steps('a', 4, &log)).kill_at(point),
                Op::new(steps('b', 2, &log)).start_after(2),
            ];
            let completion = interleave(ops, SeededRng::new(1, ""), false, || 0, || {}).await;
            let survives = point == 4;
            assert_eq!(completion.results, [survives.then_some('a'), Some('b')]);
            assert_eq!(completion.kills, usize::from(!survives));
            let reached = log.borrow().matches('a').count();
            assert_eq!(reached, (point + 1).min(4));
        }
    }

    #[tokio::test]
    async fn operation_starts_once_its_condition_holds() {
        let log = RefCell::new(String::new());
        let ops = vec![
            Op::new(steps('b', 1, &log)).start_once(|| log.borrow().len() >= 3),
            Op::new(steps('a', 4, &log)),
            Op::new(steps('c', 1, &log)).start_once(|| false),
        ];
        interleave(ops, SeededRng::new(1, ""), false, || 0, || {}).await;
        let log = log.into_inner();
        assert!(log.find('b') >= Some(3), "{log}");
        assert!(log.ends_with('c'), "{log}");
    }

    #[tokio::test]
    async fn time_stands_still_without_a_kill() {
        let log = RefCell::new(String::new());
        let ops = vec![Op::new(steps('a', 2 * MAX_IDLE_STEPS, &log))];
        let advance_time = || panic!("no lease is left behind");
        interleave(ops, SeededRng::new(1, ""), false, || 0, advance_time).await;
    }

    #[tokio::test]
    async fn idle_operations_advance_time() {
        let advances = Cell::new(0);
        let waits = async {
            while advances.get() == 0 {
                tokio::task::yield_now().await;
            }
        };
        let advance_time = || advances.set(advances.get() + 1);
        let ops = vec![Op::new(waits), Op::new(std::future::pending()).kill_at(0)];
        let completion = interleave(ops, SeededRng::new(1, ""), false, || 0, advance_time).await;
        assert_eq!(advances.get(), 1);
        assert!(completion.steps > MAX_IDLE_STEPS);
    }
}
