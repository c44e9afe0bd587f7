//! Record of the events at Zoom and in the app, and the stored files and notifications that must follow.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use reelay_zoom_sim::{Recording, RecordingFile};
use support::recordings::object_key;

/// The shortest activation window: recordings that completed in it must be fetched.
const ACTIVATION_WINDOW: SignedDuration = SignedDuration::from_hours(48);

/// Maximum age of a recording that a new link may fetch: the window, the longest meeting and the longest processing.
const MAX_WINDOW: SignedDuration = SignedDuration::from_hours(48 + 54);

/// Time between the consent and its confirmation, and rounding.
const TOLERANCE: SignedDuration = SignedDuration::from_mins(15);

/// A time in which a link existed.
pub(super) struct Period {
    pub(super) app_user: String,
    pub(super) zoom_user: String,
    pub(super) from: Timestamp,
    pub(super) until: Option<Timestamp>,
    /// Whether the user ended it at Zoom. Reelay may learn of it later.
    is_ended_at_zoom: bool,
}

impl Period {
    /// Whether a notification may be delivered at a time.
    pub(super) fn may_notify_at(&self, at: Timestamp) -> bool {
        let until = self.until.filter(|_| !self.is_ended_at_zoom);
        at >= self.from - TOLERANCE
            && until.is_none_or(|until| at <= until + SignedDuration::from_secs(2))
    }

    /// Whether a recording that completed at a time may be fetched.
    fn may_cover(&self, completed_at: Timestamp) -> bool {
        let until = self.until.filter(|_| !self.is_ended_at_zoom);
        completed_at >= self.from - MAX_WINDOW && until.is_none_or(|until| completed_at <= until)
    }

    /// Whether a recording that completed at a time must be fetched.
    fn covers(&self, completed_at: Timestamp) -> bool {
        self.until.is_none() && completed_at >= self.from - ACTIVATION_WINDOW + TOLERANCE
    }
}

/// A recording that was made.
pub(super) struct Made {
    pub(super) recording: Recording,
    /// `None` while Zoom processes it.
    completed_at: Option<Timestamp>,
    /// Completion of files that completed later, by id.
    late_files: BTreeMap<String, Timestamp>,
    /// When an app user erased it.
    pub(super) erased_at: Option<Timestamp>,
    /// The accounts in which that erased it.
    pub(super) erased_in: BTreeSet<String>,
}

/// The record of one run.
#[derive(Default)]
pub(super) struct Ledger {
    pub(super) periods: Vec<Period>,
    pub(super) made: Vec<Made>,
    /// When each Zoom user came into which account.
    accounts: BTreeMap<String, Vec<(Timestamp, String)>>,
}

impl Ledger {
    pub(super) fn record(&mut self, recording: Recording, completed_at: Option<Timestamp>) {
        let accounts = self.accounts.entry(recording.host_id.clone()).or_default();
        if accounts.is_empty() {
            accounts.push((Timestamp::MIN, recording.account_id.clone()));
        }
        tracing::debug!(
            key = recording.key,
            host = recording.host_id,
            account = recording.account_id,
            ?completed_at,
            "recorded"
        );
        self.made.push(Made {
            recording,
            completed_at,
            late_files: BTreeMap::new(),
            erased_at: None,
            erased_in: BTreeSet::new(),
        });
    }

    pub(super) fn move_user(&mut self, zoom_user: &str, account: &str, now: Timestamp) {
        tracing::debug!(zoom_user, account, %now, "moved");
        let accounts = self.accounts.entry(zoom_user.to_owned()).or_default();
        accounts.push((now, account.to_owned()));
    }

    pub(super) fn has_moved(&self, zoom_user: &str) -> bool {
        self.accounts_since(zoom_user, Timestamp::MIN).len() > 1
    }

    /// The accounts in which a Zoom user was since a time.
    fn accounts_since(&self, zoom_user: &str, since: Timestamp) -> BTreeSet<String> {
        let accounts = &self.accounts[zoom_user];
        let first = accounts.iter().rposition(|(at, _)| *at <= since).unwrap_or(0);
        accounts[first..].iter().map(|(_, account)| account.clone()).collect()
    }

    /// Records a recording that was completed when it ended.
    pub(super) fn record_old(&mut self, recording: Recording) {
        let completed_at = Some(recording.start_time + SignedDuration::from_hours(1));
        self.record(recording, completed_at);
    }

    pub(super) fn complete(&mut self, key: &str, now: Timestamp) {
        tracing::debug!(key, %now, "completed");
        if let Some(made) = self.made.iter_mut().find(|made| made.recording.key == key) {
            made.completed_at = Some(now);
        }
    }

    /// Records the completion of the files that a recording has now and had not before.
    pub(super) fn complete_late(&mut self, before: &Recording, now: &Recording, at: Timestamp) {
        let is_new = |file: &&RecordingFile| before.all_files().all(|it| it.id != file.id);
        let late = now.all_files().filter(is_new).map(|file| (file.id.clone(), at));
        if let Some(made) = self.made.iter_mut().find(|made| made.recording.key == now.key) {
            made.late_files.extend(late);
        }
    }

