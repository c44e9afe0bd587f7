use std::time::Duration;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use reelay_zoom_sim::{
    Fault, FileSpec, NewFault, NewFile, NewRecording, Point, Recording, RecordingChange, Selection,
    Simulator,
};
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION, RANGE};
use reqwest::{Client, Response, StatusCode};

use crate::receiver::Receiver;
use crate::{ADA, BEN, client, fresh, get_json, sim};

struct Ready {
    sim: Simulator,
    recording: Recording,
    file: FileSpec,
    url: String,
    token: String,
}

/// A recording with one file, and what its event says about it.
async fn ready(kind: &str, size: u64) -> Ready {
    let sim = sim().await;
    let receiver = Receiver::of(&sim).await;
    let file = NewFile {
        id: Some(format!("file-{}", fresh())),
        ..NewFile::new(kind, size)
    };
    let created = sim
        .control()
        .create_recording(NewRecording::of(ADA).with_files(vec![file]))
        .expect("created");
    sim.control().wait_until_settled().await;
    let event = receiver.last().json();
    let url = event["payload"]["object"]["recording_files"][0]["download_url"]
        .as_str()
        .expect("URL")
        .to_owned();
    let token = event["download_token"].as_str().expect("token").to_owned();
    let file = created.recording.files[0].spec();
    Ready {
        sim,
        recording: created.recording,
        file,
        url,
        token,
    }
}

impl Ready {
    async fn get(&self, token: &str) -> Response {
        client()
            .get(&self.url)
            .bearer_auth(token)
            .send()
            .await
            .expect("answer")
    }

    /// The signed URL behind the redirect.
    async fn behind(&self) -> String {
        let response = self.get(&self.token).await;
        assert_eq!(response.status(), StatusCode::FOUND);
        response.headers()[LOCATION]
            .to_str()
            .expect("text")
            .to_owned()
    }

    async fn fails_with(&self, fault: Fault) -> Result<Vec<u8>, usize> {
        self.sim
            .control()
            .arm(NewFault::times(Point::Content, fault, 1))
            .expect("armed");
        let mut response = client()
            .get(self.behind().await)
            .send()
            .await
            .expect("head");
        let mut got = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) => got.extend_from_slice(&chunk),
                Ok(None) => return Ok(got),
                Err(_) => return Err(got.len()),
            }
        }
    }
}

#[tokio::test]
async fn one_redirect_to_another_host_drops_the_token() {
    let ready = ready("MP4", 3_000_000).await;
    let location = ready.behind().await;
    let port = ready.sim.url().port().expect("port");
    assert!(
        ready
            .url
            .starts_with(&format!("http://127.0.0.1:{port}/rec/webhook_download/"))
    );
    assert!(
        location.starts_with(&format!("http://localhost:{port}/ssrweb/")),
        "{location}"
    );
    assert!(
        location.contains("Policy=")
            && location.contains("Signature=")
            && location.contains("response-content-type=video%2Fmp4")
    );

    // A client that follows, as shipped: it strips Authorization when the host changes.
    let follower = Client::builder().no_proxy().build().expect("client");
    let response = follower
        .get(&ready.url)
        .bearer_auth(&ready.token)
        .send()
        .await
        .expect("answer");
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()[CONTENT_TYPE], "video/mp4");
    assert_eq!(response.headers()[CONTENT_LENGTH], "3000000");
    assert!(
        response.headers()["content-disposition"]
            .to_str()
            .expect("text")
            .contains("_Recording_1920x1080.mp4")
    );
    assert_eq!(
        response.headers()["etag"].to_str().expect("text"),
        ready.file.etag()
    );
    assert_eq!(
        response.bytes().await.expect("body"),
        ready.file.bytes(0..3_000_000)
    );
    let last = ready.sim.control().requests().pop().expect("logged");
    assert_eq!((last.authorization, last.status), (None, Some(200)));

    let leaking = client()
        .get(ready.behind().await)
        .bearer_auth(&ready.token)
        .send()
        .await
        .expect("answer");
    assert_eq!(leaking.status(), StatusCode::BAD_REQUEST);
    ready
        .sim
        .control()
        .change_settings(|config| config.reject_authorization_at_content = false);
    let leaking = client()
        .get(ready.behind().await)
        .bearer_auth(&ready.token)
        .send()
        .await
        .expect("answer");
    assert_eq!(leaking.status(), StatusCode::OK);
}

