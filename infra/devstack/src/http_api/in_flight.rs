//! The function calls behind the API that are in flight.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::watch;

/// Calls by number. Clones share one state.
#[derive(Debug, Clone, Default)]
pub(crate) struct InFlight(Arc<watch::Sender<Calls>>);

#[derive(Debug, Default)]
struct Calls {
    next: u64,
    numbers: BTreeSet<u64>,
}

/// Counts a call as in flight until it is dropped.
pub(super) struct Call {
    calls: InFlight,
    number: u64,
}

impl InFlight {
    pub(super) fn begin(&self) -> Call {
        let mut number = 0;
        self.0.send_modify(|calls| {
            number = calls.next;
            calls.next += 1;
            calls.numbers.insert(number);
        });
        Call { calls: self.clone(), number }
    }

    /// Waits until the calls end that are in flight now. Later calls are ignored, because a busy client always has
    /// one.
    pub(crate) async fn wait(&self) {
        let next = self.0.borrow().next;
        let have_ended = |calls: &Calls| calls.numbers.first().is_none_or(|number| *number >= next);
        // The sender lives in `self`.
        self.0.subscribe().wait_for(have_ended).await.ok();
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.calls.0.send_modify(|calls| {
            calls.numbers.remove(&self.number);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn wait_ignores_later_calls() {
        let calls = InFlight::default();
        calls.wait().await;
        let first = calls.begin();
        let mut waiting = std::pin::pin!(calls.wait());
        tokio::select! {
            biased;
            () = &mut waiting => panic!("the first call is in flight"),
            () = tokio::task::yield_now() => {}
        }
        let _second = calls.begin();
        drop(first);
        waiting.await;
    }
}
