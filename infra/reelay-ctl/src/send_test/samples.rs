//! Sample notifications, rendered as real ones.

use jiff::{SignedDuration, Timestamp};
use reelay_domain::coverage::Coverage;
use reelay_domain::erasure::{Removal, RemovalReason};
use reelay_domain::ids::{AppUserId, InvalidId, LinkId, ZoomUser};
use reelay_domain::link::{Link, LinkIssue, LinkNotification, LinkStatus};
use reelay_domain::listing::Found;
use reelay_domain::message::Notification;
use reelay_domain::notification::{BackfillCompleted, RecordingNotification};
use reelay_domain::recording::{
    File, FileMetadata, FileStatus, Recording, RecordingChange, RecordingKind, RecordingMetadata,
    ZoomState,
};
use reelay_domain::time::utc_date;

/// The app user of test notifications.
const APP_USER: &str = "reelay-test";

/// One notification of each type, with the top-level field `"test":true`. Their ids depend on `now`, so that an app
/// does not take them for repetitions.
///
/// # Errors
/// If an id is invalid.
pub(crate) fn samples(bucket: &str, now: Timestamp) -> Result<Vec<Notification>, InvalidId> {
    let app_user: AppUserId = APP_USER.parse()?;
    let zoom_user =
        ZoomUser { account_id: "ReelayTestAccount".parse()?, user_id: "ReelayTestUser".parse()? };
    let link = link(&app_user, &zoom_user, now);
    let with_issue = Link { issue: Some(LinkIssue::ScopeMissing), ..link.clone() };
    let revoked = Link { status: LinkStatus::ReauthorizationRequired, ..link.clone() };
    let removal = Removal { reason: Some(RemovalReason::Disconnected), erase_at: None };
    let links = [
        LinkNotification::Activated(link.clone()),
        LinkNotification::ReauthorizationRequired(revoked),
        LinkNotification::IssueChanged(with_issue),
        LinkNotification::Removed(link.clone()),
    ];
    let backfill = BackfillCompleted {
        backfill_id: format!("bf_test_{}", now.as_millisecond()),
        app_user: app_user.clone(),
        from: utc_date(now),
        to: utc_date(now),
        found: Found { recordings: 1, files: 1 },
        is_complete: true,
        completed_at: now,
    };
    let (detected, stored, failed) = (
        recording(&zoom_user, FileStatus::Queued, now)?,
        recording(&zoom_user, FileStatus::Stored, now)?,
        recording(&zoom_user, FileStatus::Failed, now)?,
    );
    let file = stored.files[0].metadata.id.clone();
    let reason = failed.files[0].reason.clone().unwrap_or_default();
    let change = RecordingChange::Renamed { topic: "Test of Reelay".to_owned() };
    let recordings = [
        (&detected, RecordingNotification::Detected),
        (&stored, RecordingNotification::FileStored(file.clone())),
        (&stored, RecordingNotification::Stored),
        (&failed, RecordingNotification::Failed { file, reason, attempt: 1 }),
        (&stored, RecordingNotification::Changed { change, at: now }),
    ];
    let links = (1..).zip(links).map(|(revision, it)| it.render(revision, &removal, now));
    let recordings = (1..)
        .zip(recordings)
        .map(|(sequence, (recording, it))| it.render(&link, recording, sequence, bucket, now));
    Ok(links.chain([backfill.render(&zoom_user)]).chain(recordings).map(marked).collect())
}

/// Marks a notification as a test.
fn marked(notification: Notification) -> Notification {
    let rest = notification.body.strip_prefix('{').unwrap_or("}");
    Notification { body: format!("{{\"test\":true,{rest}"), ..notification }
}

fn link(app_user: &AppUserId, zoom_user: &ZoomUser, now: Timestamp) -> Link {
    Link {
        id: LinkId::derive(app_user, zoom_user),
        app_user: app_user.clone(),
        zoom_user: zoom_user.clone(),
        display_name: "Reelay Test".to_owned(),
        email: None,
        status: LinkStatus::Active,
        created_at: now,
        consented_at: None,
        activated_at: Some(now),
        pending_until: None,
        cut_off_at: None,
        inactive_since: None,
        issue: None,
        last_event_at: None,
        coverage: Coverage::default(),
        previous_zoom_users: Vec::new(),
    }
}

fn recording(
    zoom_user: &ZoomUser,
    status: FileStatus,
    now: Timestamp,
) -> Result<Recording, InvalidId> {
    let is_stored = status == FileStatus::Stored;
    let start = now - SignedDuration::from_mins(31);
    let metadata = FileMetadata {
        file_type: Some("MP4".to_owned()),
        recording_type: Some("shared_screen_with_speaker_view".to_owned()),
        extension: Some("mp4".to_owned()),
        recording_start: Some(start),
        recording_end: Some(now),
        size: Some(1_000),
        ..FileMetadata::unknown("reelay-test-file".parse()?)
    };
    let file = File {
        metadata,
        status,
        reason: (status == FileStatus::Failed).then(|| "not_found".to_owned()),
        bytes_stored: if is_stored { 1_000 } else { 0 },
        // No object exists, and none is needed: the app reads recordings through the API.
        stored_at: is_stored.then_some(now),
        declared_when_stored: None,
        key: is_stored.then(|| "recordings/reelay-test/reelay-test-file.mp4".to_owned()),
        crc64nvme: is_stored.then(|| "AAAAAAAAAAA=".to_owned()),
        attempts: 1,
        expirations: 0,
        next_attempt_at: None,
    };
    Ok(Recording {
        zoom_user: zoom_user.clone(),
        metadata: RecordingMetadata {
            meeting_uuid: format!("reelay-test-{}", now.as_millisecond()).parse()?,
            meeting_id: Some("80000000000".to_owned()),
            topic: Some("Test of Reelay".to_owned()),
            kind: Some(RecordingKind::Meeting),
            start_time: start,
            timezone: Some("Etc/UTC".to_owned()),
            duration_minutes: Some(31),
        },
        zoom_state: ZoomState::Present,
        sequence: 0,
        updated_at: now,
        files: vec![file],
    })
}
