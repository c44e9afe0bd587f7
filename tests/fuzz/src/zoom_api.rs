//! What Zoom and its download hosts answer, over HTTP from a server on this machine.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use http::HeaderValue;
use reelay_domain::ids::MeetingUuid;
use reelay_domain::keys::SecretVersions;
use reelay_domain::webhook::event::{self, FilesCompleted};
use reelay_domain::webhook::redact;
use reelay_zoom::{
    ApiError, ByteRange, ClientCredentials, DownloadError, DownloadHosts, Endpoints, RateLimit,
    RateLimitKind, RetryAfter, Timeouts, ZoomClient,
};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use url::Url;

use crate::by_hand::{self, fields, text};
use crate::loopback::{self, Reply, Seen};
use crate::webhooks::assert_completed;

/// Part of all that must not be printed; inputs hold it, too.
const SECRET: &str = "S3CRET";

/// No access token is taken to live longer than this, in seconds; it is added to the time.
const A_DAY: u64 = 24 * 3600;

/// A Zoom that answers as told, and a client of it.
struct Place {
    runtime: Runtime,
    zoom: ZoomClient,
    port: u16,
    told: Arc<Mutex<Told>>,
}

/// What is answered to the path that is asked first; any other path is found, and plain.
#[derive(Default)]
struct Told {
    reply: Option<Reply>,
    seen: Vec<Seen>,
}

/// What a download gets at the end of a redirect.
const MOVED: &[u8] = b"moved";

const FIRST: &str = "/file";

impl Place {
    fn open() -> Self {
        let told: Arc<Mutex<Told>> = Arc::default();
        let teller = Arc::clone(&told);
        let port = loopback::serve(move |seen| {
            let mut told = teller.lock().unwrap();
            told.seen.push(seen.clone());
            let path = seen.target.split('?').next().unwrap_or_default();
            match &told.reply {
                Some(reply)
                    if path == FIRST || path.starts_with("/oauth") || path.starts_with("/v2") =>
                {
                    reply.clone()
                }
                _ => Reply::new(200, MOVED),
            }
        });
        let base = format!("http://127.0.0.1:{port}");
        let endpoints = Endpoints::parse(&base, &base).unwrap();
        Self {
            runtime: Builder::new_current_thread().enable_all().build().unwrap(),
            zoom: ZoomClient::new(endpoints, Timeouts::default()).unwrap(),
            port,
            told,
        }
    }

    /// Runs a call against one answer.
    fn call<T>(&self, reply: Reply, call: impl AsyncFnOnce(&ZoomClient) -> T) -> (T, Vec<Seen>) {
        *self.told.lock().unwrap() = Told {
            reply: Some(reply),
            seen: Vec::new(),
        };
        let outcome = self.runtime.block_on(call(&self.zoom));
        let seen = std::mem::take(&mut self.told.lock().unwrap().seen);
        (outcome, seen)
    }
}

thread_local! {
    static PLACE: Place = Place::open();
}

/// Statuses that an HTTP client hands on; others are another layer's business.
fn status(text: &str) -> Option<u16> {
    text.parse()
        .ok()
        .filter(|status| (200..=599).contains(status))
}

fn secret(text: &str) -> SecretString {
    SecretString::from(format!("{SECRET}-{text}"))
}

fn assert_discreet(shown: &impl Debug) {
    let shown = format!("{shown:?} {shown:#?}");
    assert!(!shown.contains(SECRET), "{shown}");
}

/// A header whose value HTTP can carry.
fn header(name: &str, value: &[u8]) -> Option<(String, Vec<u8>)> {
    HeaderValue::from_bytes(value).ok()?;
    let value = value.trim_ascii();
    (!value.is_empty()).then(|| (name.to_owned(), value.to_vec()))
}

