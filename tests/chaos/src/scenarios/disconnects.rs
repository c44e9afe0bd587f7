//! The last link is disconnected at a random moment of running transfers, some of them killed, some waiting to
//! be continued. No transfer may outlive the 204 by 10 s; then nothing of an unfinished file may remain.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures_util::future::join_all;
use jiff::SignedDuration;
use reelay_domain::object_key;
use reelay_store::bucket::Bucket;
use reelay_store::recordings::RecordingTable;
use reelay_zoom_sim::{Fault, NewFault, NewFile, NewRecording, Point};

use crate::case::Case;
use crate::delivery::{Delivery, deliver};
use crate::journal::{Message, Queue};
use crate::report::Outcome;
use crate::rng::SeededRng;
use crate::world::World;

const MIB: usize = 1024 * 1024;

/// Bandwidths per connection. At the first, transfers end around the disconnect. At the second, a part takes 40 s, far
/// longer than a transfer may outlive the disconnect.
const BYTES_PER_SECOND: [u64; 2] = [1024 * 1024, 128 * 1024];

/// Latest moment of the disconnect after the start of the transfers.
const MAX_DISCONNECT_MILLISECONDS: usize = 6_000;

/// Longest time from the 204 to the first ending job, in which a transfer may store its file.
const MAX_JOB_DELAY_MILLISECONDS: usize = 5_000;

/// Time after the 204 in which a transfer must end.
const MAX_AFTER_DISCONNECT: Duration = Duration::from_secs(10);

/// Failed deliveries per message.
const MAX_FAILURES: u32 = 8;

/// Time after which a killed downloader's lease has expired and SQS delivers its message again.
const REDELIVERY: SignedDuration = SignedDuration::from_secs(331);

pub(super) async fn run(world: &World, rng: SeededRng) -> anyhow::Result<Outcome> {
    let mut case = Case::new(world, rng, 1, 1)?;
    let (app_user, host) = (case.app_users[0].clone(), case.zoom_users[0].user_id.to_string());
    world.link(&app_user, &host).await?;
    case.process_messages().await?;
    let files = 1 + case.rng.below(3);
    let files = (0..files).map(|_| {
        let size = *case.rng.pick(&[MIB, 6 * MIB, 20 * MIB]) + case.rng.below(MIB);
        NewFile::new("MP4", size as u64)
    });
    let recording = NewRecording::of(&host).with_files(files.collect());
    let bytes_per_second = *case.rng.pick(&BYTES_PER_SECOND);
    world.zoom()?.arm(NewFault::always(Point::Content, Fault::Slow { bytes_per_second }))?;
    let created = world.zoom()?.create_recording(recording)?;
    for delivery in &created.deliveries {
        world.wait_for_delivery(*delivery).await?;
    }
    let downloads = receive_downloads(&mut case).await?;
    let waiting = usize::from(case.rng.percent(30));
    let (delivered, waiting) = downloads.split_at(downloads.len() - waiting.min(downloads.len()));

    let links = world.list_links(&app_user).await?;
    let id = links.first().and_then(|link| link["id"].as_str()).context("no link")?.to_owned();
    let at = Duration::from_millis(case.rng.below(MAX_DISCONNECT_MILLISECONDS) as u64);
    let is_job_late = case.rng.percent(50);
    let job_delay = case.rng.below(if is_job_late { MAX_JOB_DELAY_MILLISECONDS } else { 1 });
    let job_delay = Duration::from_millis(job_delay as u64);
    let kills: Vec<Option<Duration>> = delivered
        .iter()
        .map(|_| {
            let after = case.rng.below(2 * MAX_DISCONNECT_MILLISECONDS) as u64;
            case.rng.percent(40).then(|| Duration::from_millis(after))
        })
        .collect();
    let transfers = join_all(delivered.iter().zip(kills).map(async |(message, kill_after)| {
        let delivery = world.deliver_to_process(message, kill_after).await?;
        anyhow::Ok((delivery, Instant::now()))
    }));
    let disconnect = async {
        tokio::time::sleep(at).await;
        let request = world.disconnect_request(&app_user, &id)?;
        let response = Box::pin(world.warm.app_api()?.handle(request)).await;
        anyhow::ensure!(response.status() == 204, "disconnect returned {}", response.status());
        let ended = (Instant::now(), world.stack().clock().now());
        let mut requests = 0;
        if delivered.is_empty() {
            // The message of a waiting transfer arrives before the job.
            world.zoom()?.clear_requests();
            for message in waiting {
                deliver(&world.warm, message).await?;
            }
            requests = content_requests(world)?;
        }
        // The first ending job runs beside the transfers.
        tokio::time::sleep(job_delay).await;
        while let Some(message) = world.journal.receive() {
            if deliver(&world.warm, &message).await? != Delivery::Processed {
                world.journal.put_back(message);
                break;
            }
        }
        anyhow::Ok((ended, requests))
    };
    let (transfers, ended) = tokio::join!(transfers, disconnect);
    let ((ended, ended_at), requests) = ended?;
    if requests > 0 {
        case.violation(format!("{requests} requests for content between the 204 and the job"));
    }
    let stored_before: Vec<String> = stored_before(world, &case, ended_at).await?;
    let mut unfinished = waiting.to_vec();
    for (result, message) in transfers.into_iter().zip(delivered) {
        let (delivery, at) = result?;
        case.outcome.steps += 1;
        let outlived = at.saturating_duration_since(ended);
        if delivery == Delivery::Killed {
            case.outcome.kills += 1;
        } else if outlived > MAX_AFTER_DISCONNECT {
            case.violation(format!("a transfer ended {outlived:?} after the disconnect"));
        }
        if delivery != Delivery::Processed {
            unfinished.push(Message { failures: message.failures + 1, ..message.clone() });
        }
    }
    world.zoom()?.clear_faults(None);
    world.zoom()?.clear_requests();

    world.advance(SignedDuration::from_secs(31));
    case.process_messages().await?;
    check_objects(&mut case, &stored_before, "a minute after the disconnect").await?;
    world.advance(REDELIVERY);
    unfinished.retain(|message| message.failures < MAX_FAILURES);
    for message in unfinished {
        world.journal.put_back(Message { visible_at: ended_at, ..message });
    }
    case.process_messages().await?;
    world.advance_past_delays();
    case.process_messages().await?;
    check_objects(&mut case, &stored_before, "after the last ending job").await?;
    check_nothing_pending(&mut case).await?;
    let content = content_requests(world)?;
    if content > 0 {
        case.violation(format!("{content} requests for content after the disconnect"));
    }
    case.check_nothing_remains().await?;
    Ok(case.outcome)
}

