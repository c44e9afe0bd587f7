//! Where the bytes are: `/ssrweb/replay/{id}/{name}`, with ranges, and all that can go wrong on the wire.

use std::convert::Infallible;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;

use super::range::{Asked, read};
use super::{names, signed_url};
use crate::conn::Conn;
use crate::faults::{Fault, Point};
use crate::files::{FileSpec, PIECE};
use crate::guard::guarded;
use crate::lock;
use crate::oauth::Params;
use crate::request_log::Detail;
use crate::sim::Shared;

/// Serves a file to whoever has the signed URL.
pub(crate) async fn content(
    State(sim): State<Shared>,
    ConnectInfo(conn): ConnectInfo<Conn>,
    method: Method,
    Path((id, _name)): Path<(String, String)>,
    Query(params): Query<Params>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let target = lock(&sim.world).urls.target(&id).cloned();
    let (file_id, uuid) = names(&sim, target.as_ref());
    let handler = |fault: Option<Fault>| {
        if sim.config().refuse_authorization_at_content
            && headers.contains_key(header::AUTHORIZATION)
        {
            return (StatusCode::BAD_REQUEST, "Only one auth mechanism allowed").into_response();
        }
        if !signed_url::opens(&sim, uri.path(), &params) {
            return denied();
        }
        let world = lock(&sim.world);
        match target.as_ref().and_then(|target| world.file(target)) {
            Some((_, file)) if file.is_present() => serve(
                &sim,
                &conn,
                &file.spec(),
                &file.download_name(),
                &method,
                &headers,
                fault,
            ),
            _ => StatusCode::NOT_FOUND.into_response(),
        }
    };
    let mut response = guarded(&sim, &conn, Point::Content, &[&file_id, &uuid], handler).await;
    response.extensions_mut().insert(Detail(file_id));
    response
}

fn denied() -> Response {
    let body = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>AccessDenied</Code><Message>Access denied</Message></Error>";
    (
        StatusCode::FORBIDDEN,
        [(header::CONTENT_TYPE, "text/xml")],
        body,
    )
        .into_response()
}

fn serve(
    sim: &Shared,
    conn: &Conn,
    file: &FileSpec,
    name: &str,
    method: &Method,
    headers: &HeaderMap,
    fault: Option<Fault>,
) -> Response {
    let etag = file.etag();
    let text = |name| {
        headers
            .get(name)
            .and_then(|value: &HeaderValue| value.to_str().ok())
    };
    // With another validator the client's part is of another file, so it gets the whole.
    let stale = text(header::IF_RANGE).is_some_and(|validator| validator != etag);
    let asked = match (text(header::RANGE), &fault) {
        (_, Some(Fault::IgnoreRange | Fault::SlowStream { .. })) => Asked::Whole,
        (range, _) if !stale => read(range, file.size()),
        _ => Asked::Whole,
    };
    let mut response = Response::new(Body::empty());
    let out = response.headers_mut();
    let mut put = |name, value: String| {
        // Sizes, our own names and hex: always valid in a header.
        if let Ok(value) = HeaderValue::try_from(value) {
            out.insert(name, value);
        }
    };
    put(header::ETAG, etag);
    put(header::CONTENT_TYPE, file.kind().content_type().into());
    put(
        header::CONTENT_DISPOSITION,
        format!("attachment; filename=\"{name}\""),
    );
    if !matches!(fault, Some(Fault::IgnoreRange | Fault::SlowStream { .. })) {
        put(header::ACCEPT_RANGES, "bytes".into());
    }
    let (status, range) = match asked {
        Asked::Whole => (StatusCode::OK, 0..file.size()),
        Asked::Part(range) => {
            put(
                header::CONTENT_RANGE,
                format!("bytes {}-{}/{}", range.start, range.end - 1, file.size()),
            );
            (StatusCode::PARTIAL_CONTENT, range)
        }
        Asked::Nothing => {
            put(header::CONTENT_RANGE, format!("bytes */{}", file.size()));
            *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
            return response;
        }
    };
    match &fault {
        Some(Fault::OmitLength) => {}
        Some(Fault::ContentLength { length }) => put(header::CONTENT_LENGTH, length.to_string()),
        _ => put(
            header::CONTENT_LENGTH,
            (range.end - range.start).to_string(),
        ),
    }
    *response.status_mut() = status;
    if method != Method::HEAD {
        *response.body_mut() = body(Arc::clone(sim), conn.clone(), file, range, fault);
    }
    response
}

/// How the body ends.
#[derive(Clone, Copy)]
enum End {
    Well,
    Cut,
    Reset,
    Stall,
}

fn body(sim: Shared, conn: Conn, file: &FileSpec, range: Range<u64>, fault: Option<Fault>) -> Body {
    let (after, end) = match fault {
        Some(Fault::Truncate { after }) => (after, End::Cut),
        Some(Fault::Reset { after }) => (after, End::Reset),
        Some(Fault::Stall { after }) => (after, End::Stall),
        Some(Fault::ContentLength { length }) if length > range.end - range.start => {
            (u64::MAX, End::Cut)
        }
        Some(Fault::ContentLength { length }) => (length, End::Well),
        _ => (u64::MAX, End::Well),
    };
    let per_second = match fault {
        Some(Fault::Slow { bytes_per_second } | Fault::SlowStream { bytes_per_second }) => {
            Some(bytes_per_second.max(1))
        }
        _ => None,
    };
    // Ten pieces a second when slow, so that progress can be seen.
    let piece = per_second.map_or(PIECE, |rate| (rate / 10).clamp(1, PIECE));
    let sent = range.start..range.end.min(range.start.saturating_add(after));
    let pieces = file.pieces(sent, piece);
    Body::from_stream(stream::unfold(pieces, move |mut pieces| {
        let (sim, conn) = (Arc::clone(&sim), conn.clone());
        async move {
            if let Some(bytes) = pieces.next() {
                if let Some(rate) = per_second {
                    let pause = Duration::from_secs_f64(bytes.len() as f64 / rate as f64);
                    tokio::time::sleep(pause).await;
                }
                return Some((Ok::<Bytes, Infallible>(bytes), pieces));
            }
            // A cut connection goes by itself once all is sent; until then its body has no end.
            match end {
                End::Well => return None,
                End::Cut => conn.close_once_sent(),
                End::Reset => conn.reset_once_sent(),
                End::Stall => {}
            }
            sim.stopped().await;
            None
        }
    }))
}
