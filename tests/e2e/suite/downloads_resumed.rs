//! Transfers that are cut off, handed over, overtaken, or that find another file than they had left.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::SignedDuration;
use reelay_embedded_aws::{Fault as AwsFault, Service};
use reelay_zoom_sim::{Fault, NewFault, NewFile, NewRecording, Point, ReceivedRequest};
use support::downloader::{Downloader, Ended};
use support::people::ADA;
use support::{System, landed, store};

const MIB: u64 = 1024 * 1024;

/// Longer than any transfer here takes.
const PLENTY: Duration = Duration::from_secs(300);

/// Longer than a lease.
const LEASE: SignedDuration = SignedDuration::from_secs(331);

async fn on_demand() -> System {
    let system = System::with(&[("DownloadMode", "on-demand")]).await;
    system.link("alice", ADA).await;
    system
}

fn video(size: u64) -> NewRecording {
    NewRecording::of(ADA).with_files(vec![NewFile::new("MP4", size)])
}

/// Repeatable numbers (SplitMix64).
struct Seed(u64);

impl Seed {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % u64::try_from(limit.max(1)).unwrap()).unwrap()
    }
}

/// The ranges of a file that were asked for where the bytes are.
fn ranges(system: &System) -> Vec<String> {
    let requests = system.zoom().requests();
    let content = requests
        .into_iter()
        .filter(|r| r.path.starts_with("/ssrweb/"));
    content.filter_map(|r: ReceivedRequest| r.range).collect()
}

#[tokio::test]
async fn killed_at_any_moment_a_transfer_is_taken_up_and_ends_as_if_nothing_had_happened() {
    let system = on_demand().await;
    let (downloader, recording) = Downloader::of(&system, "alice", video(17 * MIB)).await;
    let (ended, all) = downloader.deliver_until("m", PLENTY, usize::MAX).await;
    assert_eq!(ended, Ended::Done);
    landed::assert_whole(&system, &recording, "never killed").await;
    assert!(all > 20, "{all} moments");
    for seed in 0..20 {
        let mut random = Seed(seed);
        let (downloader, recording) = Downloader::of(&system, "alice", video(17 * MIB)).await;
        let mut kills = Vec::new();
        // Two deaths, then it may live.
        for _ in 0..2 {
            let moment = random.below(all);
            kills.push(moment);
            downloader.deliver_until("m", PLENTY, moment).await;
            system.stack.advance(LEASE);
        }
        let case = format!("seed {seed}, killed at {kills:?} of {all}");
        let ended = downloader.deliver("m", PLENTY).await;
        assert_eq!(ended, Ended::Done, "{case}");
        landed::assert_whole(&system, &recording, &case).await;
        system.work().await;
        let seen = landed::view(&system, "alice", &recording).await;
        assert_eq!(seen["status"], "stored", "{case}");
    }
    // The demo app's webhook goes by the machine's clock, and refuses what comes from the future.
    let dead = store::peek(&system.stack, &system.stack.config().queues.downloads_dlq).await;
    assert_eq!(dead.len(), 0);
}

/// Fetches some parts, and is killed when it waits for another.
async fn half_done(
    system: &System,
    size: u64,
    parts: u32,
) -> (Downloader, reelay_zoom_sim::Recording) {
    let (downloader, recording) = Downloader::of(system, "alice", video(size)).await;
    let stalled = NewFault::always(Point::Content, Fault::Status { status: 418 }).skip_first(parts);
    let armed = system.zoom().arm(stalled).unwrap();
    // What is refused lets those in flight come to their end.
    assert_eq!(downloader.deliver("m", PLENTY).await, Ended::Again);
    system.zoom().clear_faults(Some(armed));
    assert_eq!(store::open_uploads(&system.stack).await, 1);
    system.zoom().clear_requests();
    (downloader, recording)
}

#[tokio::test]
async fn only_what_is_missing_is_fetched() {
    let system = on_demand().await;
    let (downloader, recording) = half_done(&system, 33 * MIB, 2).await;
    assert_eq!(downloader.deliver("m", PLENTY).await, Ended::Done);
    landed::assert_whole(&system, &recording, "").await;
    let asked = ranges(&system);
    let distinct: BTreeSet<_> = asked.iter().collect();
    assert_eq!((asked.len(), distinct.len()), (3, 3), "{asked:?}");
}

#[tokio::test]
async fn a_token_that_has_expired_meanwhile_is_replaced_and_the_upload_goes_on() {
    let system = on_demand().await;
    let (downloader, recording) = half_done(&system, 33 * MIB, 2).await;
    system.stack.advance(SignedDuration::from_hours(25));
    assert_eq!(downloader.deliver("m", PLENTY).await, Ended::Done);
    landed::assert_whole(&system, &recording, "").await;
    assert_eq!(ranges(&system).len(), 3);
    let requests = system.zoom().requests();
    let paths = |prefix: &str| {
        let those = requests.iter().filter(|r| r.path.starts_with(prefix));
        those.count()
    };
    assert_eq!(
        (paths("/rec/webhook_download/"), paths("/rec/download/")),
        (1, 1)
    );
}

