//! Transfers that are killed, continued, overtaken, or whose file changes.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_s3::types::ChecksumAlgorithm;
use jiff::SignedDuration;
use reelay_domain::ids::ZoomUser;
use reelay_embedded_aws::{Fault as AwsFault, Service};
use reelay_store::recordings::{FileKey, LeaseError, LeaseOutcome, RecordingTable};
use reelay_zoom_sim::{Fault, NewFault, NewFile, NewRecording, Point, ReceivedRequest};
use support::downloader::{Downloader, LONG_INVOCATION, Outcome};
use support::recordings::{folder, recording_id, video};
use support::zoom_users::ADA;
use support::{MIB, System};

/// Longer than a lease.
const LEASE: SignedDuration = SignedDuration::from_secs(331);

async fn on_demand() -> System {
    let system = System::with(&[("DownloadMode", "on-demand")]).await;
    system.link("alice", ADA).await;
    system
}

/// A deterministic random generator (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % u64::try_from(limit.max(1)).unwrap()).unwrap()
    }
}

/// The ranges requested from the CDN.
fn ranges(system: &System) -> Vec<String> {
    let requests = system.zoom().requests();
    let content = requests.into_iter().filter(|r| r.path.starts_with("/ssrweb/"));
    content.filter_map(|r: ReceivedRequest| r.range).collect()
}

#[tokio::test]
async fn transfer_resumes_after_kill_at_any_moment() {
    let system = on_demand().await;
    let (downloader, recording) =
        Downloader::for_recording(&system, "alice", video(17 * MIB)).await;
    let (ended, all) = downloader.deliver_until("m", LONG_INVOCATION, usize::MAX).await;
    assert_eq!(ended, Outcome::Done);
    system.assert_stored(&recording, "never killed").await;
    assert!(all > 20, "{all} moments");
    for seed in 0..20 {
        let mut random = Random(seed);
        let (downloader, recording) =
            Downloader::for_recording(&system, "alice", video(17 * MIB)).await;
        let mut kills = Vec::new();
        // Two kills, then a complete delivery.
        for _ in 0..2 {
            let moment = random.below(all);
            kills.push(moment);
            downloader.deliver_until("m", LONG_INVOCATION, moment).await;
            system.advance(LEASE);
        }
        let case = format!("seed {seed}, killed at {kills:?} of {all}");
        let ended = downloader.deliver("m", LONG_INVOCATION).await;
        assert_eq!(ended, Outcome::Done, "{case}");
        system.assert_stored(&recording, &case).await;
        system.process_queues().await;
        let seen = system.view("alice", &recording).await;
        assert_eq!(seen["status"], "stored", "{case}");
    }
    // The demo app rejects notifications with future timestamps, so only downloads are checked.
    let dead = system.peek_messages(&system.queues().downloads_dlq).await;
    assert_eq!(dead.len(), 0);
}

/// Stores some parts of an upload and fails.
async fn interrupted_upload(
    system: &System,
    size: u64,
    parts: u32,
) -> (Downloader, reelay_zoom_sim::Recording) {
    let (downloader, recording) = Downloader::for_recording(system, "alice", video(size)).await;
    let stalled = NewFault::always(Point::Content, Fault::Status { status: 418 }).skip_first(parts);
    let armed = system.zoom().arm(stalled).unwrap();
    // A rejected part lets the parts in flight finish.
    assert_eq!(downloader.deliver("m", LONG_INVOCATION).await, Outcome::Done);
    system.zoom().clear_faults(Some(armed));
    assert_eq!(system.open_uploads().await, 1);
    system.zoom().clear_requests();
    (downloader, recording)
}

#[tokio::test]
async fn resumed_transfer_fetches_only_missing_parts() {
    let system = on_demand().await;
    let (downloader, recording) = interrupted_upload(&system, 33 * MIB, 2).await;
    assert_eq!(downloader.deliver("m", LONG_INVOCATION).await, Outcome::Done);
    system.assert_stored(&recording, "").await;
    let requested = ranges(&system);
    let distinct: BTreeSet<_> = requested.iter().collect();
    assert_eq!((requested.len(), distinct.len()), (3, 3), "{requested:?}");
}

