//! What breaks: Zoom's answers, addresses that lead elsewhere, every AWS call, the app's webhook.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::keys::Versions;
use domain::notification;
use embedded_aws::{Fault as AwsFault, Service};
use it::people::ADA;
use it::{System, store, zoom};
use jiff::SignedDuration;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use zoom_sim::{Fault, NewFault, NewFile, NewRecording, Point, Recording};

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

// ------------------------------------------------------------------------------- where downloads may lead

#[tokio::test]
async fn no_request_leaves_for_a_download_url_that_is_not_zooms() {
    // A listed name that is not loopback shows that plain http is refused there as well.
    let system = System::with(&[("DownloadHosts", "127.0.0.1,localhost,listed.test")]).await;
    system.link("alice", ADA).await;
    let (foreign, home) = (
        Trap::on(Ipv4Addr::new(127, 0, 0, 2)).await,
        Trap::on(Ipv4Addr::LOCALHOST).await,
    );
    let (at, here) = (foreign.address, home.address);
    let urls = [
        format!("http://{at}/rec/x"),
        format!("https://{at}/rec/x"),
        format!("http://127.0.0.1@{at}/rec/x"),
        format!("http://user:password@{here}/rec/x"),
        format!("http://user@{here}/rec/x"),
        format!("http:\\\\{here}/rec/x"),
        format!("http://{here}\t/rec/x"),
        format!("http://[::ffff:127.0.0.1]:{}/rec/x", here.port()),
        format!("http://0.0.0.0:{}/rec/x", here.port()),
        format!("ftp://{here}/rec/x"),
        "http://listed.test/rec/x".to_owned(),
        "https://listed.test:8443/rec/x".to_owned(),
        "https://listed.test.evil.test/rec/x".to_owned(),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "file:///etc/passwd".to_owned(),
        "not a url".to_owned(),
    ];
    let ids: Vec<String> = (0..urls.len()).map(|n| format!("file-{n:02}")).collect();
    let files: Vec<_> = ids
        .iter()
        .zip(&urls)
        .map(|(id, url)| (id.as_str(), "MP4", 10, url.as_str()))
        .collect();
    let account = system.zoom().users()[0].account_id.clone();
    let event = zoom::completed(&account, ADA, "elsewhere==", &files);
    assert_eq!(
        zoom::post(&system, "/zoom/webhook", &event, &zoom::secret(&system), 0).await,
        200
    );
    system.work().await;

    assert_eq!((foreign.visits(), home.visits()), (0, 0));
    let seen = view(&system, "elsewhere==").await;
    for (file, url) in seen["files"].as_array().unwrap().iter().zip(&urls) {
        assert_eq!(
            (&file["status"], &file["reason"]),
            (&json!("failed"), &json!("download_host_not_allowed")),
            "{url}"
        );
    }
    assert_eq!(seen["status"], "failed");
    let expected: Vec<_> = ids
        .into_iter()
        .map(|id| (id, "download_host_not_allowed".to_owned()))
        .collect();
    assert_eq!(failures(&system, "elsewhere=="), expected);
    // It would be the same the next time.
    assert_eq!(store::dead(&system.stack).await, Vec::<String>::new());
    assert!(store::objects(&system.stack, "").await.is_empty());
}

#[tokio::test]
async fn no_request_leaves_for_a_redirect_that_leads_elsewhere() {
    let system = linked().await;
    let (foreign, home) = (
        Trap::on(Ipv4Addr::new(127, 0, 0, 2)).await,
        Trap::on(Ipv4Addr::LOCALHOST).await,
    );
    let (at, here) = (foreign.address, home.address);
    for (point, to) in [
        (Point::Download, format!("http://{at}/x")),
        (Point::Content, format!("http://{at}/x")),
        (Point::Download, format!("https://{at}/x")),
        (Point::Download, format!("//{at}/x")),
        (Point::Download, format!("http://user:password@{here}/x")),
        (Point::Download, format!("ftp://{here}/x")),
        (Point::Content, "https://example.com/x".to_owned()),
        (
            Point::Download,
            "http://169.254.169.254/latest/meta-data/".to_owned(),
        ),
        (Point::Download, "file:///etc/passwd".to_owned()),
    ] {
        system
            .zoom()
            .arm(NewFault::always(point, Fault::Redirect { to: to.clone() }))
            .unwrap();
        let recording = zoom::complete(&system, of_ada(vec![NewFile::new("MP4", 100)])).await;
        system.work().await;
        system.zoom().clear_faults(None);
        assert_eq!((foreign.visits(), home.visits()), (0, 0), "{to}");
        let expected = [(
            recording.files[0].id.clone(),
            "download_host_not_allowed".to_owned(),
        )];
        assert_eq!(failures(&system, &recording.uuid), expected, "{to}");
        assert_eq!(
            view(&system, &recording.uuid).await["files"][0]["reason"],
            "download_host_not_allowed",
            "{to}"
        );
    }
    assert!(store::objects(&system.stack, "").await.is_empty());
    assert_eq!(store::dead(&system.stack).await, Vec::<String>::new());
}

