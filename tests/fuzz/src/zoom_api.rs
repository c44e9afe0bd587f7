//! Responses of Zoom's token endpoint and REST API.

use std::fmt::{Debug, Display};

use reelay_domain::ids::MeetingUuid;
use reelay_domain::keys::SecretVersions;
use reelay_domain::observation::FileObservation;
use reelay_domain::webhook::{event, meeting as zoom_meeting, redact};
use reelay_zoom::{ApiError, TokenPair, ZoomClient};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use crate::fake_zoom::{
    FakeZoom, assert_debug_has_no_secret, assert_error_has_no_secret, assert_rate_limit,
    credentials, secret, status,
};
use crate::loopback;
use crate::oracle::{self, fields};
use crate::webhooks::assert_parsed;

/// Upper bound of an access token's lifetime in seconds.
const MAX_EXPIRES_IN: u64 = 24 * 3600;

/// Token endpoint: a token pair equals the response's, its lifetime is bounded, and errors hold no secret.
pub fn zoom_token(input: &[u8]) {
    let [operation, code, body] = fields(input);
    let Some(code) = status(code) else {
        return;
    };
    let credentials = credentials();
    // The OAuth client ignores text after the object.
    let mut values = serde_json::Deserializer::from_slice(body).into_iter::<Value>();
    let json = values.next().and_then(Result::ok);
    let reply = loopback::reply(code, body);
    let call = async |zoom: &ZoomClient| match operation {
        b"revoke" => {
            let revoked = zoom.revoke(&credentials, &secret("t")).await;
            assert_eq!(revoked.is_ok(), (200..300).contains(&code), "{revoked:?}");
            assert_debug_has_no_secret(&revoked);
            None
        }
        b"refresh" => check_pair(zoom.refresh(&credentials, &secret("r")).await),
        _ => {
            let (code, verifier) = (secret("c"), secret("v"));
            let redirect_uri = "https://reelay.example/zoom/callback";
            check_pair(zoom.exchange_code(&credentials, &code, &verifier, redirect_uri).await)
        }
    };
    let (pair, _) = FakeZoom::with(|zoom| zoom.call(reply, call));
    let (Some(pair), Some(json)) = (pair, json) else {
        return;
    };
    assert!((200..300).contains(&code), "tokens from status {code}");
    for (name, token) in
        [("access_token", &pair.access_token), ("refresh_token", &pair.refresh_token)]
    {
        assert_eq!(json[name], token.expose_secret(), "{name}");
        assert!(!token.expose_secret().is_empty());
    }
    assert!(pair.expires_in <= MAX_EXPIRES_IN, "{} s", pair.expires_in);
    if let Some(scope) = &pair.scope {
        let sent = json["scope"].as_str().unwrap_or_default();
        assert!(scope.split(' ').eq(sent.split(' ')), "{scope} {sent}");
    }
}

fn check_pair<E: Debug + Display>(pair: Result<TokenPair, E>) -> Option<TokenPair> {
    assert_debug_has_no_secret(&pair);
    pair.inspect_err(assert_error_has_no_secret).ok()
}

/// REST API: parsed values equal the response's, a response with an error `code` is no success, and listed
/// meetings can be queued and parsed as events.
pub fn zoom_api(input: &[u8]) {
    let [call, code, retry_after, limit, body] = fields(input);
    let Some(code) = status(code) else {
        return;
    };
    let mut reply = loopback::reply(code, body);
    loopback::add_header(&mut reply, "retry-after", retry_after);
    loopback::add_header(&mut reply, "x-ratelimit-type", limit);
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    let non_empty = |name: &str| json[name].as_str().filter(|token| !token.is_empty());
    let token = secret("access");
    let request = async |zoom: &ZoomClient| match call {
        b"me" => {
            let me = zoom.get_current_user(&token).await?.user;
            let sent = |name: &str| json[name].as_str().unwrap().trim();
            assert_eq!(sent("account_id"), me.account_id.as_str());
            assert_eq!(sent("id"), me.user_id.as_str());
            Ok(())
        }
        b"meeting" => {
            let uuid: MeetingUuid = "Zm9v+bar/bazQUJDREVGRw==".parse().unwrap();
            let meeting = zoom.get_meeting_recordings(&token, &uuid, 60).await?;
            assert_debug_has_no_secret(&meeting);
            assert_eq!(meeting.object.get("download_access_token"), None);
            let download_token = meeting.download_access_token.as_ref();
            let download_token = download_token.map(|token| token.expose_secret());
            assert_eq!(download_token, non_empty("download_access_token"));
            assert_listed_files(&meeting.object, &uuid);
            Ok(())
        }
        _ => {
            let next = (call == b"next").then_some("S3CRET next");
            let day = jiff::civil::date(2026, 1, 1);
            let page = zoom.list_recordings(&token, day, day, next).await?;
            assert_debug_has_no_secret(&page);
            assert_eq!(json["meetings"].as_array(), Some(&page.meetings));
            let next_page = page.next_page_token.as_deref();
            assert_eq!(next_page, non_empty("next_page_token"));
            page.meetings.iter().for_each(assert_can_be_queued);
            Ok(())
        }
    };
    let (result, _) = FakeZoom::with(|zoom| zoom.call(reply.clone(), request));
    match result {
        Ok(()) => {
            assert!((200..300).contains(&code), "success from status {code}");
            let has_error_code = match &json["code"] {
                Value::Number(number) => number.is_i64(),
                Value::String(text) => text.trim().parse::<i64>().is_ok(),
                _ => false,
            };
            assert!(json.is_object() && !has_error_code);
        }
        Err(error) => {
            assert_error_has_no_secret(&error);
            if let ApiError::RateLimited(limit) = error {
                assert_rate_limit(&limit, &reply);
            }
        }
    }
}

/// Asserts that the source of each file is a download URL of the same meeting.
fn assert_listed_files(object: &Value, uuid: &MeetingUuid) {
    let mut event = json!({"payload": {"account_id": "A", "object": object}, "event_ts": 1});
    event["payload"]["object"]["host_id"] = json!("u");
    event["payload"]["object"]["uuid"] = json!(uuid);
    let Ok(parsed) = zoom_meeting::parse_event(&event, oracle::observed_at()) else {
        return;
    };
    let urls: Vec<&str> = ["recording_files", "participant_audio_files"]
        .iter()
        .filter_map(|list| object[list].as_array())
        .flatten()
        .filter_map(|file| file["download_url"].as_str())
        .collect();
    for FileObservation { metadata, .. } in &parsed.observation.files {
        let listed = zoom_meeting::find_listed_file(object, uuid, &metadata.id);
        if let Some(url) = listed.and_then(|file| file.url) {
            assert!(urls.contains(&url.expose_secret()));
        }
    }
}

/// Converts a listed meeting to an event as the reconciler does, and checks it.
fn assert_can_be_queued(meeting: &Value) {
    let mut meeting = meeting.clone();
    if !meeting.is_object() {
        return;
    }
    meeting["host_id"] = json!("UserB");
    let event = json!({
        "event": event::RECORDING_COMPLETED,
        "payload": {"account_id": "AcctA", "object": meeting},
    });
    let event = redact::redact(event, &SecretVersions::single("k"), || [7; 16]);
    if let Ok(parsed) = zoom_meeting::parse_event(&event, oracle::observed_at()) {
        assert_parsed(&event, &parsed);
    }
}
