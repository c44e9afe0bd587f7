//! Weeks of trouble on one clock: lost, late and repeated events, outages, kills, and users who come and go. Then the
//! trouble ends, and the table, the bucket and the app must agree with Zoom.
//!
//! A seed determines the events and their times. The order of calls within a moment depends on timing.

mod agreement;
mod ledger;
mod outages;

use jiff::{SignedDuration, Timestamp};
use reelay_devstack::Options;
use reelay_zoom_sim::{NewFile, NewRecording, RecordingChange, Selection};
use reqwest::Method;
use serde_json::{Value, json};
use support::recordings::recording_path;
use support::zoom_users::{ADA, BEN, CEM};
use support::{AppWebhook, System};

use self::ledger::Ledger;
use self::outages::{Outage, Outages};
use crate::report::Outcome;
use crate::rng::SeededRng;

const ZOOM_USERS: [&str; 3] = [ADA, BEN, CEM];
const APP_USERS: [&str; 3] = ["alice", "bob", "carol"];

/// Maximum time after the trouble: the interval of a reconciliation and of an attempt that it grants, several times over.
const SETTLE_DAYS: i64 = 9;

/// Days in a row on which everything agrees: by then another reconciliation has ended.
const AGREED_DAYS: u32 = 2;

/// Share of the seeds whose schedules run as often as in the template, in percent. In the others they run every three hours,
/// because idle runs cost most of a seed's time.
const FREQUENT_SCHEDULES_PERCENT: usize = 15;

/// Days of a short run, which fits into a test.
const SHORT_DAYS: i64 = 1;

/// Recordings of each linked Zoom user from before the links, and meetings on a page of Zoom's list until they are read.
const RECORDINGS_BEFORE_LINK: usize = 5;
const FIRST_PAGE_SIZE: usize = 2;

/// Meetings on a page of Zoom's list.
const PAGE_SIZE: usize = 300;

/// Recordings that are renamed and trashed at the same moment.
const CHANGED_AT_ONCE: usize = 6;

/// Accounts that Zoom users move to.
const ACCOUNTS: [&str; 2] = ["AcctElsewhere000000001", "AcctElsewhere000000002"];

/// Steps of a lasting outage; in each, every linked Zoom user makes a recording.
const RECORDINGS_IN_OUTAGE: i32 = 10;

const MIB: usize = 1024 * 1024;

/// Runs one seed on a stack of its own.
pub(crate) async fn run(mut rng: SeededRng) -> anyhow::Result<Outcome> {
    let days = 3 + rng.below(12) as i64;
    run_for(days, SETTLE_DAYS, rng).await
}

/// Runs one outage that lasts, with recordings before, during and after it. Consecutive seeds begin each kind.
pub(crate) async fn run_outage(seed: u64, rng: SeededRng) -> anyhow::Result<Outcome> {
    let outage = async move { Weeks::start(rng).await.run_outage(seed).await };
    Ok(tokio::spawn(outage).await?)
}

/// Runs a single day of trouble of a seed, in which no file is given up.
///
/// # Errors
/// If the app's calls fail outside of an outage.
pub async fn run_day(seed: u64) -> anyhow::Result<Outcome> {
    run_for(SHORT_DAYS, 2 * SHORT_DAYS, SeededRng::new(seed, "day")).await
}

async fn run_for(days: i64, settle_days: i64, rng: SeededRng) -> anyhow::Result<Outcome> {
    // The harness panics where a call of the app fails that must succeed.
    let weeks = async move { Weeks::start(rng).await.run(days, settle_days).await };
    Ok(tokio::spawn(weeks).await?)
}

fn days(days: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * days)
}

/// An event that Zoom sends late.
enum LateEvent {
    /// Processing ends. The event is lost if `is_lost`.
    Complete { key: String, is_lost: bool },
    /// An event that was sent before.
    Repeat { delivery: u64, has_same_id: bool },
}

struct Weeks {
    system: System,
    app_webhook: AppWebhook,
    rng: SeededRng,
    ledger: Ledger,
    outages: Outages,
    late: Vec<(Timestamp, LateEvent)>,
    outcome: Outcome,
}

