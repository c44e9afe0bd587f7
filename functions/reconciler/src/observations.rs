//! Observations from Zoom's API: lists and details are queued like events, and processed by the same path.

use jiff::Timestamp;
use reelay_domain::ids::ZoomUser;
use reelay_domain::message::{EventMessage, SchemaV1};
use reelay_domain::observation::ObservationSource;
use reelay_domain::webhook::{event, redact};
use reelay_runtime::metrics::{self, Metric};
use reelay_runtime::random;
use serde_json::{Value, json};

use crate::{JobError, Reconciler};

/// A difference at Zoom, to be queued in the form of the event that would have reported it.
pub(crate) enum ListedChange {
    /// The meeting with its files.
    Files(Value),
    /// The meeting, which has another topic.
    Renamed(Value),
    /// The meeting, which is in the trash.
    Trashed(Value),
    /// The meeting with its files, which is no longer in the trash.
    Recovered(Value),
}

impl ListedChange {
    fn into_event(self) -> (&'static str, Value) {
        match self {
            Self::Files(meeting) => (event::RECORDING_COMPLETED, meeting),
            Self::Renamed(meeting) => ("recording.renamed", meeting),
            Self::Trashed(meeting) => ("recording.trashed", meeting),
            Self::Recovered(meeting) => ("recording.recovered", meeting),
        }
    }
}

impl Reconciler {
    /// Queues differences as events, with the time of the request as the time of observation.
    pub(crate) async fn queue(
        &self,
        zoom_user: &ZoomUser,
        changes: Vec<ListedChange>,
        source: ObservationSource,
        requested_at: Timestamp,
    ) -> Result<(), JobError> {
        if changes.is_empty() {
            return Ok(());
        }
        let keys = self.queue_key.versions().await?;
        let mut messages = Vec::with_capacity(changes.len());
        for change in changes {
            let (name, mut meeting) = change.into_event();
            let Some(fields) = meeting.as_object_mut() else {
                metrics::count(Metric::FilesIgnored, "not_an_object");
                continue;
            };
            // The meetings are the user's own, but the API may omit the host.
            fields.insert("host_id".to_owned(), json!(zoom_user.user_id));
            let event = json!({
                "event": name,
                "payload": {"account_id": zoom_user.account_id, "object": meeting},
            });
            let event = redact::redact(event, &keys, random::bytes);
            let body = self.bucket.event_body(event).await?;
            messages.push(EventMessage { v: SchemaV1, received_at: requested_at, source, body });
        }
        self.events.send_all(&messages, zoom_user.account_id.as_str()).await?;
        let reason = match source {
            ObservationSource::Details => "details",
            ObservationSource::Event | ObservationSource::List => "list",
        };
        metrics::count_many(Metric::EventsAccepted, reason, messages.len() as u64);
        Ok(())
    }
}
