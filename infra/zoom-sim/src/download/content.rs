//! `/ssrweb/replay/{id}/{name}` at the content host, with ranges (RFC 9110, 14).

use std::ops::Range;

use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::{body, signed_url};
use crate::call::Call;
use crate::faults::{Fault, Point};
use crate::recordings::RecordingFile;
use crate::responses::set_header;
use crate::sync::lock;

const DENIED: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>AccessDenied</Code><Message>Access denied</Message></Error>";

/// Serves a file to the holder of its signed URL.
pub(crate) async fn content(call: Call) -> Response {
    let file = {
        let world = lock(&call.sim.world);
        let target = world.urls.target(call.segment(2));
        let found = target.and_then(|target| world.file(target));
        found.map(|(recording, file)| (recording.uuid.clone(), file.clone()))
    };
    let (uuid, file) = file.unzip();
    let file_id = file.as_ref().map_or("", |file| &file.id);
    let subjects = [file_id, uuid.as_deref().unwrap_or_default()];
    let handler = |fault| authorized(&call, file.as_ref(), fault);
    call.respond(Point::Content, &subjects, file_id, handler).await
}

fn authorized(call: &Call, file: Option<&RecordingFile>, fault: Option<Fault>) -> Response {
    let rejects = call.sim.config().reject_authorization_at_content;
    if rejects && call.headers.contains_key(header::AUTHORIZATION) {
        return (StatusCode::BAD_REQUEST, "Only one auth mechanism allowed").into_response();
    }
    if !signed_url::is_valid(call) {
        let content_type = [(header::CONTENT_TYPE, "text/xml")];
        return (StatusCode::FORBIDDEN, content_type, DENIED).into_response();
    }
    match file {
        Some(file) if file.is_present() => serve(call, file, fault),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

fn serve(call: &Call, file: &RecordingFile, fault: Option<Fault>) -> Response {
    let spec = file.spec();
    let (size, etag) = (spec.size(), spec.etag());
    let has_ranges =
        !matches!(fault, Some(Fault::IgnoreRange | Fault::OmitLength | Fault::SlowStream { .. }));
    // After a change of the file, the client's partial copy is useless: it gets the whole file.
    let is_current = call.header(header::IF_RANGE).is_none_or(|validator| validator == etag);
    let range = call.header(header::RANGE).filter(|_| has_ranges && is_current);
    let requested = range.map_or(Requested::Whole, |header| parse_range(header, size));

    let mut response = Response::default();
    let mut set = |name, value: String| set_header(&mut response, name, value);
    set(header::ETAG, etag);
    set(header::CONTENT_TYPE, spec.kind().content_type().into());
    let disposition = format!("attachment; filename=\"{}\"", file.download_name());
    set(header::CONTENT_DISPOSITION, disposition);
    if has_ranges {
        set(header::ACCEPT_RANGES, "bytes".into());
    }
    let (status, range) = match requested {
        Requested::Whole => (StatusCode::OK, 0..size),
        Requested::Part(range) => {
            let (first, last) = (range.start, range.end - 1);
            set(header::CONTENT_RANGE, format!("bytes {first}-{last}/{size}"));
            (StatusCode::PARTIAL_CONTENT, range)
        }
        Requested::Unsatisfiable => {
            set(header::CONTENT_RANGE, format!("bytes */{size}"));
            *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
            return response;
        }
    };
    match &fault {
        Some(Fault::OmitLength) => {}
        Some(Fault::ContentLength { length }) => set(header::CONTENT_LENGTH, length.to_string()),
        _ => set(header::CONTENT_LENGTH, (range.end - range.start).to_string()),
    }
    *response.status_mut() = status;
    if call.method != Method::HEAD {
        *response.body_mut() = body::stream(call, &spec, range, fault);
    }
    response
}

/// The part of a file that a request is for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Requested {
    /// All of it: no header, another unit, several ranges, or an invalid one, which may all be ignored.
    Whole,
    Part(Range<u64>),
    /// No byte of the file: 416.
    Unsatisfiable,
}

fn parse_range(header: &str, size: u64) -> Requested {
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let range = header.trim().strip_prefix("bytes=");
    let Some((first, last)) = range
        .and_then(|range| range.split_once('-'))
        .filter(|(first, last)| is_number(first) && is_number(last))
    else {
        return Requested::Whole;
    };
    // Numbers too large for 64 bits are beyond the end of any file.
    let number = |text: &str| text.parse().unwrap_or(u64::MAX);
    let range = match (first, last) {
        ("", "") => return Requested::Whole,
        ("", count) => size.saturating_sub(number(count))..size,
        (first, "") => number(first)..size,
        (first, last) if number(last) < number(first) => return Requested::Whole,
        (first, last) => number(first)..number(last).saturating_add(1).min(size),
    };
    if range.is_empty() {
        return Requested::Unsatisfiable;
    }
    Requested::Part(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_parsed_or_ignored() {
        for (header, expected) in [
            ("bytes=0-4", Requested::Part(0..5)),
            ("bytes=5-", Requested::Part(5..10)),
            ("bytes=-3", Requested::Part(7..10)),
            ("bytes=-30", Requested::Part(0..10)),
            ("bytes=5-99999999999999999999999", Requested::Part(5..10)),
            ("bytes=10-", Requested::Unsatisfiable),
            ("bytes=-0", Requested::Unsatisfiable),
            ("bytes=0-1,4-5", Requested::Whole),
            ("lines=0-4", Requested::Whole),
            ("bytes=4-2", Requested::Whole),
            ("bytes=a-b", Requested::Whole),
            ("bytes=-", Requested::Whole),
            ("0-4", Requested::Whole),
        ] {
            assert_eq!(parse_range(header, 10), expected, "{header}");
        }
        assert_eq!(parse_range("bytes=0-", 0), Requested::Unsatisfiable);
    }
}
