//! An app's webhook that answers as it is told to.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use reelay_zoom_sim::Recording;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// What the app's webhook got.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// `webhook-id`.
    pub id: String,
    /// `webhook-timestamp`.
    pub timestamp: i64,
    /// `webhook-signature`.
    pub signature: String,
    /// Body.
    pub body: String,
}

impl Told {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// An app's webhook that answers as it is told to, and with 204 when it has run out of orders. The demo
/// app goes by the machine's clock; this one does not mind a clock that is moved.
#[derive(Debug)]
pub struct Inbox {
    /// For `AppWebhookUrl`.
    pub url: String,
    told: Arc<Mutex<Vec<Told>>>,
    answers: Arc<Mutex<VecDeque<String>>>,
}

impl Inbox {
    /// Opens one on a free port.
    pub async fn open() -> Self {
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

    /// The next answers, each a status line without the protocol.
    pub fn answer_next(&self, answers: &[&str]) {
        self.answers
            .lock()
            .unwrap()
            .extend(answers.iter().map(|answer| (*answer).to_owned()));
    }

    /// Everything that came, refused or not.
    pub fn told(&self) -> Vec<Told> {
        self.told.lock().unwrap().clone()
    }

    /// How often each type was told of one recording: each id once, for delivery is at least once.
    pub fn facts(&self, recording: &Recording) -> BTreeMap<String, usize> {
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