#[tokio::test]
async fn redirects_in_a_circle_come_to_an_end() {
    let system = linked().await;
    system
        .zoom()
        .arm(NewFault::always(
            Point::Download,
            Fault::Redirect {
                to: "?again".to_owned(),
            },
        ))
        .unwrap();
    let recording = zoom::complete(&system, of_ada(vec![NewFile::new("MP4", 100)])).await;
    system.zoom().clear_requests();
    system.work().await;
    assert_eq!(
        view(&system, &recording.uuid).await["files"][0]["reason"],
        "redirect_not_followed"
    );
    // However many sources of the file are tried, none of them for ever.
    let requests = system.zoom().requests();
    let of_event = requests
        .iter()
        .filter(|request| request.path.starts_with("/rec/webhook_download/"));
    assert_eq!(of_event.count(), 6);
}

#[tokio::test]
async fn the_token_goes_to_zooms_host_and_not_along_with_the_redirect() {
    let system = linked().await;
    assert!(system.zoom().settings().refuse_authorization_at_content);
    let recording = zoom::complete(&system, of_ada(vec![NewFile::new("MP4", 100)])).await;
    system.zoom().clear_requests();
    system.work().await;
    let requests = system.zoom().requests();
    let seen: Vec<_> = requests
        .iter()
        .map(|r| {
            (
                r.path.split('/').nth(1).unwrap(),
                r.authorization.as_deref(),
            )
        })
        .collect();
    assert_eq!(seen, [("rec", Some("Bearer")), ("ssrweb", None)]);
    assert_ne!(requests[0].host, requests[1].host);
    assert_whole(&system, &recording, "").await;
}

// ------------------------------------------------------------------------------------- what Zoom answers

