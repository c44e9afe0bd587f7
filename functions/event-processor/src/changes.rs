//! What happens at Zoom to recordings that are known: the app is told, and what is in the bucket stays.

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
                // Batch events name no host; the meeting tells, if we know it.
                None => {
                    self.recordings
                        .hosts_of_meeting(&changed.account_id, &meeting.uuid)
                        .await?
                }
            };
            for host in &hosts {
                known |= self.change(host, meeting, &changed).await?;
            }
        }
        // What is back can be fetched again, with the event's own URLs and token.
        if known
            && changed.change == RecordingChange::Recovered
            && changed.host.is_some()
            && let Ok(files) = FilesCompleted::parse(event)
        {
            self.files_completed(files, received_at).await?;
        }
        Ok(())
    }

    /// `false` if the recording is not known, or the event not about all of it.
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
        let takes_away = matches!(
            changed.change,
            RecordingChange::Trashed | RecordingChange::Deleted
        );
        if takes_away
            && loaded
                .files
                .iter()
                .any(|file| meeting.omits(&file.metadata))
        {
            metrics::count(Metric::EventsIgnored, "part_of_a_recording");
            return Ok(false);
        }
        if !self
            .recordings
            .change(host, &id, &changed.change, changed.event_ts)
            .await?
        {
            metrics::count(Metric::EventsIgnored, "older_change");
            return Ok(true);
        }
        let holding = self.links.snapshot(host).await?;
        let app_users: Vec<_> = holding.app_users().cloned().collect();
        let fact = RecordingNotification::Changed {
            change: changed.change.clone(),
            event_ts: changed.event_ts,
        };
        self.outbox
            .publish(&self.recordings, host, &id, &fact, &app_users)
            .await?;
        Ok(true)
    }
}
