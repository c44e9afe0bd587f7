//! A 5 GiB transfer: `cargo test -p e2e --test suite -- --ignored five_gib`

use std::collections::BTreeSet;
use std::time::Duration;

use reelay_zoom_sim::{Fault, NewFault, NewFile, NewRecording, Point};
use support::downloader::{Downloader, Outcome};
use support::recordings::folder;
use support::zoom_users::ADA;
use support::{MIB, System};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "moves and compares 5 GiB, which takes some minutes and disk space"]
async fn five_gib_file_continues_across_invocations() {
    let system = System::with(&[("DownloadMode", "on-demand")]).await;
    system.link("alice", ADA).await;
    let size = 5 * 1024 * MIB;
    let new = NewRecording::of(ADA).with_files(vec![NewFile::new("MP4", size)]);
    let (downloader, recording) = Downloader::for_recording(&system, "alice", new).await;
    system.zoom().clear_requests();
    // Eight connections take about a minute.
    let slow = Fault::Slow { bytes_per_second: 10 * MIB };
    let slow = NewFault::always(Point::Content, slow);
    system.zoom().arm(slow).unwrap();
    let queue = system.queues().downloads.clone();
    let mut rounds = 0;
    loop {
        rounds += 1;
        assert!(rounds < 40, "too many rounds");
        let name = format!("m{rounds}");
        let ended = downloader.deliver(&name, Duration::from_secs(20)).await;
        assert_eq!(ended, Outcome::Done, "round {rounds}");
        let sent = system.take_messages(&queue).await;
        if sent.is_empty() {
            break;
        }
        assert_eq!(sent.len(), 1, "several continuations");
    }
    assert!(rounds > 2, "not continued in a new invocation");

    let requested: Vec<u64> = system
        .zoom()
        .requests()
        .into_iter()
        .filter(|request| request.path.starts_with("/ssrweb/"))
        .filter_map(|request| request.range)
        .map(|range| length(&range))
        .collect();
    let fetched: u64 = requested.iter().sum();
    let over = (fetched - size) as f64 * 100.0 / size as f64;
    println!("{rounds} invocations, {} ranges, {over:.2} % fetched twice", requested.len());
    assert!(over <= 5.0, "{over} %");

    assert_eq!(system.open_uploads().await, 0);
    let file = &recording.files[0];
    let key = format!("{}{}.mp4", folder(&recording), file.id);
    let keys: BTreeSet<String> = system
        .list_objects()
        .await
        .into_iter()
        .map(|(key, _)| key)
        .filter(|key| key.starts_with("recordings/"))
        .collect();
    let manifest = format!("{}manifest.json", folder(&recording));
    assert_eq!(keys, BTreeSet::from([key.clone(), manifest]));
    let s3 = system.sdk().s3();
    let bucket = &system.config().bucket;
    let object = s3.get_object().bucket(bucket).key(&key).send().await.unwrap();
    let (mut body, mut at, spec) = (object.body, 0, file.spec());
    while let Some(chunk) = body.next().await {
        let chunk = chunk.unwrap();
        let end = at + chunk.len() as u64;
        assert!(spec.bytes(at..end) == chunk, "other bytes from {at} to {end}");
        at = end;
    }
    assert_eq!(at, size);
}

/// The number of bytes in a range such as `bytes=0-8388607`.
fn length(range: &str) -> u64 {
    let (first, last) = range.trim_start_matches("bytes=").split_once('-').unwrap();
    let (first, last): (u64, u64) = (first.parse().unwrap(), last.parse().unwrap());
    last - first + 1
}