/// Number of logged requests to Zoom for a file's content.
fn content_requests(world: &World) -> anyhow::Result<usize> {
    let requests = world.zoom()?.requests();
    Ok(requests.iter().filter(|request| request.path.starts_with("/ssrweb/")).count())
}

/// Processes all messages but those of downloads, which it returns.
async fn receive_downloads(case: &mut Case<'_>) -> anyhow::Result<Vec<Message>> {
    let mut downloads = Vec::new();
    while let Some(message) = case.world.journal.receive() {
        if message.queue == Queue::Downloads {
            downloads.push(message);
        } else if deliver(&case.world.warm, &message).await? != Delivery::Processed {
            case.violation("a message failed without a fault");
        }
    }
    Ok(downloads)
}

/// Keys of the objects whose files were stored before the end.
async fn stored_before(
    world: &World,
    case: &Case<'_>,
    ended_at: jiff::Timestamp,
) -> anyhow::Result<Vec<String>> {
    let table = RecordingTable::new(world.warm.environment("recording-downloader")?)?;
    let files = table.files(&case.zoom_users[0]).await?;
    let stored = files.into_iter().filter_map(|(_, item)| {
        let is_before = item.stored_at.is_some_and(|at| at <= ended_at.as_millisecond());
        item.key.filter(|_| is_before)
    });
    Ok(stored.collect())
}

/// Checks that the bucket holds no object that was not stored before the end. A file that was stored within the
/// disconnect's own request may be kept or removed.
async fn check_objects(
    case: &mut Case<'_>,
    stored_before: &[String],
    moment: &str,
) -> anyhow::Result<()> {
    let bucket = Bucket::new(case.world.warm.environment("recording-downloader")?)?;
    let prefix = object_key::zoom_user_prefix(&case.zoom_users[0]);
    let objects = bucket.client().list_objects_v2().bucket(bucket.name()).prefix(prefix);
    for object in objects.send().await?.contents.unwrap_or_default() {
        let key = object.key.unwrap_or_default();
        let is_manifest = key.ends_with("/manifest.json") && !stored_before.is_empty();
        if !is_manifest && !stored_before.contains(&key) {
            case.violation(format!("{key} exists {moment}"));
        }
    }
    Ok(())
}

/// Checks that no upload, encrypted source or saved notification is left.
async fn check_nothing_pending(case: &mut Case<'_>) -> anyhow::Result<()> {
    let environment = case.world.warm.environment("recording-downloader")?;
    let (bucket, table) = (Bucket::new(environment)?, RecordingTable::new(environment)?);
    let prefix = object_key::zoom_user_prefix(&case.zoom_users[0]);
    let uploads = bucket.client().list_multipart_uploads().bucket(bucket.name()).prefix(prefix);
    let uploads = uploads.send().await?.uploads.unwrap_or_default().len();
    if uploads > 0 {
        case.violation(format!("{uploads} uploads are open"));
    }
    for (key, item) in table.files(&case.zoom_users[0]).await? {
        if item.observed.source.is_some() || item.upload.is_some() {
            case.violation(format!("{key:?} has a source or an upload"));
        }
    }
    Ok(())
}
