//! What Reelay has told this app. An app of its own would keep it in its database.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::watch;

/// How many are kept.
const CAPACITY: usize = 1_000;

/// A notification whose signature was right.
#[derive(Clone, Debug, PartialEq)]
pub struct VerifiedNotification {
    /// `webhook-id`: the same on every delivery of the same fact.
    pub id: String,
    /// `link.activated`, `recording.stored`, …
    pub kind: String,
    /// When it became a fact, as the body says.
    pub timestamp: Timestamp,
    /// When it was first delivered here.
    pub received_at: Timestamp,
    /// The whole body.
    pub body: Value,
}

impl VerifiedNotification {
    /// The user it is about.
    pub fn app_user_id(&self) -> Option<&str> {
        self.body.pointer("/data/app_user_id")?.as_str()
    }
}

/// Keeps each notification once, the oldest leaving first.
#[derive(Debug)]
pub(crate) struct Inbox {
    kept: Mutex<VecDeque<VerifiedNotification>>,
    /// Counts arrivals, so that waiting is neither polling nor a race.
    arrivals: watch::Sender<u64>,
}

impl Default for Inbox {
    fn default() -> Self {
        Self {
            kept: Mutex::default(),
            arrivals: watch::Sender::new(0),
        }
    }
}

impl Inbox {
    /// Keeps it, unless one of the same id is kept already: delivery is at least once.
    pub(crate) fn add(&self, notification: VerifiedNotification) -> bool {
        let mut kept = self.lock();
        if kept.iter().any(|other| other.id == notification.id) {
            return false;
        }
        if kept.len() == CAPACITY {
            kept.pop_front();
        }
        kept.push_back(notification);
        drop(kept);
        self.arrivals.send_modify(|count| *count += 1);
        true
    }

    /// Oldest first.
    pub(crate) fn all(&self) -> Vec<VerifiedNotification> {
        self.lock().iter().cloned().collect()
    }

    /// About one user: how many there are, and the newest `limit` of them, newest first.
    pub(crate) fn about(&self, user: &str, limit: usize) -> (usize, Vec<VerifiedNotification>) {
        let kept = self.lock();
        let theirs = || kept.iter().filter(|n| n.app_user_id() == Some(user));
        let newest = theirs().rev().take(limit).cloned().collect();
        (theirs().count(), newest)
    }

    /// The oldest one kept that is wanted, waiting for it if need be.
    pub(crate) async fn first(
        &self,
        wanted: impl Fn(&VerifiedNotification) -> bool,
    ) -> VerifiedNotification {
        let mut arrivals = self.arrivals.subscribe();
        loop {
            arrivals.mark_unchanged();
            if let Some(found) = self.lock().iter().find(|n| wanted(n)) {
                return found.clone();
            }
            // The sender lives as long as `self`, so this cannot fail while we are here.
            let _ = arrivals.changed().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<VerifiedNotification>> {
        // Whoever panicked left the queue whole: all changes of it are single calls.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn notification(id: usize) -> VerifiedNotification {
        VerifiedNotification {
            id: format!("msg_{id}"),
            kind: "recording.stored".into(),
            timestamp: Timestamp::UNIX_EPOCH,
            received_at: Timestamp::UNIX_EPOCH,
            body: json!({"data": {"app_user_id": if id.is_multiple_of(2) { "alice" } else { "bob" }}}),
        }
    }

    #[test]
    fn keeps_the_last_thousand_each_once() {
        let inbox = Inbox::default();
        for id in 0..CAPACITY + 10 {
            assert!(inbox.add(notification(id)));
            assert!(!inbox.add(notification(id)));
        }
        let all = inbox.all();
        assert_eq!(all.len(), CAPACITY);
        assert_eq!(all[0].id, "msg_10");
        let (total, newest) = inbox.about("alice", 3);
        let ids: Vec<_> = newest.iter().map(|n| n.id.as_str()).collect();
        assert_eq!(
            (total, ids),
            (500, vec!["msg_1008", "msg_1006", "msg_1004"])
        );
    }

    #[tokio::test]
    async fn waiting_finds_what_is_there_and_what_comes() {
        let inbox = Inbox::default();
        inbox.add(notification(1));
        assert_eq!(inbox.first(|_| true).await.id, "msg_1");
        let (found, ()) = tokio::join!(inbox.first(|n| n.id == "msg_2"), async {
            tokio::task::yield_now().await;
            inbox.add(notification(2));
        });
        assert_eq!(found.id, "msg_2");
    }
}