#[tokio::test]
async fn tokens_open_only_what_they_are_for() {
    let ready = ready("MP4", 100).await;
    let control = ready.sim.control();
    let html = |response: &Response| {
        assert_eq!(response.status(), StatusCode::OK);
        assert!(
            response.headers()[CONTENT_TYPE]
                .to_str()
                .expect("text")
                .starts_with("text/html")
        );
    };
    html(&ready.get("synthetic.download.token").await);
    html(&client().get(&ready.url).send().await.expect("answer"));
    let other = control
        .create_recording(NewRecording {
            send: false,
            ..NewRecording::of(ADA)
        })
        .expect("created")
        .recording;
    html(
        &ready
            .get(&control.download_token(&other.key, 60).expect("known"))
            .await,
    );
    html(
        &ready
            .get(&control.authorize(ADA).expect("user").access_token)
            .await,
    );
    assert_eq!(
        ready
            .get(
                &control
                    .download_token(&ready.recording.key, -1)
                    .expect("known")
            )
            .await
            .status(),
        StatusCode::UNAUTHORIZED
    );
    let in_query = client()
        .get(format!("{}?access_token={}", ready.url, ready.token))
        .send()
        .await
        .expect("answer");
    assert_eq!(in_query.status(), StatusCode::UNAUTHORIZED);
    let unknown = ready
        .url
        .replace("/rec/webhook_download/", "/rec/webhook_download/x");
    assert_eq!(
        client()
            .get(unknown)
            .bearer_auth(&ready.token)
            .send()
            .await
            .expect("answer")
            .status(),
        StatusCode::NOT_FOUND
    );

    assert_eq!(ready.get(&ready.token).await.status(), StatusCode::FOUND);
    control.advance(86_400);
    assert_eq!(
        ready.get(&ready.token).await.status(),
        StatusCode::UNAUTHORIZED,
        "24 hours"
    );
}

#[tokio::test]
async fn rest_urls_take_the_rest_tokens() {
    let ready = ready("M4A", 5_000).await;
    let control = ready.sim.control();
    let access = control.authorize(ADA).expect("user").access_token;
    let path = format!(
        "v2/meetings/{}/recordings?include_fields=download_access_token&ttl=60",
        ready.recording.meeting_id
    );
    let (_, found) = get_json(&ready.sim, &path, &access).await;
    let url = found["recording_files"][0]["download_url"]
        .as_str()
        .expect("URL");
    let download = found["download_access_token"].as_str().expect("token");
    let status = async |token: &str| {
        client()
            .get(url)
            .bearer_auth(token)
            .send()
            .await
            .expect("answer")
            .status()
            .as_u16()
    };
    assert_eq!(status(&access).await, 302);
    assert_eq!(status(download).await, 302);
    assert_eq!(status(&ready.token).await, 200, "a login page");
    assert_eq!(
        status(&control.authorize(BEN).expect("user").access_token).await,
        200,
        "a login page"
    );
    control.advance(61);
    assert_eq!(status(download).await, 401);
    control.advance(3600);
    assert_eq!(status(&access).await, 401);
}

#[tokio::test]
async fn trashed_files_become_pages_and_recover() {
    let ready = ready("MP4", 100).await;
    let control = ready.sim.control();
    let all = Selection {
        silent: true,
        ..Selection::default()
    };
    for (disposal, expected) in [
        (RecordingChange::Trash, 200),
        (RecordingChange::Recover, 302),
        (RecordingChange::Delete, 200),
        (RecordingChange::Recover, 200),
    ] {
        control
            .change_recording(&ready.recording.key, disposal, &all)
            .expect("known");
        assert_eq!(
            ready.get(&ready.token).await.status(),
            expected,
            "{disposal:?}"
        );
    }
}