#[tokio::test]
async fn part_of_another_length_is_fetched_again() {
    let system = on_demand().await;
    let (downloader, recording) = interrupted_upload(&system, 33 * MIB, 2).await;
    let (s3, bucket) = (system.sdk().s3(), &system.config().bucket);
    let uploads = s3.list_multipart_uploads().bucket(bucket).send().await.unwrap();
    let upload = &uploads.uploads()[0];
    let part = s3.upload_part().bucket(bucket).set_key(upload.key.clone()).part_number(1);
    let part = part.set_upload_id(upload.upload_id.clone());
    let part = part.checksum_algorithm(ChecksumAlgorithm::Crc64Nvme);
    part.body(vec![0; 5 << 20].into()).send().await.unwrap();
    assert_eq!(downloader.deliver("m", LONG_INVOCATION).await, Outcome::Done);
    system.assert_stored(&recording, "").await;
    assert_eq!(ranges(&system).len(), 4);
}

#[tokio::test]
async fn ignored_range_discards_no_part() {
    let system = on_demand().await;
    let (downloader, recording) = interrupted_upload(&system, 33 * MIB, 2).await;
    // So that the interruption is not the last failure.
    let page = system.fail(Point::Content, Fault::Html);
    assert_eq!(downloader.deliver("m", LONG_INVOCATION).await, Outcome::Done);
    system.zoom().clear_faults(Some(page));
    system.zoom().clear_requests();
    system.fail_next(Point::Content, Fault::IgnoreRange, 1);
    assert_eq!(downloader.deliver("m", LONG_INVOCATION).await, Outcome::Done);
    assert_eq!(system.open_uploads().await, 1);
    assert_eq!(downloader.deliver("m", LONG_INVOCATION).await, Outcome::Done);
    system.assert_stored(&recording, "").await;
    assert_eq!(ranges(&system).len(), 4, "three parts, one of them twice");
}

#[tokio::test]
async fn page_in_answer_to_a_range_is_not_stored() {
    let system = on_demand().await;
    // HOLOGRAM has no exact declared length and no signature.
    let new = NewRecording::of(ADA).with_files(vec![NewFile::new("HOLOGRAM", 33 * MIB)]);
    let (downloader, recording) = Downloader::for_recording(&system, "alice", new).await;
    let rejected = NewFault::always(Point::Content, Fault::Status { status: 418 }).skip_first(2);
    let armed = system.zoom().arm(rejected).unwrap();
    assert_eq!(downloader.deliver("m", LONG_INVOCATION).await, Outcome::Done);
    system.zoom().clear_faults(Some(armed));
    let page = Fault::Respond {
        status: 200,
        content_type: "video/mp4".to_owned(),
        body: format!("<!DOCTYPE html><title>Sign in</title>{}", " ".repeat(1_000)),
    };
    let armed = system.fail(Point::Content, page);
    // As one stream, if it persists.
    for _ in 0..2 {
        assert_eq!(downloader.deliver("m", LONG_INVOCATION).await, Outcome::Done);
        assert_eq!(system.open_uploads().await, 1);
    }
    system.zoom().clear_faults(Some(armed));
    assert_eq!(downloader.deliver("m", LONG_INVOCATION).await, Outcome::Done);
    system.assert_stored(&recording, "").await;
}

#[tokio::test]
async fn upload_resumes_with_new_token_after_expiry() {
    let system = on_demand().await;
    let (downloader, recording) = interrupted_upload(&system, 33 * MIB, 2).await;
    system.advance(SignedDuration::from_hours(25));
    assert_eq!(downloader.deliver("m", LONG_INVOCATION).await, Outcome::Done);
    system.assert_stored(&recording, "").await;
    assert_eq!(ranges(&system).len(), 3);
    let requests = system.zoom().requests();
    let paths = |prefix: &str| {
        let those = requests.iter().filter(|r| r.path.starts_with(prefix));
        those.count()
    };
    assert_eq!((paths("/rec/webhook_download/"), paths("/rec/download/")), (1, 1));
}