/// The token endpoint: a pair is exactly what the answer says, within reason; a refusal repeats nothing.
pub fn zoom_token(input: &[u8]) {
    let [operation, code, body] = fields(input);
    let Some(code) = status(text(code)) else {
        return;
    };
    let credentials = credentials();
    // The OAuth client stops reading where the object ends.
    let mut values = serde_json::Deserializer::from_slice(body).into_iter::<Value>();
    let json = values.next().and_then(Result::ok);
    PLACE.with(|place| {
        let reply = Reply::new(code, body);
        let (pair, _) = match operation {
            b"revoke" => {
                let (revoked, _) = place.call(reply, async |zoom| {
                    zoom.revoke(&credentials, &secret("t")).await
                });
                assert_eq!(revoked.is_ok(), (200..300).contains(&code), "{revoked:?}");
                assert_discreet(&revoked);
                return;
            }
            b"refresh" => place.call(reply, async |zoom| {
                let pair = zoom.refresh(&credentials, &secret("r")).await;
                assert_discreet(&pair);
                if let Err(error) = &pair {
                    assert!(!error.to_string().contains(SECRET));
                }
                pair.ok()
            }),
            _ => place.call(reply, async |zoom| {
                let (code, verifier) = (secret("c"), secret("v"));
                let back = "https://reelay.example/zoom/callback";
                let pair = zoom
                    .exchange_code(&credentials, &code, &verifier, back)
                    .await;
                assert_discreet(&pair);
                if let Err(error) = &pair {
                    assert!(!error.to_string().contains(SECRET));
                }
                pair.ok()
            }),
        };
        let (Some(pair), Some(json)) = (pair, json) else {
            return;
        };
        assert!((200..300).contains(&code), "tokens from a {code}");
        for (name, token) in [
            ("access_token", &pair.access_token),
            ("refresh_token", &pair.refresh_token),
        ] {
            assert_eq!(json[name], token.expose_secret(), "{name}");
            assert!(!token.expose_secret().is_empty());
        }
        assert!(pair.expires_in <= A_DAY, "{} s", pair.expires_in);
        if let Some(scope) = &pair.scope {
            let said = json["scope"].as_str().unwrap_or_default();
            let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
            assert_eq!(words(scope), words(said));
        }
    });
}

fn credentials() -> ClientCredentials {
    ClientCredentials {
        client_id: "id".to_owned(),
        client_secret: secret("client"),
    }
}

/// The REST API: what is read is what the answer says, a `code` in it is never success, and what a page
/// lists can be queued and read like an event.
pub fn zoom_api(input: &[u8]) {
    let [call, code, retry_after, limit, body] = fields(input);
    let Some(code) = status(text(code)) else {
        return;
    };
    let mut reply = Reply::new(code, body);
    reply.headers.extend(header("retry-after", retry_after));
    reply.headers.extend(header("x-ratelimit-type", limit));
    let said = (
        said(&reply, "retry-after"),
        said(&reply, "x-ratelimit-type"),
    );
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    let token = secret("access");
    let error = PLACE.with(|place| match call {
        b"me" => {
            let (me, _) = place.call(reply, async |zoom| zoom.get_current_user(&token).await);
            let me = me.inspect(|me| {
                assert_eq!(
                    json["account_id"].as_str().unwrap().trim(),
                    me.user.account_id.as_str()
                );
                assert_eq!(
                    json["id"].as_str().unwrap().trim(),
                    me.user.user_id.as_str()
                );
            });
            me.err()
        }
        b"meeting" => {
            let uuid: MeetingUuid = "Zm9v+bar/bazQUJDREVGRw==".parse().unwrap();
            let ask =
                async |zoom: &ZoomClient| zoom.get_meeting_recordings(&token, &uuid, 60).await;
            let (meeting, _) = place.call(reply, ask);
            let meeting = meeting.inspect(|meeting| {
                assert_discreet(meeting);
                assert_eq!(meeting.object.get("download_access_token"), None);
                let given = meeting
                    .download_access_token
                    .as_ref()
                    .map(|t| t.expose_secret());
                let said = json["download_access_token"].as_str();
                assert_eq!(given, said.filter(|token| !token.is_empty()));
                assert_listed(&meeting.object, &uuid);
            });
            meeting.err()
        }
        _ => {
            let next = (call == b"next").then_some("S3CRET next");
            let day = jiff::civil::date(2026, 1, 1);
            let ask = async |zoom: &ZoomClient| zoom.list_recordings(&token, day, day, next).await;
            let (page, _) = place.call(reply, ask);
            let page = page.inspect(|page| {
                assert_discreet(page);
                assert_eq!(json["meetings"].as_array(), Some(&page.meetings));
                let said = json["next_page_token"]
                    .as_str()
                    .filter(|token| !token.is_empty());
                assert_eq!(page.next_page_token.as_deref(), said);
                page.meetings.iter().for_each(assert_queued);
            });
            page.err()
        }
    });
    match error {
        None => {
            assert!((200..300).contains(&code), "success from a {code}");
            let refused = match &json["code"] {
                Value::Number(number) => number.is_i64(),
                Value::String(text) => text.trim().parse::<i64>().is_ok(),
                _ => false,
            };
            assert!(json.is_object() && !refused);
        }
        Some(error) => {
            assert_discreet(&error);
            assert!(!error.to_string().contains(SECRET));
            if let ApiError::RateLimited(limit) = error {
                assert_limit(&limit, said.0.as_deref(), said.1.as_deref());
            }
        }
    }
}