impl Weeks {
    async fn start(mut rng: SeededRng) -> Self {
        let app_webhook = AppWebhook::start().await;
        let hours = rng.pick(&["6", "24"]).to_string();
        let parameters = vec![
            ("AppWebhookUrl".to_owned(), app_webhook.url.clone()),
            ("ReconcileEveryHours".to_owned(), hours),
        ];
        let is_frequent = rng.percent(FREQUENT_SCHEDULES_PERCENT);
        let min_schedule_interval = SignedDuration::from_hours(if is_frequent { 0 } else { 3 });
        let options = Options { parameters, min_schedule_interval, ..Options::default() };
        let system = System::with_options(options).await;
        let outages = Outages::new(&system, rng.fork());
        Self {
            system,
            app_webhook,
            rng,
            ledger: Ledger::default(),
            outages,
            late: Vec::new(),
            outcome: Outcome::default(),
        }
    }

    async fn run(mut self, trouble: i64, settle: i64) -> Outcome {
        let end = self.now() + days(trouble);
        // No consent covers these recordings.
        for zoom_user in ZOOM_USERS {
            let start_time = Some(self.now() - days(12));
            let old = NewRecording { start_time, silent: true, ..NewRecording::of(zoom_user) };
            let old = old.with_files(vec![NewFile::new("M4A", 9_000)]);
            let created = self.system.zoom().create_recording(old).expect("the user exists");
            self.ledger.record_old(created.recording);
        }
        self.begin().await;
        // After the backfills of the links, only a reconciliation finds it.
        let lost = NewRecording { silent: true, ..NewRecording::of(ADA) };
        let lost = lost.with_files(vec![NewFile::new("M4A", 9_000)]);
        let created = self.system.zoom().create_recording(lost).expect("the user exists");
        self.ledger.record(created.recording, Some(self.now()));
        while self.now() < end {
            self.act().await;
            self.pass().await;
            tracing::debug!(now = %self.now(), "step");
            self.outcome.steps += 1;
        }
        self.finish(settle).await
    }

    async fn run_outage(mut self, seed: u64) -> Outcome {
        self.begin().await;
        let (outage, hours) = outages::lasting(seed);
        let step = SignedDuration::from_hours(hours) / RECORDINGS_IN_OUTAGE;
        self.complete_recordings(step).await;
        let ends_at = self.now() + SignedDuration::from_hours(hours);
        self.outages.begin_until(outage, ends_at, &self.system, &self.app_webhook);
        while self.now() < ends_at {
            self.complete_recordings(step).await;
            self.outcome.steps += 1;
        }
        self.finish(SETTLE_DAYS).await
    }

    /// Links the users. Before any trouble, a backfill stores what their lists show, page by page, and an event what it
    /// announces, each without a reconciliation's help.
    async fn begin(&mut self) {
        self.system.zoom().change_settings(|config| config.max_page_size = FIRST_PAGE_SIZE);
        for zoom_user in [ADA, BEN] {
            for _ in 0..RECORDINGS_BEFORE_LINK {
                let new = NewRecording { silent: true, ..NewRecording::of(zoom_user) };
                let new = new.with_files(vec![NewFile::new("M4A", 9_000)]);
                let created = self.system.zoom().create_recording(new).expect("the user exists");
                self.ledger.record(created.recording, Some(self.now()));
            }
        }
        for (app_user, zoom_user) in [("alice", ADA), ("bob", BEN), ("carol", ADA)] {
            self.link(app_user, zoom_user).await;
        }
        self.system.pass(SignedDuration::from_hours(1)).await;
        self.check_stored("an hour after the link").await;
        self.system.zoom().change_settings(|config| config.max_page_size = PAGE_SIZE);
        let time = SignedDuration::from_mins(5);
        self.complete_recordings(time).await;
        self.check_stored("five minutes after its event").await;
        let until = self.now() + time;
        self.outages.begin_until(Outage::Redelivery, until, &self.system, &self.app_webhook);
        self.complete_recordings(time).await;
        self.outages.end_due(&self.system, &self.app_webhook, Timestamp::MAX);
        self.check_stored("five minutes after its repeated event").await;
        self.change_at_once().await;
    }

