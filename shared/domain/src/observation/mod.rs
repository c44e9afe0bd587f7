//! Observations of recordings: the state of a recording at one time, as an event, a list entry, or a meeting's
//! details describe it.
//!
//! Observations arrive late, twice, and in any order. Each field keeps the value with the greatest stamp (time,
//! then source, then the value itself), so what is stored depends only on the set of observations. The one
//! exception is the start time: object keys contain its date, so the first one observed stays.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ids::{MeetingUuid, RecordingId, ZoomUser};
use crate::recording::{FileMetadata, RecordingKind, RecordingMetadata, ZoomState};
use crate::source_cipher::EncryptedSource;

/// Where an observation comes from. Of two with the same time, the later variant wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ObservationSource {
    /// A webhook event.
    #[default]
    Event,
    /// An entry of a user's list.
    List,
    /// A meeting's recordings.
    Details,
}

/// Time and source of an observation. The greatest stamp of a field wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Stamp(i64);

impl Stamp {
    /// Subtracted from the stamp of a state whose event has no time of its own, so that any state with one wins.
    /// Greater than every stamp of a representable time in this millennium.
    const WITHOUT_OWN_TIME: i64 = 1 << 52;

    /// The stamp of an observation's fields.
    pub fn new(time: ObservedAt) -> Self {
        Self(time.at.as_millisecond() * 4 + time.source as i64)
    }

    /// The stamp of an observation's state.
    fn of_state(time: ObservedAt) -> Self {
        let Self(stamp) = Self::new(time);
        Self(if time.is_own { stamp } else { stamp - Self::WITHOUT_OWN_TIME })
    }
}

/// When and how something was observed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObservedAt {
    /// The event's time, or the time of the request.
    pub at: Timestamp,
    /// Whether the observation names its own time. An event that names none has the time of its receipt.
    pub is_own: bool,
    /// Where it comes from.
    pub source: ObservationSource,
}

/// Observation of a recording. An absent value changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// Host of the meeting.
    pub host: ZoomUser,
    /// UUID of the meeting instance.
    pub meeting_uuid: MeetingUuid,
    /// Its metadata.
    pub details: RecordingDetails,
    /// State of Zoom's copy, if the observation is about it.
    pub zoom_state: Option<ZoomState>,
    /// Its files; ids are unique.
    pub files: Vec<FileObservation>,
    /// When and how it was observed.
    pub time: ObservedAt,
}

impl Observation {
    /// Returns the id of the recording.
    pub fn recording_id(&self) -> RecordingId {
        RecordingId::from_uuid(&self.meeting_uuid)
    }
}

/// Observed metadata of a recording.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "as in `RecordingMetadata`")]
pub struct RecordingDetails {
    pub meeting_id: Option<String>,
    pub topic: Option<String>,
    pub kind: Option<RecordingKind>,
    pub start_time: Option<Timestamp>,
    pub timezone: Option<String>,
    pub duration_minutes: Option<u64>,
}

/// Observation of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileObservation {
    /// Its metadata.
    pub metadata: FileMetadata,
    /// The encrypted download source of an event that has a download token.
    pub source: Option<EncryptedSource>,
}

/// Stamps of the observed fields of an item.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Seen {
    /// The greatest stamp: that of every field that is not in `earlier`.
    latest: Stamp,
    /// Fields with an earlier stamp.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    earlier: BTreeMap<String, Stamp>,
}

impl Seen {
    /// Returns whether all observations so far are older than this time.
    pub fn is_before(&self, time: ObservedAt) -> bool {
        self.latest < Stamp::new(time)
    }

    /// Returns whether the state of Zoom's copy was observed at exactly this time.
    pub fn has_state_of(&self, time: ObservedAt) -> bool {
        self.stamp("zoom_state") == Stamp::of_state(time)
    }

    /// Returns whether the topic was observed at exactly this time.
    pub fn has_topic_of(&self, time: ObservedAt) -> bool {
        self.stamp("topic") == Stamp::new(time)
    }

    fn stamp(&self, field: &str) -> Stamp {
        self.earlier.get(field).copied().unwrap_or(self.latest)
    }
}

/// A recording as its observations describe it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedRecording {
    /// Zoom's metadata.
    #[serde(flatten)]
    pub metadata: RecordingMetadata,
    /// Whether the start time is the time of an event that names no start. The first real start replaces it.
    pub is_start_provisional: bool,
    /// The start at which the first file was observed, if it was provisional: object keys contain its date, also
    /// after a real start has replaced it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key_start: Option<Timestamp>,
    /// State of Zoom's copy; absent until an observation is about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zoom_state: Option<ZoomState>,
    /// When the fields were observed.
    pub seen: Seen,
}

impl ObservedRecording {
    /// The recording after its first observation.
    pub fn new(observation: &Observation) -> Self {
        let start = observed_start(observation);
        let mut recording = Self {
            metadata: RecordingMetadata {
                meeting_uuid: observation.meeting_uuid.clone(),
                meeting_id: None,
                topic: None,
                kind: None,
                start_time: start.unwrap_or(observation.time.at),
                timezone: None,
                duration_minutes: None,
            },
            is_start_provisional: start.is_none(),
            key_start: None,
            zoom_state: None,
            seen: Seen::default(),
        };
        recording.merge(observation);
        recording
    }

    /// Forgets a topic and a state of Zoom's copy that were observed at or after a time, for a reader who may not know
    /// them. Their earlier values are not kept.
    pub fn forget_since(&mut self, until: Timestamp) {
        let until = Stamp(until.as_millisecond() * 4);
        if self.seen.stamp("topic") >= until {
            self.metadata.topic = None;
        }
        if self.seen.stamp("zoom_state") >= until {
            self.zoom_state = None;
        }
    }

