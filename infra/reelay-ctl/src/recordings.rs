//! `recordings`: lists an app user's recordings, newest first.

use reelay_domain::cursor::Position;
use reelay_domain::ids::ZoomUser;
use reelay_domain::link::Link;
use reelay_domain::recording::{FileStatus, Recording, RecordingStatus};
use reelay_store::links::LinkTable;
use reelay_store::recordings::{ListBounds, RecordingTable, RecordingWithFiles};
use serde_json::json;

use crate::arguments::{RecordingsArguments, StatusName};
use crate::deployment::Deployment;
use crate::output::{Outcome, Output, UsageError, sanitize, size, table, time};

/// Number of index items per query and Zoom user.
const PAGE_SIZE: usize = 50;

pub(crate) async fn run(
    deployment: &Deployment,
    arguments: &RecordingsArguments,
    output: &Output,
) -> anyhow::Result<Outcome> {
    let recordings = RecordingTable::new(&deployment.environment)?;
    let links = LinkTable::new(&deployment.environment)?.visible_links(&arguments.user).await?;
    let zoom_users: Vec<ZoomUser> = links.iter().flat_map(Link::zoom_users).cloned().collect();
    let mut after = arguments.after.as_deref().map(decode_position).transpose()?;
    let limit = usize::from(arguments.limit);
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
            if arguments.status.is_none_or(|status| has_status(&recording, status)) {
                if found.len() == limit {
                    next = found.last().map(|(at, _)| encode_position(at));
                    break 'pages;
                }
                found.push((at, recording));
            }
        }
        after = Some(last);
    }
    print(deployment, arguments, &found, next.as_deref(), output)
}

/// Loads the next positions across all Zoom users, newest first.
async fn newest(
    recordings: &RecordingTable,
    zoom_users: &[ZoomUser],
    after: Option<&Position>,
) -> anyhow::Result<Vec<Position>> {
    let bounds = ListBounds { after, ..ListBounds::default() };
    let mut found = Vec::new();
    for zoom_user in zoom_users {
        let listed = recordings.newest(zoom_user, &bounds, PAGE_SIZE).await?;
        found.extend(listed.iter().map(|it| it.position(zoom_user)));
    }
    found.sort_unstable_by(|a, b| b.cmp(a));
    found.truncate(PAGE_SIZE);
    Ok(found)
}

async fn load(recordings: &RecordingTable, at: &Position) -> anyhow::Result<Option<Recording>> {
    let zoom_user = ZoomUser::from_key(&at.zoom_user)?;
    let Some(id) = at.recording() else {
        return Ok(None);
    };
    let loaded = recordings.load(&zoom_user, &id).await?;
    Ok(loaded.as_ref().map(RecordingWithFiles::recording))
}

fn has_status(recording: &Recording, status: StatusName) -> bool {
    recording.status()
        == match status {
            StatusName::Detected => RecordingStatus::Detected,
            StatusName::Transferring => RecordingStatus::Transferring,
            StatusName::Stored => RecordingStatus::Stored,
            StatusName::Failed => RecordingStatus::Failed,
            StatusName::Empty => RecordingStatus::Empty,
            StatusName::Expired => RecordingStatus::Expired,
        }
}

/// Formats the `--after` value of the next page. It contains no spaces.
fn encode_position(at: &Position) -> String {
    format!("{},{}", at.start_order, at.zoom_user)
}

fn decode_position(text: &str) -> Result<Position, UsageError> {
    let (start_order, zoom_user) = text
        .split_once(',')
        .filter(|(start, user)| start.contains('#') && ZoomUser::from_key(user).is_ok())
        .ok_or_else(|| {
            UsageError("--after requires the `next` value of an earlier page".to_owned())
        })?;
    Ok(Position { start_order: start_order.to_owned(), zoom_user: zoom_user.to_owned() })
}

fn print(
    deployment: &Deployment,
    arguments: &RecordingsArguments,
    found: &[(Position, Recording)],
    next: Option<&str>,
    output: &Output,
) -> anyhow::Result<Outcome> {
    let bucket = deployment.resource("RecordingsBucket")?;
    let views: Vec<_> = found.iter().map(|(_, recording)| recording.view(bucket)).collect();
    output.json(&json!({"user": arguments.user, "recordings": views, "next": next}));
    if found.is_empty() {
        output.line(&format!("{} has no matching recordings.", arguments.user));
    } else {
        let rows: Vec<[String; 6]> = found.iter().map(|(_, recording)| row(recording)).collect();
        let header = ["recording", "start", "status", "files", "size", "topic"];
        output.line(&table(header, &rows));
    }
    if let Some(next) = next {
        output.note(&format!("\nNext page: --after '{next}'"));
    }
    Ok(Outcome::Success)
}

fn row(recording: &Recording) -> [String; 6] {
    let files: Vec<_> = recording.wanted_files().collect();
    let stored = files.iter().filter(|file| file.status == FileStatus::Stored).count();
    let mut reasons: Vec<&str> = files.iter().filter_map(|file| file.reason.as_deref()).collect();
    reasons.sort_unstable();
    reasons.dedup();
    let status = match recording.status() {
        RecordingStatus::Detected => "detected".to_owned(),
        RecordingStatus::Transferring => "transferring".to_owned(),
        RecordingStatus::Stored => "stored".to_owned(),
        RecordingStatus::Failed => format!("failed: {}", reasons.join(", ")),
        RecordingStatus::Expired => "expired".to_owned(),
        RecordingStatus::Empty => "empty".to_owned(),
    };
    let bytes = files.iter().map(|file| file.bytes_stored).sum();
    [
        recording.id().to_string(),
        time(recording.metadata.start_time),
        status,
        format!("{stored} of {}", files.len()),
        size(bytes),
        sanitize(recording.metadata.topic.as_deref().unwrap_or_default(), 60),
    ]
}
