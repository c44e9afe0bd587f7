//! Attacks on linking, and failures of Zoom during it.

mod claims;
mod return_url;
mod state;
mod tokens;
mod zoom_fails;

use reelay_zoom_sim::{NewFile, NewRecording};
use support::{Browser, System};

use crate::linking::exchanges;

/// Completes a recording and processes what follows.
async fn record(system: &System, zoom_user: &str) {
    let new = NewRecording::of(zoom_user).with_files(vec![NewFile::new("CHAT", 200)]);
    system.zoom().create_recording(new).unwrap();
    system.zoom().wait_until_settled().await;
    system.process_queues().await;
}

/// Asserts that no code was exchanged and no link stored.
async fn assert_untouched(system: &System) {
    assert_eq!(exchanges(system), 0, "a code was exchanged");
    let links = system.table_items(&system.tables().links).await;
    assert!(links.is_empty(), "{links:?}");
}

/// Asserts that the right browser still completes the flow.
async fn assert_completes(system: &System, browser: &mut Browser, callback: &str, app_user: &str) {
    let claim = browser.visit(callback).await.claim();
    assert_eq!(system.app.confirm(app_user, &claim).await.status, 200);
}
