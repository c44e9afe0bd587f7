//! The notifications that the app has received. A real app would store them in its database.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde_json::Value;

use crate::app_user::AppUser;

/// Number of notifications that the inbox keeps.
const MAX_NOTIFICATIONS: usize = 1_000;

/// A notification with a valid signature.
#[derive(Clone, Debug, PartialEq)]
pub struct Notification {
    /// `webhook-id`, which is the same on every delivery of this notification.
    pub id: String,
    /// The body's `type`: `link.activated`, `recording.stored`, …
    pub kind: String,
    /// The body's `timestamp`.
    pub timestamp: Timestamp,
    /// Time of the first delivery.
    pub received_at: Timestamp,
    /// `webhook-timestamp` of that delivery: seconds since the epoch.
    pub signed_at: i64,
    /// The signature in `webhook-signature` that was valid.
    pub signature: String,
    /// The whole body.
    pub body: Value,
}

impl Notification {
    /// The app user whom the notification concerns.
    pub fn app_user_id(&self) -> Option<&str> {
        self.body.pointer("/data/app_user_id")?.as_str()
    }
}

/// The newest notifications, each once.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    notifications: Mutex<VecDeque<Notification>>,
}

impl Inbox {
    /// Adds a notification and returns true, or returns false if its id is known: Reelay delivers at least once.
    pub(crate) fn add(&self, notification: Notification) -> bool {
        let mut notifications = self.lock();
        if notifications.iter().any(|old| old.id == notification.id) {
            return false;
        }
        if notifications.len() == MAX_NOTIFICATIONS {
            notifications.pop_front();
        }
        notifications.push_back(notification);
        true
    }

    /// All notifications, oldest first.
    pub(crate) fn all(&self) -> Vec<Notification> {
        self.lock().iter().cloned().collect()
    }

    /// One user's notifications, newest first.
    pub(crate) fn of_user(&self, user: &AppUser) -> Vec<Notification> {
        let notifications = self.lock();
        let newest_first = notifications.iter().rev();
        newest_first
            .filter(|notification| notification.app_user_id() == Some(user.as_str()))
            .cloned()
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Notification>> {
        // Every change is one call, so a panic elsewhere leaves the queue complete.
        self.notifications.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inbox_keeps_the_newest_notifications_once() {
        let inbox = Inbox::default();
        for number in 0..MAX_NOTIFICATIONS + 10 {
            let notification = Notification {
                id: format!("msg_{number}"),
                kind: "recording.stored".into(),
                timestamp: Timestamp::UNIX_EPOCH,
                received_at: Timestamp::UNIX_EPOCH,
                signed_at: 0,
                signature: String::new(),
                body: Value::Null,
            };
            assert!(inbox.add(notification.clone()) && !inbox.add(notification));
        }
        assert_eq!((inbox.all().len(), &*inbox.all()[0].id), (MAX_NOTIFICATIONS, "msg_10"));
    }
}