fn said(reply: &Reply, name: &str) -> Option<Vec<u8>> {
    let header = reply.headers.iter().find(|(known, _)| known == name);
    header.map(|(_, value)| value.clone())
}

fn assert_limit(limit: &RateLimit, retry_after: Option<&[u8]>, kind: Option<&[u8]>) {
    let kind = kind.map(<[u8]>::to_ascii_lowercase);
    let expected = match kind.as_deref() {
        Some(b"qps") => Some(RateLimitKind::PerSecond),
        Some(b"daily-limit") => Some(RateLimitKind::Daily),
        _ => None,
    };
    assert_eq!(limit.kind, expected);
    assert_retry_after(limit.retry_after, retry_after);
}

fn assert_retry_after(read: Option<RetryAfter>, said: Option<&[u8]>) {
    let digits = said.filter(|said| said.iter().all(u8::is_ascii_digit));
    let seconds: Option<u64> = digits.and_then(|digits| text(digits).parse().ok());
    match (read, seconds) {
        (Some(RetryAfter::Delay(wait)), Some(seconds)) => assert_eq!(wait.as_secs(), seconds),
        (_, Some(seconds)) => panic!("{seconds} s were not read"),
        _ => {}
    }
    if let Some(read) = read {
        assert!(
            read.retry_at(by_hand::now()) >= by_hand::now(),
            "a wait into the past"
        );
    }
}

/// A meeting of the API names, for each file of it, one of its own download URLs or none.
fn assert_listed(object: &Value, uuid: &MeetingUuid) {
    let mut event = json!({"payload": {"account_id": "A", "object": object}, "event_ts": 1});
    event["payload"]["object"]["host_id"] = json!("u");
    event["payload"]["object"]["uuid"] = json!(uuid);
    let Ok(completed) = FilesCompleted::parse(&event) else {
        return;
    };
    let mut urls = Vec::new();
    for list in ["recording_files", "participant_audio_files"] {
        let files = object[list].as_array().map_or(&[][..], Vec::as_slice);
        urls.extend(
            files
                .iter()
                .filter_map(|file| file["download_url"].as_str()),
        );
    }
    for (metadata, _) in &completed.files {
        if let Some(file) = event::find_listed_file(object, uuid, &metadata.id) {
            assert!(urls.contains(&file.url.expose_secret()));
        }
    }
}

/// What the reconciler does with each meeting of a list.
fn assert_queued(meeting: &Value) {
    let mut meeting = meeting.clone();
    if !meeting.is_object() {
        return;
    }
    meeting["host_id"] = json!("UserB");
    let mut event = json!({
        "event": event::RECORDING_COMPLETED,
        "payload": {"account_id": "AcctA", "object": meeting},
    });
    redact::redact(&mut event, &SecretVersions::single("k"), || [7; 16]);
    if let Ok(completed) = FilesCompleted::parse(&event) {
        assert_completed(&event, &completed);
    }
}

