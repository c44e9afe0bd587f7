//! `recordings`: an app user's recordings, newest first.

use reelay_domain::cursor::Position;
use reelay_domain::ids::ZoomUser;
use reelay_domain::link::Link;
use reelay_domain::recording::{FileStatus, Recording, RecordingStatus};
use reelay_store::links::LinkTable;
use reelay_store::recordings::{RecordingTable, RecordingWithFiles};
use serde_json::json;

use crate::arguments::{Recordings, StatusName};
use crate::deployment::Deployment;
use crate::output::{Output, printable, size, table};
use crate::{Misused, Verdict};

/// How many are read at once of each Zoom user.
const PAGE: usize = 50;

pub(crate) async fn run(
    deployment: &Deployment,
    wanted: &Recordings,
    output: &Output,
) -> anyhow::Result<Verdict> {
    let recordings = RecordingTable::new(&deployment.environment)?;
    let links = LinkTable::new(&deployment.environment)?
        .visible_links(&wanted.user)
        .await?;
    let zoom_users: Vec<ZoomUser> = links.iter().flat_map(Link::zoom_users).cloned().collect();
    let mut after = wanted.after.as_deref().map(position).transpose()?;
    let limit = usize::from(wanted.limit);
    let mut found: Vec<(Position, Recording)> = Vec::new();
    let mut next = None;
    'pages: loop {
        let page = newest(&recordings, &zoom_users, after.as_ref()).await?;
        let Some(last) = page.last().cloned() else {
            break;
        };
        for at in page {
            let Some(recording) = load(&recordings, &at).await? else {
                continue;
            };
            if wanted.status.is_none_or(|status| is(&recording, status)) {
                if found.len() == limit {
                    next = found.last().map(|(at, _)| text(at));
                    break 'pages;
                }
                found.push((at, recording));
            }
        }
        after = Some(last);
    }
    show(deployment, wanted, &found, next.as_deref(), output)
}

/// The next positions over all Zoom users, newest first.
async fn newest(
    recordings: &RecordingTable,
    zoom_users: &[ZoomUser],
    after: Option<&Position>,
) -> anyhow::Result<Vec<Position>> {
    let mut found = Vec::new();
    for zoom_user in zoom_users {
        let items = recordings.newest(zoom_user, after, PAGE).await?;
        found.extend(items.into_iter().map(|item| Position {
            start_order: item.start_order,
            zoom_user: zoom_user.key(),
        }));
    }
    found.sort_unstable_by(|a, b| b.cmp(a));
    found.truncate(PAGE);
    Ok(found)
}

async fn load(recordings: &RecordingTable, at: &Position) -> anyhow::Result<Option<Recording>> {
    let zoom_user = ZoomUser::from_key(&at.zoom_user)?;
    let Some((_, id)) = at.start_order.split_once('#') else {
        return Ok(None);
    };
    let loaded = recordings.load(&zoom_user, &id.parse()?).await?;
    Ok(loaded.as_ref().map(RecordingWithFiles::recording))
}

fn is(recording: &Recording, status: StatusName) -> bool {
    recording.status()
        == match status {
            StatusName::Detected => RecordingStatus::Detected,
            StatusName::Transferring => RecordingStatus::Transferring,
            StatusName::Stored => RecordingStatus::Stored,
            StatusName::Failed => RecordingStatus::Failed,
        }
}

/// `--after` of the next page. What it is made of holds no space.
fn text(at: &Position) -> String {
    format!("{},{}", at.start_order, at.zoom_user)
}

fn position(text: &str) -> Result<Position, Misused> {
    let (start_order, zoom_user) = text
        .split_once(',')
        .filter(|(start, user)| start.contains('#') && ZoomUser::from_key(user).is_ok())
        .ok_or_else(|| Misused("--after takes the `next` of an earlier page".to_owned()))?;
    Ok(Position {
        start_order: start_order.to_owned(),
        zoom_user: zoom_user.to_owned(),
    })
}

fn show(
    deployment: &Deployment,
    wanted: &Recordings,
    found: &[(Position, Recording)],
    next: Option<&str>,
    output: &Output,
) -> anyhow::Result<Verdict> {
    let bucket = deployment.resource("RecordingsBucket")?;
    let views: Vec<_> = found.iter().map(|(_, it)| it.view(bucket)).collect();
    output.object(&json!({"user": wanted.user, "recordings": views, "next": next}));
    if found.is_empty() {
        output.text(&format!("{} has no such recordings.", wanted.user));
    } else {
        let rows: Vec<[String; 6]> = found.iter().map(|(_, it)| row(it)).collect();
        let head = ["recording", "start", "status", "files", "size", "topic"];
        output.text(&table(head, &rows));
    }
    if let Some(next) = next {
        output.note(&format!("\nThere are more: --after '{next}'"));
    }
    Ok(Verdict::Fine)
}

fn row(recording: &Recording) -> [String; 6] {
    let files: Vec<_> = recording.wanted_files().collect();
    let stored = files
        .iter()
        .filter(|file| file.status == FileStatus::Stored)
        .count();
    let mut reasons: Vec<&str> = files
        .iter()
        .filter_map(|file| file.reason.as_deref())
        .collect();
    reasons.sort_unstable();
    reasons.dedup();
    let status = match recording.status() {
        RecordingStatus::Detected => "detected".to_owned(),
        RecordingStatus::Transferring => "transferring".to_owned(),
        RecordingStatus::Stored => "stored".to_owned(),
        RecordingStatus::Failed => format!("failed: {}", reasons.join(", ")),
    };
    let bytes = files.iter().map(|file| file.bytes_stored).sum();
    [
        recording.id().to_string(),
        recording.metadata.start_time.to_string(),
        status,
        format!("{stored} of {}", files.len()),
        size(bytes),
        printable(&recording.metadata.topic, 60),
    ]
}
