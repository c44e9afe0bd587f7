//! Zoom's rate limits: who asks when, and what it costs.

use jiff::SignedDuration;
use reelay_zoom_sim::{Fault, NewFault, NewFile, NewRecording, Point, Recording};
use reqwest::Method;
use serde_json::{Value, json};
use support::people::{ADA, BEN, CEM};
use support::{Delayed, Inbox, System, landed, store, zoom};

const MIB: u64 = 1024 * 1024;

fn small(host: &str) -> NewRecording {
    NewRecording::of(host).with_files(vec![NewFile::new("MP4", 1_000)])
}

/// Requests for files, wherever they went.
fn asked(system: &System) -> usize {
    let requests = system.zoom().requests();
    let files = requests
        .iter()
        .filter(|r| r.path.starts_with("/rec/") || r.path.starts_with("/ssrweb/"));
    files.count()
}

/// Three who linked, and an app whose webhook does not mind a clock that is moved.
async fn linked() -> (System, Inbox) {
    let inbox = Inbox::open().await;
    let system = System::with(&[("AppWebhookUrl", &inbox.url)]).await;
    for (user, zoom_user) in [("alice", ADA), ("bob", BEN), ("cem", CEM)] {
        system.link(user, zoom_user).await;
    }
    (system, inbox)
}

async fn file(system: &System, recording: &Recording) -> Value {
    landed::view(system, "alice", recording).await["files"][0].clone()
}

/// The tries that the messages on their way have spent.
fn spent(delayed: &Delayed) -> Vec<u64> {
    let waiting = delayed.waiting();
    let mut spent: Vec<u64> = waiting
        .iter()
        .map(|later| {
            let message: Value = serde_json::from_str(&later.body).unwrap();
            message
                .get("prior_attempts")
                .map_or(0, |spent| spent.as_u64().unwrap())
        })
        .collect();
    spent.sort_unstable();
    spent
}

#[tokio::test]
async fn while_zoom_has_an_account_wait_none_of_its_files_is_asked_for() {
    let in_an_hour = |format: &str| {
        let then = jiff::Timestamp::now() + SignedDuration::from_hours(1);
        then.strftime(format).to_string()
    };
    let come_back = |retry_after: String| Fault::RetryAfter {
        status: 429,
        retry_after,
    };
    let hour = SignedDuration::from_secs(3_601);
    for (fault, over) in [
        (come_back("3600".to_owned()), hour),
        (come_back(in_an_hour("%Y-%m-%dT%H:%M:%SZ")), hour),
        (come_back(in_an_hour("%a, %d %b %Y %H:%M:%S GMT")), hour),
        // No time: until the day ends, which is what the limit is of.
        (Fault::DailyLimit, SignedDuration::from_hours(24)),
    ] {
        let case = format!("{fault:?}");
        let (system, _inbox) = linked().await;
        let delayed = Delayed::watch(&system);
        let limit = NewFault::times(Point::Download, fault, 1);
        system.zoom().arm(limit).unwrap();
        let adas = zoom::complete(&system, small(ADA)).await;
        system.work().await;
        system.zoom().clear_requests();
        // A colleague's file waits as well; somebody else's does not.
        let bens = zoom::complete(&system, small(BEN)).await;
        system.work().await;
        assert_eq!(asked(&system), 0, "{case}");
        let cems = zoom::complete(&system, small(CEM)).await;
        system.work().await;
        assert_eq!(asked(&system), 2, "{case}");
        landed::assert_whole(&system, &cems, &case).await;
        // Only who met the limit has used up a try.
        assert_eq!(spent(&delayed), [0, 1], "{case}");

        system.stack.advance(over);
        for later in delayed.arrive(&system).await {
            let least = u64::try_from(over.as_secs()).unwrap().min(900) - 1;
            let enough = (least..=900).contains(&later.seconds);
            assert!(enough || over > hour, "{case}: {} s", later.seconds);
        }
        system.work().await;
        for recording in [&adas, &bens] {
            landed::assert_whole(&system, recording, &case).await;
        }
    }
}

#[tokio::test]
async fn a_limit_of_which_nothing_is_known_holds_for_ten_seconds() {
    for fault in [
        Fault::RateLimited {
            retry_after_seconds: None,
        },
        Fault::Status { status: 429 },
        Fault::RetryAfter {
            status: 429,
            retry_after: "soon".to_owned(),
        },
    ] {
        let case = format!("{fault:?}");
        let (system, _inbox) = linked().await;
        let delayed = Delayed::watch(&system);
        let limit = NewFault::times(Point::Download, fault, 1);
        system.zoom().arm(limit).unwrap();
        let recording = zoom::complete(&system, small(ADA)).await;
        system.work().await;
        // The one that met the limit was delivered again at once, and sent on to when it is over.
        assert_eq!(spent(&delayed), [1], "{case}");
        system.stack.advance(SignedDuration::from_secs(10));
        for later in delayed.arrive(&system).await {
            assert!(later.seconds <= 12, "{case}: {} s", later.seconds);
        }
        system.work().await;
        landed::assert_whole(&system, &recording, &case).await;
    }
}

