//! The routes of `/v1`, told apart from method and path.

use http::Method;
use reelay_domain::ids::{LinkId, RecordingId};

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    Health,
    Verification,
    ConfirmLink,
    Links,
    /// An id that is not well-formed is one that nobody has.
    Link(Option<LinkId>),
    Recordings,
    Backfill,
    Recording(Option<RecordingId>),
    Download(Option<RecordingId>),
}

/// There is no such route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoRoute {
    /// Not for any method.
    Path,
    /// For these methods only.
    Method(&'static str),
}

impl Route {
    pub(crate) fn parse(method: &Method, path: &str) -> Result<Self, NoRoute> {
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        let (route, allowed) = match segments.as_slice() {
            ["healthz"] => (Self::Health, Method::GET),
            ["zoomverify", "verifyzoom.html"] => (Self::Verification, Method::GET),
            // A link's id may be any text; its own method tells the two apart.
            ["v1", "links", "confirm"] if method != Method::DELETE => {
                (Self::ConfirmLink, Method::POST)
            }
            ["v1", "links"] => (Self::Links, Method::GET),
            ["v1", "links", id] if !id.is_empty() => (Self::Link(id.parse().ok()), Method::DELETE),
            ["v1", "recordings"] => (Self::Recordings, Method::GET),
            ["v1", "recordings", id] if !id.is_empty() => {
                (Self::Recording(id.parse().ok()), Method::GET)
            }
            ["v1", "recordings", id, "download"] if !id.is_empty() => {
                (Self::Download(id.parse().ok()), Method::POST)
            }
            ["v1", "backfill"] => (Self::Backfill, Method::POST),
            _ => return Err(NoRoute::Path),
        };
        if *method == allowed {
            return Ok(route);
        }
        Err(NoRoute::Method(match allowed {
            Method::GET => "GET",
            Method::DELETE => "DELETE",
            _ => "POST",
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_told_apart() {
        let parse = |method: Method, path: &str| Route::parse(&method, path);
        assert_eq!(parse(Method::GET, "/v1/links"), Ok(Route::Links));
        assert_eq!(
            parse(Method::GET, "/zoomverify/verifyzoom.html"),
            Ok(Route::Verification)
        );
        assert_eq!(
            parse(Method::POST, "/v1/links"),
            Err(NoRoute::Method("GET"))
        );
        assert_eq!(
            parse(Method::GET, "/v1/links/x"),
            Err(NoRoute::Method("DELETE"))
        );
        assert_eq!(
            parse(Method::GET, "/v1/backfill"),
            Err(NoRoute::Method("POST"))
        );
        assert_eq!(
            parse(Method::POST, "/v1/links/confirm"),
            Ok(Route::ConfirmLink)
        );
        assert_eq!(
            parse(Method::GET, "/v1/recordings/a%2Fb"),
            Ok(Route::Recording(None))
        );
        for nowhere in [
            "/v1",
            "/v1/",
            "/v1/links/",
            "/v1/recordings/",
            "/v2/links",
            "/",
            "",
            "/v1/recordings//download",
        ] {
            assert_eq!(parse(Method::GET, nowhere), Err(NoRoute::Path), "{nowhere}");
        }
    }
}
