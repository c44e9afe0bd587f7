//! The list of recordings: limits and cursors.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use reelay_domain::cursor::{self, Position};
use reelay_domain::keys::SecretVersions;
use serde_json::Value;
use support::System;
use support::zoom_users::{ADA, CEM};

use super::{assert_problem, create_meeting, process_arrived};

async fn page(system: &System, user: &str, query: &str) -> (Vec<Value>, Option<String>) {
    let response = system.app.get(&format!("/v1/recordings?{query}"), user).await;
    assert_eq!(response.status, 200, "{query}: {response:?}");
    let body = response.json();
    let cursor = &body["next_cursor"];
    assert!(cursor.is_null() || cursor.is_string(), "{body}");
    (body["recordings"].as_array().unwrap().clone(), cursor.as_str().map(str::to_owned))
}

fn ids(recordings: &[Value]) -> Vec<String> {
    recordings.iter().map(|recording| recording["id"].as_str().unwrap().to_owned()).collect()
}

/// All recordings of a user, page by page.
async fn all_pages(system: &System, user: &str, limit: usize) -> Vec<Value> {
    let (mut found, mut query) = (Vec::new(), format!("limit={limit}"));
    loop {
        let (recordings, next) = page(system, user, &query).await;
        assert!(recordings.len() <= limit, "{} on a page of {limit}", recordings.len());
        // Every page but the last is full, and only the first may be empty.
        assert!(next.is_none() || recordings.len() == limit, "a short page has a successor");
        assert!(found.is_empty() || !recordings.is_empty(), "a cursor leads to an empty page");
        found.extend(recordings);
        assert!(found.len() < 100, "cursors form a loop");
        let Some(cursor) = next else { return found };
        query = format!("limit={limit}&cursor={cursor}");
    }
}

#[tokio::test]
async fn limit_must_be_between_1_and_100() {
    let system = System::start().await;
    for limit in [
        "0",
        "101",
        "-1",
        "1.5",
        "1e1",
        "0x10",
        "abc",
        "%20",
        "1%20",
        "١",
        "99999999999999999999999",
        "1&limit=2",
    ] {
        let response = system.app.get(&format!("/v1/recordings?limit={limit}"), "alice").await;
        assert_problem(&response, 400, "request_invalid", limit);
    }
    for limit in ["1", "2", "99", "100"] {
        assert_eq!(
            page(&system, "alice", &format!("limit={limit}")).await,
            (vec![], None),
            "{limit}"
        );
    }
    assert_eq!(page(&system, "alice", "").await, (vec![], None));
}

/// Seven recordings of Ada and six of Cem; some begin in the same second.
async fn thirteen(system: &System) -> BTreeMap<String, (Timestamp, &'static str)> {
    let first: Timestamp = "2026-01-05T09:00:00Z".parse().unwrap();
    let mut recordings = BTreeMap::new();
    for (zoom_user, hours) in [(ADA, &[0, 1, 1, 2, 5, 5, 9][..]), (CEM, &[0, 1, 3, 5, 5, 10][..])] {
        for hour in hours {
            let start = first + SignedDuration::from_hours(*hour);
            recordings.insert(create_meeting(system, zoom_user, start), (start, zoom_user));
        }
    }
    process_arrived(system).await;
    recordings
}

#[tokio::test]
async fn pages_list_every_recording_once_newest_first() {
    let system = System::start().await;
    system.link("alice", ADA).await;
    system.link("alice", CEM).await;
    system.link("cem", CEM).await;
    let recordings = thirteen(&system).await;
    assert_eq!(recordings.len(), 13);

    let whole = all_pages(&system, "alice", 100).await;
    let order = ids(&whole);
    assert_eq!(order.iter().collect::<BTreeSet<_>>(), recordings.keys().collect());
    let starts: Vec<_> = order.iter().map(|id| recordings[id].0).collect();
    assert!(starts.is_sorted_by(|newer, older| newer >= older), "{starts:?}");
    for recording in &whole {
        let (start, zoom_user) = recordings[recording["id"].as_str().unwrap()];
        assert_eq!(recording["start_time"], format!("{start:.3}"));
        assert_eq!(recording["zoom"]["user_id"], zoom_user);
    }
    for limit in [1, 2, 3, 4, 5, 6, 7, 12, 13, 14] {
        assert_eq!(all_pages(&system, "alice", limit).await, whole, "{limit} a page");
    }
    // A page without a limit holds all 13.
    assert_eq!(page(&system, "alice", "").await, (whole.clone(), None));
    let cems: Vec<_> =
        whole.iter().filter(|recording| recording["zoom"]["user_id"] == CEM).cloned().collect();
    // Each user sees the ids of their own links.
    assert_eq!(ids(&all_pages(&system, "cem", 2).await), ids(&cems));
}

