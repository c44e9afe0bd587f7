//! REST calls that Reelay needs, with a user-level token. All but one are GET requests.

use std::fmt;

use jiff::civil::Date;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reelay_domain::ids::{MeetingUuid, ZoomUser};
use reelay_domain::link::EmailAddress;
use reqwest::header::AUTHORIZATION;
use reqwest::{RequestBuilder, StatusCode};
use secrecy::SecretString;
use serde_json::Value;
use url::Url;

use crate::client::{TransientError, ZoomClient, bearer, read_json_bytes};
use crate::error_code::{find_code, is_refusal, parse_code};
use crate::rate_limit::RateLimit;

/// Zoom's code in [`ApiError::NotFound`] for a meeting without a recording **or** with a recording that is
/// still being processed. Only the localized message distinguishes the two.
pub const CODE_RECORDING_NOT_FOUND: i64 = 3301;

/// Maximum lifetime of a `download_access_token`, in seconds (7 days).
pub const MAX_DOWNLOAD_TOKEN_TTL: u32 = 604_800;

/// Meetings per page, Zoom's maximum.
const PAGE_SIZE: &str = "300";

/// Characters to encode in a path segment: all but RFC 3986's unreserved characters.
const PATH_SEGMENT: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A failed REST call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// 401, or codes 124 and 401: the access token is expired or revoked. Refresh it and retry once.
    #[error("zoom rejected the access token")]
    Unauthorized,
    /// Codes 4711, 4700, 104: the user did not grant a required scope.
    #[error("access token lacks a required scope")]
    MissingScope,
    /// 404, or codes 1001, 1010 (user), 3001 (meeting), 3301 (see [`CODE_RECORDING_NOT_FOUND`]).
    #[error("zoom did not find the resource ({})", Code(*code))]
    NotFound {
        /// Zoom's code.
        code: Option<i64>,
    },
    /// 403, or codes 200 and 403, which can arrive with HTTP 200: a role or an account setting forbids the call. The
    /// list of recordings responds with 400 and code 200 to a user whose plan has no cloud recording.
    #[error("zoom denied permission ({})", Code(*code))]
    Forbidden {
        /// HTTP status.
        status: u16,
        /// Zoom's code.
        code: Option<i64>,
    },
    /// 429.
    #[error("zoom rate limit exceeded")]
    RateLimited(RateLimit),
    /// Code 300 for a request with a page token: the token expired after 15 minutes. Restart the list.
    #[error("page token expired")]
    InvalidPageToken,
    /// The call failed for a reason that concerns neither the token nor the resource.
    #[error(transparent)]
    Transient(TransientError),
    /// Any other error response.
    #[error("zoom responded with status {status} ({})", Code(*code))]
    Rejected {
        /// HTTP status.
        status: u16,
        /// Zoom's code.
        code: Option<i64>,
    },
}

struct Code(Option<i64>);

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(code) => write!(f, "code {code}"),
            None => f.write_str("no code"),
        }
    }
}

/// Owner of an access token. The e-mail address can change and is not a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CurrentUser {
    /// Account id and user id.
    pub user: ZoomUser,
    /// `display_name`, or first and last name, or empty.
    pub display_name: String,
    /// `email`, for the app's own user alone.
    pub email: Option<EmailAddress>,
}

/// One page of a user's cloud recordings.
pub struct RecordingsPage {
    /// Zoom's objects, one per meeting instance. They contain passcodes and play, share and download
    /// URLs: do not store or log them whole.
    pub meetings: Vec<Value>,
    /// Token for the next page, valid for 15 minutes; `None` on the last page.
    pub next_page_token: Option<String>,
    /// Number of meetings on all pages, if Zoom sends it. The pages may contain fewer.
    pub total_records: Option<u64>,
}

impl fmt::Debug for RecordingsPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordingsPage")
            .field("meetings", &self.meetings.len())
            .field("next_page_token", &self.next_page_token.is_some())
            .field("total_records", &self.total_records)
            .finish()
    }
}

/// Recordings of one meeting instance.
pub struct MeetingRecordings {
    /// Zoom's object without its `download_access_token`. See [`RecordingsPage::meetings`].
    pub object: Value,
    /// Token for the object's download URLs. Zoom omits it without an error if a role or an account
    /// setting forbids viewing.
    pub download_access_token: Option<SecretString>,
}

impl fmt::Debug for MeetingRecordings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MeetingRecordings")
            .field("download_access_token", &self.download_access_token.is_some())
            .finish_non_exhaustive()
    }
}

