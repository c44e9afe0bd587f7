//! Merges of observations: any set, order and repetition gives one result.

use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_767_260_000 + second).unwrap()
}

fn observed_at() -> impl Strategy<Value = ObservedAt> {
    let source =
        select(vec![ObservationSource::Event, ObservationSource::List, ObservationSource::Details]);
    // Few distinct times, so that equal stamps occur.
    (0..4i64, any::<bool>(), source).prop_map(|(second, is_own, source)| ObservedAt {
        at: at(second),
        is_own,
        source,
    })
}

fn maybe<T: Clone + std::fmt::Debug + 'static>(values: Vec<T>) -> impl Strategy<Value = Option<T>> {
    proptest::option::of(select(values))
}

fn observation() -> impl Strategy<Value = Observation> {
    let details = (
        maybe(vec!["a".to_owned(), "b".to_owned()]),
        maybe(vec![1u64, 2]),
        maybe(vec!["UTC".to_owned()]),
    );
    let state = maybe(vec![ZoomState::Present, ZoomState::Trashed, ZoomState::Deleted]);
    (observed_at(), details, state).prop_map(
        |(time, (topic, duration_minutes, timezone), zoom_state)| Observation {
            host: ZoomUser { account_id: "A".parse().unwrap(), user_id: "u".parse().unwrap() },
            meeting_uuid: "m==".parse().unwrap(),
            details: RecordingDetails {
                topic,
                duration_minutes,
                timezone,
                start_time: Some(at(0)),
                ..RecordingDetails::default()
            },
            zoom_state,
            files: Vec::new(),
            time,
        },
    )
}

fn file_observation() -> impl Strategy<Value = (FileObservation, ObservedAt)> {
    let values = (
        maybe(vec![1u64, 2]),
        maybe(vec![false, true]),
        maybe(vec!["MP4".to_owned(), "M4A".to_owned()]),
    );
    (observed_at(), values).prop_map(|(time, (size, is_processing, file_type))| {
        let metadata = FileMetadata {
            size,
            is_processing,
            file_type,
            ..FileMetadata::unknown("f".parse().unwrap())
        };
        (FileObservation { metadata, source: None }, time)
    })
}

/// Another order of the same observations, some of them twice.
fn shuffled<T: Clone>(observations: &[T], picks: &[Index]) -> Vec<T> {
    let mut rest = observations.to_vec();
    let mut order = Vec::new();
    for pick in picks {
        if !rest.is_empty() {
            order.push(rest.remove(pick.index(rest.len())));
            let again = order[pick.index(order.len())].clone();
            order.push(again);
        }
    }
    order.extend(rest);
    order
}

proptest! {
    #[test]
    fn recording_depends_on_the_set_of_observations(
        observations in proptest::collection::vec(observation(), 1..8),
        picks in proptest::collection::vec(any::<Index>(), 8),
    ) {
        let merged = |observations: &[Observation]| {
            let mut recording = ObservedRecording::new(&observations[0]);
            observations[1..].iter().for_each(|it| recording.merge(it));
            recording
        };
        prop_assert_eq!(merged(&observations), merged(&shuffled(&observations, &picks)));
    }

    #[test]
    fn file_depends_on_the_set_of_observations(
        observations in proptest::collection::vec(file_observation(), 1..8),
        picks in proptest::collection::vec(any::<Index>(), 8),
    ) {
        let merged = |observations: &[(FileObservation, ObservedAt)]| {
            let mut file = ObservedFile::new(&observations[0].0, observations[0].1);
            observations[1..].iter().for_each(|(it, time)| file.merge(it, *time));
            file
        };
        prop_assert_eq!(merged(&observations), merged(&shuffled(&observations, &picks)));
    }
}

fn event(second: i64, is_own: bool, zoom_state: Option<ZoomState>) -> Observation {
    Observation {
        host: ZoomUser { account_id: "A".parse().unwrap(), user_id: "u".parse().unwrap() },
        meeting_uuid: "m==".parse().unwrap(),
        details: RecordingDetails::default(),
        zoom_state,
        files: Vec::new(),
        time: ObservedAt { at: at(second), is_own, source: ObservationSource::Event },
    }
}

#[test]
fn state_with_own_time_outranks_time_of_receipt() {
    let mut recording = ObservedRecording::new(&event(5, false, Some(ZoomState::Trashed)));
    assert_eq!(recording.zoom_state, Some(ZoomState::Trashed));
    recording.merge(&event(1, true, Some(ZoomState::Present)));
    assert_eq!(recording.zoom_state, Some(ZoomState::Present));
    recording.merge(&event(9, false, Some(ZoomState::Deleted)));
    assert_eq!(recording.zoom_state, Some(ZoomState::Present));
}

#[test]
fn latest_receipt_wins_without_own_times() {
    let mut recording = ObservedRecording::new(&event(5, false, Some(ZoomState::Deleted)));
    recording.merge(&event(9, false, Some(ZoomState::Present)));
    recording.merge(&event(7, false, Some(ZoomState::Trashed)));
    assert_eq!(recording.zoom_state, Some(ZoomState::Present));
}

#[test]
fn each_field_knows_its_observation() {
    let renaming = |second| Observation {
        details: RecordingDetails { topic: Some("a".into()), ..Default::default() },
        ..event(second, true, None)
    };
    let mut recording = ObservedRecording::new(&renaming(1));
    recording.merge(&event(2, true, Some(ZoomState::Trashed)));
    let [first, second] = [1, 2].map(|second| event(second, true, None).time);
    let seen = recording.seen;
    assert_eq!((seen.has_topic_of(first), seen.has_topic_of(second)), (true, false));
    assert_eq!((seen.has_state_of(first), seen.has_state_of(second)), (false, true));
}

#[test]
fn first_real_start_stays() {
    let mut recording = ObservedRecording::new(&event(5, true, None));
    assert_eq!((recording.metadata.start_time, recording.is_start_provisional), (at(5), true));
    for (second, start) in [(6, 0), (7, 3), (1, 2)] {
        let mut later = event(second, true, None);
        later.details.start_time = Some(at(start));
        recording.merge(&later);
        assert_eq!(recording.metadata.start_time, at(0));
    }
}

#[test]
fn keys_of_known_files_keep_their_date() {
    let file =
        || FileObservation { metadata: FileMetadata::unknown("f".parse().unwrap()), source: None };
    for (has_file, key_start) in [(true, at(5)), (false, at(0))] {
        let mut first = event(5, true, None);
        first.files.extend(has_file.then(file));
        let mut recording = ObservedRecording::new(&first);
        assert_eq!(recording.is_only_changed(), !has_file);
        let mut later = event(6, true, None);
        later.details.start_time = Some(at(0));
        later.files.push(file());
        recording.merge(&later);
        assert_eq!((recording.metadata.start_time, recording.key_start()), (at(0), key_start));
    }
}

#[test]
fn only_newer_source_replaces() {
    let source = |text: &str| -> Option<EncryptedSource> {
        Some(serde_json::from_value(text.into()).unwrap())
    };
    let observed = |text| FileObservation {
        metadata: FileMetadata::unknown("f".parse().unwrap()),
        source: source(text),
    };
    let time = |second| event(second, true, None).time;
    let mut file = ObservedFile::new(&observed("b"), time(1));
    for (text, second, expected) in [("c", 1, "b"), ("a", 2, "a"), ("z", 1, "a")] {
        file.merge(&observed(text), time(second));
        assert_eq!(file.source, source(expected), "{text} at {second}");
    }
}
