//! What breaks: Zoom's answers, addresses that lead elsewhere, every AWS call, the app's webhook.

mod addresses;
mod app_webhook;
mod aws_calls;
mod zoom_answers;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reelay_zoom_sim::{NewFile, NewRecording, Recording};
use serde_json::Value;
use support::people::ADA;
use support::{Inbox, System, store};
use tokio::net::TcpListener;

const MIB: u64 = 1024 * 1024;

/// A listener that only counts who comes.
struct Trap {
    address: SocketAddr,
    visits: Arc<AtomicUsize>,
}

impl Trap {
    async fn on(ip: Ipv4Addr) -> Self {
        let listener = TcpListener::bind((ip, 0)).await.unwrap();
        let (address, visits) = (
            listener.local_addr().unwrap(),
            Arc::new(AtomicUsize::new(0)),
        );
        let seen = Arc::clone(&visits);
        tokio::spawn(async move {
            while listener.accept().await.is_ok() {
                seen.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { address, visits }
    }

    fn visits(&self) -> usize {
        self.visits.load(Ordering::SeqCst)
    }
}

async fn linked() -> System {
    let system = System::start().await;
    system.link("alice", ADA).await;
    system
}

/// Somebody who linked, and an app whose webhook is under the test's command.
async fn linked_with_inbox() -> (System, Inbox) {
    let inbox = Inbox::open().await;
    let system = System::with(&[("AppWebhookUrl", &inbox.url)]).await;
    system.link("alice", ADA).await;
    (system, inbox)
}

fn of_ada(files: Vec<NewFile>) -> NewRecording {
    NewRecording::of(ADA).with_files(files)
}

fn recording_id(recording: &Recording) -> String {
    URL_SAFE_NO_PAD.encode(&recording.uuid)
}

async fn view(system: &System, uuid: &str) -> Value {
    system
        .app
        .get(
            &format!("/v1/recordings/{}", URL_SAFE_NO_PAD.encode(uuid)),
            "alice",
        )
        .await
        .json()
}

/// The `recording.failed` notifications of one meeting: (file, reason), each as often as it was a new fact.
fn failures(system: &System, uuid: &str) -> Vec<(String, String)> {
    let received = system.stack.demo_app().unwrap().received();
    let failed = received.iter().filter(|n| {
        n.kind == "recording.failed" && n.body["data"]["recording"]["meeting_uuid"] == uuid
    });
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut failed: Vec<_> = failed
        .map(|n| {
            (
                text(&n.body["data"]["file"]["id"]),
                text(&n.body["data"]["reason"]),
            )
        })
        .collect();
    failed.sort();
    failed
}

/// Asserts that exactly the recording's files lie in the bucket, byte by byte, and gives its manifest.
async fn assert_whole(system: &System, recording: &Recording, case: &str) -> Value {
    let date = recording.start_time.strftime("%Y/%m/%d");
    let folder = format!(
        "recordings/{}/{ADA}/{date}/{}/",
        recording.account_id,
        recording_id(recording)
    );
    let mut found = store::objects(&system.stack, &folder).await;
    let manifest = found.remove(&format!("{folder}manifest.json"));
    assert_eq!(found.len(), recording.files.len(), "{case}");
    for file in &recording.files {
        let name = format!("{folder}{}.{}", file.id, file.file_extension.to_lowercase());
        let bytes = found
            .get(&name)
            .unwrap_or_else(|| panic!("{case}: no {name}"));
        assert!(
            *bytes == file.spec().bytes(0..file.size),
            "{case}: other bytes in {name}"
        );
    }
    let manifest = manifest.unwrap_or_else(|| panic!("{case}: no manifest"));
    serde_json::from_slice(&manifest).unwrap()
}

fn two_small() -> Vec<NewFile> {
    vec![NewFile::new("MP4", 2_000), NewFile::new("CHAT", 300)]
}