#[tokio::test]
async fn cursor_is_stable_while_recordings_arrive() {
    let system = System::start().await;
    system.link("alice", ADA).await;
    system.link("alice", CEM).await;
    thirteen(&system).await;
    let before = ids(&all_pages(&system, "alice", 100).await);
    let (first, cursor) = page(&system, "alice", "limit=4").await;
    // One recording is newer than the pages already read, the other older than all.
    let newer = create_meeting(&system, ADA, "2026-02-01T09:00:00Z".parse().unwrap());
    let older = create_meeting(&system, CEM, "2025-12-01T09:00:00Z".parse().unwrap());
    process_arrived(&system).await;
    let (rest, end) =
        page(&system, "alice", &format!("limit=100&cursor={}", cursor.unwrap())).await;
    assert_eq!(end, None);
    let seen = [ids(&first), ids(&rest)].concat();
    assert_eq!(seen, [before.clone(), vec![older.clone()]].concat());
    assert_eq!(
        ids(&all_pages(&system, "alice", 5).await),
        [vec![newer], before, vec![older]].concat()
    );
}

#[tokio::test]
async fn forged_or_foreign_cursor_is_rejected() {
    let system = System::start().await;
    // Both users see the same recordings, but a cursor is bound to its user.
    system.link("alice", ADA).await;
    system.link("mallory", ADA).await;
    for minutes in 0..3 {
        create_meeting(&system, ADA, system.app.now() - SignedDuration::from_mins(minutes));
    }
    process_arrived(&system).await;
    let cursor = page(&system, "alice", "limit=1").await.1.unwrap();
    let assert_rejected = async |user: &str, cursor: &str| {
        let response =
            system.app.get(&format!("/v1/recordings?limit=1&cursor={cursor}"), user).await;
        assert_problem(&response, 400, "cursor_invalid", cursor);
    };
    assert_rejected("mallory", &cursor).await;
    for at in 0..cursor.len() {
        let mut bytes = cursor.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        assert_rejected("alice", std::str::from_utf8(&bytes).unwrap()).await;
    }
    let bytes = URL_SAFE_NO_PAD.decode(&cursor).unwrap();
    let position =
        Position { start_order: "2026-01-01T00:00:00Z#x".into(), zoom_user: "Acct#User".into() };
    for forged in [
        cursor::encode(&SecretVersions::single("attacker"), &"alice".parse().unwrap(), &position),
        cursor::encode(&SecretVersions::single(""), &"alice".parse().unwrap(), &position),
        // The position without its MAC, and a MAC without a position.
        URL_SAFE_NO_PAD.encode(&bytes[32..]),
        URL_SAFE_NO_PAD.encode(&bytes[..32]),
        cursor[..cursor.len() - 1].to_owned(),
        format!("{cursor}A"),
        format!("{cursor}="),
        format!("{cursor}&cursor={cursor}"),
        "x".to_owned(),
        "%00".to_owned(),
        "%FF".to_owned(),
        "a".repeat(6_000),
    ] {
        assert_rejected("alice", &forged).await;
    }
    assert_eq!(page(&system, "alice", &format!("limit=1&cursor={cursor}")).await.0.len(), 1);
}

