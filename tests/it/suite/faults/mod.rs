//! What breaks: Zoom's answers, addresses that lead elsewhere, every AWS call, the app's webhook.

mod addresses;
mod app_webhook;
mod aws_calls;
mod zoom_answers;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use it::people::ADA;
use it::{System, store};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use zoom_sim::{NewFile, NewRecording, Recording};

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

/// What the app's webhook got.
#[derive(Debug, Clone, PartialEq)]
struct Told {
    id: String,
    timestamp: i64,
    signature: String,
    body: String,
}

impl Told {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// An app's webhook that answers as it is told to, and with 204 when it has run out of orders. The demo
/// app goes by the machine's clock; this one does not mind a clock that is moved.
struct Inbox {
    url: String,
    told: Arc<Mutex<Vec<Told>>>,
    answers: Arc<Mutex<VecDeque<String>>>,
}

impl Inbox {
    async fn open() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let told: Arc<Mutex<Vec<Told>>> = Arc::default();
        let answers: Arc<Mutex<VecDeque<String>>> = Arc::default();
        let (noted, orders) = (Arc::clone(&told), Arc::clone(&answers));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (noted, orders) = (Arc::clone(&noted), Arc::clone(&orders));
                tokio::spawn(async move {
                    let Some(one) = read_request(&mut stream).await else {
                        return;
                    };
                    noted.lock().unwrap().push(one);
                    let answer = orders
                        .lock()
                        .unwrap()
                        .pop_front()
                        .unwrap_or_else(|| "204 No Content".to_owned());
                    let answer = format!(
                        "HTTP/1.1 {answer}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                    );
                    let _ = stream.write_all(answer.as_bytes()).await;
                });
            }
        });
        Self { url, told, answers }
    }

    fn answer_next(&self, answers: &[&str]) {
        self.answers
            .lock()
            .unwrap()
            .extend(answers.iter().map(|answer| (*answer).to_owned()));
    }

    fn told(&self) -> Vec<Told> {
        self.told.lock().unwrap().clone()
    }

    /// How often each type was told of one recording: each id once, for delivery is at least once.
    fn facts(&self, recording: &Recording) -> BTreeMap<String, usize> {
        let (mut facts, mut seen) = (BTreeMap::new(), BTreeSet::new());
        for told in self.told() {
            let body = told.json();
            if body["data"]["recording"]["meeting_uuid"] == recording.uuid && seen.insert(told.id) {
                *facts
                    .entry(body["type"].as_str().unwrap().to_owned())
                    .or_default() += 1;
            }
        }
        facts
    }
}

async fn read_request(stream: &mut tokio::net::TcpStream) -> Option<Told> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let text = String::from_utf8(bytes[..head].to_vec()).ok()?;
    let header = |name: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once(": "));
        lines
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.to_owned())
    };
    let length: usize = header("content-length")?.parse().ok()?;
    while bytes.len() < head + 4 + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    Some(Told {
        id: header("webhook-id")?,
        timestamp: header("webhook-timestamp")?.parse().ok()?,
        signature: header("webhook-signature")?,
        body: String::from_utf8(bytes[head + 4..].to_vec()).ok()?,
    })
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