#[tokio::test]
async fn whatever_zoom_answers_once_the_file_is_right_in_the_end() {
    let system = linked().await;
    let page = |status| Fault::Answer {
        status,
        content_type: "text/html; charset=utf-8".into(),
        body: "<html>".into(),
    };
    let size = 50_000;
    for (point, fault) in [
        (Point::Download, Fault::Html),
        (Point::Content, Fault::Html),
        (Point::Content, page(200)),
        (Point::Content, page(206)),
        (Point::Download, Fault::Status { status: 401 }),
        (Point::Content, Fault::Status { status: 403 }),
        (Point::Download, Fault::Status { status: 404 }),
        (
            Point::Download,
            Fault::RateLimited {
                retry_after_seconds: None,
            },
        ),
        (Point::Download, Fault::Status { status: 500 }),
        (Point::Content, Fault::Status { status: 503 }),
        (Point::Download, Fault::Status { status: 204 }),
        (Point::Download, Fault::Close),
        (Point::Content, Fault::Close),
        (Point::Content, Fault::Truncate { after: 0 }),
        (Point::Content, Fault::Truncate { after: size - 1 }),
        (Point::Content, Fault::Reset { after: 100 }),
        (Point::Content, Fault::ContentLength { length: size - 1 }),
        (Point::Content, Fault::ContentLength { length: size + 1 }),
        (Point::Content, Fault::ContentLength { length: 0 }),
    ] {
        let case = format!("{fault:?} at {point:?}");
        system.zoom().arm(NewFault::times(point, fault, 1)).unwrap();
        let recording = zoom::complete(&system, of_ada(vec![NewFile::new("MP4", size)])).await;
        system.work().await;
        assert_eq!(system.zoom().faults().last().unwrap().struck, 1, "{case}");
        assert_whole(&system, &recording, &case).await;
        assert_eq!(
            view(&system, &recording.uuid).await["status"],
            "stored",
            "{case}"
        );
        assert_eq!(failures(&system, &recording.uuid), [], "{case}");
    }
    assert_eq!(store::open_uploads(&system.stack).await, 0);
    assert_eq!(store::dead(&system.stack).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_large_body_that_breaks_off_leaves_no_parts_behind_and_is_right_in_the_end() {
    let system = linked().await;
    let size = 17 * MIB;
    for fault in [
        Fault::Truncate { after: MIB },
        Fault::Reset { after: MIB },
        Fault::ContentLength { length: size + 1 },
    ] {
        let case = format!("{fault:?}");
        // For good first, so that what a failure leaves behind can be looked at.
        let armed = system
            .zoom()
            .arm(NewFault::always(Point::Content, fault))
            .unwrap();
        let recording = zoom::complete(&system, of_ada(vec![NewFile::new("MP4", size)])).await;
        system.work().await;
        assert_eq!(
            view(&system, &recording.uuid).await["status"],
            "failed",
            "{case}"
        );
        let left = store::objects(&system.stack, "").await;
        assert!(
            !left
                .keys()
                .any(|key| key.contains(&recording_id(&recording))),
            "{case}"
        );
        assert_eq!(store::open_uploads(&system.stack).await, 0, "{case}");
        system.zoom().clear_faults(Some(armed));
        let path = format!("/v1/recordings/{}/download", recording_id(&recording));
        assert_eq!(
            system.app.call(Method::POST, &path, "alice").await.status,
            202
        );
        system.work().await;
        assert_whole(&system, &recording, &case).await;
    }
}

#[tokio::test]
async fn what_fails_for_good_is_told_once_and_can_be_asked_for_again() {
    let length = |length| Fault::ContentLength { length };
    // The message of what was tried to the end lies where a person sees it; what Zoom has not, nobody needs
    // to look into.
    for (point, fault, reason, dead) in [
        (Point::Download, Fault::Html, "html_instead_of_file", 1),
        (
            Point::Download,
            Fault::Status { status: 401 },
            "token_refused",
            1,
        ),
        (
            Point::Content,
            Fault::Status { status: 403 },
            "token_refused",
            1,
        ),
        (
            Point::Download,
            Fault::Status { status: 404 },
            "not_found",
            0,
        ),
        (Point::Download, Fault::Status { status: 410 }, "gone", 0),
        (
            Point::Download,
            Fault::RateLimited {
                retry_after_seconds: None,
            },
            "rate_limited",
            1,
        ),
        (
            Point::Content,
            Fault::Status { status: 500 },
            "zoom_unavailable",
            1,
        ),
        (Point::Content, Fault::Close, "network", 1),
        (Point::Content, Fault::Truncate { after: 10 }, "network", 1),
        (Point::Content, length(999), "length_differs", 1),
        (Point::Content, length(1_001), "length_differs", 1),
        (
            Point::Content,
            Fault::Status { status: 418 },
            "unexpected_answer",
            1,
        ),
    ] {
        let system = linked().await;
        let case = format!("{fault:?} at {point:?}");
        let bad = "the-bad-one";
        let files = vec![
            NewFile {
                id: Some(bad.into()),
                ..NewFile::new("MP4", 1_000)
            },
            NewFile::new("M4A", 1_000),
        ];
        let armed = system
            .zoom()
            .arm(NewFault::always(point, fault).about(bad))
            .unwrap();
        let recording = zoom::complete(&system, of_ada(files)).await;
        system.work().await;

        let seen = view(&system, &recording.uuid).await;
        assert_eq!(seen["status"], "failed", "{case}");
        let of = |id: &str| {
            seen["files"]
                .as_array()
                .unwrap()
                .iter()
                .find(|file| file["id"] == id)
                .unwrap()
                .clone()
        };
        assert_eq!(
            (&of(bad)["status"], &of(bad)["reason"]),
            (&json!("failed"), &json!(reason)),
            "{case}"
        );
        assert_eq!(
            of(&recording.files[1].id)["status"],
            "stored",
            "{case}: the neighbour does not suffer"
        );
        assert_eq!(
            failures(&system, &recording.uuid),
            [(bad.to_owned(), reason.to_owned())],
            "{case}"
        );
        assert_eq!(store::files(&system.stack).await.len(), 1, "{case}");
        let messages = store::dead(&system.stack).await;
        assert_eq!(messages.len(), dead, "{case}: {messages:?}");
        for credential in zoom::credentials(&system) {
            assert!(
                !messages.iter().any(|message| message.contains(&credential)),
                "{case}: {credential}"
            );
        }

        system.zoom().clear_faults(Some(armed));
        let path = format!("/v1/recordings/{}/download", recording_id(&recording));
        assert_eq!(
            system.app.call(Method::POST, &path, "alice").await.status,
            202
        );
        system.work().await;
        assert_whole(&system, &recording, &case).await;
        let received = system.stack.demo_app().unwrap().received();
        assert_eq!(received.last().unwrap().kind, "recording.stored", "{case}");
        assert_eq!(
            view(&system, &recording.uuid).await["status"],
            "stored",
            "{case}"
        );
    }
}

#[tokio::test]
async fn a_fresh_event_has_a_failed_file_fetched_again() {
    let system = linked().await;
    let armed = system
        .zoom()
        .arm(NewFault::always(
            Point::Download,
            Fault::Status { status: 401 },
        ))
        .unwrap();
    let recording = zoom::complete(&system, of_ada(vec![NewFile::new("MP4", 1_000)])).await;
    system.work().await;
    assert_eq!(view(&system, &recording.uuid).await["status"], "failed");
    system.zoom().clear_faults(Some(armed));
    system.stack.advance(SignedDuration::from_secs(1));
    let twin = system.zoom().complete(&recording.key).unwrap();
    system.zoom().attempted(twin, 1).await;
    system.work().await;
    assert_whole(&system, &recording, "").await;
}

// -------------------------------------------------------------------------------------------- AWS's calls

/// What can become of a call. The SDK repeats what was cut, and gives up what was refused.
fn mishaps() -> [(&'static str, AwsFault); 4] {
    let refused = || AwsFault::error(400, "AccessDeniedException");
    [
        ("refused", refused()),
        ("done and said to be refused", refused().after_effect()),
        ("cut", AwsFault::connection_cut()),
        ("done and cut", AwsFault::connection_cut().after_effect()),
    ]
}

/// Lambda's own calls for the functions: what becomes of those is not the functions' doing.
fn is_pollers(operation: &str) -> bool {
    matches!(
        operation,
        "ReceiveMessage" | "DeleteMessageBatch" | "ChangeMessageVisibility" | "GetQueueAttributes"
    )
}

type Calls = BTreeMap<(Service, String), u64>;

/// Counts the functions' calls until faults are cleared.
fn count_calls(system: &System) -> Arc<Mutex<Calls>> {
    let calls: Arc<Mutex<Calls>> = Arc::default();
    let noted = Arc::clone(&calls);
    system
        .stack
        .engines()
        .faults()
        .decide_with(move |service, operation| {
            if !is_pollers(operation) {
                *noted
                    .lock()
                    .unwrap()
                    .entry((service, operation.to_owned()))
                    .or_default() += 1;
            }
            None
        });
    calls
}

/// Spoils the `nth` call of an operation. Time then goes on by more than a lease, as it would before SQS
/// delivers again. Gives whether it happened.
fn spoil(
    system: &System,
    service: Service,
    operation: &str,
    nth: u64,
    fault: AwsFault,
) -> Arc<AtomicU64> {
    let (count, wanted) = (Arc::new(AtomicU64::new(0)), operation.to_owned());
    let (counted, clock, zoom) = (
        Arc::clone(&count),
        system.stack.clock().clone(),
        system.zoom().clone(),
    );
    system
        .stack
        .engines()
        .faults()
        .decide_with(move |called, operation| {
            if called != service
                || operation != wanted
                || counted.fetch_add(1, Ordering::SeqCst) + 1 != nth
            {
                return None;
            }
            clock.advance(SignedDuration::from_secs(331));
            zoom.advance(331);
            Some(fault.clone())
        });
    count
}

/// Completes recordings, one for each call that the way of one takes and that is in `range`, spoils that
/// call, and looks whether the end is the same as ever.
async fn whichever_call_is_spoiled(
    mishap: usize,
    files: Vec<NewFile>,
    wanted: impl Fn(Service, &str) -> bool,
) {
    let (name, fault) = mishaps()[mishap].clone();
    let (system, inbox) = linked_with_inbox().await;
    let faults = system.stack.engines().faults();
    // Twice, for what an instance reads once (its secrets) is read again only after a while.
    zoom::complete(&system, of_ada(files.clone())).await;
    system.work().await;
    system.stack.advance(SignedDuration::from_secs(331));
    let recording = zoom::complete(&system, of_ada(files.clone())).await;
    let calls = count_calls(&system);
    system.work().await;
    faults.clear_all();
    assert_whole(&system, &recording, "nothing spoiled").await;
    let calls = calls.lock().unwrap().clone();
    let mut spoiled = 0;
    for ((service, operation), count) in calls
        .iter()
        .filter(|((service, operation), _)| wanted(*service, operation))
    {
        for nth in 1..=*count {
            let case = format!("{service:?} {operation} {nth} of {count} {name}");
            let recording = zoom::complete(&system, of_ada(files.clone())).await;
            let happened = spoil(&system, *service, operation, nth, fault.clone());
            system.work().await;
            faults.clear_all();
            spoiled += u64::from(happened.load(Ordering::SeqCst) >= nth);

            let manifest = assert_whole(&system, &recording, &case).await;
            assert_eq!(manifest["recording"]["status"], "stored", "{case}");
            let seen = view(&system, &recording.uuid).await;
            assert_eq!(seen["status"], "stored", "{case}: {seen}");
            assert_eq!(
                seen["files"].as_array().unwrap().len(),
                files.len(),
                "{case}"
            );
            let expected = [
                ("recording.detected", 1),
                ("recording.file_stored", files.len()),
                ("recording.stored", 1),
            ];
            assert_eq!(
                inbox.facts(&recording),
                expected
                    .map(|(kind, count)| (kind.to_owned(), count))
                    .into(),
                "{case}"
            );
        }
    }
    let total: u64 = calls
        .iter()
        .filter(|((service, operation), _)| wanted(*service, operation))
        .map(|(_, count)| count)
        .sum();
    // Files are worked off side by side, so a call or two may be spared in another order.
    assert!(
        total > 0 && spoiled * 10 >= total * 9,
        "{spoiled} of {calls:?}"
    );
}

fn two_small() -> Vec<NewFile> {
    vec![NewFile::new("MP4", 2_000), NewFile::new("CHAT", 300)]
}

/// Two parts.
fn large() -> Vec<NewFile> {
    vec![NewFile::new("MP4", 8 * MIB + 1)]
}

#[tokio::test]
async fn whichever_aws_call_is_refused_the_recording_ends_the_same() {
    whichever_call_is_spoiled(0, two_small(), |_, _| true).await;
}

#[tokio::test]
async fn whichever_aws_call_is_done_and_said_to_be_refused_the_recording_ends_the_same() {
    whichever_call_is_spoiled(1, two_small(), |_, _| true).await;
}

#[tokio::test]
async fn whichever_aws_call_is_cut_the_recording_ends_the_same() {
    whichever_call_is_spoiled(2, two_small(), |_, _| true).await;
}

#[tokio::test]
async fn whichever_aws_call_is_done_and_cut_the_recording_ends_the_same() {
    whichever_call_is_spoiled(3, two_small(), |_, _| true).await;
}

#[tokio::test]
async fn whichever_call_of_a_multipart_upload_is_refused_the_object_is_whole() {
    for mishap in [0, 1] {
        whichever_call_is_spoiled(mishap, large(), |service, _| service == Service::S3).await;
    }
}

#[tokio::test]
async fn whichever_call_of_a_multipart_upload_is_cut_the_object_is_whole() {
    for mishap in [2, 3] {
        whichever_call_is_spoiled(mishap, large(), |service, _| service == Service::S3).await;
    }
}

#[tokio::test]
async fn whichever_aws_call_of_confirming_is_spoiled_the_link_is_active_after_a_repeat() {
    for (name, fault) in mishaps() {
        let (system, inbox) = linked_with_inbox().await;
        let faults = system.stack.engines().faults();
        let claim = system.consent(&mut system.browser(), "first", ADA).await;
        system.stack.advance(SignedDuration::from_secs(331));
        let calls = count_calls(&system);
        assert_eq!(system.app.confirm("first", &claim).await.status, 200);
        faults.clear_all();
        let calls = calls.lock().unwrap().clone();
        assert!(calls.len() >= 3, "{calls:?}");
        for ((service, operation), count) in &calls {
            for nth in 1..=*count {
                let case = format!("{service:?} {operation} {nth} of {count} {name}");
                let user = format!("{service:?}-{operation}-{nth}");
                let claim = system.consent(&mut system.browser(), &user, ADA).await;
                spoil(&system, *service, operation, nth, fault.clone());
                let first = system.app.confirm(&user, &claim).await;
                faults.clear_all();
                assert!(
                    first.status == 200 || first.status >= 500,
                    "{case}: {first:?}"
                );
                let again = system.app.confirm(&user, &claim).await;
                assert_eq!(again.status, 200, "{case}: {first:?}, then {again:?}");
                assert_eq!(system.app.links(&user).await, [again.json()], "{case}");
                system.work().await;
                let told: BTreeSet<_> = inbox
                    .told()
                    .into_iter()
                    .filter(|told| told.json()["data"]["app_user_id"] == user.as_str())
                    .map(|told| told.id)
                    .collect();
                assert_eq!(told.len(), 1, "{case}");
            }
        }
    }
}

#[tokio::test]
async fn the_first_read_of_a_secret_may_fail() {
    let (system, inbox) = linked_with_inbox().await;
    let recording = zoom::complete(&system, of_ada(two_small())).await;
    // The downloader has read none so far.
    system.stack.engines().faults().fail_next(
        Service::SecretsManager,
        "GetSecretValue",
        2,
        AwsFault::error(400, "AccessDeniedException"),
    );
    system.work().await;
    assert_whole(&system, &recording, "").await;
    assert_eq!(inbox.facts(&recording)["recording.file_stored"], 2);
}

#[tokio::test]
async fn an_event_that_can_never_be_processed_ends_in_the_dead_letter_queue_without_a_credential() {
    let system = linked().await;
    system.stack.engines().faults().fail_until_cleared(
        Service::DynamoDb,
        "*",
        AwsFault::error(400, "AccessDeniedException"),
    );
    zoom::complete(&system, NewRecording::of(ADA)).await;
    system.work().await;
    let queue = &system.stack.config().queues.events_dlq;
    let messages = store::peek(&system.stack, queue).await;
    assert_eq!(messages.len(), 1);
    for credential in zoom::credentials(&system) {
        assert!(!messages[0].contains(&credential), "{credential}");
    }
    // A person moves it back when DynamoDB is there again.
    system.stack.engines().faults().clear_all();
    store::send(
        &system.stack,
        &system.stack.config().queues.events,
        &messages[0],
    )
    .await;
    system.work().await;
    assert_eq!(store::files(&system.stack).await.len(), 4);
}

#[tokio::test]
async fn a_file_whose_last_delivery_died_can_be_asked_for_again() {
    let system = linked().await;
    let recording = zoom::complete(&system, of_ada(vec![NewFile::new("MP4", 1_000)])).await;
    // From the transfer's beginning to the message's end DynamoDB takes no update.
    let begun = AtomicU64::new(0);
    system
        .stack
        .engines()
        .faults()
        .decide_with(move |service, operation| match (service, operation) {
            (Service::S3, "PutObject") => {
                begun.fetch_add(1, Ordering::SeqCst);
                None
            }
            (Service::DynamoDb, "UpdateItem") if begun.load(Ordering::SeqCst) > 0 => {
                Some(AwsFault::error(400, "AccessDeniedException"))
            }
            _ => None,
        });
    system.work().await;
    system.stack.engines().faults().clear_all();
    assert_eq!(store::dead(&system.stack).await.len(), 1);
    assert_ne!(view(&system, &recording.uuid).await["status"], "stored");
    system.stack.advance(SignedDuration::from_hours(1));
    let path = format!("/v1/recordings/{}/download", recording_id(&recording));
    assert_eq!(
        system.app.call(Method::POST, &path, "alice").await.status,
        202
    );
    system.work().await;
    assert_eq!(view(&system, &recording.uuid).await["status"], "stored");
    assert_whole(&system, &recording, "").await;
}

// ---------------------------------------------------------------------------------------- the app's webhook

/// Whether a delivery is signed as Standard Webhooks says, with the secret that the app was given.
fn is_signed(system: &System, told: &Told) -> bool {
    let secrets = Versions::only(system.stack.config().secrets.notification_secret.as_str());
    notification::signature(&secrets, &told.id, told.timestamp, &told.body).unwrap()
        == told.signature
}

#[tokio::test]
async fn a_webhook_that_refuses_is_told_again_until_it_takes_it_and_the_bus_is_told_once() {
    let inbox = Inbox::open().await;
    let system = System::with(&[("AppWebhookUrl", &inbox.url)]).await;
    let bus = store::listen_to_bus(&system.stack).await;
    let elsewhere = Trap::on(Ipv4Addr::LOCALHOST).await;
    let redirect = format!(
        "307 Temporary Redirect\r\nlocation: http://{}/",
        elsewhere.address
    );
    inbox.answer_next(&[
        "500 Oh",
        "503 No",
        &redirect,
        "404 Not Found",
        "429 Too Many",
        "302 Found",
        "400 Bad",
    ]);
    system.link("alice", ADA).await;
    let told = inbox.told();
    assert_eq!(told.len(), 8, "seven refusals and the end");
    assert!(
        told.iter()
            .all(|one| (&one.id, &one.body) == (&told[0].id, &told[0].body)),
        "the same fact, frozen"
    );
    assert!(told.iter().all(|one| is_signed(&system, one)));
    assert_eq!(elsewhere.visits(), 0, "redirects are not followed");
    assert_eq!(store::peek(&system.stack, &bus).await.len(), 1);
    assert_eq!(store::dead(&system.stack).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_webhook_that_never_takes_it_leaves_the_message_where_a_person_sees_it() {
    let inbox = Inbox::open().await;
    let system = System::with(&[("AppWebhookUrl", &inbox.url)]).await;
    let bus = store::listen_to_bus(&system.stack).await;
    inbox.answer_next(&["500 Oh"; 100]);
    system.link("alice", ADA).await;
    assert_eq!(
        inbox.told().len(),
        15,
        "once for all destinations, then by the queue's own count"
    );
    assert_eq!(store::peek(&system.stack, &bus).await.len(), 1);
    let messages = store::peek(
        &system.stack,
        &system.stack.config().queues.notifications_dlq,
    )
    .await;
    assert_eq!(messages.len(), 1);
    assert!(messages[0].contains(&inbox.told()[0].id));
}

#[tokio::test]
async fn one_notification_that_is_refused_does_not_hold_up_the_others() {
    let (system, inbox) = linked_with_inbox().await;
    let before = inbox.told().len();
    inbox.answer_next(&["500 Oh", "500 Oh", "500 Oh"]);
    // One file: those who store the last two at the same time may both tell that the set is complete.
    let recording = zoom::complete(&system, of_ada(vec![NewFile::new("MP4", 100)])).await;
    system.work().await;
    let expected = [
        ("recording.detected", 1),
        ("recording.file_stored", 1),
        ("recording.stored", 1),
    ];
    assert_eq!(
        inbox.facts(&recording),
        expected
            .map(|(kind, count)| (kind.to_owned(), count))
            .into()
    );
    assert_eq!(inbox.told().len() - before, 3 + 3);
}

#[tokio::test]
async fn while_the_notification_secret_turns_over_both_signatures_are_sent() {
    let (system, inbox) = linked_with_inbox().await;
    store::turn_over(
        &system.stack,
        "NotificationSecretName",
        "bmV3IHNlY3JldCBuZXcgc2VjcmV0IG5ldyBzZWNyZXQh",
    )
    .await;
    system.stack.advance(SignedDuration::from_mins(6));
    zoom::complete(&system, of_ada(two_small())).await;
    system.work().await;
    let told = inbox.told().pop().unwrap();
    let signatures: Vec<_> = told.signature.split(' ').collect();
    assert_eq!(signatures.len(), 2);
    let with_old = Told {
        signature: signatures[1].to_owned(),
        ..told.clone()
    };
    assert!(is_signed(&system, &with_old));
    let new = Versions::only("bmV3IHNlY3JldCBuZXcgc2VjcmV0IG5ldyBzZWNyZXQh");
    assert_eq!(
        notification::signature(&new, &told.id, told.timestamp, &told.body).unwrap(),
        signatures[0]
    );
}
