//! Linking, under attack and when Zoom fails: what is refused, how, and that it changes nothing.

mod claims;
mod return_url;
mod state;
pub(crate) mod tokens;
mod zoom_fails;

use reelay_zoom_sim::{NewFile, NewRecording};
use support::{Browser, System, store};

use crate::linking::exchanges;

/// A recording of this Zoom user completes, and all that follows from it comes to its end.
async fn record(system: &System, zoom_user: &str) {
    let new = NewRecording::of(zoom_user).with_files(vec![NewFile::new("CHAT", 200)]);
    system.zoom().create_recording(new).unwrap();
    system.zoom().wait_until_settled().await;
    system.work().await;
}

/// Nothing was exchanged, nothing was stored: as if nobody had been here.
async fn assert_untouched(system: &System) {
    assert_eq!(exchanges(system), 0, "a code was exchanged");
    let links = store::items(&system.stack, &system.stack.config().tables.links).await;
    assert!(links.is_empty(), "{links:?}");
}

/// The right browser still completes: the session was not spent.
async fn assert_completes(system: &System, browser: &mut Browser, back: &str, app_user: &str) {
    let claim = browser.visit(back).await.claim();
    assert_eq!(system.app.confirm(app_user, &claim).await.status, 200);
}