impl ZoomClient {
    /// Returns the token's owner (`GET /users/me`), within
    /// [`Timeouts::oauth`](crate::Timeouts::oauth) because a browser waits.
    ///
    /// # Errors
    /// [`ApiError`]; a response without valid ids is [`TransientError::MalformedResponse`].
    pub async fn get_current_user(
        &self,
        access_token: &SecretString,
    ) -> Result<CurrentUser, ApiError> {
        let url = self.endpoints.api("v2/users/me");
        let response = self.get(url, access_token, self.timeouts.oauth, false).await?;
        let text = |key: &str| response.get(key).and_then(Value::as_str).unwrap_or_default().trim();
        let malformed = ApiError::Transient(TransientError::MalformedResponse);
        let user = ZoomUser {
            account_id: text("account_id").parse().map_err(|_| malformed)?,
            user_id: text("id").parse().map_err(|_| malformed)?,
        };
        let display_name = match text("display_name") {
            "" => format!("{} {}", text("first_name"), text("last_name")).trim().to_owned(),
            name => name.to_owned(),
        };
        let email = EmailAddress::new(text("email"));
        Ok(CurrentUser { user, display_name, email })
    }

    /// Returns one page of the cloud recordings that started from `from` to `to`, UTC dates
    /// (`GET /users/me/recordings`). Zoom accepts at most one month and may silently trim a wider range; reports
    /// disagree on whether it includes `to`. Private note recordings are not requested.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn list_recordings(
        &self,
        access_token: &SecretString,
        from: Date,
        to: Date,
        next_page_token: Option<&str>,
    ) -> Result<RecordingsPage, ApiError> {
        let days = [("from", from.to_string()), ("to", to.to_string())];
        self.list(access_token, &days, next_page_token).await
    }

    /// Returns one page of the recordings in the user's trash (`GET /users/me/recordings?trash=true`), in which Zoom
    /// keeps them for 30 days. A recording with only some files in the trash is not listed.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn list_trash(
        &self,
        access_token: &SecretString,
        next_page_token: Option<&str>,
    ) -> Result<RecordingsPage, ApiError> {
        let trash = [("trash", "true".to_owned()), ("trash_type", "meeting_recordings".to_owned())];
        self.list(access_token, &trash, next_page_token).await
    }

    async fn list(
        &self,
        access_token: &SecretString,
        selection: &[(&str, String)],
        next_page_token: Option<&str>,
    ) -> Result<RecordingsPage, ApiError> {
        let mut url = self.endpoints.api("v2/users/me/recordings");
        url.query_pairs_mut()
            .extend_pairs(selection)
            .append_pair("page_size", PAGE_SIZE)
            // Since September 2026 the list has recordings of My Notes too. A Zoom API that does not know the
            // parameter is assumed to ignore it.
            .append_pair("recording_source_type", "cloud_recording_only")
            .extend_pairs(next_page_token.map(|token| ("next_page_token", token)));
        let has_page_token = next_page_token.is_some();
        let mut response = self.get(url, access_token, self.timeouts.rest, has_page_token).await?;
        // A missing list must not pass as an empty one, which the caller would not request again.
        let Some(Value::Array(meetings)) = response.get_mut("meetings").map(Value::take) else {
            return Err(ApiError::Transient(TransientError::MalformedResponse));
        };
        let next_page_token = response
            .get("next_page_token")
            .and_then(Value::as_str)
            .filter(|token| !token.is_empty())
            .map(str::to_owned);
        let total_records = response.get("total_records").and_then(Value::as_u64);
        Ok(RecordingsPage { meetings, next_page_token, total_records })
    }

    /// Returns a meeting's recordings with a `download_access_token` that expires after `ttl_seconds`, at
    /// most [`MAX_DOWNLOAD_TOKEN_TTL`] (`GET /meetings/{uuid}/recordings`).
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn get_meeting_recordings(
        &self,
        access_token: &SecretString,
        uuid: &MeetingUuid,
        ttl_seconds: u32,
    ) -> Result<MeetingRecordings, ApiError> {
        let path = format!("v2/meetings/{}/recordings", uuid_segment(uuid));
        let mut url = self.endpoints.api(&path);
        url.query_pairs_mut()
            .append_pair("include_fields", "download_access_token")
            .append_pair("ttl", &ttl_seconds.min(MAX_DOWNLOAD_TOKEN_TTL).to_string());
        let mut object = self.get(url, access_token, self.timeouts.rest, false).await?;
        let token = object.as_object_mut().and_then(|o| o.remove("download_access_token"));
        let download_access_token = match token {
            Some(Value::String(token)) if !token.is_empty() => Some(SecretString::from(token)),
            _ => None,
        };
        Ok(MeetingRecordings { object, download_access_token })
    }

    /// Moves a meeting's recordings to the trash, from which the user can restore them for 30 days
    /// (`DELETE /meetings/{uuid}/recordings?action=trash`).
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn trash_recordings(
        &self,
        access_token: &SecretString,
        uuid: &MeetingUuid,
    ) -> Result<(), ApiError> {
        let mut url = self.endpoints.api(&format!("v2/meetings/{}/recordings", uuid_segment(uuid)));
        url.query_pairs_mut().append_pair("action", "trash");
        let http =
            self.http().map_err(|error| ApiError::Transient(TransientError::Network(error)))?;
        let request = http.delete(url).timeout(self.timeouts.rest);
        self.send(request, access_token, false).await.map(|_| ())
    }

    async fn get(
        &self,
        url: Url,
        access_token: &SecretString,
        timeout: std::time::Duration,
        has_page_token: bool,
    ) -> Result<Value, ApiError> {
        let http =
            self.http().map_err(|error| ApiError::Transient(TransientError::Network(error)))?;
        let request = http.get(url).timeout(timeout);
        let response = self.send(request, access_token, has_page_token).await?;
        response
            .filter(Value::is_object)
            .ok_or(ApiError::Transient(TransientError::MalformedResponse))
    }

    /// Sends a request and returns the body of a success, if it is JSON.
    async fn send(
        &self,
        request: RequestBuilder,
        access_token: &SecretString,
        has_page_token: bool,
    ) -> Result<Option<Value>, ApiError> {
        let transient =
            |error: reqwest::Error| ApiError::Transient(TransientError::from_reqwest(&error));
        let response = request
            .header(AUTHORIZATION, bearer(access_token).ok_or(ApiError::Unauthorized)?)
            .send()
            .await
            .map_err(transient)?;
        let status = response.status();
        if status.is_server_error() {
            return Err(ApiError::Transient(TransientError::ServerError {
                status: status.as_u16(),
            }));
        }
        let limit = RateLimit::from_headers(response.headers());
        let body = match read_json_bytes(response).await {
            Ok(body) => body,
            Err(error) if status.is_success() => return Err(ApiError::Transient(error)),
            // The status alone classifies the error.
            Err(_) => Vec::new(),
        };
        let parsed: Option<Value> = serde_json::from_slice(&body).ok();
        let code = match &parsed {
            Some(parsed) => parse_code(parsed),
            None => find_code(&body),
        };
        if !status.is_success() || code.is_some() || parsed.as_ref().is_some_and(is_refusal) {
            return Err(classify(status, code, limit, has_page_token));
        }
        Ok(parsed)
    }
}

