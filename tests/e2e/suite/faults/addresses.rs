//! Where downloads may lead.

use std::net::Ipv4Addr;

use reelay_zoom_sim::{Fault, NewFault, NewFile, Point};
use serde_json::json;
use support::people::ADA;
use support::{System, store, zoom};

use super::{Trap, assert_whole, failures, linked, of_ada, view};

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
    assert!(system.zoom().settings().reject_authorization_at_content);
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
