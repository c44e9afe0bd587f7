//! Which requests are believed to be Zoom's.

use serde_json::{Value, json};
use support::{System, store, zoom};

use super::{ROUTES, event, now, queued};

const JSON: &str = "application/json; charset=utf-8";

/// What is wrong, the body, and the headers of timestamp and signature.
type Case<'a> = (&'a str, &'a [u8], Option<(&'a str, &'a str)>);

/// Posts an event dated so far from now, within one second of the clock: its edge is what is tested.
async fn post_dated(system: &System, path: &str, seconds: i64) -> u16 {
    loop {
        let before = now(system);
        let status = zoom::post(system, path, &event(), &zoom::secret(system), seconds).await;
        if now(system) == before {
            return status.as_u16();
        }
    }
}

#[tokio::test]
async fn a_signed_event_is_queued_on_both_routes() {
    let system = System::start().await;
    for (sent, path) in ROUTES.iter().enumerate() {
        assert_eq!(
            zoom::post(&system, path, &event(), &zoom::secret(&system), 0).await,
            200,
            "{path}"
        );
        assert_eq!(queued(&system).await, sent + 1, "{path}");
    }
}

#[tokio::test]
async fn every_bad_signature_is_refused_alike_and_nothing_is_queued() {
    let system = System::start().await;
    let (body, secret, timestamp) = (event(), zoom::secret(&system), now(&system));
    let good = reelay_zoom_sim::sign(&secret, &timestamp, &body);
    let later = (system.app.now().as_second() + 60).to_string();
    let reserialised =
        serde_json::to_vec_pretty(&serde_json::from_slice::<Value>(&body).unwrap()).unwrap();
    let other = reelay_zoom_sim::sign("another secret", &timestamp, &body);
    let empty = reelay_zoom_sim::sign("", &timestamp, &body);
    let flipped = format!(
        "v0={}",
        if good.ends_with('0') {
            good[3..].replace('0', "1")
        } else {
            good[3..66].to_owned() + "0"
        }
    );
    let cases: [Case<'_>; 12] = [
        ("no headers", &body, None),
        ("another secret", &body, Some((&timestamp, &other))),
        ("the empty secret", &body, Some((&timestamp, &empty))),
        ("another digest", &body, Some((&timestamp, &flipped))),
        ("written again", &reserialised, Some((&timestamp, &good))),
        ("another time", &body, Some((&later, &good))),
        ("cut", &body, Some((&timestamp, &good[..60]))),
        ("longer", &body, Some((&timestamp, &format!("{good}00")))),
        ("without its prefix", &body, Some((&timestamp, &good[3..]))),
        ("empty headers", &body, Some(("", ""))),
        ("a time that is none", &body, Some(("now", &good))),
        ("no body", b"", Some((&timestamp, &good))),
    ];
    for path in ROUTES {
        for (case, body, headers) in &cases {
            for content_type in [JSON, "application/octet-stream"] {
                let status = zoom::post_with(&system, path, body, content_type, *headers).await;
                assert_eq!(status, 401, "{path}: {case}, as {content_type}");
            }
        }
    }
    assert_eq!(queued(&system).await, 0);
    // The signature that all of these were bent from is a good one.
    let status = zoom::post_with(&system, ROUTES[0], &body, JSON, Some((&timestamp, &good))).await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn refusals_tell_a_forger_nothing() {
    let system = System::start().await;
    let mut answers = Vec::new();
    for (body, secret) in [
        (event(), "wrong"),
        (b"not json".to_vec(), "wrong"),
        (event(), ""),
    ] {
        let answer = zoom::ask(&system, ROUTES[0], &body, secret).await;
        answers.push((answer.status().as_u16(), answer.text().await.unwrap()));
    }
    assert!(
        answers.iter().all(|answer| *answer == (401, String::new())),
        "{answers:?}"
    );
}

#[tokio::test]
async fn five_minutes_either_side_are_fresh_and_a_second_more_is_stale() {
    let system = System::start().await;
    for path in ROUTES {
        for (seconds, expected) in [(-300, 200), (300, 200), (-301, 401), (301, 401)] {
            assert_eq!(
                post_dated(&system, path, seconds).await,
                expected,
                "{path} {seconds}"
            );
        }
    }
}

#[tokio::test]
async fn a_non_ascii_topic_verifies_over_the_raw_bytes() {
    let system = System::start().await;
    let topic = "Synthetic — été 🎥 \u{202e}\u{0000}";
    let mut body: Value = serde_json::from_slice(&event()).unwrap();
    body["payload"]["object"]["topic"] = json!(topic);
    let body = body.to_string().into_bytes();
    for path in ROUTES {
        assert_eq!(
            zoom::post(&system, path, &body, &zoom::secret(&system), 0).await,
            200
        );
    }
    let queue = &system.stack.config().queues.events;
    for message in store::peek(&system.stack, queue).await {
        let message: Value = serde_json::from_str(&message).unwrap();
        assert_eq!(message["event"]["payload"]["object"]["topic"], topic);
    }
}

#[tokio::test]
async fn a_body_that_arrives_base64_encoded_verifies_as_it_was_signed() {
    let system = System::start().await;
    let (body, timestamp) = (event(), now(&system));
    let signature = reelay_zoom_sim::sign(&zoom::secret(&system), &timestamp, &body);
    for path in ROUTES {
        // API Gateway hands over what is not text as base64.
        let headers = Some((timestamp.as_str(), signature.as_str()));
        assert_eq!(
            zoom::post_with(&system, path, &body, "application/octet-stream", headers).await,
            200
        );
    }
    assert_eq!(queued(&system).await, 2);
}