#[tokio::test]
async fn resumed_upload_restarts_when_file_changed() {
    let system = on_demand().await;
    for (case, size) in [
        ("other bytes", None),
        ("longer", Some(41 * MIB)),
        ("shorter", Some(26 * MIB)),
        ("so short that the range is not within it", Some(9 * MIB)),
    ] {
        // HOLOGRAM has no exact declared length, so another length is valid.
        let new = NewRecording::of(ADA).with_files(vec![NewFile::new("HOLOGRAM", 33 * MIB)]);
        let (downloader, recording) = Downloader::for_recording(&system, "alice", new).await;
        let rejected =
            NewFault::always(Point::Content, Fault::Status { status: 418 }).skip_first(3);
        let armed = system.zoom().arm(rejected).unwrap();
        assert_eq!(downloader.deliver("m", LONG_INVOCATION).await, Outcome::Done, "{case}");
        system.zoom().clear_faults(Some(armed));
        let file = &recording.files[0];
        system.zoom().replace_file(&file.id, size).unwrap();
        assert_eq!(downloader.deliver("m", LONG_INVOCATION).await, Outcome::Done, "{case}");
        system.assert_stored(&recording, case).await;
    }
}

#[tokio::test]
async fn upload_restarts_when_file_changes_during_download() {
    let system = on_demand().await;
    let new = NewRecording::of(ADA).with_files(vec![NewFile::new("HOLOGRAM", 33 * MIB)]);
    let (downloader, recording) = Downloader::for_recording(&system, "alice", new).await;
    let held = NewFault::times(Point::Content, Fault::Slow { bytes_per_second: 4 * MIB }, 1);
    system.zoom().arm(held).unwrap();
    let zoom = system.zoom().clone();
    let id = recording.files[0].id.clone();
    let change = async {
        // Once the first range is requested.
        while !zoom.requests().iter().any(|r| r.path.starts_with("/ssrweb/")) {
            tokio::task::yield_now().await;
        }
        zoom.replace_file(&id, None).unwrap();
    };
    let (ended, ()) = tokio::join!(downloader.deliver("m", LONG_INVOCATION), change);
    assert_eq!(ended, Outcome::Done);
    system.assert_stored(&recording, "").await;
}

#[tokio::test]
async fn changed_file_is_retried_instead_of_continued() {
    let system = on_demand().await;
    let new = NewRecording::of(ADA).with_files(vec![NewFile::new("HOLOGRAM", 33 * MIB)]);
    let (downloader, recording) = Downloader::for_recording(&system, "alice", new).await;
    let slow = system.fail(Point::Content, Fault::Slow { bytes_per_second: 2 * MIB });
    // Time for the last part, of 1 MiB.
    let time = Duration::from_secs(3);
    assert_eq!(downloader.deliver("m", time).await, Outcome::Done);
    assert_eq!(system.take_messages(&system.queues().downloads).await.len(), 1, "continued");
    system.zoom().replace_file(&recording.files[0].id, None).unwrap();
    assert_eq!(downloader.deliver("m", time).await, Outcome::Done);
    assert!(system.take_messages(&system.queues().downloads).await.is_empty(), "continued");
    let seen = system.view("alice", &recording).await;
    assert_eq!(seen["files"][0]["reason"], "file_changed");
    system.zoom().clear_faults(Some(slow));
    system.zoom().clear_requests();
    assert_eq!(downloader.deliver("m", LONG_INVOCATION).await, Outcome::Done);
    system.assert_stored(&recording, "").await;
    assert_eq!(ranges(&system).len(), 4, "the uploaded part is kept");
}

#[tokio::test]
async fn object_is_as_old_as_its_upload() {
    let system = System::with(&[("DownloadMode", "on-demand"), ("RetentionDays", "1")]).await;
    // Objects expire at midnight.
    let since_midnight = SignedDuration::from_secs(system.app.now().as_second() % 86_400);
    system.advance(SignedDuration::from_hours(24 + 10) - since_midnight);
    system.link("alice", ADA).await;
    let (downloader, recording) = interrupted_upload(&system, 33 * MIB, 2).await;
    system.advance(SignedDuration::from_hours(23));
    assert_eq!(downloader.deliver("m", LONG_INVOCATION).await, Outcome::Done);
    system.assert_stored(&recording, "").await;
    assert_eq!(ranges(&system).len(), 3);
    system.maintain_after(SignedDuration::from_hours(32)).await;
    assert_eq!(system.objects(&folder(&recording)).await.len(), 0);
    assert_eq!(system.view("alice", &recording).await["status"], "expired");

    let (downloader, recording) = interrupted_upload(&system, 33 * MIB, 2).await;
    system.advance(SignedDuration::from_hours(24));
    assert_eq!(downloader.deliver("m", LONG_INVOCATION).await, Outcome::Done);
    system.assert_stored(&recording, "").await;
    assert_eq!(ranges(&system).len(), 5, "an old upload restarts");
}