#[tokio::test]
async fn signed_urls_expire_and_cannot_be_changed() {
    let ready = ready("MP4", 100).await;
    let location = ready.behind().await;
    let status = async |url: &str| {
        client()
            .get(url)
            .send()
            .await
            .expect("answer")
            .status()
            .as_u16()
    };
    assert_eq!(status(&location).await, 200);
    assert_eq!(
        status(&location.replace("Signature=", "Signature=x")).await,
        403
    );
    assert_eq!(status(location.split('?').next().expect("URL")).await, 403);
    ready.sim.control().advance(3600);
    assert_eq!(status(&location).await, 403);
}

#[tokio::test]
async fn any_range_of_a_huge_file() {
    const SIZE: u64 = 100 << 30;
    let ready = ready("MP4", SIZE).await;
    let location = ready.behind().await;
    let cases = (0..SIZE, 1_u64..200_000);
    let mut runner = TestRunner::default();
    for _ in 0..24 {
        let (start, len) = cases.new_tree(&mut runner).expect("case").current();
        let end = (start + len).min(SIZE);
        let response = client()
            .get(&location)
            .header(RANGE, format!("bytes={start}-{}", end - 1))
            .send()
            .await
            .expect("answer");
        assert_eq!(response.status(), StatusCode::PARTIAL_CONTENT);
        assert_eq!(
            response.headers()["content-range"],
            format!("bytes {start}-{}/{SIZE}", end - 1)
        );
        assert_eq!(
            response.headers()[CONTENT_LENGTH],
            (end - start).to_string()
        );
        assert_eq!(
            response.bytes().await.expect("body"),
            ready.file.bytes(start..end)
        );
    }
    let tail = client()
        .get(&location)
        .header(RANGE, "bytes=-10")
        .send()
        .await
        .expect("answer");
    assert_eq!(
        tail.bytes().await.expect("body"),
        ready.file.bytes(SIZE - 10..SIZE)
    );
    let beyond = client()
        .get(&location)
        .header(RANGE, format!("bytes={SIZE}-"))
        .send()
        .await
        .expect("answer");
    assert_eq!(
        (beyond.status(), &beyond.headers()["content-range"]),
        (
            StatusCode::RANGE_NOT_SATISFIABLE,
            &format!("bytes */{SIZE}").parse().expect("value")
        )
    );
    let head = client().head(&location).send().await.expect("answer");
    assert_eq!(
        (head.status(), &head.headers()[CONTENT_LENGTH]),
        (StatusCode::OK, &SIZE.to_string().parse().expect("value"))
    );
}

#[tokio::test]
async fn replaced_files_have_another_validator() {
    let ready = ready("VTT", 10_000).await;
    let location = ready.behind().await;
    let part = async |etag: &str| {
        client()
            .get(&location)
            .header(RANGE, "bytes=100-199")
            .header("if-range", etag)
            .send()
            .await
            .expect("answer")
            .status()
            .as_u16()
    };
    assert_eq!(part(&ready.file.etag()).await, 206);
    let replaced = ready
        .sim
        .control()
        .replace_file(&ready.recording.files[0].id, None)
        .expect("known");
    assert_ne!(replaced.sha256(), ready.file.sha256());
    assert_eq!(part(&ready.file.etag()).await, 200);
    assert_eq!(part(&replaced.etag()).await, 206);
}

