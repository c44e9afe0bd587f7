use std::time::Duration;

use reelay_zoom_sim::{
    Config, Fault, FileSpec, NewFault, NewFile, NewRecording, Point, Recording, RecordingChange,
    Selection, Simulator,
};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, IF_RANGE, LOCATION, RANGE};
use reqwest::{Client, Method, Response, StatusCode};

use crate::receiver::Receiver;
use crate::{ADA, BEN, client, get, get_json, header, sim_with};

/// A recording with one file, and the credentials in its event.
struct Fixture {
    sim: Simulator,
    recording: Recording,
    file: FileSpec,
    url: String,
    token: String,
}

async fn fixture(file_type: &str, size: u64) -> Fixture {
    fixture_with(file_type, size, |_| {}).await
}

async fn fixture_with(file_type: &str, size: u64, change: impl FnOnce(&mut Config)) -> Fixture {
    let sim = sim_with(change).await;
    let receiver = Receiver::of(&sim).await;
    let new = NewRecording::of(ADA).with_files(vec![NewFile::new(file_type, size)]);
    let created = sim.control().create_recording(new).expect("created");
    sim.control().wait_until_settled().await;
    let event = receiver.last().json();
    let url = &event["payload"]["object"]["recording_files"][0]["download_url"];
    Fixture {
        file: created.recording.files[0].spec(),
        recording: created.recording,
        url: url.as_str().expect("URL").into(),
        token: event["download_token"].as_str().expect("token").into(),
        sim,
    }
}

impl Fixture {
    fn arm(&self, point: Point, fault: Fault) {
        let fault = NewFault::times(point, fault, 1);
        self.sim.control().arm(fault).expect("possible");
    }

    /// Requests the download URL.
    async fn start(&self, token: &str) -> Response {
        get(&self.url, token).await
    }

    /// The content URL.
    async fn content_url(&self) -> String {
        let response = self.start(&self.token).await;
        assert_eq!(response.status(), StatusCode::FOUND);
        header(&response, "location").to_owned()
    }

    /// Requests the content with a header.
    async fn content(&self, name: reqwest::header::HeaderName, value: &str) -> Response {
        let request = client().get(self.content_url().await).header(name, value);
        request.send().await.expect("response")
    }

    /// Downloads the content under a fault. An error has the number of bytes received.
    async fn download(&self, fault: Fault) -> Result<Vec<u8>, usize> {
        let url = self.content_url().await;
        self.arm(Point::Content, fault);
        let mut response = client().get(url).send().await.expect("response");
        let mut received = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) => received.extend_from_slice(&chunk),
                Ok(None) => return Ok(received),
                Err(_) => return Err(received.len()),
            }
        }
    }
}

async fn status(url: &str) -> u16 {
    let response = client().get(url).send().await;
    response.expect("response").status().as_u16()
}

#[tokio::test]
async fn redirect_leads_to_another_host() {
    let fixture = fixture("MP4", 3_000_000).await;
    let port = fixture.sim.url().port().expect("port");
    let start = format!("http://127.0.0.1:{port}/rec/webhook_download/");
    assert!(fixture.url.starts_with(&start));
    let location = fixture.content_url().await;
    let content = format!("http://localhost:{port}/ssrweb/");
    assert!(location.starts_with(&content), "{location}");
    for parameter in ["Policy=", "Signature=", "response-content-type=video%2Fmp4"] {
        assert!(location.contains(parameter), "{location}");
    }

    // reqwest drops `Authorization` when a redirect leads to another host.
    let follower = Client::builder().no_proxy().build().expect("client");
    let request = follower.get(&fixture.url).bearer_auth(&fixture.token);
    let response = request.send().await.expect("response");
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(header(&response, "content-type"), "video/mp4");
    assert_eq!(header(&response, "content-length"), "3000000");
    assert_eq!(header(&response, "etag"), fixture.file.etag());
    let disposition = header(&response, "content-disposition");
    assert!(disposition.contains("_Recording_1920x1080.mp4"));
    let body = response.bytes().await.expect("body");
    assert_eq!(body, fixture.file.bytes(0..3_000_000));
    let last = fixture.sim.control().requests().pop().expect("a request");
    assert_eq!((last.authorization, last.status), (None, Some(200)));
}

#[tokio::test]
async fn content_host_rejects_authorization() {
    for (reject, status) in [(true, 400), (false, 200)] {
        let change = |config: &mut Config| config.reject_authorization_at_content = reject;
        let fixture = fixture_with("MP4", 100, change).await;
        let response = fixture.content(AUTHORIZATION, "Bearer token").await;
        assert_eq!(response.status(), status);
    }
}