#[tokio::test]
async fn aborted_upload_restarts() {
    let system = on_demand().await;
    let (downloader, recording) = interrupted_upload(&system, 33 * MIB, 2).await;
    let (s3, bucket) = (system.sdk().s3(), &system.config().bucket);
    let uploads = s3.list_multipart_uploads().bucket(bucket).send().await.unwrap();
    for upload in uploads.uploads() {
        let abort = s3.abort_multipart_upload().bucket(bucket);
        let abort = abort.key(upload.key().unwrap()).upload_id(upload.upload_id().unwrap());
        abort.send().await.unwrap();
    }
    assert_eq!(downloader.deliver("m", LONG_INVOCATION).await, Outcome::Done);
    system.assert_stored(&recording, "").await;
}

#[tokio::test]
async fn lease_excludes_concurrent_transfers_of_one_file() {
    let system = on_demand().await;
    let (downloader, recording) =
        Downloader::for_recording(&system, "alice", video(17 * MIB)).await;
    system.zoom().clear_requests();
    // The killed transfer still holds its lease.
    let (ended, _) = downloader.deliver_until("m", LONG_INVOCATION, 12).await;
    assert_eq!(ended, Outcome::Killed);
    let before = system.zoom().requests().len();
    // A duplicate message is dropped; the same message is retried.
    assert_eq!(downloader.deliver("another", LONG_INVOCATION).await, Outcome::Done);
    assert_eq!(downloader.deliver("m", LONG_INVOCATION).await, Outcome::Retry);
    assert_eq!(system.zoom().requests().len(), before, "a request was sent");
    system.advance(LEASE);
    assert_eq!(downloader.deliver("m", LONG_INVOCATION).await, Outcome::Done);
    system.assert_stored(&recording, "").await;
    // A late duplicate finds the file stored.
    assert_eq!(downloader.deliver("another", LONG_INVOCATION).await, Outcome::Done);
}

#[tokio::test]
async fn overtaken_lease_permits_no_write() {
    let system = on_demand().await;
    let (_, recording) = Downloader::for_recording(&system, "alice", video(MIB)).await;
    let key = FileKey {
        zoom_user: ZoomUser {
            account_id: recording.account_id.parse().unwrap(),
            user_id: recording.host_id.parse().unwrap(),
        },
        recording: recording_id(&recording).parse().unwrap(),
        file: recording.files[0].id.parse().unwrap(),
    };
    let environment = system.stack.function_environment("recording-downloader");
    let table = RecordingTable::new(environment.unwrap()).unwrap();
    let mut now = system.app.now();
    for owner in ["first", "second"] {
        let leased = table.acquire_lease(&key, owner, now, LEASE).await.unwrap();
        assert!(matches!(leased, LeaseOutcome::Acquired(_)), "{owner}");
        now += LEASE + LEASE;
    }
    for lost in [
        table.verify_lease(&key, "first").await,
        table.save_progress(&key, "first", 1).await,
        table.mark_failed(&key, "first", "gone", None, now).await,
    ] {
        assert!(matches!(lost, Err(LeaseError::Lost)), "{lost:?}");
    }
    table.verify_lease(&key, "second").await.unwrap();
}

#[tokio::test]
async fn long_transfer_continues_across_invocations() {
    let system = on_demand().await;
    let (downloader, recording) =
        Downloader::for_recording(&system, "alice", video(136 * MIB)).await;
    system.zoom().clear_requests();
    // Eight parts at a time take eight seconds; a second round would exceed the invocation.
    let slow = Fault::Slow { bytes_per_second: 2 * MIB };
    system.fail(Point::Content, slow);
    let queue = system.queues().downloads.clone();
    let mut rounds = 1;
    assert_eq!(downloader.deliver("m0", Duration::from_secs(15)).await, Outcome::Done);
    loop {
        let sent = system.take_messages(&queue).await;
        if sent.is_empty() {
            break;
        }
        assert_eq!(sent.len(), 1, "several continuations");
        let name = format!("m{rounds}");
        assert_eq!(downloader.deliver(&name, Duration::from_secs(15)).await, Outcome::Done);
        rounds += 1;
        assert!(rounds < 40, "too many rounds");
    }
    assert!(rounds > 1, "not continued in a new invocation");
    system.process_queues().await;
    system.assert_stored(&recording, "").await;
    let requested = ranges(&system);
    let distinct: BTreeSet<_> = requested.iter().collect();
    assert_eq!(distinct.len(), 9);
    assert!(requested.len() <= distinct.len() + distinct.len() / 20 + 1, "{requested:?}");
}

