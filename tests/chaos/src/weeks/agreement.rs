//! Compares the table, the bucket and the notifications that the app accepted with Zoom.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use reelay_zoom_sim::{Presence, Recording};
use serde_json::Value;
use support::recordings::{bytes, object_key, recording_id, recording_path};

use super::ledger::Made;
use super::{APP_USERS, Weeks};

/// Time after its erasure, or the storing of a file, in which the rest of the requests and notifications may come.
const MAX_REST: SignedDuration = SignedDuration::from_mins(1);

/// A notification that the app accepted.
struct Accepted {
    at: Timestamp,
    body: Value,
}

impl Accepted {
    fn text(&self, pointer: &str) -> &str {
        self.body.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }
}

impl Weeks {
    /// Returns the differences from Zoom.
    pub(super) async fn disagreements(&self) -> Vec<String> {
        let mut found = Vec::new();
        let accepted = self.accepted();
        self.compare_bucket(&mut found).await;
        for made in &self.ledger.made {
            let zoom = self.system.latest(&made.recording);
            if let Some(erased_at) = made.erased_at {
                self.compare_erased(&zoom, erased_at, &accepted, &mut found).await;
            }
            for app_user in self.ledger.receivers(made) {
                self.compare_view(app_user, &zoom, &mut found).await;
                compare_notifications(app_user, &zoom, &accepted, &mut found);
            }
        }
        self.compare_fetches(&accepted, &mut found);
        self.compare_consent(&accepted, &mut found);
        let mut dead = self.system.dead_letters().await;
        dead.extend(self.system.peek_messages(&self.system.queues().jobs_dlq).await);
        found.extend(dead.into_iter().map(|body| format!("dead letter {body}")));
        let uploads = self.system.open_uploads().await;
        if uploads > 0 {
            found.push(format!("{uploads} uploads are open"));
        }
        found
    }

    /// Records each file that must be stored now and is not.
    pub(super) async fn check_stored(&mut self, moment: &str) {
        let objects = self.system.stored_files().await;
        for made in self.ledger.made.iter().filter(|made| !self.ledger.receivers(made).is_empty()) {
            for file in made.recording.all_files() {
                let key = object_key(&made.recording, file);
                if !objects.contains_key(&key) {
                    let name = made_name(made);
                    self.outcome.violations.push(format!("{key} ({name}) is missing {moment}"));
                }
            }
        }
    }

    /// No app user finds an erased recording, or hears of it.
    async fn compare_erased(
        &self,
        zoom: &Recording,
        erased_at: Timestamp,
        accepted: &[Accepted],
        found: &mut Vec<String>,
    ) {
        for app_user in APP_USERS {
            let response = self.system.app.get(&recording_path(zoom), app_user).await;
            if response.status != 404 {
                found.push(format!("{app_user}: erased {} is {}", zoom.key, response.body));
            }
        }
        let id = recording_id(zoom);
        let is_late =
            |it: &&Accepted| it.text("/data/recording/id") == id && it.at > erased_at + MAX_REST;
        for notification in accepted.iter().filter(is_late) {
            found.push(format!("notified of erased {}: {}", zoom.key, notification.body));
        }
    }

    fn accepted(&self) -> Vec<Accepted> {
        let received = self.app_webhook.received();
        let accepted = received.iter().filter(|received| received.status < 300);
        let accepted = accepted.map(|received| Accepted {
            at: Timestamp::from_second(received.timestamp).unwrap_or_default(),
            body: received.json(),
        });
        accepted.collect()
    }

    /// Each object is a file of a recording that a link covered, byte by byte; each file that a link covers is there.
    async fn compare_bucket(&self, found: &mut Vec<String>) {
        let mut objects = self.system.stored_files().await;
        for made in &self.ledger.made {
            let zoom = self.system.latest(&made.recording);
            let is_wanted = !self.ledger.receivers(made).is_empty();
            for file in zoom.all_files() {
                let keys = self.ledger.keys(&zoom, file);
                let stored = keys.iter().filter_map(|key| Some((key, objects.remove(key)?)));
                let stored: Vec<_> = stored.collect();
                if stored.is_empty() && is_wanted && file.is_present() {
                    found.push(format!("{keys:?} ({}) is missing", made_name(made)));
                }
                for (key, object) in stored {
                    if made.erased_in.iter().any(|account| key.contains(account.as_str())) {
                        found.push(format!(
                            "{key} ({}) is stored although it was erased",
                            made_name(made)
                        ));
                    } else if !self.ledger.may_be_stored(made, file) {
                        found
                            .push(format!("{key} ({}) is stored without consent", made_name(made)));
                    } else if object != bytes(file) {
                        found.push(format!("{key} ({}) has other bytes", made_name(made)));
                    }
                }
            }
        }
        found.extend(objects.into_keys().map(|key| format!("{key} is not Zoom's")));
    }

