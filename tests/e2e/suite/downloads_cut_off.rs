//! A transfer that is cut off at each of its await points, one after the other.

use std::time::Duration;

use jiff::SignedDuration;
use reelay_zoom_sim::{NewFile, NewRecording};
use support::downloader::{Downloader, Ended};
use support::people::ADA;
use support::{Inbox, System, landed, store};

const MIB: u64 = 1024 * 1024;

/// Longer than any transfer here takes.
const PLENTY: Duration = Duration::from_secs(300);

/// Longer than a lease.
const LEASE: SignedDuration = SignedDuration::from_secs(331);

/// Cuts transfers of such a file off when they wait for the `first`-th time, and every `step`-th after, until
/// one comes to its end before. After each the message comes again, as SQS has it, and all must be as if
/// nothing had happened. Gives how often a transfer was cut off.
async fn cut_off_at_each(size: u64, first: usize, step: usize) -> usize {
    let inbox = Inbox::open().await;
    let on_demand = ("DownloadMode", "on-demand");
    let system = System::with(&[("AppWebhookUrl", &inbox.url), on_demand]).await;
    system.link("alice", ADA).await;
    let queues = &system.stack.config().queues;
    let mut cut_off = 0;
    for moment in (first..).step_by(step) {
        let case = format!("{size} bytes, cut off at moment {moment}");
        let new = NewRecording::of(ADA).with_files(vec![NewFile::new("MP4", size)]);
        let (downloader, recording) = Downloader::of(&system, "alice", new).await;
        let (ended, _) = downloader.deliver_until("m", PLENTY, moment).await;
        if ended == Ended::Killed {
            cut_off += 1;
            system.stack.advance(LEASE);
            let again = downloader.deliver("m", PLENTY).await;
            assert_eq!(again, Ended::Done, "{case}");
        }
        system.work().await;
        // Exactly its files and the manifest, and no upload.
        landed::assert_whole(&system, &recording, &case).await;
        let seen = landed::view(&system, "alice", &recording).await;
        assert_eq!(seen["status"], "stored", "{case}");
        for queue in [&queues.downloads, &queues.downloads_dlq] {
            assert_eq!(store::depth(&system.stack, queue).await, 0, "{case}");
        }
        let expected = ["detected", "file_stored", "stored"];
        let expected = expected.map(|fact| (format!("recording.{fact}"), 1));
        assert_eq!(inbox.facts(&recording), expected.into(), "{case}");
        if ended == Ended::Done {
            return cut_off;
        }
    }
    cut_off
}

#[tokio::test]
async fn a_small_file_is_taken_up_wherever_its_transfer_was_cut_off() {
    let cut_off = cut_off_at_each(1_000, 0, 1).await;
    assert!(cut_off > 10, "{cut_off}");
}

/// Two parts. How often a transfer waits depends on the network, too; these are some of its moments, and the
/// test below has all.
#[tokio::test]
async fn a_file_in_parts_is_taken_up_wherever_its_transfer_was_cut_off() {
    let cut_off = cut_off_at_each(8 * MIB + 1, 1, 7).await;
    assert!(cut_off > 3, "{cut_off}");
}

#[tokio::test]
#[ignore = "takes minutes: every await point of a transfer in parts"]
async fn a_file_in_parts_is_taken_up_at_every_single_await_point() {
    let cut_off = cut_off_at_each(8 * MIB + 1, 0, 1).await;
    assert!(cut_off > 20, "{cut_off}");
}