#[tokio::test]
async fn event_url_accepts_only_its_token() {
    let fixture = fixture("MP4", 100).await;
    let control = fixture.sim.control();
    let other = self::fixture("MP4", 100).await;
    let access_token = control.authorize(ADA).expect("user").access_token;
    for token in ["synthetic.download.token", &other.token, &access_token] {
        let response = fixture.start(token).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert!(header(&response, "content-type").starts_with("text/html"));
    }
    let in_query = format!("{}?access_token={}", fixture.url, fixture.token);
    assert_eq!(status(&in_query).await, 401);
    let unknown = fixture.url.replace("download/", "download/x");
    assert_eq!(status(&unknown).await, 404);

    assert_eq!(fixture.start(&fixture.token).await.status(), StatusCode::FOUND);
    control.advance(86_400);
    let expired = fixture.start(&fixture.token).await;
    assert_eq!(expired.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn rest_url_accepts_rest_tokens() {
    let fixture = fixture("M4A", 5_000).await;
    let control = fixture.sim.control();
    let access = control.authorize(ADA).expect("user").access_token;
    let colleague = control.authorize(BEN).expect("user").access_token;
    let query = "include_fields=download_access_token&ttl=60";
    let path = format!("v2/meetings/{}/recordings?{query}", fixture.recording.meeting_id);
    let (_, meeting) = get_json(&fixture.sim, &path, &access).await;
    let url = meeting["recording_files"][0]["download_url"].as_str();
    let download = meeting["download_access_token"].as_str().expect("token");
    for (seconds, token, status) in [
        (0, access.as_str(), 302),
        (0, download, 302),
        (0, &fixture.token, 200),
        (0, &colleague, 200),
        (61, download, 401),
        (3600, &access, 401),
    ] {
        control.advance(seconds);
        let response = get(url.expect("URL"), token).await;
        assert_eq!(response.status(), status, "after {seconds} s");
    }
}

#[tokio::test]
async fn removed_file_becomes_a_page() {
    let fixture = fixture("MP4", 100).await;
    let silent = Selection { silent: true, ..Selection::default() };
    for (change, status) in [
        (RecordingChange::Trash, 200),
        (RecordingChange::Recover, 302),
        (RecordingChange::Delete, 200),
        (RecordingChange::Recover, 200),
    ] {
        let key = &fixture.recording.key;
        let changed = fixture.sim.control().change_recording(key, change, &silent);
        assert!(changed.expect("recording").deliveries.is_empty());
        let response = fixture.start(&fixture.token).await;
        assert_eq!(response.status(), status, "{change:?}");
    }
}

#[tokio::test]
async fn content_url_is_signed_and_expires() {
    let fixture = fixture("MP4", 100).await;
    let url = fixture.content_url().await;
    assert_eq!(status(&url).await, 200);
    assert_eq!(status(&url.replace("Signature=", "Signature=x")).await, 403);
    assert_eq!(status(url.split('?').next().expect("URL")).await, 403);
    fixture.sim.control().advance(3600);
    assert_eq!(status(&url).await, 403);
}

#[tokio::test]
async fn any_range_of_a_huge_file() {
    const SIZE: u64 = 100 << 30;
    let fixture = fixture("MP4", SIZE).await;
    for (start, length) in [
        (0, 1),
        (0, 200_000),
        (40_000, 10_000),
        ((1 << 32) - 5, 10),
        ((70 << 30) + 12_345, 150_000),
        (SIZE - 3, 3),
    ] {
        let last = start + length - 1;
        let response = fixture.content(RANGE, &format!("bytes={start}-{last}")).await;
        assert_eq!(response.status(), StatusCode::PARTIAL_CONTENT);
        let range = format!("bytes {start}-{last}/{SIZE}");
        assert_eq!(header(&response, "content-range"), range);
        assert_eq!(header(&response, "content-length"), length.to_string());
        let body = response.bytes().await.expect("body");
        assert!(body == fixture.file.bytes(start..start + length), "{range}");
    }
    let beyond = fixture.content(RANGE, &format!("bytes={SIZE}-")).await;
    assert_eq!(beyond.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(header(&beyond, "content-range"), format!("bytes */{SIZE}"));
    let request = client().request(Method::HEAD, fixture.content_url().await);
    let head = request.send().await.expect("response");
    assert_eq!(head.status(), StatusCode::OK);
    assert_eq!(header(&head, "content-length"), SIZE.to_string());
}

#[tokio::test]
async fn replaced_file_has_another_etag() {
    let fixture = fixture("VTT", 10_000).await;
    let part = async |etag: &str| {
        let request = client()
            .get(fixture.content_url().await)
            .header(RANGE, "bytes=100-199")
            .header(IF_RANGE, etag);
        request.send().await.expect("response").status().as_u16()
    };
    assert_eq!(part(&fixture.file.etag()).await, 206);
    let id = &fixture.recording.files[0].id;
    let replaced = fixture.sim.control().replace_file(id, None).expect("file");
    assert_ne!(replaced.sha256(), fixture.file.sha256());
    assert_eq!(part(&fixture.file.etag()).await, 200);
    assert_eq!(part(&replaced.etag()).await, 206);
}

#[tokio::test]
async fn content_faults_change_the_body() {
    let fixture = fixture("MP4", 2_000_000).await;
    let whole = fixture.file.bytes(0..2_000_000);
    let bytes_per_second = 1 << 40;
    for (fault, expected) in [
        (Fault::Truncate { after: 700_000 }, Err(700_000)),
        (Fault::ContentLength { length: 1_000 }, Ok(&whole[..1_000])),
        (Fault::ContentLength { length: 2_000_001 }, Err(2_000_000)),
        (Fault::OmitLength, Ok(&whole[..])),
        (Fault::Slow { bytes_per_second }, Ok(&whole[..])),
    ] {
        let received = fixture.download(fault.clone()).await;
        assert!(received.as_deref() == expected.as_ref().map(|bytes| *bytes), "{fault:?}");
    }
    let reset = fixture.download(Fault::Reset { after: 700_000 }).await;
    assert!(reset.is_err_and(|received| received <= 700_000), "a reset discards unread bytes");

    for fault in [Fault::IgnoreRange, Fault::SlowStream { bytes_per_second }] {
        fixture.arm(Point::Content, fault);
        let response = fixture.content(RANGE, "bytes=5-9").await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.bytes().await.expect("body").len(), 2_000_000);
    }

    let url = fixture.content_url().await;
    fixture.arm(Point::Content, Fault::Stall { after: 10 });
    let mut stalled = client().get(url).send().await.expect("response");
    let chunk = stalled.chunk().await.expect("chunk");
    assert_eq!(chunk.map(|chunk| chunk.len()), Some(10));
    let rest = tokio::time::timeout(Duration::from_millis(30), stalled.chunk());
    assert!(rest.await.is_err());
}

#[tokio::test]
async fn download_faults_replace_the_redirect() {
    let fixture = fixture("MP4", 100).await;
    let other = NewFault::always(Point::Download, Fault::Html).only_for("another file");
    fixture.sim.control().arm(other).expect("possible");
    let retry_after =
        |retry_after: &str| Fault::RetryAfter { status: 503, retry_after: retry_after.into() };
    let respond =
        Fault::Respond { status: 418, content_type: "text/x-tea".into(), body: "tea".into() };
    let to = "https://elsewhere.example/x";
    let redirect = Fault::Redirect { to: to.into() };
    for (fault, status, name, value) in [
        (Fault::Status { status: 401 }, 401, CONTENT_TYPE, ""),
        (Fault::Status { status: 500 }, 500, CONTENT_TYPE, ""),
        (Fault::Status { status: 404 }, 404, CONTENT_TYPE, "text/html; charset=utf-8"),
        (Fault::Html, 200, CONTENT_TYPE, "text/html; charset=utf-8"),
        (redirect, 302, LOCATION, to),
        (respond, 418, CONTENT_TYPE, "text/x-tea"),
        (retry_after("7"), 503, "retry-after".parse().expect("name"), "7"),
        (Fault::DailyLimit, 429, "x-ratelimit-type".parse().expect("name"), "Daily-limit"),
    ] {
        fixture.arm(Point::Download, fault.clone());
        let response = fixture.start(&fixture.token).await;
        assert_eq!(response.status(), status, "{fault:?}");
        assert_eq!(header(&response, name.as_str()), value, "{fault:?}");
    }
    assert_eq!(fixture.start(&fixture.token).await.status(), StatusCode::FOUND);
}

#[tokio::test]
async fn shutdown_ends_hanging_requests() {
    let fixture = fixture("MP4", 100).await;
    fixture.arm(Point::Download, Fault::Hang);
    let hanging = tokio::spawn(client().get(&fixture.url).send());
    while fixture.sim.control().faults()[0].hits == 0 {
        tokio::task::yield_now().await;
    }
    fixture.sim.shutdown().await;
    let response = hanging.await.expect("joined");
    let unavailable = StatusCode::SERVICE_UNAVAILABLE;
    assert!(response.map_or(true, |response| response.status() == unavailable));
}
