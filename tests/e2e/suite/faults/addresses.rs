//! Download URLs and redirects to foreign hosts. `reelay_zoom`'s `DownloadHosts` tests the table of rejections.

use std::net::Ipv4Addr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reelay_zoom_sim::{Fault, NewFile, Point};
use serde_json::json;
use support::zoom::completed_event;
use support::zoom_users::ADA;

use super::{forbidden_server, linked, of_ada};

const NOT_ALLOWED: &str = "download_host_not_allowed";

#[tokio::test]
async fn foreign_download_url_is_never_requested() {
    let system = linked().await;
    let foreign = forbidden_server(Ipv4Addr::new(127, 0, 0, 2)).await;
    let local = forbidden_server(Ipv4Addr::LOCALHOST).await;
    let urls = [
        format!("http://{}/rec/x", foreign.address),
        format!("https://{}/rec/x", foreign.address),
        format!("http://user:password@{}/rec/x", local.address),
        format!("ftp://{}/rec/x", local.address),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "not a url".to_owned(),
    ];
    let ids: Vec<String> = (0..urls.len()).map(|n| format!("file-{n}")).collect();
    let files: Vec<_> =
        ids.iter().zip(&urls).map(|(id, url)| (id.as_str(), "MP4", 10, url.as_str())).collect();
    let account = system.zoom().users()[0].account_id.clone();
    let event = completed_event(&account, ADA, "elsewhere==", &files);
    let secret = system.webhook_secret();
    let status = system.post_event("/zoom/webhook", &event, &secret).await;
    assert_eq!(status, 200);
    system.process_queues().await;

    assert_eq!((foreign.connections(), local.connections()), (0, 0));
    let path = format!("/v1/recordings/{}", URL_SAFE_NO_PAD.encode("elsewhere=="));
    let seen = system.app.get(&path, "alice").await.json();
    // They wait, because an operator may list the hosts.
    assert_eq!(seen["status"], "detected");
    for file in seen["files"].as_array().unwrap() {
        assert_eq!((&file["status"], &file["reason"]), (&json!("queued"), &json!(NOT_ALLOWED)));
    }
    assert_eq!(seen["files"].as_array().unwrap().len(), urls.len());
    assert_eq!(system.dead_letters().await, [""; 0]);
    assert!(system.objects("").await.is_empty());
}

#[tokio::test]
async fn foreign_redirect_is_never_followed() {
    let system = linked().await;
    let foreign = forbidden_server(Ipv4Addr::new(127, 0, 0, 2)).await;
    let local = forbidden_server(Ipv4Addr::LOCALHOST).await;
    for (point, to) in [
        (Point::Download, format!("http://{}/x", foreign.address)),
        (Point::Content, format!("http://{}/x", foreign.address)),
        (Point::Download, format!("//{}/x", foreign.address)),
        (Point::Download, format!("http://user:password@{}/x", local.address)),
        (Point::Content, "file:///etc/passwd".to_owned()),
    ] {
        system.fail(point, Fault::Redirect { to: to.clone() });
        let recording = system.record(of_ada(vec![NewFile::new("MP4", 100)])).await;
        system.zoom().clear_faults(None);
        let connections = (foreign.connections(), local.connections());
        assert_eq!(connections, (0, 0), "{to}");
        assert_eq!(system.first_file(&recording).await["reason"], NOT_ALLOWED, "{to}");
    }
    assert!(system.objects("").await.is_empty());
    assert_eq!(system.dead_letters().await, [""; 0]);
}

#[tokio::test]
async fn redirect_loop_fails() {
    let system = linked().await;
    let to = "?again".to_owned();
    system.fail(Point::Download, Fault::Redirect { to });
    let recording = system.complete_recording(of_ada(vec![NewFile::new("MP4", 100)])).await;
    system.zoom().clear_requests();
    system.process_queues().await;
    let file = system.first_file(&recording).await;
    assert_eq!(file["reason"], "redirect_not_followed");
    assert_eq!(system.requests("/rec/webhook_download/"), 6);
}

#[tokio::test]
async fn redirect_to_other_host_drops_authorization() {
    let system = linked().await;
    assert!(system.zoom().settings().reject_authorization_at_content);
    let recording = system.complete_recording(of_ada(vec![NewFile::new("MP4", 100)])).await;
    system.zoom().clear_requests();
    system.process_queues().await;
    let requests = system.zoom().requests();
    let seen: Vec<_> = requests
        .iter()
        .map(|r| (r.path.split('/').nth(1).unwrap(), r.authorization.as_deref()))
        .collect();
    assert_eq!(seen, [("rec", Some("Bearer")), ("ssrweb", None)]);
    assert_ne!(requests[0].host, requests[1].host);
    system.assert_stored(&recording, "").await;
}