#[tokio::test]
async fn cursor_survives_only_one_key_rotation() {
    let system = System::start().await;
    system.link("alice", ADA).await;
    for minutes in 0..3 {
        create_meeting(&system, ADA, system.app.now() - SignedDuration::from_mins(minutes));
    }
    process_arrived(&system).await;
    let cursor = page(&system, "alice", "limit=1").await.1.unwrap();
    let query = format!("limit=1&cursor={cursor}");
    for value in ["n", "o"] {
        system.rotate_function_secret("oauth-start", "STATE_KEY", &value.repeat(44)).await;
        // The function rereads its key after five minutes.
        system.advance(SignedDuration::from_mins(5));
        let response = system.app.get(&format!("/v1/recordings?{query}"), "alice").await;
        match value {
            "n" => assert_eq!(response.status, 200, "{response:?}"),
            _ => assert_problem(&response, 400, "cursor_invalid", "two rotations"),
        }
    }
}

#[tokio::test]
async fn filters_select_recordings() {
    let system = System::with(&[("DownloadMode", "on-demand")]).await;
    system.link("alice", ADA).await;
    let at = |text: &str| text.parse::<Timestamp>().unwrap();
    let first = create_meeting(&system, ADA, at("2026-01-05T00:00:00Z"));
    let second = create_meeting(&system, ADA, at("2026-01-06T12:00:00Z"));
    let last = create_meeting(&system, ADA, at("2026-01-07T23:59:59Z"));
    process_arrived(&system).await;
    let download = format!("/v1/recordings/{second}/download");
    assert_eq!(system.app.post(&download, "alice", String::new()).await.status, 202);
    system.process_queues().await;
    let whole = page(&system, "alice", "").await.0;
    let meeting = whole[2]["meeting_id"].as_str().unwrap();

    for (query, expected) in [
        ("from=2026-01-05&to=2026-01-07", vec![&last, &second, &first]),
        ("from=2026-01-06", vec![&last, &second]),
        ("to=2026-01-06", vec![&second, &first]),
        ("from=2026-01-06&to=2026-01-06", vec![&second]),
        ("from=2026-02-01", vec![]),
        ("status=stored", vec![&second]),
        ("status=detected", vec![&last, &first]),
        ("status=failed", vec![]),
        ("status=detected&to=2026-01-06", vec![&first]),
        (&format!("meeting_id={meeting}"), vec![&first]),
        ("meeting_id=1", vec![]),
    ] {
        let (found, next) = page(&system, "alice", query).await;
        assert_eq!((ids(&found).iter().collect::<Vec<_>>(), next), (expected, None), "{query}");
    }
    let (found, cursor) = page(&system, "alice", "status=detected&limit=1").await;
    assert_eq!(ids(&found), [last]);
    let query = format!("status=detected&limit=1&cursor={}", cursor.unwrap());
    assert_eq!(ids(&page(&system, "alice", &query).await.0), [first]);

    for query in [
        "status=unknown",
        "status=Stored",
        "from=2026-02-30",
        "to=yesterday",
        "to=20260131",
        "from=2026-01-02&to=2026-01-01",
        "from=2026-01-01&from=2026-01-01",
    ] {
        let response = system.app.get(&format!("/v1/recordings?{query}"), "alice").await;
        assert_problem(&response, 400, "request_invalid", query);
    }
}

#[tokio::test]
async fn filtered_pages_read_beyond_one_batch() {
    let system = System::with(&[("DownloadMode", "on-demand")]).await;
    system.link("alice", ADA).await;
    let start: Timestamp = "2026-01-05T00:00:00Z".parse().unwrap();
    let oldest = create_meeting(&system, ADA, start);
    for minutes in 1..=120 {
        create_meeting(&system, ADA, start + SignedDuration::from_mins(minutes));
    }
    process_arrived(&system).await;
    let download = format!("/v1/recordings/{oldest}/download");
    assert_eq!(system.app.post(&download, "alice", String::new()).await.status, 202);
    system.process_queues().await;
    let (found, next) = page(&system, "alice", "status=stored&limit=2").await;
    assert_eq!((ids(&found), next), (vec![oldest], None));
    let (found, next) = page(&system, "alice", "status=detected&limit=100").await;
    assert_eq!((found.len(), next.is_some()), (100, true));
}