#[tokio::test]
async fn transfer_without_progress_continues_in_smaller_parts() {
    let system = on_demand().await;
    let (downloader, recording) =
        Downloader::for_recording(&system, "alice", video(40 * MIB)).await;
    let slow = Fault::Slow { bytes_per_second: MIB };
    let armed = system.fail(Point::Content, slow);
    let queue = &system.queues().downloads;
    assert_eq!(downloader.deliver("m", Duration::from_secs(2)).await, Outcome::Done);
    assert!(system.take_messages(queue).await.is_empty());
    assert!(ranges(&system).contains(&"bytes=0-10485759".to_owned()), "10 MiB");
    system.zoom().clear_faults(Some(armed));
    system.zoom().clear_requests();
    assert_eq!(downloader.deliver("m", LONG_INVOCATION).await, Outcome::Done);
    assert!(ranges(&system).contains(&"bytes=0-8388607".to_owned()), "8 MiB");
    system.assert_stored(&recording, "").await;
}

#[tokio::test]
async fn begun_upload_without_progress_continues_over_fewer_connections() {
    let system = on_demand().await;
    let (downloader, _) = interrupted_upload(&system, 160 * MIB, 2).await;
    system.fail(Point::Content, Fault::Slow { bytes_per_second: MIB });
    for connections in [8, 4] {
        assert_eq!(downloader.deliver("m", Duration::from_secs(2)).await, Outcome::Done);
        assert_eq!(ranges(&system).len(), connections);
        system.zoom().clear_requests();
    }
}

#[tokio::test]
async fn transfer_without_progress_is_reported_as_failed() {
    let system = on_demand().await;
    let bytes_per_second = MIB;
    for (fault, reason) in [
        (Fault::Slow { bytes_per_second }, "no_progress"),
        (Fault::SlowStream { bytes_per_second }, "source_without_ranges_too_slow"),
    ] {
        let (downloader, recording) =
            Downloader::for_recording(&system, "alice", video(16 * MIB)).await;
        let armed = NewFault::always(Point::Content, fault);
        let armed = system.zoom().arm(armed).unwrap();
        let short = Duration::from_secs(2);
        assert_eq!(downloader.deliver("m", short).await, Outcome::Done, "{reason}");
        let seen = system.view("alice", &recording).await;
        assert_eq!(seen["files"][0]["status"], "queued", "{reason}");
        system.advance(SignedDuration::from_hours(7 * 24));
        assert_eq!(downloader.deliver("m", short).await, Outcome::Done, "{reason}");
        let seen = system.view("alice", &recording).await;
        assert_eq!(
            (&seen["files"][0]["status"], &seen["files"][0]["reason"]),
            (&"failed".into(), &reason.into())
        );
        assert_eq!(system.open_uploads().await, 0, "{reason}");
        system.zoom().clear_faults(Some(armed));
    }
}

/// S3 responds with 403 for a missing object when the role may not list the bucket.
#[tokio::test]
async fn lost_completion_without_object_is_fetched_again() {
    let system = on_demand().await;
    let (downloader, recording) = Downloader::for_recording(&system, "alice", video(9 * MIB)).await;
    let faults = system.faults();
    // The upload completes, its response is lost, and the retried call finds no upload.
    let lost = AwsFault::connection_closed().after_effect();
    faults.fail_next(Service::S3, "CompleteMultipartUpload", 1, lost);
    let hidden = AwsFault::error(403, "AccessDenied");
    faults.fail_until_cleared(Service::S3, "HeadObject", hidden);
    assert_eq!(downloader.deliver("m", LONG_INVOCATION).await, Outcome::Done);
    assert_eq!(faults.calls(Service::S3, "HeadObject"), 1);
    system.zoom().clear_requests();
    assert_eq!(downloader.deliver("m", LONG_INVOCATION).await, Outcome::Done);
    assert_eq!(ranges(&system).len(), 2, "fetched again");
    system.assert_stored(&recording, "").await;
}