#[tokio::test]
async fn a_file_that_has_changed_meanwhile_starts_over() {
    let system = on_demand().await;
    for (case, size) in [
        ("other bytes", None),
        ("longer", Some(41 * MIB)),
        ("shorter", Some(26 * MIB)),
        ("so short that the range is not within it", Some(9 * MIB)),
    ] {
        // Of inexact length, so that another is no failure of its own.
        let new = NewRecording::of(ADA).with_files(vec![NewFile::new("HOLOGRAM", 33 * MIB)]);
        let (downloader, recording) = Downloader::of(&system, "alice", new).await;
        let refused = NewFault::always(Point::Content, Fault::Status { status: 418 }).skip_first(3);
        let armed = system.zoom().arm(refused).unwrap();
        assert_eq!(
            downloader.deliver("m", PLENTY).await,
            Ended::Again,
            "{case}"
        );
        system.zoom().clear_faults(Some(armed));
        let file = &recording.files[0];
        system.zoom().replace_file(&file.id, size).unwrap();
        assert_eq!(downloader.deliver("m", PLENTY).await, Ended::Done, "{case}");
        landed::assert_whole(&system, &recording, case).await;
    }
}

#[tokio::test]
async fn a_file_that_changes_while_it_is_fetched_starts_over() {
    let system = on_demand().await;
    let new = NewRecording::of(ADA).with_files(vec![NewFile::new("HOLOGRAM", 33 * MIB)]);
    let (downloader, recording) = Downloader::of(&system, "alice", new).await;
    let held = NewFault::times(
        Point::Content,
        Fault::Slow {
            bytes_per_second: 4 * MIB,
        },
        1,
    );
    system.zoom().arm(held).unwrap();
    let zoom = system.zoom().clone();
    let id = recording.files[0].id.clone();
    let change = async {
        // As soon as the first range is on its way.
        while !zoom
            .requests()
            .iter()
            .any(|r| r.path.starts_with("/ssrweb/"))
        {
            tokio::task::yield_now().await;
        }
        zoom.replace_file(&id, None).unwrap();
    };
    let (ended, ()) = tokio::join!(downloader.deliver("m", PLENTY), change);
    assert_eq!(ended, Ended::Done);
    landed::assert_whole(&system, &recording, "").await;
}

#[tokio::test]
async fn an_upload_that_somebody_aborted_starts_over() {
    let system = on_demand().await;
    let (downloader, recording) = half_done(&system, 33 * MIB, 2).await;
    let (s3, bucket) = (system.stack.sdk().s3(), &system.stack.config().bucket);
    let uploads = s3
        .list_multipart_uploads()
        .bucket(bucket)
        .send()
        .await
        .unwrap();
    for upload in uploads.uploads() {
        let abort = s3.abort_multipart_upload().bucket(bucket);
        let abort = abort
            .key(upload.key().unwrap())
            .upload_id(upload.upload_id().unwrap());
        abort.send().await.unwrap();
    }
    assert_eq!(downloader.deliver("m", PLENTY).await, Ended::Done);
    landed::assert_whole(&system, &recording, "").await;
}

#[tokio::test]
async fn two_messages_for_one_file_never_work_on_it_at_the_same_time() {
    let system = on_demand().await;
    let (downloader, recording) = Downloader::of(&system, "alice", video(17 * MIB)).await;
    system.zoom().clear_requests();
    // Killed when it is under way, so its lease is still there.
    let (ended, _) = downloader.deliver_until("m", PLENTY, 12).await;
    assert_eq!(ended, Ended::Killed);
    let before = system.zoom().requests().len();
    // Another message is not needed; the same one has to come again.
    assert_eq!(downloader.deliver("another", PLENTY).await, Ended::Done);
    assert_eq!(downloader.deliver("m", PLENTY).await, Ended::Again);
    assert_eq!(
        system.zoom().requests().len(),
        before,
        "nothing was asked for"
    );
    system.stack.advance(LEASE);
    assert_eq!(downloader.deliver("m", PLENTY).await, Ended::Done);
    landed::assert_whole(&system, &recording, "").await;
    // And whoever comes late finds it done.
    assert_eq!(downloader.deliver("another", PLENTY).await, Ended::Done);
}