    async fn compare_view(&self, app_user: &str, zoom: &Recording, found: &mut Vec<String>) {
        let is =
            |presence: fn(&Presence) -> bool| zoom.all_files().all(|it| presence(&it.presence));
        // A recording that was never present while it could be fetched may be unknown.
        if !is(|presence| *presence == Presence::Present) {
            return;
        }
        let view = self.system.view(app_user, zoom).await;
        let files = view["files"].as_array().cloned().unwrap_or_default();
        let ids: BTreeSet<&str> = files.iter().filter_map(|file| file["id"].as_str()).collect();
        let expected: BTreeSet<&str> = zoom.all_files().map(|file| file.id.as_str()).collect();
        if view["status"] != "stored" || view["zoom_state"] != "present" || ids != expected {
            found.push(format!("{app_user}: {} is {view}", zoom.key));
        }
        // A reconciliation leaves the topics of recordings of an earlier account.
        let has_moved = self.ledger.has_moved(&zoom.host_id);
        if view["topic"] != zoom.topic && !has_moved {
            found.push(format!("{app_user}: {} is called {}", zoom.key, view["topic"]));
        }
    }

    /// A stored file is not fetched again while a link covers it.
    fn compare_fetches(&self, accepted: &[Accepted], found: &mut Vec<String>) {
        let mut stored_at: BTreeMap<&str, Timestamp> = BTreeMap::new();
        for stored in accepted.iter().filter(|it| it.text("/type") == "recording.file_stored") {
            let at = stored.text("/timestamp").parse().expect("notifications have a timestamp");
            let first = stored_at.entry(stored.text("/data/file/id")).or_insert(at);
            *first = at.min(*first);
        }
        let requests = self.system.zoom().requests();
        for made in self.ledger.made.iter().filter(|made| made.erased_at.is_none()) {
            // Recordings of the days before a move may exist twice.
            if self.ledger.has_moved(&made.recording.host_id) {
                continue;
            }
            for file in self.system.latest(&made.recording).all_files() {
                let Some(at) = stored_at.get(file.id.as_str()) else { continue };
                let mut fetches = requests.iter().filter(|it| it.detail.as_ref() == Some(&file.id));
                let is_fetched = fetches.any(|it| it.at > *at + MAX_REST);
                if is_fetched && self.ledger.is_covered_since(made, *at) {
                    found.push(format!("{} of {} was fetched again", file.id, made_name(made)));
                }
            }
        }
    }

    /// Notifications reach only app users whose link covers the recording then.
    fn compare_consent(&self, accepted: &[Accepted], found: &mut Vec<String>) {
        for notification in accepted {
            let zoom_user = notification.text("/data/recording/zoom/user_id");
            if zoom_user.is_empty() {
                continue;
            }
            let app_user = notification.text("/data/app_user_id");
            let periods = self.ledger.periods.iter();
            let is_covered = periods
                .filter(|it| it.app_user == app_user && it.zoom_user == zoom_user)
                .any(|it| it.may_notify_at(notification.at));
            if !is_covered {
                found.push(format!("{app_user} got {} without a link", notification.body));
            }
        }
    }
}

fn made_name(made: &Made) -> &str {
    &made.recording.key
}

/// The last `recording.stored` that an app user got contains all files.
fn compare_notifications(
    app_user: &str,
    zoom: &Recording,
    accepted: &[Accepted],
    found: &mut Vec<String>,
) {
    if !zoom.all_files().all(|file| file.is_present()) {
        return;
    }
    let id = recording_id(zoom);
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut last: Option<&Accepted> = None;
    for notification in accepted {
        if notification.text("/data/app_user_id") == app_user
            && notification.text("/data/recording/id") == id
        {
            *counts.entry(notification.text("/type")).or_default() += 1;
            if notification.text("/type") == "recording.stored" {
                last =
                    last.filter(|it| sequence(it) > sequence(notification)).or(Some(notification));
            }
        }
    }
    let files = last.and_then(|last| last.body.pointer("/data/recording/files")?.as_array());
    let stored = |file: &&Value| file["status"] == "stored";
    let stored = files.into_iter().flatten().filter(stored).count();
    if stored != zoom.all_files().count() {
        for Accepted { at, body } in
            accepted.iter().filter(|it| it.text("/data/recording/id") == id)
        {
            tracing::debug!(%at, %body, "accepted by the app");
        }
        found.push(format!(
            "{app_user} heard of {stored} of {} files of {} ({counts:?})",
            zoom.all_files().count(),
            zoom.key
        ));
    }
}

fn sequence(notification: &Accepted) -> u64 {
    notification.body.pointer("/data/sequence").and_then(Value::as_u64).unwrap_or_default()
}
