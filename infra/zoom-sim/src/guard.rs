//! Runs a handler under the faults armed at its point.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};

use crate::clock::{iso, later};
use crate::conn::Conn;
use crate::faults::{Fault, Point};
use crate::pages;
use crate::request_log::Unseen;
use crate::rest::{Category, api_error};
use crate::sim::Sim;

/// Answers with the fault that strikes at `point`, or with what `handler` says. Faults that change a
/// body in transit are passed to the handler, which alone knows the body.
pub(crate) async fn guarded(
    sim: &Sim,
    conn: &Conn,
    point: Point,
    subjects: &[&str],
    handler: impl FnOnce(Option<Fault>) -> Response,
) -> Response {
    match sim.faults.take(point, subjects) {
        None => handler(None),
        Some(Fault::LoseAnswer) => {
            let lost = handler(None);
            cut(conn, lost)
        }
        Some(Fault::Close) => cut(conn, StatusCode::OK.into_response()),
        Some(Fault::Hang) => {
            sim.stopped().await;
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
        Some(Fault::Html) => Html(pages::sign_in().into_string()).into_response(),
        Some(Fault::Redirect { to }) => match HeaderValue::try_from(to) {
            Ok(to) => (StatusCode::FOUND, [(header::LOCATION, to)]).into_response(),
            Err(_) => StatusCode::BAD_GATEWAY.into_response(),
        },
        Some(Fault::Answer {
            status,
            content_type,
            body,
        }) => {
            let mut response = Response::new(Body::from(body));
            *response.status_mut() = known(status);
            if let Ok(value) = HeaderValue::try_from(content_type) {
                response.headers_mut().insert(header::CONTENT_TYPE, value);
            }
            response
        }
        Some(Fault::RateLimited {
            retry_after_seconds,
        }) => rate_limited(
            sim,
            point,
            retry_after_seconds.is_some(),
            retry_after_seconds,
        ),
        Some(Fault::DailyLimit) => rate_limited(sim, point, true, None),
        Some(Fault::Status { status }) => usual(point, known(status)),
        Some(Fault::ComeBack {
            status,
            retry_after,
        }) => {
            let mut response = usual(point, known(status));
            if let Ok(value) = HeaderValue::try_from(retry_after) {
                response.headers_mut().insert(header::RETRY_AFTER, value);
            }
            response
        }
        Some(in_transit) => handler(Some(in_transit)),
    }
}

/// Statuses are checked when a fault is armed.
fn known(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// Throws the connection's switch; the response is lost with it.
fn cut(conn: &Conn, mut response: Response) -> Response {
    conn.close();
    response.extensions_mut().insert(Unseen);
    response
}

fn rate_limited(
    sim: &Sim,
    point: Point,
    daily: bool,
    retry_after_seconds: Option<i64>,
) -> Response {
    let message = if daily {
        "You have reached the maximum daily rate limit for this API. Refer to the response header for details on when you can make another request."
    } else {
        "You have reached the maximum per-second rate limit for this API. Try again later."
    };
    let mut response = api_error(StatusCode::TOO_MANY_REQUESTS, 429, message);
    let category = if point == Point::ListRecordings {
        Category::Medium
    } else {
        Category::Light
    };
    category.describe(response.headers_mut(), daily, 0);
    if let Some(seconds) = retry_after_seconds {
        // A date, not seconds: so Zoom documents it.
        if let Ok(value) = HeaderValue::try_from(iso(later(sim.clock.now(), seconds))) {
            response.headers_mut().insert(header::RETRY_AFTER, value);
        }
    }
    response
}

/// The body that goes with a bare status, at that place.
fn usual(point: Point, status: StatusCode) -> Response {
    match point {
        Point::TokenExchange | Point::TokenRefresh | Point::Revoke => {
            crate::oauth::token_error(status, None, "invalid_request")
        }
        Point::UsersMe | Point::ListRecordings | Point::MeetingRecordings => match status {
            StatusCode::UNAUTHORIZED => api_error(status, 124, "Invalid access token."),
            StatusCode::NOT_FOUND if point == Point::UsersMe => {
                api_error(status, 1001, "User does not exist.")
            }
            StatusCode::NOT_FOUND => api_error(status, 3301, "This recording does not exist."),
            _ => api_error(
                status,
                i32::from(status.as_u16()),
                status.canonical_reason().unwrap_or("Error"),
            ),
        },
        Point::Download | Point::Content
            if status.is_server_error() || status == StatusCode::UNAUTHORIZED =>
        {
            status.into_response()
        }
        Point::Download | Point::Content => {
            (status, Html(pages::no_recording().into_string())).into_response()
        }
    }
}