    /// Renames recordings and changes their state at the same moment: neither observation is lost, without a reconciliation's
    /// help.
    async fn change_at_once(&mut self) {
        let mut received = self.ledger.received();
        received.truncate(CHANGED_AT_ONCE);
        for (change, state) in
            [(RecordingChange::Trash, "trashed"), (RecordingChange::Recover, "present")]
        {
            let (zoom, selection) = (self.system.zoom(), Selection::default());
            for (key, _) in &received {
                let topic = format!("Topic {state}");
                zoom.rename(key, &topic, &selection).expect("the recording exists");
                zoom.change_recording(key, change, &selection).expect("the recording exists");
            }
            self.system.pass(SignedDuration::from_mins(5)).await;
            for (key, app_user) in &received {
                let recording = self.system.zoom().recording(key).expect("it was created");
                let view = self.system.view(app_user, &recording).await;
                if view["topic"] != recording.topic || view["zoom_state"] != state {
                    self.outcome.violations.push(format!("{key} is not {state}: {view}"));
                }
            }
        }
    }

    /// Completes a recording of each linked Zoom user, with its event, and lets time pass.
    async fn complete_recordings(&mut self, time: SignedDuration) {
        for zoom_user in [ADA, BEN] {
            let files = vec![NewFile::new("MP4", 60_000), NewFile::new("CHAT", 500)];
            let new = NewRecording::of(zoom_user).with_files(files);
            let created = self.system.zoom().create_recording(new).expect("the user exists");
            self.ledger.record(created.recording, Some(self.now()));
        }
        self.system.pass(time).await;
    }

    /// Ends all trouble, lets time pass, and compares.
    async fn finish(mut self, settle: i64) -> Outcome {
        self.outages.end_all(&self.system, &self.app_webhook);
        self.send_late_events(Timestamp::MAX);
        let (mut disagreements, mut agreed_days) = (Vec::new(), 0);
        for _ in 0..settle {
            self.system.pass(days(1)).await;
            self.reconnect().await;
            disagreements = self.disagreements().await;
            agreed_days = if disagreements.is_empty() { agreed_days + 1 } else { 0 };
            if agreed_days == AGREED_DAYS {
                break;
            }
        }
        self.outcome.kills = self.outages.kills();
        self.outcome.zoom_requests = self.system.zoom().requests().len();
        self.outcome.violations.extend(disagreements);
        self.system.stack.shutdown().await;
        self.outcome
    }

    /// Connects again whom the app was told to ask for it. Only a call that is killed between Zoom's response and the
    /// write loses a token pair.
    async fn reconnect(&mut self) {
        for app_user in APP_USERS {
            for link in self.system.app.links(app_user).await {
                let zoom_user = link["zoom"]["user_id"].as_str().expect("a link names it");
                let is_marked = link["status"] == "reauthorization_required";
                if !is_marked || !self.ledger.is_linked(app_user, zoom_user) {
                    continue;
                }
                if self.outages.kills() == 0 {
                    self.outcome.violations.push(format!("{app_user} must reconnect: {link}"));
                }
                let mut browser = self.system.browser();
                let claim = self.system.consent(&mut browser, app_user, zoom_user).await;
                self.system.app.confirm(app_user, &claim).await;
            }
        }
    }

    fn now(&self) -> Timestamp {
        self.system.app.now()
    }

    /// Lets time pass, but not beyond the end of an outage or the time of a late event.
    async fn pass(&mut self) {
        let minutes = *self.rng.pick(&[1, 10, 60, 240, 600, 1_200]);
        let until = self.now() + SignedDuration::from_mins(minutes);
        let late = self.late.iter().map(|(at, _)| *at);
        let until = late.chain(self.outages.next_end()).fold(until, Timestamp::min);
        let by = until.duration_since(self.now()).max(SignedDuration::from_secs(1));
        self.system.pass(by).await;
        let now = self.now();
        self.outages.end_due(&self.system, &self.app_webhook, now);
        self.send_late_events(now);
    }