    /// Merges an observation.
    pub fn merge(&mut self, observation: &Observation) {
        if let Some(start) = observed_start(observation).filter(|_| self.is_start_provisional) {
            self.metadata.start_time = start;
            self.is_start_provisional = false;
        }
        if self.is_start_provisional && !observation.files.is_empty() {
            self.key_start.get_or_insert(self.metadata.start_time);
        }
        let details = &observation.details;
        let metadata = &mut self.metadata;
        let mut merge = Merge::new(&self.seen, Stamp::new(observation.time));
        merge.field("meeting_id", &mut metadata.meeting_id, &details.meeting_id);
        merge.field("topic", &mut metadata.topic, &details.topic);
        merge.field("kind", &mut metadata.kind, &details.kind);
        merge.field("timezone", &mut metadata.timezone, &details.timezone);
        merge.field("duration_minutes", &mut metadata.duration_minutes, &details.duration_minutes);
        merge.stamp = Stamp::of_state(observation.time);
        merge.field("zoom_state", &mut self.zoom_state, &observation.zoom_state);
        self.seen = merge.finish();
    }

    /// The start whose date object keys contain. It never changes once a file is known.
    pub fn key_start(&self) -> Timestamp {
        self.key_start.unwrap_or(self.metadata.start_time)
    }

    /// Whether only changes have been observed, and not the recording itself.
    pub fn is_only_changed(&self) -> bool {
        self.is_start_provisional && self.key_start.is_none()
    }
}

/// The start of the meeting, or of its first file.
fn observed_start(observation: &Observation) -> Option<Timestamp> {
    let first_file = || {
        let starts = observation.files.iter().filter_map(|file| file.metadata.recording_start);
        starts.min()
    };
    observation.details.start_time.or_else(first_file)
}

/// A file as its observations describe it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedFile {
    /// Zoom's metadata.
    #[serde(flatten)]
    pub metadata: FileMetadata,
    /// Encrypted download source; deleted once the file is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<EncryptedSource>,
    /// When the fields were observed.
    pub seen: Seen,
}

impl ObservedFile {
    /// The file after its first observation.
    pub fn new(observation: &FileObservation, time: ObservedAt) -> Self {
        let metadata = FileMetadata::unknown(observation.metadata.id.clone());
        let mut file = Self { metadata, source: None, seen: Seen::default() };
        file.merge(observation, time);
        file
    }

    /// Merges an observation.
    pub fn merge(&mut self, observation: &FileObservation, time: ObservedAt) {
        let (known, observed) = (&mut self.metadata, &observation.metadata);
        let mut merge = Merge::new(&self.seen, Stamp::new(time));
        merge.field("file_type", &mut known.file_type, &observed.file_type);
        merge.field("recording_type", &mut known.recording_type, &observed.recording_type);
        merge.field("extension", &mut known.extension, &observed.extension);
        merge.field("participant", &mut known.participant, &observed.participant);
        merge.field("recording_start", &mut known.recording_start, &observed.recording_start);
        merge.field("recording_end", &mut known.recording_end, &observed.recording_end);
        merge.field("size", &mut known.size, &observed.size);
        merge.field("is_processing", &mut known.is_processing, &observed.is_processing);
        // Equal sources differ in their salt. A redelivered event must not replace its own source.
        let source = observation
            .source
            .as_ref()
            .filter(|_| self.source.is_none() || self.seen.stamp("source") < Stamp::new(time));
        merge.field_if("source", &mut self.source, source, |_, _| true);
        self.seen = merge.finish();
    }
}

/// Merges the fields of one item.
struct Merge<'a> {
    seen: &'a Seen,
    /// Stamp of the observation.
    stamp: Stamp,
    /// Stamps of the fields that have a value.
    stamps: Vec<(&'static str, Stamp)>,
}

impl<'a> Merge<'a> {
    fn new(seen: &'a Seen, stamp: Stamp) -> Self {
        Self { seen, stamp, stamps: Vec::new() }
    }

    fn field<T: Ord + Clone>(
        &mut self,
        name: &'static str,
        value: &mut Option<T>,
        observed: &Option<T>,
    ) {
        let (seen, stamp) = (self.seen.stamp(name), self.stamp);
        self.field_if(name, value, observed.as_ref(), |known, observed| {
            (seen, known) < (stamp, observed)
        });
    }

    /// Replaces a known value if `wins`.
    fn field_if<T: Clone>(
        &mut self,
        name: &'static str,
        value: &mut Option<T>,
        observed: Option<&T>,
        wins: impl FnOnce(&T, &T) -> bool,
    ) {
        match (value.as_ref(), observed) {
            (known, Some(observed)) if known.is_none_or(|known| wins(known, observed)) => {
                *value = Some(observed.clone());
                self.stamps.push((name, self.stamp));
            }
            (Some(_), _) => self.stamps.push((name, self.seen.stamp(name))),
            (None, _) => {}
        }
    }

    fn finish(self) -> Seen {
        let latest = self.stamps.iter().map(|(_, stamp)| *stamp).max().unwrap_or_default();
        let earlier = self.stamps.into_iter().filter(|(_, stamp)| *stamp < latest);
        Seen { latest, earlier: earlier.map(|(name, stamp)| (name.to_owned(), stamp)).collect() }
    }
}

#[cfg(test)]
mod tests;
