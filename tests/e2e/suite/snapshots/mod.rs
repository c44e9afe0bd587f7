//! Snapshots of everything that the outside sees: responses, pages, redirects, notifications, failure reasons.
//!
//! Values that differ between runs are replaced by placeholders. A changed snapshot fails the test; after a
//! review, `INSTA_UPDATE=always cargo test -p e2e snapshots` writes the new one.

mod api;
mod notifications;
mod pages;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use reelay_embedded_aws::{Fault as AwsFault, Service};
use reelay_zoom_sim::{NewFile, NewRecording, Recording};
use regex_lite::Regex;
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::Value;
use support::app::ApiResponse;
use support::recordings::recording_id;
use support::zoom_users::ADA;
use support::{System, Visit};

/// Headers that every response carries; a snapshot lists only added, changed or absent headers.
const COMMON: [(&str, &str); 6] = [
    ("cache-control", "no-store"),
    (
        "content-security-policy",
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("referrer-policy", "no-referrer"),
    ("strict-transport-security", "max-age=31536000"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
];

const PATTERNS: [(&str, &str); 20] = [
    (r#""sequence": \d+"#, r#""sequence": "<sequence>""#),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "<time>"),
    (r"/\d{4}/\d\d/\d\d/", "/<date>/"),
    (r"(127\.0\.0\.1|localhost)(:|%3A)\d+", "<host>"),
    (r"msg_[A-Za-z0-9_-]{43}", "msg_<id>"),
    (r"v1,[A-Za-z0-9+/]{43}=", "v1,<signature>"),
    (r"((?:X-Amz|response)-[A-Za-z0-9-]+)=[^&\x22]*", "$1=<value>"),
    (r"zoom_link=[A-Za-z0-9_-]{43}", "zoom_link=<claim>"),
    (r"state=[A-Za-z0-9_-]{76}", "state=<state>"),
    (r"code_challenge=[A-Za-z0-9_-]{43}", "code_challenge=<challenge>"),
    (r"reelay-connect=[A-Za-z0-9_-]{43}", "reelay-connect=<secret>"),
    (r#""crc64nvme": "[A-Za-z0-9+/]{11}=""#, r#""crc64nvme": "<crc>""#),
    (r#""encryptedToken": "[0-9a-f]{64}""#, r#""encryptedToken": "<hmac>""#),
    (r#""meeting_id": "\d+""#, r#""meeting_id": "<number>""#),
    (r#""next_cursor": "[^"]+""#, r#""next_cursor": "<cursor>""#),
    (r#""id": "[^"/<]{20,}""#, r#""id": "<id>""#),
    (r"bf_[0-9a-f]+", "bf_<id>"),
    (r"(?m)^(apigw-requestid|connection|content-length|date): .*\n", ""),
    (r"<style>[^<]*</style>", "<style>…</style>"),
    (r"client_id=[^&\s]+", "client_id=<client id>"),
];

/// Sorts lists of files by type. Reelay sorts them by id, which is random.
fn sort_files(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::Array(files)) = fields.get_mut("files") {
                files.sort_by_key(|file| file["file_type"].to_string());
            }
            fields.values_mut().for_each(sort_files);
        }
        Value::Array(items) => items.iter_mut().for_each(sort_files),
        _ => {}
    }
}

/// The text of one snapshot.
#[derive(Default)]
struct Transcript {
    text: String,
    placeholders: Vec<(String, String)>,
}

impl Transcript {
    /// Shows `value` as `<placeholder>`.
    fn hide(&mut self, value: &str, placeholder: &str) {
        self.placeholders.push((value.to_owned(), format!("<{placeholder}>")));
    }

    fn hide_recording(&mut self, recording: &Recording) {
        self.hide(&recording_id(recording), "recording id");
        self.hide(&recording.uuid, "meeting uuid");
        for (number, file) in recording.files.iter().enumerate() {
            self.hide(&file.id, &format!("file {number}"));
        }
    }

    fn title(&mut self, title: &str) {
        writeln!(self.text, "\n## {title}").unwrap();
    }

    fn response(&mut self, title: &str, status: u16, headers: &HeaderMap, body: &str) {
        self.title(title);
        writeln!(self.text, "{status}").unwrap();
        let mut shown = BTreeSet::new();
        for (name, value) in headers {
            let (name, value) = (name.as_str(), value.to_str().unwrap());
            if !COMMON.contains(&(name, value)) {
                shown.insert(format!("{name}: {value}"));
            }
        }
        for (name, _) in COMMON {
            if !headers.contains_key(name) {
                shown.insert(format!("(no {name})"));
            }
        }
        for line in shown {
            writeln!(self.text, "{line}").unwrap();
        }
        match serde_json::from_str(body) {
            Ok(json) => self.json(&json),
            Err(_) if body.is_empty() => {}
            // A page is one line.
            Err(_) => writeln!(self.text, "{}", body.replace("><", ">\n<")).unwrap(),
        }
    }

    fn api_response(&mut self, title: &str, response: &ApiResponse) {
        self.response(title, response.status, &response.headers, &response.body);
    }

    fn visit(&mut self, title: &str, visit: &Visit) {
        self.response(title, visit.status, &visit.headers, &visit.body);
    }

    fn json(&mut self, value: &Value) {
        let mut value = value.clone();
        sort_files(&mut value);
        writeln!(self.text, "{}", serde_json::to_string_pretty(&value).unwrap()).unwrap();
    }

    #[track_caller]
    fn assert(self, name: &str) {
        let mut text = self.text;
        for (value, placeholder) in &self.placeholders {
            text = text.replace(value, placeholder);
        }
        for (pattern, replacement) in PATTERNS {
            let pattern = Regex::new(pattern).unwrap();
            text = pattern.replace_all(&text, replacement).into_owned();
        }
        let mut settings = insta::Settings::clone_current();
        settings.set_prepend_module_to_snapshot(false);
        settings.set_snapshot_path(".");
        settings.set_omit_expression(true);
        settings.bind(|| insta::assert_snapshot!(name, text));
    }
}

/// Fails every call of one AWS operation.
fn break_aws(system: &System, service: Service, operation: &str) {
    let fault = AwsFault::error(400, "AccessDeniedException");
    let faults = system.faults();
    faults.fail_until_cleared(service, operation, fault);
}

fn repair_aws(system: &System) {
    system.faults().clear_all();
}

async fn disconnect(system: &System, user: &str, link: &Value) -> ApiResponse {
    let path = format!("/v1/links/{}", link["id"].as_str().unwrap());
    system.app.call(Method::DELETE, &path, user).await
}

fn one_file() -> NewRecording {
    NewRecording {
        topic: Some("Weekly".into()),
        duration_minutes: Some(31),
        ..NewRecording::of(ADA).with_files(vec![NewFile::new("MP4", 1_000)])
    }
}
