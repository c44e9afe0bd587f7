//! A recording whose files are downloaded by processes. The first process is not killed and measures the
//! duration of a download; the others are killed up to three times per file at a random moment. Afterwards the
//! bucket holds exactly what Zoom has, and each file has one notification.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use reelay_domain::ids::{MeetingUuid, RecordingId};
use reelay_domain::object_key;
use reelay_store::bucket::Bucket;
use reelay_zoom_sim::{NewFile, NewRecording, Recording};

use crate::case::Case;
use crate::delivery::{Delivery, deliver};
use crate::journal::Queue;
use crate::report::Outcome;
use crate::rng::SeededRng;
use crate::world::World;

const MIB: usize = 1024 * 1024;

/// Time after which a killed downloader's lease has expired and SQS delivers its message again.
const REDELIVERY: SignedDuration = SignedDuration::from_secs(331);

/// Kills per file.
const MAX_KILLS: usize = 3;

/// Failed deliveries per message.
const MAX_FAILURES: u32 = 8;

/// Deliveries per recording, more than any recording needs.
const MAX_ROUNDS: usize = 200;

pub(super) async fn run(world: &World, rng: SeededRng) -> anyhow::Result<Outcome> {
    let mut case = Case::new(world, rng, 1, 1)?;
    let host = case.zoom_users[0].user_id.to_string();
    world.link(&case.app_users[0], &host).await?;
    case.process_messages().await?;
    // One PutObject, two parts, five parts.
    let size = *case.rng.pick(&[2 * MIB, 12 * MIB, 36 * MIB]) + case.rng.below(MIB);
    let files = 2 + case.rng.below(3);
    let files = (0..files).map(|_| NewFile::new("MP4", size as u64));
    let recording = NewRecording::of(&host).with_files(files.collect());
    let created = world.zoom()?.create_recording(recording)?;
    for delivery in &created.deliveries {
        world.wait_for_delivery(*delivery).await?;
    }
    download(&mut case).await?;
    check_bucket(&mut case, &created.recording).await?;
    check_notifications(&mut case, created.recording.all_files().count());
    Ok(case.outcome)
}

/// Processes all messages, downloads in processes.
async fn download(case: &mut Case<'_>) -> anyhow::Result<()> {
    let world = case.world;
    let mut typical: Option<Duration> = None;
    let mut kills: BTreeMap<u64, usize> = BTreeMap::new();
    for _ in 0..MAX_ROUNDS {
        let Some(mut message) = world.journal.receive() else {
            let Some(retry_at) = world.journal.next_visible_at(Queue::Downloads) else {
                return Ok(());
            };
            world.advance(retry_at.duration_since(world.stack().clock().now()));
            continue;
        };
        case.outcome.steps += 1;
        let delivery = if message.queue == Queue::Downloads {
            let may_kill = kills.get(&message.id).is_none_or(|kills| *kills < MAX_KILLS);
            let kill_after = typical.filter(|_| may_kill).map(|typical| {
                let micros = usize::try_from(typical.as_micros()).unwrap_or(usize::MAX);
                Duration::from_micros(case.rng.below(micros) as u64)
            });
            let started = Instant::now();
            let delivery = world.deliver_to_process(&message, kill_after).await?;
            typical = typical.or(Some(started.elapsed()));
            delivery
        } else {
            deliver(&world.warm, &message).await?
        };
        match delivery {
            Delivery::Processed => continue,
            Delivery::Killed => {
                case.outcome.kills += 1;
                *kills.entry(message.id).or_default() += 1;
            }
            Delivery::Failed => {}
        }
        message.failures += 1;
        anyhow::ensure!(
            message.failures < MAX_FAILURES,
            "message became a dead letter: {}",
            message.body
        );
        world.journal.put_back(message);
        world.advance(REDELIVERY);
    }
    anyhow::bail!("queues not empty after {MAX_ROUNDS} deliveries")
}

/// Compares the bucket and the API's recording with Zoom, then deletes the objects, which would fill the disk from seed
/// to seed.
async fn check_bucket(case: &mut Case<'_>, recording: &Recording) -> anyhow::Result<()> {
    let world = case.world;
    let bucket = Bucket::new(world.warm.environment("recording-downloader")?)?;
    let (s3, name) = (bucket.client(), bucket.name());
    let zoom_user = case.zoom_users[0].clone();
    let uuid: MeetingUuid = recording.uuid.parse()?;
    let (id, start) = (RecordingId::from_uuid(&uuid), recording.start_time);
    let mut expected = BTreeSet::from([object_key::manifest(&zoom_user, &id, start)]);
    for file in recording.all_files() {
        let key = object_key::file(&zoom_user, &id, start, &file.id.parse()?, "mp4");
        match s3.get_object().bucket(name).key(&key).send().await {
            Ok(object) => {
                let bytes = object.body.collect().await?.into_bytes();
                if bytes != file.spec().bytes(0..file.size) {
                    case.violation(format!("{key} has wrong content"));
                }
            }
            Err(_) => case.violation(format!("{key} is missing")),
        }
        expected.insert(key);
    }
    let prefix = format!("recordings/{}/{}/", zoom_user.account_id, zoom_user.user_id);
    let objects = s3.list_objects_v2().bucket(name).prefix(&prefix);
    let objects = objects.send().await?.contents.unwrap_or_default();
    let keys: BTreeSet<String> = objects.into_iter().filter_map(|it| it.key).collect();
    if keys != expected {
        case.violation(format!("the bucket holds {keys:?}, expected {expected:?}"));
    }
    let uploads = s3.list_multipart_uploads().bucket(name).prefix(&prefix);
    let uploads = uploads.send().await?.uploads.unwrap_or_default();
    if !uploads.is_empty() {
        case.violation(format!("{} multipart uploads are open", uploads.len()));
    }
    let listed = world.get_recording(&case.app_users[0], id.as_str()).await?;
    if listed["status"] != "stored" {
        case.violation(format!("the API returns {listed}"));
    }
    for key in &keys {
        bucket.delete(key).await?;
    }
    Ok(())
}

/// Checks that each file and the recording have one notification each, apart from repeated deliveries.
fn check_notifications(case: &mut Case<'_>, files: usize) {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for notification in case.distinct_notifications() {
        *counts.entry(notification.event_type).or_default() += 1;
    }
    let count = |event_type: &str| counts.get(event_type).copied().unwrap_or(0);
    if count("recording.file_stored") != files
        || count("recording.stored") != 1
        || count("recording.failed") != 0
    {
        case.violation(format!("{files} files led to notifications {counts:?}"));
    }
}