    /// An app user erases a recording in the accounts that the link covers. What ended links of others left in an earlier
    /// account stays.
    pub(super) fn erase(&mut self, key: &str, app_user: &str, now: Timestamp) {
        tracing::debug!(key, %now, "erased");
        let made = self.made.iter().find(|made| made.recording.key == key).expect("it was made");
        let host = made.recording.host_id.clone();
        let own = self.periods.iter().filter(|it| it.app_user == app_user && it.zoom_user == host);
        let since = own.filter(|it| it.until.is_none()).map(|it| it.from).min();
        let accounts = self.accounts_since(&host, since.unwrap_or(now));
        for made in self.made.iter_mut().filter(|made| made.recording.key == key) {
            made.erased_at = Some(now);
            made.erased_in.clone_from(&accounts);
        }
    }

    /// The recordings that must be stored, by key, each with an app user who must have it.
    pub(super) fn received(&self) -> Vec<(String, String)> {
        let received = self.made.iter().flat_map(|made| {
            let receivers = self.receivers(made).into_iter();
            receivers.map(|app_user| (made.recording.key.clone(), app_user.to_owned()))
        });
        received.collect()
    }

    pub(super) fn completed_keys(&self) -> Vec<String> {
        let completed = self.made.iter().filter(|made| made.completed_at.is_some());
        completed.map(|made| made.recording.key.clone()).collect()
    }

    pub(super) fn is_linked(&self, app_user: &str, zoom_user: &str) -> bool {
        let is_current = |period: &Period| {
            period.until.is_none() && period.app_user == app_user && period.zoom_user == zoom_user
        };
        self.periods.iter().any(is_current)
    }

    pub(super) fn link(&mut self, app_user: &str, zoom_user: &str, now: Timestamp) {
        tracing::debug!(app_user, zoom_user, %now, "linked");
        self.periods.push(Period {
            app_user: app_user.to_owned(),
            zoom_user: zoom_user.to_owned(),
            from: now,
            until: None,
            is_ended_at_zoom: false,
        });
    }

    pub(super) fn disconnect(&mut self, app_user: &str, now: Timestamp) {
        tracing::debug!(app_user, %now, "disconnected");
        for period in self.periods.iter_mut().filter(|period| period.app_user == app_user) {
            // From now on Reelay knows that the link has ended.
            let until = *period.until.get_or_insert(now);
            if period.is_ended_at_zoom && until < now {
                (period.is_ended_at_zoom, period.until) = (false, Some(now));
            }
        }
    }

    pub(super) fn deauthorize(&mut self, zoom_user: &str, now: Timestamp) {
        tracing::debug!(zoom_user, %now, "deauthorized");
        let periods = self.periods.iter_mut().filter(|period| period.until.is_none());
        for period in periods.filter(|period| period.zoom_user == zoom_user) {
            (period.until, period.is_ended_at_zoom) = (Some(now), true);
        }
    }

    /// The app users who must have a recording.
    pub(super) fn receivers(&self, made: &Made) -> Vec<&str> {
        let completed_at = made.completed_at.filter(|_| made.erased_at.is_none());
        let Some(completed_at) = completed_at else {
            return Vec::new();
        };
        let periods = self.periods.iter().filter(|it| it.zoom_user == made.recording.host_id);
        let covering = periods.filter(|period| period.covers(completed_at));
        covering.map(|period| period.app_user.as_str()).collect()
    }

    /// The keys under which a file may be stored. Reelay hears of a move later, and recordings of the days before it may exist
    /// twice.
    pub(super) fn keys(&self, recording: &Recording, file: &RecordingFile) -> Vec<String> {
        let accounts = self.accounts_since(&recording.host_id, Timestamp::MIN).into_iter();
        let keys = accounts.map(|account| {
            let mut recording = recording.clone();
            recording.account_id = account;
            object_key(&recording, file)
        });
        keys.collect()
    }

    /// Whether a link has covered a recording without a break since a time.
    pub(super) fn is_covered_since(&self, made: &Made, at: Timestamp) -> bool {
        let periods = self.periods.iter().filter(|it| it.zoom_user == made.recording.host_id);
        periods.into_iter().any(|period| period.until.is_none() && period.from <= at)
    }

    /// Whether a file of a recording may be stored.
    pub(super) fn may_be_stored(&self, made: &Made, file: &RecordingFile) -> bool {
        let periods = self.periods.iter().filter(|it| it.zoom_user == made.recording.host_id);
        let late = made.late_files.get(&file.id).copied();
        let completed_at = late.or(made.completed_at).unwrap_or(Timestamp::MAX);
        periods.into_iter().any(|period| period.may_cover(completed_at))
    }
}
