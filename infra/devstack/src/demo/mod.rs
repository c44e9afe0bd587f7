//! The main job from end to end, unattended: a user links, a recording completes, its files land in the
//! bucket, the app is told. Every step goes the way that people and programs go, over HTTP.

mod browser;
mod summary;
mod verify;
mod watch;

use std::cell::Cell;
use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use reelay_demo_app::AppUser;
use reelay_demo_app::reelay::{Link, LinkStatus, Reelay};
use reelay_devstack::{Options, Stack, ZoomChoice};
use reelay_zoom_sim::{NewFile, NewRecording};
use secrecy::SecretString;
use serde_json::Value;
use url::Url;

use self::browser::Browser;
use self::summary::Summary;
use self::watch::Display;

/// All of it has to be done within this.
const TIME_LIMIT: Duration = Duration::from_secs(120);
/// Who signs in to the app.
const APP_USER: &str = "demo-user";
/// Whom the simulator has as a user from the beginning.
const ZOOM_USER: &str = "UserAdaBerg00000000001";

/// Runs it.
pub(super) async fn run(options: Options) -> anyhow::Result<()> {
    if matches!(options.zoom, ZoomChoice::External(_)) {
        bail!("the demo needs the simulator: it completes a recording there");
    }
    let begun = Instant::now();
    let step = Cell::new("starting");
    let stack = tokio::time::timeout(TIME_LIMIT, Stack::start(options))
        .await
        .context("starting took too long")??;
    let left = TIME_LIMIT.saturating_sub(begun.elapsed());
    let result = match tokio::time::timeout(left, perform(&stack, begun, &step)).await {
        Ok(result) => result.with_context(|| format!("the demo failed while {}", step.get())),
        Err(_) => Err(anyhow::anyhow!(
            "the demo was not done within {} s; it was {}",
            TIME_LIMIT.as_secs(),
            step.get()
        )),
    };
    stack.shutdown().await;
    let summary = result?;
    writeln!(std::io::stdout().lock(), "{summary}").context("the summary cannot be written")
}

async fn perform(
    stack: &Stack,
    begun: Instant,
    step: &Cell<&'static str>,
) -> anyhow::Result<Summary> {
    let app = stack.demo_app().context("there is no demo app")?;
    let zoom = stack
        .simulator()
        .context("there is no simulator")?
        .control();
    let user: AppUser = APP_USER.parse()?;
    let app_secret = SecretString::from(stack.config().secrets.app_secret.clone());
    let reelay = Reelay::new(stack.url().parse()?, &app_secret)?;
    let mut display = Display::new();

    step.set("connecting Zoom");
    display.say("1. A user of the app connects Zoom");
    let link = connect(app.url(), &reelay, &user).await?;

    step.set("transferring the recording");
    display.say("2. A recording completes at Zoom");
    let files = vec![
        NewFile::new("MP4", 64_000_000),
        NewFile::new("M4A", 3_000_000),
        NewFile::new("TIMELINE", 48_000),
    ];
    let expected = files.len();
    let created = zoom
        .create_recording(NewRecording::of(ZOOM_USER).with_files(files))?
        .recording;
    watch::until_stored(&reelay, &user, &created.uuid, expected, &mut display).await?;
    // The app is told after the fact. A transcript that comes before it is told makes the recording
    // incomplete again, and there is one telling less.
    step.set("waiting for the app to be told");
    let told = app.wait_for(TIME_LIMIT, |told| {
        told.kind == "recording.stored"
            && told
                .body
                .pointer("/data/recording/meeting_uuid")
                .and_then(Value::as_str)
                == Some(&created.uuid)
    });
    told.await
        .context("the app was not told that the recording is stored")?;

    step.set("transferring the late transcript");
    display.say("3. Its transcript comes late");
    zoom.add_transcript(&created.key, Some(NewFile::new("TRANSCRIPT", 64_000)))?;
    let listed =
        watch::until_stored(&reelay, &user, &created.uuid, expected + 1, &mut display).await?;

    step.set("comparing every byte");
    display.say("4. Everything is verified");
    let recording = reelay.recording(&user, &listed.id).await?;
    let original = zoom
        .recording(&created.key)
        .context("the simulator lost its recording")?;
    let originals: Vec<_> = original.all_files().collect();
    let files = verify::bytes(&originals, &recording).await?;
    step.set("reading the manifest");
    let manifest = verify::manifest(stack, &recording).await?;
    step.set("verifying what the app was told");
    let notifications = verify::notifications(app, &user, &recording).await?;
    let user = user.to_string();
    Ok(Summary {
        user,
        link,
        recording,
        files,
        manifest,
        notifications,
        took: begun.elapsed(),
    })
}

/// Signs in, presses the button, consents at Zoom, and comes back.
async fn connect(app: &Url, reelay: &Reelay, user: &AppUser) -> anyhow::Result<Link> {
    let mut browser = Browser::new()?;
    browser
        .post(app.join("/sign-in")?, &[("user", user.as_str())])
        .await
        .context("signing in")?;
    let button = app.join("/settings/integrations/zoom/connect")?;
    let arrived = browser
        .follow(button, consent)
        .await
        .context("connecting")?;
    ensure!(
        arrived.path() == "/settings/integrations",
        "the way back led to {}",
        arrived.path()
    );
    let links = reelay.links(user).await?;
    let link = links
        .into_iter()
        .find(|link| link.zoom.user_id == ZOOM_USER)
        .context("there is no link afterwards")?;
    ensure!(
        link.status == LinkStatus::Active,
        "the link is {:?}",
        link.status
    );
    Ok(link)
}

/// What a person does on the simulator's consent page.
fn consent(url: &mut Url) {
    if url.path() == "/oauth/authorize" {
        url.query_pairs_mut()
            .append_pair("sim_user", ZOOM_USER)
            .append_pair("sim_decision", "allow");
    }
}
