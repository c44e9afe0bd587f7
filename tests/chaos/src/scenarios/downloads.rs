//! A recording of some files, each of which a process fetches. The first is left alone, and tells how long one
//! takes; the others are killed, up to three times each, at a moment that is any. In the end the bucket has
//! what Zoom has and nothing else, and the app was told of each file once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use jiff::SignedDuration;
use reelay_domain::ids::{MeetingUuid, RecordingId};
use reelay_domain::object_key;
use reelay_store::bucket::Bucket;
use reelay_zoom_sim::{NewFile, NewRecording, Recording};
use serde_json::Value;

use crate::case::Case;
use crate::dice::Dice;
use crate::journal::{Message, To};
use crate::process::Ended;
use crate::verdict::Verdict;
use crate::work::deliver;
use crate::world::World;

const MIB: usize = 1024 * 1024;

/// A dead downloader's lease is over, and SQS delivers its message again.
const LEASE_ENDS: SignedDuration = SignedDuration::from_secs(331);

/// How often each file's downloader is killed, at most.
const MOST_KILLS: usize = 3;

/// More rounds than any recording needs.
const MOST_ROUNDS: usize = 200;

pub(super) async fn run(world: &World, dice: Dice) -> anyhow::Result<Verdict> {
    let mut case = Case::begin(world, dice, 1, 1)?;
    let host = case.zoom_users[0].user_id.to_string();
    world.link(&case.app_users[0].clone(), &host).await?;
    case.work().await?;
    // One request, two parts, five parts.
    let sizes = [2 * MIB, 12 * MIB, 36 * MIB];
    let size = sizes[case.dice.below(sizes.len())] + case.dice.below(MIB);
    let files = 2 + case.dice.below(3);
    let new = NewRecording::of(&host).with_files(
        (0..files)
            .map(|_| NewFile::new("MP4", size as u64))
            .collect(),
    );
    let created = world.zoom()?.create_recording(new)?;
    for delivery in &created.deliveries {
        world
            .zoom()?
            .wait_for_attempts(*delivery, 1)
            .await
            .context("no delivery")?;
    }
    fetch(&mut case).await?;
    check(&mut case, &created.recording).await?;
    Ok(case.verdict)
}

/// Works off everything, the downloads in processes.
async fn fetch(case: &mut Case<'_>) -> anyhow::Result<()> {
    let world = case.world;
    let mut takes: Option<Duration> = None;
    let mut killed: BTreeMap<u64, usize> = BTreeMap::new();
    for _ in 0..MOST_ROUNDS {
        let Some(mut message) = world.journal.take_due(0) else {
            return Ok(());
        };
        case.verdict.steps += 1;
        let ended = if message.to == To::Downloads {
            let kill = kill(&mut case.dice, takes, killed.get(&message.id).copied());
            let begun = Instant::now();
            let ended = world.deliver_to_process(&message, kill).await?;
            if takes.is_none() {
                takes = Some(begun.elapsed());
            }
            ended
        } else if deliver(&world.warm, &message).await? {
            Ended::Done
        } else {
            Ended::NotDone
        };
        match ended {
            Ended::Done => continue,
            Ended::Killed => {
                case.verdict.kills += 1;
                *killed.entry(message.id).or_default() += 1;
            }
            Ended::NotDone => {}
        }
        message.failures += 1;
        anyhow::ensure!(message.failures < 8, "given up by SQS: {}", message.body);
        put_back(world, message);
    }
    anyhow::bail!("there is no end to it")
}

fn put_back(world: &World, message: Message) {
    world.journal.put_back(message);
    world.advance(LEASE_ENDS);
}

/// When to kill: at any moment of the time that a file takes. Nobody knows it before the first.
fn kill(dice: &mut Dice, takes: Option<Duration>, before: Option<usize>) -> Option<Duration> {
    let takes = takes.filter(|_| before.unwrap_or(0) < MOST_KILLS)?;
    let micros = usize::try_from(takes.as_micros()).unwrap_or(usize::MAX);
    Some(Duration::from_micros(dice.below(micros) as u64))
}

/// Holds what came of it against what Zoom has.
async fn check(case: &mut Case<'_>, recording: &Recording) -> anyhow::Result<()> {
    let world = case.world;
    let bucket = Bucket::new(world.warm.environment("recording-downloader")?)?;
    let zoom_user = case.zoom_users[0].clone();
    let uuid: MeetingUuid = recording.uuid.parse()?;
    let id = RecordingId::from_uuid(&uuid);
    let key = |file: &str| {
        anyhow::Ok(object_key::file(
            &zoom_user,
            &id,
            recording.start_time,
            &file.parse()?,
            "mp4",
        ))
    };
    let mut expected =
        BTreeSet::from([object_key::manifest(&zoom_user, &id, recording.start_time)]);
    for file in recording.all_files() {
        let key = key(&file.id)?;
        let object = bucket
            .client()
            .get_object()
            .bucket(bucket.name())
            .key(&key)
            .send()
            .await;
        match object {
            Ok(object) => {
                let bytes = object.body.collect().await?.into_bytes();
                if bytes != file.spec().bytes(0..file.size) {
                    case.violation(format!("other bytes under {key}"));
                }
            }
            Err(_) => case.violation(format!("nothing under {key}")),
        }
        expected.insert(key);
    }
    let prefix = format!("recordings/{}/{}/", zoom_user.account_id, zoom_user.user_id);
    let listed = bucket
        .client()
        .list_objects_v2()
        .bucket(bucket.name())
        .prefix(&prefix);
    let listed = listed.send().await?.contents.unwrap_or_default();
    let found: BTreeSet<String> = listed.into_iter().filter_map(|object| object.key).collect();
    if found != expected {
        case.violation(format!("in the bucket is {found:?}, not {expected:?}"));
    }
    let open = bucket
        .client()
        .list_multipart_uploads()
        .bucket(bucket.name())
        .prefix(&prefix);
    let open = open.send().await?.uploads.unwrap_or_default();
    if !open.is_empty() {
        case.violation(format!("{} uploads are left open", open.len()));
    }
    let seen = world.seen(&case.app_users[0], id.as_str()).await?;
    if seen["status"] != "stored" {
        case.violation(format!("the app sees {seen}"));
    }
    told(case, recording);
    Ok(())
}

/// Each fact once, whatever was repeated: a file's storing by its id, and that all are there at least once.
fn told(case: &mut Case<'_>, recording: &Recording) {
    let mut bodies: BTreeMap<String, String> = BTreeMap::new();
    for told in case.world.journal.told() {
        if let Some(first) = bodies.insert(told.id.clone(), told.body.clone())
            && first != told.body
        {
            case.violation(format!("{} was told with two bodies", told.id));
        }
    }
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for body in bodies.values() {
        let body: Value = serde_json::from_str(body).unwrap_or_default();
        *kinds
            .entry(body["type"].as_str().unwrap_or_default().to_owned())
            .or_default() += 1;
    }
    let count = |kind: &str| kinds.get(kind).copied().unwrap_or(0);
    let files = recording.all_files().count();
    if count("recording.file_stored") != files
        || count("recording.stored") != 1
        || count("recording.failed") != 0
    {
        case.violation(format!("of {files} files was told {kinds:?}"));
    }
}
