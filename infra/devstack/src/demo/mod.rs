//! The main job from end to end, unattended: a user links Zoom, a recording completes, its files are stored, and
//! the app receives notifications. Every step uses HTTP, as users and apps do.

mod progress;
mod summary;
mod verify;

use std::cell::Cell;
use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use reelay_demo_app::reelay::{Link, LinkStatus, Reelay};
use reelay_demo_app::{AppUser, Clock};
use reelay_devstack::{Browser, Options, Stack, ZoomChoice};
use reelay_zoom_sim::{NewFile, NewRecording};
use url::Url;

use self::progress::Progress;
use self::summary::Summary;

/// Time limit of the whole demo.
const DEMO_TIMEOUT: Duration = Duration::from_secs(120);
/// The app user who links Zoom.
const APP_USER: &str = "demo-user";
/// A user that the simulator has from the start.
const ZOOM_USER: &str = "UserAdaBerg00000000001";

/// Runs the demo and prints its summary.
///
/// # Errors
/// If a step fails or the demo exceeds its time limit.
pub(super) async fn run(options: Options) -> anyhow::Result<()> {
    if matches!(options.zoom, ZoomChoice::External(_)) {
        bail!("the demo completes a recording in the simulator, so it cannot use --zoom-url");
    }
    let start = Instant::now();
    let step = Cell::new("starting");
    let stack = tokio::time::timeout(DEMO_TIMEOUT, Stack::start(options))
        .await
        .context("the stack did not start in time")??;
    let remaining = DEMO_TIMEOUT.saturating_sub(start.elapsed());
    let result = tokio::time::timeout(remaining, perform(&stack, start, &step)).await;
    stack.shutdown().await;
    let seconds = DEMO_TIMEOUT.as_secs();
    let summary = result
        .with_context(|| format!("the demo exceeded {seconds} s while {}", step.get()))?
        .with_context(|| format!("the demo failed while {}", step.get()))?;
    writeln!(std::io::stdout().lock(), "{summary}").context("failed to print the summary")
}

async fn perform(
    stack: &Stack,
    start: Instant,
    step: &Cell<&'static str>,
) -> anyhow::Result<Summary> {
    let app = stack.demo_app().context("the stack has no demo app")?;
    let simulator = stack.simulator().context("the stack has no simulator")?;
    let zoom = simulator.control();
    let user: AppUser = APP_USER.parse()?;
    let app_secret = stack.config().secrets.app_secret.clone().into();
    let reelay = Reelay::new(stack.url().parse()?, &app_secret, Clock::default())?;
    let mut progress = Progress::default();

    step.set("connecting Zoom");
    progress.say("1. A user of the app connects Zoom");
    let link = connect(app.url(), &reelay, &user).await?;

    step.set("transferring the recording");
    progress.say("2. A recording completes at Zoom");
    let files = vec![
        NewFile::new("MP4", 64_000_000),
        NewFile::new("M4A", 3_000_000),
        NewFile::new("TIMELINE", 48_000),
    ];
    let file_count = files.len();
    let created = zoom.create_recording(NewRecording::of(ZOOM_USER).with_files(files))?;
    let original = created.recording;
    progress.until_stored(&reelay, &user, &original.uuid, file_count).await?;
    // A transcript that arrives before this notification would replace it by a later one.
    step.set("waiting for the notification recording.stored");
    verify::stored_notification(app, &original.uuid).await;

    step.set("transferring the late transcript");
    progress.say("3. Its transcript arrives later");
    zoom.add_transcript(&original.key, Some(NewFile::new("TRANSCRIPT", 64_000)))?;
    let listed = progress.until_stored(&reelay, &user, &original.uuid, file_count + 1).await?;

    step.set("comparing the stored bytes");
    progress.say("4. The demo verifies files, manifest and notifications");
    let recording = reelay.recording(&user, &listed.id).await?;
    let original =
        zoom.recording(&original.key).context("the simulator no longer has the recording")?;
    let files = verify::bytes(&original, &recording).await?;
    step.set("verifying the manifest");
    let manifest = verify::manifest(stack, &recording).await?;
    step.set("verifying the notifications");
    let notifications = verify::notifications(app, &user, &recording).await?;
    Ok(Summary { user, link, recording, files, manifest, notifications, duration: start.elapsed() })
}

/// Signs in to the app, presses its button, consents at Zoom, and returns.
async fn connect(app: &Url, reelay: &Reelay, user: &AppUser) -> anyhow::Result<Link> {
    let mut browser = Browser::default();
    let form = [("user", user.as_str())];
    let signed_in = browser.post(&app.join("/sign-in")?, &form).await?;
    ensure!(signed_in.status == 303, "the sign-in responded with status {}", signed_in.status);
    let button = app.join("/settings/integrations/zoom/connect")?;
    let page = browser.follow(button, consent).await?;
    ensure!(
        page.url.path() == "/settings/integrations",
        "the browser returned to {}",
        page.url.path()
    );
    let links = reelay.links(user).await?;
    let link = links
        .into_iter()
        .find(|link| link.zoom.user_id == ZOOM_USER)
        .context("the user has no link")?;
    ensure!(link.status == LinkStatus::Active, "the link is {:?}", link.status);
    Ok(link)
}

/// Gives consent on the simulator's consent page.
fn consent(url: &mut Url) {
    if url.path() == "/oauth/authorize" {
        url.query_pairs_mut()
            .append_pair("sim_user", ZOOM_USER)
            .append_pair("sim_decision", "allow");
    }
}