/// Maps status and code of an error response to [`ApiError`]. A code can arrive with HTTP 200, and can repeat an HTTP
/// status.
fn classify(
    status: StatusCode,
    code: Option<i64>,
    limit: RateLimit,
    has_page_token: bool,
) -> ApiError {
    match (status.as_u16(), code) {
        (429, _) | (_, Some(429)) => ApiError::RateLimited(limit),
        (_, Some(4711)) => ApiError::MissingScope,
        // With 401, codes 4700 and 104 can also mean an expired token; a refresh decides.
        (401, _) | (_, Some(124 | 401)) => ApiError::Unauthorized,
        (_, Some(4700 | 104)) => ApiError::MissingScope,
        (_, Some(1001 | 1010 | 3001 | CODE_RECORDING_NOT_FOUND)) => ApiError::NotFound { code },
        (status, Some(200 | 403)) | (status @ 403, _) => ApiError::Forbidden { status, code },
        (404, _) | (_, Some(404)) => ApiError::NotFound { code },
        (_, Some(status @ 500..=599)) => ApiError::Transient(TransientError::ServerError {
            status: u16::try_from(status).unwrap_or(500),
        }),
        (_, Some(300)) if has_page_token => ApiError::InvalidPageToken,
        // The REST API documents no redirects.
        (300..=399, None) => ApiError::Transient(TransientError::MalformedResponse),
        (status, _) => ApiError::Rejected { status, code },
    }
}

/// Encodes a meeting UUID as a path segment. Encodes twice if it contains a slash (Zoom requires that for a
/// leading `/` and for `//`), and for `.` and `..`, which URL parsers remove even if encoded once.
fn uuid_segment(uuid: &MeetingUuid) -> String {
    let uuid = uuid.as_str();
    let once = utf8_percent_encode(uuid, PATH_SEGMENT).to_string();
    match uuid {
        "." => "%252E".to_owned(),
        ".." => "%252E%252E".to_owned(),
        _ if uuid.contains('/') => utf8_percent_encode(&once, PATH_SEGMENT).to_string(),
        _ => once,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoints::Endpoints;

    #[test]
    fn uuid_is_encoded_as_one_path_segment() {
        let endpoints = Endpoints::parse("https://zoom.us", "https://api.zoom.us").unwrap();
        for (uuid, segment) in [
            ("/ajSynthUUID1234567890==", "%252FajSynthUUID1234567890%253D%253D"),
            ("ab//cdSynthUUID12345678==", "ab%252F%252FcdSynthUUID12345678%253D%253D"),
            ("Ab/cd+SynthUUID1234567==", "Ab%252Fcd%252BSynthUUID1234567%253D%253D"),
            ("Abcd+SynthUUID1234567==", "Abcd%2BSynthUUID1234567%3D%3D"),
            ("a?b%2F&c", "a%3Fb%252F%26c"),
            ("..", "%252E%252E"),
            (".", "%252E"),
            ("a.b..c", "a.b..c"),
        ] {
            let uuid: MeetingUuid = uuid.parse().unwrap();
            assert_eq!(uuid_segment(&uuid), segment);
            let url = endpoints.api(&format!("v2/meetings/{segment}/recordings"));
            assert_eq!(url.path(), format!("/v2/meetings/{segment}/recordings"));
        }
    }
}
