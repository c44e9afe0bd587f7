//! The routes of the API.

use http::Method;
use reelay_domain::ids::{LinkId, RecordingId};

/// A route with its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    Health,
    Verification,
    ConfirmLink,
    Links,
    /// `None`: the id is malformed, so no link has it.
    Link(Option<LinkId>),
    Reconciliation(Option<LinkId>),
    Recordings,
    Notifications,
    Backfill,
    Recording(Option<RecordingId>),
    DeleteRecording(Option<RecordingId>),
    Download(Option<RecordingId>),
}

/// Error of an unknown route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoRoute {
    /// Unknown path.
    Path,
    /// Known path, with these methods.
    Method(&'static str),
}

impl Route {
    pub(crate) fn parse(method: &Method, path: &str) -> Result<Self, NoRoute> {
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        let (route, allowed) = match segments.as_slice() {
            ["healthz"] => (Self::Health, "GET"),
            ["zoomverify", "verifyzoom.html"] => (Self::Verification, "GET"),
            // `DELETE` is for a link with the id "confirm".
            ["v1", "links", "confirm"] if method != Method::DELETE => (Self::ConfirmLink, "POST"),
            ["v1", "links"] => (Self::Links, "GET"),
            ["v1", "links", id] if !id.is_empty() => (Self::Link(id.parse().ok()), "DELETE"),
            ["v1", "links", id, "reconciliation"] if !id.is_empty() => {
                (Self::Reconciliation(id.parse().ok()), "GET")
            }
            ["v1", "recordings"] => (Self::Recordings, "GET"),
            ["v1", "recordings", id] if !id.is_empty() && method == Method::DELETE => {
                (Self::DeleteRecording(id.parse().ok()), "DELETE")
            }
            ["v1", "recordings", id] if !id.is_empty() => {
                (Self::Recording(id.parse().ok()), "GET, DELETE")
            }
            ["v1", "recordings", id, "download"] if !id.is_empty() => {
                (Self::Download(id.parse().ok()), "POST")
            }
            ["v1", "notifications"] => (Self::Notifications, "GET"),
            ["v1", "backfill"] => (Self::Backfill, "POST"),
            _ => return Err(NoRoute::Path),
        };
        match allowed.split(", ").any(|allowed| method == allowed) {
            true => Ok(route),
            false => Err(NoRoute::Method(allowed)),
        }
    }

    /// The query parameters of the route, and the problem's detail for others.
    pub(crate) fn parameters(&self) -> (&'static [&'static str], &'static str) {
        match self {
            Self::Recordings => (
                &["limit", "cursor", "status", "from", "to", "meeting_id"],
                "The query parameters of this route are limit, cursor, status, from, to and meeting_id.",
            ),
            Self::Notifications => {
                (&["limit", "cursor"], "The query parameters of this route are limit and cursor.")
            }
            Self::DeleteRecording(_) => {
                (&["only_copy"], "The query parameter of this route is only_copy.")
            }
            _ => (&[], "This route has no query parameters."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_parse_from_method_and_path() {
        let parse = |method: Method, path: &str| Route::parse(&method, path);
        for (method, path, route) in [
            (Method::GET, "/v1/links", Ok(Route::Links)),
            (Method::GET, "/zoomverify/verifyzoom.html", Ok(Route::Verification)),
            (Method::POST, "/v1/links", Err(NoRoute::Method("GET"))),
            (Method::GET, "/v1/links/x", Err(NoRoute::Method("DELETE"))),
            (Method::GET, "/v1/links/a%2Fb/reconciliation", Ok(Route::Reconciliation(None))),
            (Method::GET, "/v1/notifications", Ok(Route::Notifications)),
            (Method::POST, "/v1/notifications", Err(NoRoute::Method("GET"))),
            (Method::GET, "/v1/backfill", Err(NoRoute::Method("POST"))),
            (Method::POST, "/v1/links/confirm", Ok(Route::ConfirmLink)),
            (Method::GET, "/v1/recordings/a%2Fb", Ok(Route::Recording(None))),
            (Method::DELETE, "/v1/recordings/a%2Fb", Ok(Route::DeleteRecording(None))),
            (Method::PUT, "/v1/recordings/a", Err(NoRoute::Method("GET, DELETE"))),
        ] {
            assert_eq!(parse(method, path), route, "{path}");
        }
        for path in [
            "/v1",
            "/v1/",
            "/v1/links/",
            "/v1/links//reconciliation",
            "/v1/recordings/",
            "/v2/links",
            "/",
            "",
            "/v1/recordings//download",
        ] {
            assert_eq!(parse(Method::GET, path), Err(NoRoute::Path), "{path}");
        }
    }
}