    async fn act(&mut self) {
        match self.rng.below(100) {
            0..42 => self.record(),
            42..50 => self.change_recording(),
            50..65 => {
                let now = self.now();
                self.outages.begin(&self.system, &self.app_webhook, now);
            }
            65..73 => self.outages.fail_once(&self.system),
            73..76 => self.repeat_event(),
            76..79 => self.erase().await,
            79..83 => self.disconnect().await,
            83..86 => self.rotate_secret().await,
            86..88 => self.move_user(),
            88..97 => {
                let app_user = *self.rng.pick(&APP_USERS);
                let zoom_user = *self.rng.pick(&ZOOM_USERS);
                if !self.ledger.is_linked(app_user, zoom_user) && self.outages.is_calm() {
                    self.link(app_user, zoom_user).await;
                }
            }
            _ => {
                let zoom_user = *self.rng.pick(&ZOOM_USERS);
                if self.system.zoom().deauthorize(zoom_user).is_ok() {
                    self.ledger.deauthorize(zoom_user, self.now());
                }
            }
        }
    }

    /// Rotates the queue key, the state key, or Zoom's secret, which Zoom uses from then on.
    async fn rotate_secret(&mut self) {
        if !self.outages.is_calm() {
            return;
        }
        let value = format!("{:044}", self.rng.below(1_000_000));
        let (function, variable) =
            *self.rng.pick(&[("webhook", "QUEUE_KEY"), ("oauth-start", "STATE_KEY"), ("", "")]);
        if !function.is_empty() {
            return self.system.rotate_function_secret(function, variable, &value).await;
        }
        let secrets = &self.system.config().secrets;
        let secret = json!({
            "client_id": secrets.zoom_client_id,
            "client_secret": secrets.zoom_client_secret,
            "webhook_secret": value,
        });
        self.system.rotate_secret("ZoomSecretName", &secret.to_string()).await;
        self.system.zoom().change_settings(|config| config.webhook_secret = value);
    }

    /// Moves a Zoom user to another account. Reelay hears of it from a later event.
    fn move_user(&mut self) {
        let (zoom_user, account) = (*self.rng.pick(&ZOOM_USERS), *self.rng.pick(&ACCOUNTS));
        self.system.zoom().move_user(zoom_user, account).expect("the user exists");
        self.ledger.move_user(zoom_user, account, self.now());
    }

    fn record(&mut self) {
        let rng = &mut self.rng;
        let host = *rng.pick(&ZOOM_USERS);
        let size = 1_000 + rng.below(80_000) as u64;
        let large = (5 * MIB + rng.below(7 * MIB)) as u64;
        let files = match rng.below(10) {
            0 => vec![NewFile::new("MP4", large)],
            1..6 => vec![NewFile::new("MP4", size)],
            6 => vec![NewFile { declared_size: Some(size + 7), ..NewFile::new("MP4", size) }],
            _ => ["MP4", "M4A", "CHAT", "TIMELINE", "SUMMARY"]
                .map(|file_type| NewFile::new(file_type, size))
                .into(),
        };
        let is_processing = rng.percent(15);
        let has_segments = rng.percent(10);
        let new = NewRecording {
            silent: rng.percent(30),
            processing: is_processing,
            segments: 1 + u32::from(has_segments),
            event_per_segment: has_segments,
            participant_audio: u32::from(rng.percent(15)),
            participant_audio_size: Some(size / 2),
            ..NewRecording::of(host)
        };
        let created = self.system.zoom().create_recording(new.with_files(files));
        let created = created.expect("the host exists");
        let now = self.now();
        if is_processing {
            let at = now + SignedDuration::from_mins(5 + self.rng.below(900) as i64);
            let (key, is_lost) = (created.recording.key.clone(), self.rng.percent(30));
            self.late.push((at, LateEvent::Complete { key, is_lost }));
        }
        self.ledger.record(created.recording, (!is_processing).then_some(now));
    }

