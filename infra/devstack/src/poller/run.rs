//! Continuous polling.

use std::sync::Arc;

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::receive::{Poller, RETRY_DELAY, Source};

impl Poller {
    /// Polls all queues until `stop` is true, then waits for running calls.
    pub(crate) async fn run(self: Arc<Self>, stop: watch::Receiver<bool>) {
        let mut queues = JoinSet::new();
        for source in &self.sources {
            queues.spawn(Arc::clone(&self).poll(Arc::clone(source), stop.clone()));
        }
        while queues.join_next().await.is_some() {}
    }

    async fn poll(self: Arc<Self>, source: Arc<Source>, mut stop: watch::Receiver<bool>) {
        let permits = Arc::new(Semaphore::new(source.concurrency()));
        let mut calls = JoinSet::new();
        loop {
            let permit = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                permit = async {
                    // This semaphore is never closed.
                    let permit = Arc::clone(&permits).acquire_owned().await.ok();
                    // In place of long polling: a request in progress would hide whether a message is on its way.
                    self.queues.wait_for_visible(&source.queue_url).await;
                    permit
                } => permit,
            };
            match (permit, self.receive(&source).await) {
                (_, Ok((_, messages))) if messages.is_empty() => {}
                (permit, Ok((active, messages))) => {
                    let (this, source) = (Arc::clone(&self), Arc::clone(&source));
                    calls.spawn(async move {
                        let (_permit, _active) = (permit, active);
                        this.process(&source, messages).await;
                    });
                }
                (_, Err(reason)) => {
                    tracing::warn!(function = source.function, reason, "queue not read");
                    tokio::time::sleep(RETRY_DELAY).await;
                }
            }
            while calls.try_join_next().is_some() {}
        }
        while calls.join_next().await.is_some() {}
    }
}