/// A download is taken exactly if it is the bytes that were asked for: not a page, not compressed, not
/// another range; and no redirect leads the request to another host.
pub fn download(input: &[u8]) {
    let [range, code, rest] = fields(input);
    let Some(code) = status(text(code)) else {
        return;
    };
    let end = rest.windows(2).position(|pair| pair == b"\n\n");
    let (lines, body) = end.map_or((rest, &[][..]), |at| (&rest[..at], &rest[at + 2..]));
    let mut reply = Reply::new(
        code,
        if matches!(code, 204 | 304) {
            &[][..]
        } else {
            body
        },
    );
    for line in lines.split(|byte| *byte == b'\n') {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let name = text(parts.next().unwrap_or_default()).to_ascii_lowercase();
        // How the body is framed is the server's business.
        if SAID.contains(&name.as_str()) {
            reply
                .headers
                .extend(header(&name, parts.next().unwrap_or_default()));
        }
    }
    let asked = ask(text(range));
    PLACE.with(|place| {
        let first =
            Url::parse(&format!("http://127.0.0.1:{}{FIRST}?{SECRET}", place.port)).unwrap();
        let location = said(&reply, "location");
        let redirects = matches!(code, 301 | 302 | 303 | 307 | 308);
        let target = location.as_deref().and_then(|l| first.join(text(l)).ok());
        if redirects
            && target
                .as_ref()
                .is_some_and(|to| to.host() == first.host() && to.port() != first.port())
        {
            // Admitted, as the whole Zoom is on this machine; but somebody else may live there.
            return;
        }
        let endpoints = Endpoints::parse("http://127.0.0.1", "http://127.0.0.1").unwrap();
        let hosts = DownloadHosts::parse("127.0.0.1", &endpoints).unwrap();
        let url = SecretString::from(first.as_str());
        let get = async |zoom: &ZoomClient| {
            let download = zoom
                .download(&hosts, &url, Some(&secret("bearer")), asked)
                .await;
            match download {
                Ok(mut download) => {
                    let mut bytes = Vec::new();
                    while let Some(chunk) = download.body.chunk().await.unwrap() {
                        bytes.extend_from_slice(&chunk);
                    }
                    Ok((download, bytes))
                }
                Err(error) => Err(error),
            }
        };
        let (outcome, seen) = place.call(reply.clone(), get);
        assert!(seen.len() <= reelay_zoom::MAX_REDIRECTS + 1);
        for request in &seen {
            assert_eq!(
                request.header("authorization"),
                Some("Bearer S3CRET-bearer")
            );
            assert_eq!(request.header("accept-encoding"), Some("identity"));
        }
        let arrived = seen.len() > 1 && !seen.last().unwrap().target.starts_with(FIRST);
        match outcome {
            Ok((download, bytes)) => {
                assert_discreet(&download.body);
                assert_eq!(redirects, arrived, "a {code} was taken");
                if arrived {
                    let to = target.unwrap();
                    assert_eq!((to.host(), to.port()), (first.host(), first.port()));
                    assert_eq!(bytes, MOVED);
                    return;
                }
                assert_eq!(bytes, reply.body);
                assert_taken(
                    &reply,
                    asked,
                    download.content_range.map(|r| (r.first, r.last, r.total)),
                );
            }
            Err(error) => {
                assert_discreet(&error);
                assert!(!error.to_string().contains(SECRET));
                assert!(
                    !arrived,
                    "the other side was asked, and its answer lost: {error}"
                );
                assert_refused(&reply, asked, &error);
            }
        }
    });
}

/// Headers of an answer that are looked at.
const SAID: [&str; 8] = [
    "content-type",
    "content-encoding",
    "content-range",
    "etag",
    "last-modified",
    "location",
    "retry-after",
    "x-ratelimit-type",
];

/// `5-9` or `5-`.
fn ask(text: &str) -> Option<ByteRange> {
    let (first, last) = text.split_once('-')?;
    let first = first.parse().ok()?;
    match last {
        "" => Some(ByteRange::starting_at(first)),
        last => ByteRange::new(first, last.parse().ok()?),
    }
}