#[tokio::test]
async fn bodies_that_go_wrong() {
    let ready = ready("MP4", 2_000_000).await;
    let whole = ready.file.bytes(0..2_000_000);
    for fault in [
        Fault::Truncate { after: 700_000 },
        Fault::Reset { after: 700_000 },
    ] {
        let got = ready.fails_with(fault.clone()).await.expect_err("cut");
        // A reset may overtake what the client has not read yet.
        assert!(
            got <= 700_000 && (got == 700_000 || matches!(fault, Fault::Reset { .. })),
            "{fault:?}: {got}"
        );
    }
    assert_eq!(
        ready
            .fails_with(Fault::ContentLength { length: 1_000 })
            .await,
        Ok(whole[..1_000].to_vec())
    );
    assert_eq!(
        ready
            .fails_with(Fault::ContentLength { length: 2_000_001 })
            .await,
        Err(2_000_000)
    );
    assert_eq!(
        ready.fails_with(Fault::OmitLength).await,
        Ok(whole.to_vec())
    );
    assert_eq!(
        ready
            .fails_with(Fault::Slow {
                bytes_per_second: 1 << 40
            })
            .await,
        Ok(whole.to_vec())
    );

    ready
        .sim
        .control()
        .arm(NewFault::times(Point::Content, Fault::IgnoreRange, 1))
        .expect("armed");
    let all = client()
        .get(ready.behind().await)
        .header(RANGE, "bytes=5-9")
        .send()
        .await
        .expect("answer");
    assert_eq!(
        (all.status(), all.bytes().await.expect("body").len()),
        (StatusCode::OK, 2_000_000)
    );

    ready
        .sim
        .control()
        .arm(NewFault::times(
            Point::Content,
            Fault::Stall { after: 10 },
            1,
        ))
        .expect("armed");
    let mut stalled = client()
        .get(ready.behind().await)
        .send()
        .await
        .expect("head");
    assert_eq!(
        stalled
            .chunk()
            .await
            .expect("chunk")
            .map(|chunk| chunk.len()),
        Some(10)
    );
    assert!(
        tokio::time::timeout(Duration::from_millis(30), stalled.chunk())
            .await
            .is_err()
    );
}

#[tokio::test]
async fn first_hops_that_go_wrong() {
    let ready = ready("MP4", 100).await;
    let id = ready.recording.files[0].id.clone();
    let next = async |fault: Fault| {
        ready
            .sim
            .control()
            .arm(NewFault::times(Point::Download, fault, 1).about(&id))
            .expect("armed");
        client()
            .get(&ready.url)
            .bearer_auth(&ready.token)
            .send()
            .await
    };
    for status in [401, 404, 429, 500] {
        assert_eq!(
            next(Fault::Status { status })
                .await
                .expect("answer")
                .status(),
            status
        );
    }
    assert!(
        next(Fault::Html).await.expect("answer").headers()[CONTENT_TYPE]
            .to_str()
            .expect("text")
            .starts_with("text/html")
    );
    let away = next(Fault::Redirect {
        to: "https://elsewhere.example/x".into(),
    })
    .await
    .expect("answer");
    assert_eq!(away.headers()[LOCATION], "https://elsewhere.example/x");
    assert!(next(Fault::Close).await.is_err());
    let other = NewFault::always(Point::Download, Fault::Html).about("another file");
    ready.sim.control().arm(other).expect("armed");
    assert_eq!(ready.get(&ready.token).await.status(), StatusCode::FOUND);
}

#[tokio::test]
async fn a_hanging_request_does_not_stop_the_shutdown() {
    let ready = ready("MP4", 100).await;
    ready
        .sim
        .control()
        .arm(NewFault::times(Point::Download, Fault::Hang, 1))
        .expect("armed");
    let hanging = tokio::spawn(client().get(&ready.url).send());
    while ready.sim.control().faults()[0].hits == 0 {
        tokio::task::yield_now().await;
    }
    ready.sim.shutdown().await;
    let answer = hanging.await.expect("joined");
    assert!(
        answer.is_err()
            || answer.is_ok_and(|answer| answer.status() == StatusCode::SERVICE_UNAVAILABLE)
    );
}
