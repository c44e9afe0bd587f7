//! `GET /v1/notifications`.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde_json::{Value, json};
use support::zoom_users::ADA;

use super::{FEED_DELAY, feed, linked, one_file, types};

#[tokio::test]
async fn feed_shows_what_was_sent_in_order() {
    let (system, app_webhook) = linked(&[]).await;
    system.record(one_file()).await;
    assert_eq!(feed(&system, "alice").await, [Value::Null; 0], "younger than 15 seconds");
    system.advance(FEED_DELAY);
    let feed = feed(&system, "alice").await;
    let expected =
        ["link.activated", "recording.detected", "recording.file_stored", "recording.stored"];
    assert_eq!(types(&feed), expected);
    let sent: BTreeMap<String, Value> =
        app_webhook.received().iter().map(|sent| (sent.id.clone(), sent.json())).collect();
    assert_eq!(sent.len(), feed.len());
    for notification in &feed {
        let id = notification["id"].as_str().unwrap();
        let mut same = sent[id].clone();
        same["id"] = json!(id);
        assert_eq!(*notification, same);
    }
    let sequences: Vec<_> = feed[1..].iter().map(|it| it["data"]["sequence"].as_u64()).collect();
    assert!(sequences.is_sorted(), "{sequences:?}");
}

#[tokio::test]
async fn cursor_continues_without_gap_or_repetition() {
    let (system, _) = linked(&[]).await;
    system.record(one_file()).await;
    system.advance(FEED_DELAY);
    let all = feed(&system, "alice").await;
    let (mut seen, mut cursor) = (Vec::new(), None::<String>);
    let next = async |cursor: &Option<String>| {
        let cursor = cursor.as_ref().map(|cursor| format!("&cursor={cursor}"));
        let path = format!("/v1/notifications?limit=1{}", cursor.unwrap_or_default());
        let page = system.app.get(&path, "alice").await.json();
        let found = page["notifications"].as_array().unwrap().clone();
        assert!(found.len() <= 1, "{page}");
        (found, Some(page["next_cursor"].as_str().unwrap().to_owned()))
    };
    for _ in 0..=all.len() {
        let (found, next_cursor) = next(&cursor).await;
        seen.extend(found);
        cursor = next_cursor;
    }
    assert_eq!(seen, all);
    // The last cursor finds later notifications.
    system.record(one_file()).await;
    assert_eq!(next(&cursor).await.0, [Value::Null; 0]);
    system.advance(FEED_DELAY);
    for kind in ["recording.detected", "recording.file_stored", "recording.stored"] {
        let (found, next_cursor) = next(&cursor).await;
        assert_eq!(types(&found), [kind]);
        cursor = next_cursor;
    }
}

#[tokio::test]
async fn cursor_of_an_idle_feed_stays_valid() {
    let (system, _) = linked(&[]).await;
    let mut cursor = String::new();
    for _ in 0..3 {
        system.advance(SignedDuration::from_hours(24 * 20));
        let path = format!("/v1/notifications?cursor={cursor}");
        let response = system.app.get(&path, "alice").await;
        assert_eq!(response.status, 200, "{response:?}");
        response.json()["next_cursor"].as_str().unwrap().clone_into(&mut cursor);
    }
    assert_eq!(feed(&system, "alice").await, [Value::Null; 0], "older than 30 days");
    system.advance(SignedDuration::from_hours(24 * 31));
    let path = format!("/v1/notifications?cursor={cursor}");
    system.app.get(&path, "alice").await.assert_problem(410, "cursor_expired", "31 days old");
}

#[tokio::test]
async fn invalid_requests_are_rejected() {
    let (system, _) = linked(&[]).await;
    let page = system.app.get("/v1/notifications", "alice").await.json();
    let cursor = page["next_cursor"].as_str().unwrap();
    let recordings = system.app.get("/v1/recordings", "alice").await;
    assert_eq!(recordings.status, 200);
    for (query, user, code) in [
        (format!("cursor={cursor}"), "bob", "cursor_invalid"),
        (format!("cursor={cursor}x"), "alice", "cursor_invalid"),
        ("limit=0".to_owned(), "alice", "request_invalid"),
        ("limit=101".to_owned(), "alice", "request_invalid"),
        ("since=yesterday".to_owned(), "alice", "request_invalid"),
    ] {
        let response = system.app.get(&format!("/v1/notifications?{query}"), user).await;
        response.assert_problem(400, code, &query);
    }
    let path = format!("/v1/recordings?cursor={cursor}");
    system.app.get(&path, "alice").await.assert_problem(400, "cursor_invalid", "another list");
}

#[tokio::test]
async fn recordings_are_hidden_without_a_link() {
    let (system, _) = linked(&[]).await;
    system.link("bob", ADA).await;
    system.record(one_file()).await;
    system.advance(FEED_DELAY);
    let is_recording = |kind: &&str| kind.starts_with("recording.");
    let shown = async |user: &str| {
        types(&feed(&system, user).await).into_iter().filter(is_recording).count()
    };
    assert_eq!((shown("alice").await, shown("bob").await), (3, 3));
    system.app.disconnect_all("alice").await;
    system.process_queues().await;
    system.advance(FEED_DELAY);
    assert_eq!((shown("alice").await, shown("bob").await), (0, 3));
    assert_eq!(types(&feed(&system, "alice").await).last(), Some(&"link.removed"));
    // The earlier notifications, and those of the new activation.
    system.link("alice", ADA).await;
    system.advance(FEED_DELAY);
    assert_eq!((shown("alice").await, shown("bob").await), (6, 3));
    // Another user's feed is empty.
    assert_eq!(feed(&system, "carol").await, [Value::Null; 0]);
}
