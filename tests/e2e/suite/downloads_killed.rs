//! A transfer that is killed at each of its await points.

use jiff::SignedDuration;
use support::downloader::{Downloader, LONG_INVOCATION, Outcome};
use support::recordings::video;
use support::{MIB, System};

/// Longer than a lease.
const LEASE: SignedDuration = SignedDuration::from_secs(331);

/// Kills transfers of a file at poll `first` and every `step` polls later, until one finishes first. After each
/// kill SQS delivers the message again, and the result must be complete. Returns the number of kills.
async fn kill_at_each_poll(size: u64, first: usize, step: usize) -> usize {
    let (system, app_webhook) = System::linked("on-demand").await;
    let queues = &system.queues();
    let mut kills = 0;
    for moment in (first..).step_by(step) {
        let case = format!("{size} bytes, cut off at moment {moment}");
        let (downloader, recording) =
            Downloader::for_recording(&system, "alice", video(size)).await;
        let (ended, _) = downloader.deliver_until("m", LONG_INVOCATION, moment).await;
        if ended == Outcome::Killed {
            kills += 1;
            system.advance(LEASE);
            let again = downloader.deliver("m", LONG_INVOCATION).await;
            assert_eq!(again, Outcome::Done, "{case}");
        }
        system.process_queues().await;
        system.assert_stored(&recording, &case).await;
        let seen = system.view("alice", &recording).await;
        assert_eq!(seen["status"], "stored", "{case}");
        for queue in [&queues.downloads, &queues.downloads_dlq] {
            assert_eq!(system.queue_depth(queue).await, 0, "{case}");
        }
        let expected = ["detected", "file_stored", "stored"];
        let expected = expected.map(|kind| (format!("recording.{kind}"), 1));
        assert_eq!(app_webhook.counts(&recording), expected.into(), "{case}");
        if ended == Outcome::Done {
            return kills;
        }
    }
    kills
}

#[tokio::test]
async fn small_file_resumes_after_any_cut() {
    let kills = kill_at_each_poll(1_000, 0, 1).await;
    assert!(kills > 10, "{kills}");
}

/// Two parts, killed at a sample of polls; the ignored test below covers every poll.
#[tokio::test]
async fn multipart_file_resumes_after_any_cut() {
    let kills = kill_at_each_poll(8 * MIB + 1, 1, 7).await;
    assert!(kills > 3, "{kills}");
}

#[tokio::test]
#[ignore = "takes minutes: every await point of a transfer in parts"]
async fn multipart_file_resumes_at_every_await_point() {
    let kills = kill_at_each_poll(8 * MIB + 1, 0, 1).await;
    assert!(kills > 20, "{kills}");
}
