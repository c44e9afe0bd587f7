//! The demo app against a Reelay that is played: for working on the pages without the whole system.
//!
//! `cargo run -p demo-app --example with_fake_reelay`; sign in as alice. Her recording moves on for a
//! minute, then begins anew. An MP4 file named as argument is what her stored recording plays.

#[path = "../tests/support/mod.rs"]
#[allow(dead_code, reason = "the tests use more of it than this example")]
mod support;

use std::time::Duration;

use jiff::Timestamp;
use reelay_demo_app::{Bound, Config};
use reqwest::Client;
use serde_json::{Value, json};
use support::fake_reelay::{FakeReelay, file, link, recording};
use support::{APP_SECRET, NOTIFICATION_SECRET, signed};

const SIZE: u64 = 734_003_200;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().init();
    let reelay = FakeReelay::start().await;
    let bound = Bound::bind(([127, 0, 0, 1], 3000).into()).await?;
    let webhook = bound.webhook_url();
    let mut config = Config::new(
        reelay.url.clone(),
        APP_SECRET.into(),
        NOTIFICATION_SECRET.into(),
    );
    config.simulator_url = Some("http://127.0.0.1:3001/".parse()?);
    let app = bound.serve(config).await?;
    tracing::info!("ready {}", app.url());

    let links = vec![
        link("link-1", "active", "Alice Example"),
        link(
            "link-2",
            "reauthorization_required",
            "Alice (second account)",
        ),
    ];
    reelay.world().links.insert("alice".into(), links);
    let transcript =
        "WEBVTT\n\n1\n00:00:01.000 --> 00:00:04.000\nAlice: Good morning, everybody.\n";
    let transcript = ("text/vtt", transcript.into());
    reelay.world().objects.insert("s3".into(), transcript);
    if let Some(video) = std::env::args().nth(1) {
        let video = ("video/mp4", std::fs::read(video)?);
        reelay.world().objects.insert("s1".into(), video);
    }
    for (id, kind) in [("msg_1", "link.activated"), ("msg_2", "recording.stored")] {
        let data =
            json!({"app_user_id": "alice", "sequence": 1, "recording": {"topic": "Planning"}});
        let fact = json!({"type": kind, "timestamp": Timestamp::now(), "data": data});
        let body = fact.to_string();
        let mut request = Client::new().post(webhook.clone());
        for (name, value) in signed(NOTIFICATION_SECRET, id, Timestamp::now().as_second(), &body) {
            request = request.header(name, value);
        }
        request.body(body).send().await?;
    }
    for second in (0..60).cycle() {
        let recordings = vec![moving(second), stored(), failed()];
        reelay.world().recordings.insert("alice".into(), recordings);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

fn moving(second: u64) -> Value {
    let bytes = SIZE * second / 50;
    let (status, bytes) = match bytes {
        0..SIZE => ("transferring", bytes),
        _ => ("stored", SIZE),
    };
    let mut it = recording(
        "moving",
        "Weekly with a <b>hostile</b> title",
        status,
        SIZE,
        bytes,
    );
    it["files"] = json!([
        file(
            "m1",
            "MP4",
            "shared_screen_with_speaker_view",
            status,
            SIZE * 9 / 10,
            bytes * 9 / 10
        ),
        file("m2", "M4A", "audio_only", status, SIZE / 10, bytes / 10),
        file("m3", "TRANSCRIPT", "audio_transcript", "queued", 4_096, 0),
    ]);
    it
}

fn stored() -> Value {
    let mut it = recording(
        "stored",
        "Planning the spring release",
        "stored",
        SIZE,
        SIZE,
    );
    it["zoom_state"] = json!("trashed");
    it["files"] = json!([
        file("s1", "MP4", "speaker_view", "stored", SIZE, SIZE),
        file("s2", "M4A", "audio_only", "stored", 48_000_000, 48_000_000),
        file("s3", "VTT", "audio_transcript", "stored", 4_096, 4_096),
    ]);
    it
}

fn failed() -> Value {
    let mut it = recording("failed", "", "failed", 2 * SIZE, SIZE);
    let mut lost = file("f2", "CHAT", "chat_file", "failed", 900, 0);
    lost["reason"] = json!("gone_at_zoom");
    it["files"] = json!([
        file("f1", "MP4", "gallery_view", "stored", SIZE, SIZE),
        lost
    ]);
    it
}
