//! Changes of known recordings at Zoom. The app is notified; stored files stay.

use jiff::Timestamp;
use reelay_domain::ids::{RecordingId, ZoomUser};
use reelay_domain::notification::RecordingNotification;
use reelay_domain::recording::RecordingChange;
use reelay_domain::webhook::change::{ChangedMeeting, RecordingsChanged};
use reelay_domain::webhook::event::FilesCompleted;
use reelay_runtime::metrics::{self, Metric};
use serde_json::Value;

use crate::{EventProcessor, ProcessError};

impl EventProcessor {
    pub(crate) async fn recordings_changed(
        &self,
        event: &Value,
        received_at: Timestamp,
    ) -> Result<(), ProcessError> {
        let changed = RecordingsChanged::parse(event)?;
        let mut known = false;
        for meeting in &changed.meetings {
            let hosts = match &changed.host {
                Some(user_id) => vec![ZoomUser {
                    account_id: changed.account_id.clone(),
                    user_id: user_id.clone(),
                }],
                // Batch events name no host; the table knows the hosts of a known meeting.
                None => {
                    self.recordings.hosts_of_meeting(&changed.account_id, &meeting.uuid).await?
                }
            };
            for host in &hosts {
                known |= self.change(host, meeting, &changed).await?;
            }
        }
        // A recovery event carries new URLs and a token, so its files can be downloaded again.
        if known
            && changed.change == RecordingChange::Recovered
            && changed.host.is_some()
            && let Ok(files) = FilesCompleted::parse(event)
        {
            self.files_completed(files, received_at).await?;
        }
        Ok(())
    }

    /// Returns whether the recording is known and the event is about all of its files.
    async fn change(
        &self,
        host: &ZoomUser,
        meeting: &ChangedMeeting,
        changed: &RecordingsChanged,
    ) -> Result<bool, ProcessError> {
        let id = RecordingId::from_uuid(&meeting.uuid);
        let Some(loaded) = self.recordings.load(host, &id).await? else {
            metrics::count(Metric::EventsIgnored, "unknown_recording");
            return Ok(false);
        };
        let is_removal =
            matches!(changed.change, RecordingChange::Trashed | RecordingChange::Deleted);
        if is_removal && loaded.files.iter().any(|file| meeting.omits(&file.metadata)) {
            metrics::count(Metric::EventsIgnored, "part_of_a_recording");
            return Ok(false);
        }
        if !self.recordings.change(host, &id, &changed.change, changed.event_ts).await? {
            metrics::count(Metric::EventsIgnored, "older_change");
            return Ok(true);
        }
        let snapshot = self.links.snapshot(host).await?;
        let app_users: Vec<_> = snapshot.receivers().cloned().collect();
        let fact = RecordingNotification::Changed {
            change: changed.change.clone(),
            event_ts: changed.event_ts,
        };
        self.outbox.publish(&self.recordings, host, &id, &fact, &app_users).await?;
        Ok(true)
    }
}