    fn send_late_events(&mut self, now: Timestamp) {
        let (due, late) =
            std::mem::take(&mut self.late).into_iter().partition(|(at, _)| *at <= now);
        self.late = late;
        let zoom = self.system.zoom();
        for (_, event) in due {
            match event {
                LateEvent::Complete { key, is_lost } => {
                    let is_enabled = zoom.settings().webhooks_enabled;
                    zoom.change_settings(|config| config.webhooks_enabled = is_enabled && !is_lost);
                    zoom.complete(&key).expect("the recording exists");
                    zoom.change_settings(|config| config.webhooks_enabled = is_enabled);
                    self.ledger.complete(&key, self.system.app.now());
                }
                LateEvent::Repeat { delivery, has_same_id } => {
                    zoom.duplicate(delivery, has_same_id).expect("the delivery exists");
                }
            }
        }
    }

    fn repeat_event(&mut self) {
        // Zoom repeats an event for hours. One that came after weeks would be taken as new.
        let since = (self.now() - SignedDuration::from_hours(48)).as_millisecond();
        let mut deliveries = self.system.zoom().deliveries();
        deliveries.retain(|it| {
            let event: Value = serde_json::from_str(&it.body).expect("an event is JSON");
            event["event_ts"].as_i64().is_some_and(|at| at >= since)
        });
        if deliveries.is_empty() {
            return;
        }
        let delivery = self.rng.pick(&deliveries).id;
        let at = self.now() + SignedDuration::from_mins(self.rng.below(3_000) as i64);
        let has_same_id = self.rng.percent(50);
        self.late.push((at, LateEvent::Repeat { delivery, has_same_id }));
    }

    fn change_recording(&mut self) {
        let keys = self.ledger.completed_keys();
        if keys.is_empty() {
            return;
        }
        let key = self.rng.pick(&keys).clone();
        let zoom = self.system.zoom();
        let recording = zoom.recording(&key).expect("it was created");
        let silent = self.rng.percent(30);
        let selection = Selection { silent, ..Selection::default() };
        let is_present = recording.all_files().all(|file| file.is_present());
        let changed = match self.rng.below(10) {
            0..3 => zoom.rename(&key, &format!("Topic {}", self.rng.below(1_000)), &selection),
            3..6 if is_present => zoom.add_transcript(&key, None),
            6 if is_present => {
                // Zoom's lists do not say that a recording was permanently deleted.
                let change = RecordingChange::Delete;
                zoom.change_recording(&key, change, &Selection::default())
            }
            _ if is_present => zoom.change_recording(&key, RecordingChange::Trash, &selection),
            _ => zoom.change_recording(&key, RecordingChange::Recover, &selection),
        };
        let changed = changed.expect("the recording exists");
        self.ledger.complete_late(&recording, &changed.recording, self.now());
    }

    async fn link(&mut self, app_user: &str, zoom_user: &str) {
        let mut browser = self.system.browser();
        let claim = self.system.consent(&mut browser, app_user, zoom_user).await;
        let response = self.system.app.confirm(app_user, &claim).await;
        assert_eq!(response.status, 200, "{response:?}");
        self.ledger.link(app_user, zoom_user, self.now());
    }

    /// Erases a recording as one of the app users who have it.
    async fn erase(&mut self) {
        let received = self.ledger.received();
        if received.is_empty() || !self.outages.is_calm() {
            return;
        }
        let (key, app_user) = self.rng.pick(&received).clone();
        let recording = self.system.zoom().recording(&key).expect("it was created");
        let path = recording_path(&recording);
        let response = self.system.app.call(Method::DELETE, &path, &app_user).await;
        match response.status {
            204 => {
                self.ledger.erase(&key, &app_user, self.now());
                // An event about it must not bring it back.
                let transcript = self.system.zoom().add_transcript(&key, None);
                transcript.expect("the recording exists");
            }
            // It is not known yet, or another app user has it too.
            404 | 409 => {}
            _ => self.outcome.violations.push(format!("the erasure returned {response:?}")),
        }
    }

    async fn disconnect(&mut self) {
        let app_user = *self.rng.pick(&APP_USERS);
        if self.outages.is_calm() {
            self.system.app.disconnect_all(app_user).await;
            self.ledger.disconnect(app_user, self.now());
        }
    }
}