#[tokio::test]
async fn a_limit_of_hours_is_outlasted_with_all_tries_but_one_left() {
    let (system, _inbox) = linked().await;
    let delayed = Delayed::watch(&system);
    let limit = Fault::RateLimited {
        retry_after_seconds: Some(6 * 3_600),
    };
    let armed = NewFault::times(Point::Download, limit, 1);
    system.zoom().arm(armed).unwrap();
    let recording = zoom::complete(&system, small(ADA)).await;
    system.work().await;
    system.zoom().clear_requests();
    let mut waits = 0;
    while file(&system, &recording).await["status"] != "stored" {
        assert_eq!((spent(&delayed), asked(&system)), (vec![1], 0));
        waits += 1;
        assert!(waits <= 26, "it comes to an end");
        system.stack.advance(SignedDuration::from_secs(900));
        delayed.arrive(&system).await;
        system.work().await;
    }
    // More often than SQS would deliver one message.
    assert!(waits > 20, "{waits}");
    landed::assert_whole(&system, &recording, "").await;
    assert_eq!(store::dead(&system.stack).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_limit_that_never_passes_is_told_after_the_last_try_and_can_be_asked_for_again() {
    let (system, inbox) = linked().await;
    let delayed = Delayed::watch(&system);
    let limit = Fault::RetryAfter {
        status: 429,
        retry_after: "800".to_owned(),
    };
    let armed = NewFault::always(Point::Download, limit);
    let armed = system.zoom().arm(armed).unwrap();
    let recording = zoom::complete(&system, small(ADA)).await;
    system.zoom().clear_requests();
    system.work().await;
    for tried in 1..8 {
        assert_eq!(
            (asked(&system), spent(&delayed)),
            (tried, vec![tried as u64])
        );
        assert_eq!(file(&system, &recording).await["status"], "queued");
        system.stack.advance(SignedDuration::from_secs(801));
        delayed.arrive(&system).await;
        system.work().await;
    }
    assert_eq!((asked(&system), delayed.waiting().len()), (8, 0));
    let seen = file(&system, &recording).await;
    assert_eq!(
        (&seen["status"], &seen["reason"]),
        (&json!("failed"), &json!("rate_limited"))
    );
    assert_eq!(inbox.facts(&recording)["recording.failed"], 1);
    assert_eq!(store::dead(&system.stack).await.len(), 1);

    system.zoom().clear_faults(Some(armed));
    system.stack.advance(SignedDuration::from_secs(801));
    let path = format!("/v1/recordings/{}/download", landed::id(&recording));
    assert_eq!(
        system.app.call(Method::POST, &path, "alice").await.status,
        202
    );
    system.work().await;
    landed::assert_whole(&system, &recording, "").await;
}

#[tokio::test]
async fn a_limit_in_mid_file_or_at_the_api_is_waited_for_and_nothing_is_fetched_twice() {
    for at_the_api in [false, true] {
        let case = format!("at the API: {at_the_api}");
        let (system, _inbox) = linked().await;
        let delayed = Delayed::watch(&system);
        let limit = Fault::RateLimited {
            retry_after_seconds: Some(60),
        };
        if at_the_api {
            // By the event's address, before and after the wait.
            let refused = Fault::Status { status: 401 };
            system
                .zoom()
                .arm(NewFault::times(Point::Download, refused, 2))
                .unwrap();
        }
        let point = if at_the_api {
            Point::MeetingRecordings
        } else {
            Point::Content
        };
        let skip = u32::from(!at_the_api);
        let armed = NewFault::times(point, limit, 1).skip_first(skip);
        system.zoom().arm(armed).unwrap();
        system.zoom().clear_requests();
        let new = NewRecording::of(ADA).with_files(vec![NewFile::new("MP4", 9 * MIB)]);
        let recording = zoom::complete(&system, new).await;
        system.work().await;
        assert_eq!(spent(&delayed), [1], "{case}");
        let seen = file(&system, &recording).await;
        assert_eq!(seen["status"], "queued", "{case}");
        system.stack.advance(SignedDuration::from_secs(61));
        delayed.arrive(&system).await;
        system.work().await;
        landed::assert_whole(&system, &recording, &case).await;
        let requests = system.zoom().requests();
        let served = requests
            .iter()
            .filter(|r| r.path.starts_with("/ssrweb/") && r.status == Some(206));
        assert_eq!(served.count(), 2, "{case}");
    }
}