/// Why an answer is not the file, whatever its status: a page, or compressed.
fn is_no_file(reply: &Reply) -> bool {
    let kind = said(reply, "content-type")
        .unwrap_or_default()
        .to_ascii_lowercase();
    let kind = kind
        .split(|byte| *byte == b';')
        .next()
        .unwrap_or_default()
        .trim_ascii()
        .to_vec();
    let encoding = said(reply, "content-encoding")
        .unwrap_or_default()
        .to_ascii_lowercase();
    kind == b"text/html"
        || kind == b"application/xhtml+xml"
        || !(encoding.is_empty() || encoding == b"identity")
}

/// `bytes 5-9/10`, by hand: strict digits, nothing beyond the end.
fn content_range(reply: &Reply) -> Option<(u64, u64, Option<u64>)> {
    let value = said(reply, "content-range")?;
    let value = std::str::from_utf8(&value).ok()?;
    let (unit, rest) = value.split_at_checked(5)?;
    let rest = rest
        .strip_prefix(' ')
        .filter(|_| unit.eq_ignore_ascii_case("bytes"))?;
    let number = |text: &str| -> Option<u64> {
        let text = text.trim();
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse().ok())?
    };
    let (range, total) = rest.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last) = (number(first)?, number(last)?);
    let total = match total.trim() {
        "*" => None,
        total => Some(number(total)?),
    };
    (first <= last && total.is_none_or(|total| last < total)).then_some((first, last, total))
}

fn assert_taken(reply: &Reply, asked: Option<ByteRange>, got: Option<(u64, u64, Option<u64>)>) {
    assert!(
        !is_no_file(reply),
        "a page or something compressed was taken"
    );
    if reply.status == 200 {
        assert_eq!(got, None);
        return;
    }
    assert_eq!(reply.status, 206);
    let asked = asked.expect("a range that nobody asked for");
    let (first, last, total) = got.unwrap();
    assert_eq!(content_range(reply), got);
    assert_eq!(first, asked.first());
    assert_eq!(
        (last - first).checked_add(1),
        u64::try_from(reply.body.len()).ok()
    );
    let end = total.map(|total| total - 1);
    match (asked.last(), end) {
        (Some(wanted), Some(end)) => assert_eq!(last, wanted.min(end)),
        (Some(wanted), None) => assert_eq!(last, wanted),
        (None, Some(end)) => assert_eq!(last, end),
        (None, None) => {}
    }
}

fn assert_refused(reply: &Reply, asked: Option<ByteRange>, error: &DownloadError) {
    let retry_after = said(reply, "retry-after");
    match (reply.status, error) {
        (200, _) => assert!(is_no_file(reply), "a whole file was refused: {error}"),
        (206, DownloadError::RangeMismatch) => {
            let whole = asked.zip(content_range(reply)).is_some_and(|(asked, got)| {
                let length = u64::try_from(reply.body.len()).unwrap();
                let exact = got
                    .2
                    .is_some_and(|total| asked.last().unwrap_or(u64::MAX).min(total - 1) == got.1);
                got.0 == asked.first() && exact && got.1 - got.0 + 1 == length
            });
            assert!(!whole, "the very range was refused");
        }
        (206, _) => assert!(is_no_file(reply), "{error}"),
        (429, DownloadError::RateLimited(limit)) => {
            let kind = said(reply, "x-ratelimit-type");
            assert_limit(limit, retry_after.as_deref(), kind.as_deref());
        }
        (
            500..,
            DownloadError::ServerError {
                retry_after: read, ..
            },
        ) => {
            assert_retry_after(*read, retry_after.as_deref());
        }
        (300..=399, DownloadError::DisallowedUrl(_) | DownloadError::InvalidRedirect) => {}
        (300..=399, DownloadError::TooManyRedirects | DownloadError::UnexpectedStatus { .. }) => {}
        (401, DownloadError::Unauthorized)
        | (403, DownloadError::Forbidden)
        | (404, DownloadError::NotFound)
        | (410, DownloadError::Gone)
        | (416, DownloadError::RangeNotSatisfiable { .. }) => {}
        (_, DownloadError::UnexpectedStatus { status }) => assert_eq!(*status, reply.status),
        (status, error) => panic!("{status} gave {error}"),
    }
}