#[tokio::test]
async fn what_takes_longer_than_an_invocation_is_handed_over_as_often_as_it_takes() {
    let system = on_demand().await;
    let (downloader, recording) = Downloader::of(&system, "alice", video(100 * MIB)).await;
    system.zoom().clear_requests();
    // Eight parts at a time take four seconds; a second wave would not end in time.
    let slow = Fault::Slow {
        bytes_per_second: 2 * MIB,
    };
    system
        .zoom()
        .arm(NewFault::always(Point::Content, slow))
        .unwrap();
    let queue = system.stack.config().queues.downloads.clone();
    let mut rounds = 1;
    assert_eq!(
        downloader.deliver("m0", Duration::from_secs(8)).await,
        Ended::Done
    );
    loop {
        let sent = store::take(&system.stack, &queue).await;
        if sent.is_empty() {
            break;
        }
        assert_eq!(sent.len(), 1, "one message follows one message");
        let name = format!("m{rounds}");
        assert_eq!(
            downloader.deliver(&name, Duration::from_secs(8)).await,
            Ended::Done
        );
        rounds += 1;
        assert!(rounds < 40, "it comes to an end");
    }
    assert!(rounds > 1, "it was handed over");
    system.work().await;
    landed::assert_whole(&system, &recording, "").await;
    let asked = ranges(&system);
    let distinct: BTreeSet<_> = asked.iter().collect();
    assert_eq!(distinct.len(), 13);
    assert!(
        asked.len() <= distinct.len() + distinct.len() / 20 + 1,
        "{asked:?}"
    );
}

#[tokio::test]
async fn a_hand_over_that_moved_nothing_is_a_failure() {
    let system = on_demand().await;
    let (downloader, recording) = Downloader::of(&system, "alice", video(16 * MIB)).await;
    let slow = Fault::Slow {
        bytes_per_second: MIB,
    };
    let armed = system
        .zoom()
        .arm(NewFault::always(Point::Content, slow))
        .unwrap();
    let queue = &system.stack.config().queues.downloads;
    assert_eq!(
        downloader.deliver("m", Duration::from_secs(2)).await,
        Ended::Again
    );
    assert!(store::take(&system.stack, queue).await.is_empty());
    system.zoom().clear_faults(Some(armed));
    assert_eq!(downloader.deliver("m", PLENTY).await, Ended::Done);
    landed::assert_whole(&system, &recording, "").await;
}

#[tokio::test]
async fn what_never_gets_on_in_an_invocations_time_is_told_with_or_without_ranges() {
    let system = on_demand().await;
    let bytes_per_second = MIB;
    for (fault, reason) in [
        (Fault::Slow { bytes_per_second }, "no_progress"),
        (
            Fault::SlowStream { bytes_per_second },
            "source_without_ranges_too_slow",
        ),
    ] {
        let (downloader, recording) = Downloader::of(&system, "alice", video(16 * MIB)).await;
        let armed = NewFault::always(Point::Content, fault);
        let armed = system.zoom().arm(armed).unwrap();
        let short = Duration::from_secs(2);
        assert_eq!(
            downloader.deliver("m", short).await,
            Ended::Again,
            "{reason}"
        );
        let seen = landed::view(&system, "alice", &recording).await;
        assert_eq!(seen["files"][0]["status"], "queued", "{reason}");
        assert_eq!(
            downloader.deliver_last("m", short).await,
            Ended::Again,
            "{reason}"
        );
        let seen = landed::view(&system, "alice", &recording).await;
        assert_eq!(
            (&seen["files"][0]["status"], &seen["files"][0]["reason"]),
            (&"failed".into(), &reason.into())
        );
        assert_eq!(store::open_uploads(&system.stack).await, 0, "{reason}");
        system.zoom().clear_faults(Some(armed));
    }
}

/// Without leave to list the bucket, S3 says 403 of an object that is not there.
#[tokio::test]
async fn an_object_that_s3_does_not_show_counts_as_missing_and_the_file_is_fetched_again() {
    let system = on_demand().await;
    let (downloader, recording) = Downloader::of(&system, "alice", video(9 * MIB)).await;
    let faults = system.stack.engines().faults();
    // The upload is completed, and nobody learns of it: the repeat meets none.
    let lost = AwsFault::connection_closed().after_effect();
    faults.fail_next(Service::S3, "CompleteMultipartUpload", 1, lost);
    let hidden = AwsFault::error(403, "AccessDenied");
    faults.fail_until_cleared(Service::S3, "HeadObject", hidden);
    assert_eq!(downloader.deliver("m", PLENTY).await, Ended::Again);
    assert_eq!(faults.calls(Service::S3, "HeadObject"), 1);
    system.zoom().clear_requests();
    assert_eq!(downloader.deliver("m", PLENTY).await, Ended::Done);
    assert_eq!(ranges(&system).len(), 2, "fetched again");
    landed::assert_whole(&system, &recording, "").await;
}
