//! `/v1`: authentication, routes, validation, and isolation between app users.

mod isolation;
mod pages;
mod requests;

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use reelay_zoom_sim::{NewFile, NewRecording};
use support::System;
use support::app::ApiResponse;

/// Asserts a problem with this status and code and every field of the contract.
#[track_caller]
fn assert_problem(response: &ApiResponse, status: u16, code: &str, case: &str) {
    assert_eq!((response.status, response.code().as_str()), (status, code), "{case}: {response:?}");
    let body = response.json();
    let keys: BTreeSet<_> = body.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, BTreeSet::from(["code", "detail", "status", "title", "type"]), "{case}");
    assert_eq!(body["type"], format!("urn:reelay:problem:{code}"), "{case}");
    for text in ["title", "detail"] {
        assert!(!body[text].as_str().unwrap().is_empty(), "{case}: {text}");
    }
}

/// Creates a recording with one small file at this time; returns its id.
fn create_meeting(system: &System, zoom_user: &str, start: Timestamp) -> String {
    let new = NewRecording { start_time: Some(start), ..NewRecording::of(zoom_user) };
    let created =
        system.zoom().create_recording(new.with_files(vec![NewFile::new("CHAT", 64)])).unwrap();
    URL_SAFE_NO_PAD.encode(created.recording.uuid)
}

async fn process_arrived(system: &System) {
    system.zoom().wait_until_settled().await;
    system.process_queues().await;
}
